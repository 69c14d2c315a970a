import sys

import pytest

from nwavesdk.internal.extras import missing_packages, require


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'soundfile is not installed: pip install "nwavesdk\[train\]"'
    ):
        require("soundfile", "train")


def test_a_missing_dependency_of_a_package_is_named_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with open(f"{tmp_path}/halfthere.py", "w") as file:
        file.write("import surely_not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'surely_not_installed'"):
        require("halfthere", "train")


def test_missing_packages_are_listed_by_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    requirements = [
        "torch>=2.6",
        "surely-not-installed>=1; extra == 'train'",
        'pytest>=8; extra == "dev"',
        "never-there; (sys_platform == 'plan9') and extra == 'dev'",
        f"not-here; (sys_platform == '{sys.platform}') and extra == 'dev'",
    ]
    monkeypatch.setattr("nwavesdk.internal.extras.metadata.requires", lambda _: requirements)
    assert missing_packages() == {"train": ["surely-not-installed"], "dev": ["not-here"]}
