"""Names of surrogates, in Python, in texts and in the documentation; signatures for editors."""

import copy
import gc
import inspect
import math
import pickle
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from mypy import api as mypy

import nwavesdk.surrogate
from nwavesdk.surrogate import atan, available, custom, fast_sigmoid, parse, sigmoid, text

ALL = available()


def test_parse_reads_names_and_parameters():
    assert parse("atan") == atan()
    assert parse(" fast_sigmoid(slope=10) ") == fast_sigmoid(10)
    assert parse("sigmoid(3.5)") == sigmoid(3.5)
    assert all(parse(name) == cls() for name, cls in ALL.items())


@pytest.mark.parametrize(
    "bad", ["", "relu", "atan(", "atan(slope)", "__import__('os')", "atan.x", "3", "atan()()"]
)
def test_parse_rejects_anything_else(bad):
    words = "unknown surrogate .* as in atan .*; `nwave surrogates` lists them"
    with pytest.raises(ValueError, match=words):
        parse(bad)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: parse("atan(slope=3)"), "atan does not take: expected alpha"),
        (lambda: parse("straight_through(1)"), "straight_through does not take: expected none"),
        (
            lambda: parse("atan(alpha=1, alpha=2)"),
            "has a parameter twice: pass each parameter once",
        ),
    ],
)
def test_parse_names_the_parameters_that_a_surrogate_takes(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("name", ALL)
def test_texts_and_copies_give_an_equal_surrogate(name):
    default = ALL[name]()
    other_values = {key: value + 1 for key, value in default.parameters.items()}
    for s in (default, ALL[name](**other_values)):
        assert parse(text(s)) == parse(repr(s)) == s
        assert text(s).startswith(f"{name}(")
        for other in (copy.deepcopy(s), pickle.loads(pickle.dumps(s)), type(s)(**s.parameters)):
            assert other == s
            assert hash(other) == hash(s)
        for one in fields(s):
            with pytest.raises(AttributeError):
                setattr(s, one.name, 1.0)


def test_a_custom_surrogate_has_no_text():
    words = r"Custom.* is not in the catalogue: expected one of .*available"
    with pytest.raises(ValueError, match=words):
        text(custom(torch.abs))


HOSTILE = [
    "(" * 150 + "atan" + ")" * 150,
    "(" * 10**5,
    "-" * 290 + "1",
    "atan(" * 40,
    "x" * 10**6,
    "atan(alpha=" + "9" * 10**4 + ")",
    "atan(alpha=" + "9" * 250 + ")",
    "atan(alpha=1e999)",
    "atan(alpha=nan)",
    "atan(nan)",
    "atan(alpha=1, alpha=2)",
    "atan(1, alpha=2)",
    "atan(1, 2, 3)",
    "atan(**{})",
    "atan(*[1])",
    "atan([1])",
    "atan('1')",
    "atan(True)",
    "atan(alpha=__import__('os').abort())",
    "__import__('os').abort()",
    "atan.__class__",
    "atan\0",
    "atan\x1b[31m",
    "\ud800",
    "аtan",
    "",
    "\n",
    "lambda: 0",
    None,
    3,
    b"atan",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text)[:30])
def test_a_hostile_text_is_one_line(text):
    with pytest.raises(ValueError, match=r"surrogate|must be a finite number") as error:
        parse(text)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 900


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: parse("atn"), ValueError, "unknown surrogate 'atn', did you mean 'atan'"),
        (lambda: nwavesdk.surrogate.atn, AttributeError, "no attribute 'atn', did you mean 'atan'"),
        (
            lambda: nwavesdk.LifLayer,
            AttributeError,
            "no attribute 'LifLayer', did you mean 'LIFLayer'",
        ),
    ],
)
def test_a_misspelled_name_gets_a_suggestion(call, error, words):
    with pytest.raises(error, match=words):
        call()


def test_the_docs_have_a_table_row_for_each_surrogate():
    table = (Path(__file__).parents[2] / "docs" / "surrogates.md").read_text(encoding="utf-8")
    for name, kind in ALL.items():
        parameters = ", ".join(f"{key}={value:g}" for key, value in kind().parameters.items())
        printed = kind.formula.replace("|", "\\|")
        assert f"| `{name}({parameters})` | {printed} |" in table


def test_the_package_exports_every_surrogate_by_name():
    assert set(ALL) | {"arctan"} <= set(nwavesdk.surrogate.__all__)
    for name, kind in ALL.items():
        assert getattr(nwavesdk.surrogate, name) is kind
    assert list(ALL)[:4] == ["atan", "fast_sigmoid", "sigmoid", "fixed_peak_atan"]


def test_arctan_is_an_alias_that_cannot_be_mistaken_for_atan():
    kind = ALL["fixed_peak_atan"]
    assert nwavesdk.surrogate.arctan is kind
    assert "arctan" not in ALL
    for written in ("arctan(3)", "ArcTan(k=3)", "fixed_peak_atan(3)"):
        assert parse(written) == kind(3)
        assert repr(parse(written)) == "fixed_peak_atan(k=3.0)"
    z = torch.zeros(1, dtype=torch.float64)
    assert [kind(k).derivative(z).item() for k in (1, 9)] == pytest.approx([1 / math.pi] * 2)
    assert [atan(k).derivative(z).item() for k in (1, 9)] == [0.5, 4.5]
    assert "fixed_peak_atan" in atan.__doc__
    assert "ATan(2k)" in kind.__doc__


@pytest.mark.parametrize("name", ALL)
def test_a_signature_shows_parameters_and_defaults_and_the_docstring_the_formula(name):
    kind = getattr(nwavesdk.surrogate, name)
    shown = {key: p.default for key, p in inspect.signature(kind).parameters.items()}
    assert shown == kind().parameters
    doc = inspect.getdoc(kind)
    assert all(f"    {key}: " in doc for key in shown)
    assert doc.startswith(("Derivative `", "Derivative 1"))


TYPED = """
from typing import assert_type

from nwavesdk.surrogate import ATan, arctan, atan, parse, snntorch_triangular, triangle
from nwavesdk.surrogate import Formula, Surrogate

assert_type(atan(alpha=3.0), ATan)
assert_type(triangle(alpha=0.3, k=2), Formula)
assert_type(arctan(2.0), Formula)
assert_type(parse("atan(3)"), Surrogate)
snntorch_triangular(threshold=2.0)
triangle(slope=3.0)
triangle(alpha="high")
"""
"""Lines that are right, and at the end two that a type checker must reject."""


def test_a_type_checker_knows_parameters_and_classes(tmp_path):
    (tmp_path / "typed.py").write_text(TYPED, encoding="utf-8")
    # mypy reads this package of this checkout and no other: all others would take half a minute.
    source = Path(nwavesdk.surrogate.__file__).parents[2]
    config = f"""
        [mypy]
        strict = true
        mypy_path = {source}
        follow_imports = skip
        [mypy-nwavesdk.surrogate.*]
        follow_imports = normal
        disable_error_code = misc,no-any-return,untyped-decorator
    """
    (tmp_path / "mypy.ini").write_text(inspect.cleandoc(config), encoding="utf-8")
    options = ["--config-file", str(tmp_path / "mypy.ini"), "--cache-dir", str(tmp_path)]
    report, _, _ = mypy.run([*options, str(tmp_path / "typed.py")])
    gc.freeze()  # again, because mypy has undone it; see conftest.py
    errors = [line.split(": error: ")[1] for line in report.splitlines() if ": error: " in line]
    assert len(errors) == 2, report
    assert errors[0].startswith('Unexpected keyword argument "slope" for "triangle"')
    assert errors[1].startswith('Argument "alpha" to "triangle" has incompatible type "str"')
