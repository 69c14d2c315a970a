"""The language of pages: what it has, and the errors for what it has not."""

import re

import pytest

from dynamics.written import written_page
from nwavesdk.dynamics import PageError, program_of


def page(line, last="return u", head="x, v, *, tau: TimeConstant, threshold: Positive"):
    return f"def wrong({head}):\n    {line}\n    {last}\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("u = v + x if x else v", "a choice by if is not possible"),
        ("u = v + x and v", "and/or is not possible"),
        ("u = 0.0 < v < x", "this comparison is not possible"),
        ("u = not v", "this operator is not possible"),
        ("u = v // x", "this operator is not possible"),
        ("u = v[0] + x", "indexing is not possible"),
        ("v *= 1 - x", "an operation in place is not possible in an equation: write u = u + ..."),
        ("v[:] = x", "assign to one name per line"),
        ("v.mul_(x)", "a line without a name for its result is not possible"),
        ("u = torch.relu(v + x)", "where): write torch.maximum(u, 0.0)"),
        ("u = thresold * x + v", "thresold is unknown, did you mean 'threshold'?"),
        ("torch.exp(x)", "a line without a name for its result is not possible"),
        ("u, w = v, x", "assign to one name per line"),
        ("u = w = x", "assign to one name per line"),
        ("u = v ** x", "an exponent must be a number"),
        ("u = v ** threshold + x", "an exponent must be a number"),
        ("u = torch.erf(v) + x", "torch.erf is not one of the functions of an equation"),
        ("u = max(v, x)", "max is not one of the functions of an equation"),
        ("u = v.exp() + x", "v is a value, without methods: use a function"),
        ("u = unknown * x", "the name unknown is unknown"),
        ("u = torch.unknown * x", "the name torch.unknown is unknown"),
        ("u = torch * x", "torch is not a finite number, but module"),
        ("u = '1' * x", "'1' is not a finite number, but str"),
        ("u = True * x", "True is not a finite number, but bool"),
        ("u = 1e999 * x", "1e309 is not a finite number, but float"),
        ("u = torch.where(x, v, x)", "the first argument of where must be a comparison"),
        ("u = v + (x > 0.0)", "a comparison is not a value: use torch.where"),
        ("u = x > 0.0", "a comparison is not a value: use torch.where"),
        ("u = decay(x) * v", "decay takes the name of one constant"),
        ("u = decay(2 * tau) * v", "decay takes the name of one constant"),
        ("u = spike(threshold) + x", "the argument of spike depends on constants alone"),
        ("u = torch.exp(v, x)", "exp takes 1 argument, by position"),
        ("u = torch.maximum(v, other=x)", "maximum takes 2 arguments, by position"),
        ("u = v", "nothing depends on the charge x"),
        ("u = 0.9", "the state v is 0.9 after every step"),
        ("x = 1.0\n    u = v * x", "nothing depends on the charge x"),
        ("u = torch.exp(x) * v\n    torch = u", "torch is used before the line that assigns it"),
        ("u = x / (1 - 1.0) * (1 / 0)", "1 / 0 is not a finite number"),
        ("u = v + x * (-8) ** 0.3", "(-8) ** 0.3 is not a finite number"),
        ("u = v + x * torch.log(0)", "torch.log(0) is not a finite number"),
        ("u = v + x * (1e300 * 1e300)", "1e+300 * 1e+300 is not a finite number"),
        (f"u = v + x * 1{'0' * 400}", "is not a finite number, but int"),
    ],
)
def test_a_wrong_line_is_named_with_the_reason(line, reason):
    with pytest.raises(
        PageError, match=rf"^wrong, line [234] of its source \(.*{re.escape(reason)}"
    ):
        written_page(page(line))


@pytest.mark.parametrize(
    ("line", "last", "reason"),
    [
        (
            "s = spike(v + x)",
            "return s",
            "returns 1 value, expected 2: the spike, v after the step",
        ),
        ("u = v + x", "return u, u", "returns 2 values, expected 1: v after the step"),
        ("s = spike(v + x)", "return v, s", "the result of spike must be returned first"),
        ("s = spike(v + x)", "return 2 * s, v", "the result of spike must be returned first"),
        ("s = spike(v + x)", "return s, spike(v - x)", "got two different calls"),
        ("u = v + x", "return", "an equation ends with return"),
        ("u = v + x", "u = 2 * u", "an equation ends with return"),
        ("return v + x", "return v", "a return before the end is not possible"),
        ("u = v + x", "return u + threshold", "nothing depends on the constant tau"),
        ("if x: v = x", "return v", "if is not possible"),
        ("for i in x: v = x", "return v", "a loop is not possible"),
    ],
)
def test_a_wrong_end_is_named_with_the_reason(line, last, reason):
    with pytest.raises(PageError, match=rf"^wrong, line .*{re.escape(reason)}"):
        written_page(page(line, last))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ("x", "needs a charge and at least one state"),
        ("x, v, *more", "takes the charge, states, and keyword-only constants only"),
        ("x, v, **more", "takes the charge, states, and keyword-only constants only"),
        ("x, v, /", "takes the charge, states, and keyword-only constants only"),
        ("x=0.0, v=0.0", "the charge x cannot have a default"),
        ("x, v='-65'", "'-65' is not a finite number, but str"),
    ],
)
def test_a_wrong_head_is_named_with_the_reason(head, reason):
    with pytest.raises(PageError, match=rf"^wrong, line 1 .*{re.escape(reason)}"):
        written_page(page("u = x", "return 0.5 * u", head))


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("2.0 * 3.0 * v + x", "6.0 * v"),
        ("(0.1 + 0.2) * v + x", "0.30000000000000004 * v"),
        ("math.pi / 2 * v + x", "1.5707963267948966 * v"),
        ("m.exp(1.0) * v + x", "2.718281828459045 * v"),
        ("RATE * v + x", "0.25 * v"),
        ("v ** 2 + x", "v * v"),
        ("v ** 0.5 + x", "m.sqrt(v)"),
        ("v ** 0 + x", "1.0 + x"),
        ("v - held(0.5) + x", "v - 0.5"),
        ("v ** -1.5 + x", "m.pow(v, -1.5)"),
        ("root(v) + x", "m.sqrt(v)"),
        ("abs(v) + x", "m.abs(v)"),
        ("m.maximum(v, 0.0) + x", "m.where(t3, 0.0, v)"),
        ("m.minimum(1.0, v) + x", "m.where(t3, v, 1.0)"),
        ("torch.where(RATE < 0.3, v, x) + 2 * x", "v + "),
        ("torch.where(v != 1.0, 0.0, 1) + x", "m.where(t"),
        ("+v + x", "v + x"),
    ],
)
def test_names_lead_to_objects_and_numbers_are_computed_once(expression, text):
    """By any name of torch, with numbers of modules, and with plain numbers as arguments."""
    import math

    import torch

    source = f"def right(x, v):\n    return {expression}\n"
    names = {"m": torch, "root": torch.sqrt, "math": math, "RATE": 0.25}
    assert text in program_of(written_page(source, **names).neuron).step.text


def test_an_unused_branch_of_numbers_is_left_out():
    source = "def right(x, v):\n    return torch.where(FLAG > 0, torch.log(v), 0.5 * v) + x\n"
    assert "log" in program_of(written_page(source, FLAG=1).neuron).step.text
    assert "log" not in program_of(written_page(source, FLAG=0).neuron).step.text
