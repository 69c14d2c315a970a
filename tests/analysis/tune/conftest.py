"""Small searches that the tests of this folder share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.analysis.tune import Search, TuneConfig
from nwavesdk.analysis.tune.folder import SearchFolder
from nwavesdk.analysis.tune.proposals import propose

# Time constant of a net that cannot be built.
CRASHES = 0.03

NET = """
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential

def build(inputs, classes, config):
    if config.net.tau > 0.025:
        raise RuntimeError("a net with slow neurons")
    return SpikingSequential(
        *(LIFSynapse(inputs[0], 8), LIFLayer(8, config.net.tau)),
        *(LIFSynapse(8, classes), LIFLayer(classes, config.net.tau)),
    )
"""


def finish_here(search: SearchFolder[Any]) -> None:
    """Finish all trials in this process and without pictures, which is faster."""
    threads = torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
        pending = search.unfinished()
        while trial := (pending.pop(0) if pending else search.begin_trial()):
            search.end_trial(trial, *search.work(search.job(trial), lambda *_: None))
    torch.set_num_threads(threads)


@pytest.fixture(scope="session")
def net_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A net of eight neurons, which cannot be built with slow ones."""
    file = tmp_path_factory.mktemp("net") / "net.py"
    file.write_text(NET)
    return file


Content = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def content(tones: Path, net_file: Path) -> Content:
    """The content of the file of a search whose trials take a fraction of a second."""

    def make(**search: Any) -> dict[str, Any]:
        return {
            "run": {
                "data": {"source": str(tones), "bands": 12, "hold": 1, "center": False},
                "net": {"page": f"{net_file}:build"},
                "learning": {"epochs": 2, "batch_size": 16},
            },
            "search": {"trials": 3, "max_concurrent": 1, "scheduler": "none", **search},
            "space": {
                "learning.rate": {"low": 1e-3, "high": 0.1, "log": True},
                "net.tau": {"choices": [0.01, 0.02, CRASHES]},
            },
        }

    return make


@pytest.fixture(scope="session")
def config(content: Content) -> TuneConfig:
    """A search of three trials, the last of which crashes."""
    return TuneConfig.of(content(seed=seed_of(content, [False, False, True]))).completed()


def seed_of(content: Content, crashes: list[bool]) -> int:
    """A seed with which the first trials crash, or not; versions of Optuna draw differently."""
    config = TuneConfig.of(content())
    for seed in range(1000):
        values = [propose(config.space, [], seed, number) for number in range(len(crashes))]
        if [value["net.tau"] == CRASHES for value in values] == crashes:
            return seed
    raise LookupError(crashes)


@pytest.fixture(scope="session")
def finished_search(config: TuneConfig, tmp_path_factory: pytest.TempPathFactory) -> Search:
    """The search, finished in this process."""
    search = Search.open(tmp_path_factory.mktemp("search"), config)
    finish_here(search)
    return search
