"""Reading a page: its source, annotations, defaults and documentation."""

import linecache
import re

import numpy as np
import pytest
import torch

from dynamics.written import written_function, written_page
from nwavesdk.dynamics import (
    Kind,
    PageError,
    Positive,
    TimeConstant,
    decay,
    read_page,
)

REST = -65.0


def two_states(x, v=REST, w=-0.5 * 2, *, tau: TimeConstant, rest: Positive = 1.5, dt):
    """What it is.

    More of it.
    """
    u = decay(tau) * v + dt * x
    return u, rest * w + v


def test_a_page_says_everything():
    page = read_page(two_states)
    assert page.neuron.name == "two_states"
    assert page.neuron.states == ("v", "w")
    assert page.neuron.step.initial == (-65.0, -1.0)
    assert page.doc == "What it is.\n\nMore of it."
    assert page.source.startswith("def two_states(x, v=REST")
    assert page.takes_dt
    assert [*page.constants] == ["tau", "rest"]
    assert page.constants["tau"].kind.is_time
    assert page.constants["tau"].default is None
    assert page.constants["rest"] == (type(page.constants["rest"])(Kind(low=0.0), 1.5))


def test_states_start_at_0_where_the_page_gives_nothing():
    page = written_page("def right(x, v, w, q=2):\n    return v + x, w + v, 0.5 * q\n")
    assert page.neuron.step.initial == (0.0, 0.0, 2.0)


def test_a_default_is_what_it_was_outside_of_the_page():
    """`rest` is a constant of the page, and a number of the module where it is a default."""
    source = "def right(x, v=rest, *, rest: Real = rest):\n    return v + rest * x\n"
    page = written_page(source, rest=-7.0)
    assert page.neuron.step.initial == (-7.0,)
    assert page.constants["rest"].default == -7.0


@pytest.mark.parametrize(
    "source",
    [
        "def right(x, v, *, tau: 'TimeConstant' = 0.02):\n    return decay(tau) * v + x\n",
        "from __future__ import annotations\n"
        "def right(x, v, *, tau: TimeConstant = 0.02):\n    return decay(tau) * v + x\n",
    ],
)
def test_annotations_may_be_text(source):
    assert written_page(source).constants["tau"].kind.is_time


def test_kinds_are_annotated_floats():
    source = (
        "from typing import Annotated\n"
        "def right(x, v, *, a: Real, rho: Annotated[float, Bounded(0, 1)]):\n"
        "    return rho * v + a * x\n"
    )
    constants = written_page(source).constants
    assert constants["a"].kind == Kind()
    assert (constants["rho"].kind.low, constants["rho"].kind.high) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("constant", "reason"),
    [
        ("a", "the constant a needs a kind, as in a: Positive = 1.0"),
        ("a: float = 1.0", "the constant a needs a kind"),
        ("a: Unknown = 1.0", "the annotations of its constants cannot be read"),
        ("a: Real = 'x'", "the default of the constant a must be a finite number, got 'x'"),
        ("a: Real = float('inf')", "the default of the constant a must be a finite number"),
        ("a: Real = True", "the default of the constant a must be a finite number, got True"),
        (
            "a: Positive = 0.0",
            "the default of the constant a must be a finite number above 0, got 0.0",
        ),
        (
            "a: TimeConstant = -0.02",
            "the default of the constant a must be a finite number above 0, got -0.02",
        ),
    ],
)
def test_a_wrong_constant_is_named_with_the_reason(constant, reason):
    # Annotations are text, so that Python does not read them first.
    source = (
        "from __future__ import annotations\n"
        f"def wrong(x, v, *, {constant}):\n    return a * v + x\n"
    )
    with pytest.raises(PageError, match=rf"^wrong: {re.escape(reason)}"):
        written_page(source)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "def wrong(x, v, *, a: Bounded(0, 1) = 1.0):\n    return a * v + x\n",
            "the default of the constant a must be a finite number above 0 and below 1, got 1.0",
        ),
        (
            "def wrong(x, v, *, a: Bounded(1, 0) = 1.0):\n    return a * v + x\n",
            "Bounded takes two finite numbers, the lower one first",
        ),
        (
            "def wrong(x, v, *, a: Positive = 1.0):\n    return decay(a) * v + x\n",
            r"wrong: decay takes time constants, got decay\(a\)",
        ),
        (
            "@torch.no_grad()\ndef wrong(x, v):\n    return 0.9 * v + x\n",
            "wrong has another decorator",
        ),
    ],
)
def test_a_wrong_source_is_rejected(source, words):
    with pytest.raises(PageError, match=words):
        written_page(source)


@pytest.mark.parametrize("known", [[], ["\n"], ["def other(x, v):\n", "    return v\n"]])
def test_a_function_without_source_says_where_to_write_it(known, monkeypatch):
    monkeypatch.setitem(linecache.cache, "<typed>", (0, None, known, "<typed>"))
    scope = {}
    exec(compile("def typed(x, v):\n    return 0.9 * v + x\n", "<typed>", "exec"), scope)
    words = r"typed has no source text.* at a prompt: write the function to a file or into a cell"
    with pytest.raises(PageError, match=words):
        read_page(scope["typed"])


@pytest.mark.parametrize("wrong", [abs, torch.exp, 3, type("Page", (), {}), None])
def test_what_is_not_a_function_is_rejected(wrong):
    with pytest.raises(PageError, match="the page of a neuron must be a plain function"):
        read_page(wrong)


def test_a_lambda_is_rejected():
    with pytest.raises(PageError, match="must be a plain function"):
        read_page(
            lambda x, v: 0.9 * v + x,
        )


def test_the_source_is_read_once(monkeypatch):
    page = written_page("def right(x, v):\n    return 0.9 * v + x\n")
    monkeypatch.setattr("inspect.getsource", None)
    assert page.source == "def right(x, v):\n    return 0.9 * v + x\n"


def test_decorators_and_indentation_are_no_part_of_the_source():
    source = """\
def make(rate):
    def decorated(function):
        return function

    @decorated
    def right(x, v):
        '''Its text may
start at the left.'''
        return rate * v + x

    return right
"""
    make = written_function(source)
    page = read_page(make(0.5))
    assert page.source.startswith("def right(x, v):\n")
    assert page.neuron == read_page(make(0.5)).neuron
    assert page.neuron != read_page(make(0.7)).neuron


def test_numbers_of_numpy_are_numbers():
    source = "def right(x, v):\n    return rate * v + x\n"
    assert (
        written_page(source, rate=np.float32(0.5)).neuron == written_page(source, rate=0.5).neuron
    )


def test_a_captured_name_without_a_value_is_unknown():
    source = """\
def make():
    def wrong(x, v):
        return rate * v + x

    result = read(wrong)
    rate = 0.5
    return result
"""
    with pytest.raises(PageError, match="the name rate is unknown"):
        written_function(source, read=read_page)()
