"""Missing packages are named with their extra; names are imported on first use."""

import sys
import types

import pytest

from nwavesdk.internal.imports import import_on_use, missing_packages, require


def test_a_missing_package_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"soundfile is not installed: pip install '\.\[train\]'"
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
    monkeypatch.setattr("importlib.metadata.requires", lambda _: requirements)
    assert missing_packages() == {"train": ["surely-not-installed"], "dev": ["not-here"]}


@pytest.fixture
def package(monkeypatch):
    module = types.ModuleType("lazy_package")
    module.__all__ = ["Fraction"]
    module.__getattr__, module.__dir__ = import_on_use(
        "lazy_package", {"fractions": ["Fraction"]}, modules=["inner"]
    )
    monkeypatch.setitem(sys.modules, "lazy_package", module)
    return module


def test_a_name_comes_from_its_module(package):
    assert package.Fraction(1, 2) == 0.5


def test_a_module_is_such_a_name(package, monkeypatch):
    inner = types.ModuleType("lazy_package.inner")
    monkeypatch.setitem(sys.modules, "lazy_package.inner", inner)
    assert package.inner is inner


def test_dir_lists_names_and_modules(package):
    assert dir(package) == ["Fraction", "inner"]


def test_an_unknown_name_is_an_attribute_error(package):
    with pytest.raises(AttributeError, match="module 'lazy_package' has no attribute 'nonsense'"):
        _ = package.nonsense
