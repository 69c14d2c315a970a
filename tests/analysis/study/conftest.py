"""Small studies that the tests of this folder share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.here import Here
from nwavesdk.analysis.study import RunSearch, Study, TuneConfig, compare_surrogates, cross_validate
from train.runs import Choices

ARMS = ["fast_sigmoid", "fast_sigmoid(slope=25)", "atan"]

# Time constants of a net that cannot be trained, and of a net that cannot be built.
CRASHES = 0.03
INVALID = 0.04

NET = f"""
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential

def fail(_):
    raise RuntimeError("a net with slow neurons")

def build(inputs, classes, config):
    if config.net.tau == {INVALID}:
        raise RuntimeError("a net with slower neurons")
    net = SpikingSequential(
        *(LIFSynapse(inputs[0], 8), LIFLayer(8, config.net.tau)),
        *(LIFSynapse(8, classes), LIFLayer(classes, config.net.tau)),
    )
    if config.net.tau == {CRASHES}:
        net[0].weight.register_hook(fail)
    return net
"""


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    """Commands run their cells in this process."""
    executor = Here()
    for name in ("on_processes", "on_ray"):
        monkeypatch.setattr(f"nwavesdk.analysis.study.{name}", lambda *_: executor)
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    return executor


@pytest.fixture(scope="session")
def choices(tones: Path) -> Choices:
    """Choices of a run that takes a second, with dropout."""
    return {
        "data": {"source": str(tones), "bands": 12, "hold": 1},
        "net": {"name": "lif", "hidden": [24], "population": 3, "dropout": 0.2},
        "learning": {"epochs": 2, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="session")
def fold_choices(choices: Choices) -> Choices:
    """Three folds."""
    return {**choices, "data": {**choices["data"], "folds": 3}}


@pytest.fixture(scope="session")
def comparison(choices: Choices, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """Two identical arms and a different arm, with two seeds."""
    study = compare_surrogates(tmp_path_factory.mktemp("study"), ARMS, 2, choices, threads=1)
    study.finish(Here())
    return study


@pytest.fixture(scope="session")
def folds(fold_choices: Choices, tmp_path_factory: pytest.TempPathFactory) -> Study:
    """A finished cross-validation."""
    study = cross_validate(tmp_path_factory.mktemp("folds"), fold_choices, threads=1)
    study.finish(Here())
    return study


Content = Callable[..., Choices]


@pytest.fixture(scope="session")
def content(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Content:
    """The content of the file of a search whose trials take a fraction of a second."""
    file = tmp_path_factory.mktemp("net") / "net.py"
    file.write_text(NET)

    def make(**search: Any) -> Choices:
        return {
            "run": {
                "data": {"source": str(tones), "bands": 12, "hold": 1, "center": False},
                "net": {"page": f"{file}:build"},
                "learning": {"epochs": 2, "batch_size": 16},
            },
            "search": {"trials": 4, "max_concurrent": 1, "scheduler": "none", **search},
            "space": {
                "learning.rate": {"low": 1e-3, "high": 0.1, "log": True},
                "net.tau": {"choices": [0.01, CRASHES]},
            },
        }

    return make


@pytest.fixture(scope="session")
def search(content: Content, tmp_path_factory: pytest.TempPathFactory) -> RunSearch:
    """A finished search of four trials, one of which crashed."""
    config = TuneConfig.of(content(seed=_seed_of(content))).completed()
    search = RunSearch.open(tmp_path_factory.mktemp("search"), config)
    search.finish(Here(), lambda _: None)
    return search


def _seed_of(content: Content) -> int:
    """A seed with which one of four trials crashes; versions of Optuna draw differently."""
    optuna = pytest.importorskip("optuna")
    space = TuneConfig.of(content()).distributions
    for seed in range(100):
        search = RunSearch(Path("none"), TuneConfig.of(content(seed=seed)))
        study = optuna.create_study(sampler=search.sampler(0))
        drawn = []
        for _ in range(4):
            trial = study.ask(space)
            drawn.append(json.loads(trial.params["net.tau"]))
            study.tell(trial, 0.0)
        if drawn.count(CRASHES) == 1:
            return seed
    raise LookupError("no seed")
