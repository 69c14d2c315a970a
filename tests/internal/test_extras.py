import sys

import pytest

from nwavesdk.internal.extras import require


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(
        ModuleNotFoundError, match=r'soundfile is not installed: pip install "nwavesdk\[train\]"'
    ):
        require("soundfile", "train")


def test_a_package_that_lacks_something_else_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with open(f"{tmp_path}/halfthere.py", "w") as file:
        file.write("import surely_not_installed\n")
    with pytest.raises(ModuleNotFoundError, match="No module named 'surely_not_installed'"):
        require("halfthere", "train")
