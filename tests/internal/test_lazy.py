"""Names are imported on first use, and no other name is invented."""

import sys
import types

import pytest

from nwavesdk.internal.lazy import import_on_use


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
