"""Domains of Ray Tune as dimensions."""

from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune.domains import split_domains
from nwavesdk.analysis.tune.on_ray import quiet_tune
from nwavesdk.analysis.tune.space import Dimension

pytestmark = pytest.mark.hpo


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("choice", ([1, [2], "a"],), {"choices": [1, [2], "a"]}),
        ("uniform", (0, 2), {"low": 0.0, "high": 2.0}),
        ("loguniform", (1e-3, 1e-1), {"low": 1e-3, "high": 1e-1, "log": True}),
        ("quniform", (0, 1, 0.25), {"low": 0.0, "high": 1.0, "step": 0.25}),
        ("randint", (1, 9), {"low": 1, "high": 8}),
        ("lograndint", (1, 9), {"low": 1, "high": 8, "log": True}),
        ("qrandint", (16, 64, 16), {"low": 16, "high": 64, "step": 16}),
    ],
)
def test_a_domain_is_a_dimension(name: str, arguments: Any, expected: dict[str, Any]) -> None:
    with quiet_tune() as tune:
        domain = getattr(tune, name)(*arguments)
    fixed, space = split_domains({"a.x": domain, "a.y": 3, "a.z": Dimension.of(expected)})
    assert fixed == {"a.y": 3}
    assert space["a.x"] == space["a.z"] == Dimension.of(expected)
    dimension = space["a.x"]
    samples = [domain.sample() for _ in range(20)]
    assert all(dimension.contains(sample) for sample in samples)


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("randn", (0, 1), "a.x is .*, expected tune.choice"),
        ("sample_from", (len,), "a.x is .*, expected tune.choice"),
        ("grid_search", ([1, 2],), "a.x is a grid.*use tune.choice"),
        ("choice", ([],), "a.x: choices: expected at least 1 item"),
    ],
)
def test_others_are_errors(name: str, arguments: Any, words: str) -> None:
    with quiet_tune() as tune:
        domain = getattr(tune, name)(*arguments)
    with pytest.raises(ValueError, match=words):
        split_domains({"a.x": domain})
