"""Proposals are a function of seed, number and the trials before; importance finds what matters."""

import random

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune.proposals import LEAST_IMPORTANCE, Tried, importance, propose
from nwavesdk.analysis.tune.space import Dimension, Space

pytestmark = pytest.mark.hpo

SPACE: Space = {
    "learning.rate": Dimension.of({"low": 1e-3, "high": 1e-1, "log": True}),
    "learning.batch_size": Dimension.of({"low": 16, "high": 128, "step": 16}),
    "net.hidden": Dimension.of({"choices": [[128], [64, 64]]}),
}


def course_of(n_trials: int, seed: int, state: str = "finished") -> list[Tried]:
    """A sequential search whose score is largest at a batch size of 64."""
    tried: list[Tried] = []
    for number in range(n_trials):
        values = propose(SPACE, tried, seed, number)
        score = -abs(values["learning.batch_size"] - 64.0)
        tried.append(Tried(values, state, score))  # type: ignore[arg-type]
    return tried


def test_sequential_trials_depend_on_the_seed_alone() -> None:
    first = course_of(14, 3)
    random.seed(1)
    assert course_of(14, 3) == first
    assert course_of(14, 4) != first
    values = [one.values for one in first]
    assert len({str(one) for one in values}) == len(values)


def test_values_are_of_the_space() -> None:
    for one in course_of(14, 0):
        assert list(one.values) == list(SPACE)
        assert all(SPACE[name].contains(value) for name, value in one.values.items())
        assert one.values["learning.batch_size"] % 16 == 0


def test_the_sampler_learns_from_finished_trials() -> None:
    far = course_of(30, 0)[20:]
    assert sum(abs(one.values["learning.batch_size"] - 64) <= 16 for one in far) >= 6


def test_trials_that_run_crashed_or_were_stopped_are_told() -> None:
    others = [
        Tried(propose(SPACE, [], 0, 0), "running"),
        Tried(propose(SPACE, [], 0, 1), "crashed"),
        Tried(propose(SPACE, [], 0, 2), "stopped", course={1: 0.2, 2: 0.3}),
    ]
    tried = course_of(12, 0)
    assert propose(SPACE, [*tried, *others], 0, 20) != propose(SPACE, tried, 0, 20)


def test_the_sampler_learns_from_the_courses_of_stopped_trials() -> None:
    finished = course_of(20, 0)
    stopped = [Tried(one.values, "stopped", course={1: one.score or 0.0}) for one in finished]
    reverse = [Tried(one.values, "stopped", course={1: -(one.score or 0.0)}) for one in finished]
    sizes = [
        [propose(SPACE, tried, seed, 20)["learning.batch_size"] for seed in range(8)]
        for tried in (stopped, reverse)
    ]
    near, far = (sum(abs(size - 64) for size in of) for of in sizes)
    assert near < far


def test_importance_needs_trials_with_different_scores() -> None:
    assert importance(SPACE, course_of(LEAST_IMPORTANCE - 1, 0)) == {}
    assert importance(SPACE, [Tried(one.values, "finished", 0.5) for one in course_of(12, 0)]) == {}
    shares = importance(SPACE, course_of(40, 0))
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=lambda name: shares[name]) == "learning.batch_size"
