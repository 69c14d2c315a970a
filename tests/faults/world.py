"""The world of the suite: small runs, a study, an export, a profile, a table and data folders.

It is made once. Cases copy what they need from it and never write to it.
"""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from examples import small_data
from train.runs import stop_after

__all__ = ["SMALL_SETS", "World", "file_kinds", "make_world"]

# Data sets of `examples/small_data.py`, one of each format that another reader opens.
SMALL_SETS = ["flac", "ogg", "npy", "csv", "png", "idx", "ts", "npz", "labels", "events"]
if find_spec("tonic") is not None and find_spec("h5py") is not None:
    SMALL_SETS += ["bin", "shd"]

# Choices of all runs, as short as training can be.
LEARNING = {"epochs": 2, "batch_size": 8, "rate": 0.02}
MACHINE = {"accelerator": "cpu"}
STUDY_ARMS = ("fast_sigmoid", "atan")
SMALL_PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010804000000b51c0c02"
    "0000000b4944415478da63fcff1f0003030200efa2a75b0000000049454e44ae426082"
)


@dataclass(frozen=True)
class World:
    """Where everything is.

    Attributes:
        path: The folder, with `tones` (wavs by class), `regression` (wavs and targets), `run` and
            `chip` (finished runs), `half` (a run that was interrupted), `study` (a finished study),
            `folds` (a finished cross-validation), `search` (a finished search),
            `export.safetensors`, `profile.toml`, `crossover.toml`, `graph.nir` (empty without the
            extra `interop`), `cache`, and a data set of each other format.
    """

    path: Path

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def copies(self, *names: str) -> Callable[[Path], None]:
        """A function that copies some of it into the folder of a case."""

        def copy(folder: Path) -> None:
            for name in names:
                if (self.path / name).is_dir():
                    shutil.copytree(self.path / name, folder / name, symlinks=True)
                else:
                    shutil.copyfile(self.path / name, folder / name)

        return copy


def make_world(path: Path) -> World:
    """Make the world in an empty or new folder; takes a few seconds."""
    path.mkdir(parents=True, exist_ok=True)
    small_data.make_sounds(path / "tones")
    small_data.make_targets(path / "regression")
    for name in SMALL_SETS:
        small_data.FORMATS[name](path / name)
    _copy_package_file("nwavesdk.chip", "profiles/h1v1.toml", path / "profile.toml")
    _copy_package_file("nwavesdk.solvers.sparse", "crossover.toml", path / "crossover.toml")
    from nwavesdk.train import report

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NWAVESDK_CROSSOVER", str(path / "crossover.toml"))
        # Pictures take most of the time, and nothing reads them.
        patch.setattr(report, "render_png", lambda *_: SMALL_PNG)
        _write_runs(path)
    _write_cache(path)
    _write_graph(path / "graph.nir")
    return World(path)


def _write_runs(path: Path) -> None:
    from nwavesdk.deploy import ChipRun
    from nwavesdk.train import Run, RunConfig

    plain = {
        "seed": 3,
        "data": {"source": str(path / "tones"), "bands": 6, "hold": 1, "length": 12},
        "net_file": "lif",
        "net": {"hidden": [6, 5], "population": 2},
        "learning": LEARNING,
        "machine": MACHINE,
    }
    Run.new(path / "run", RunConfig.of(plain)).train()
    stop_after(Run.new(path / "half", RunConfig.of(plain)), 1)
    chip = {
        "seed": 3,
        "data": {"source": str(path / "tones"), "sample_rate": 8000},
        "net": {"hidden": [8], "population": 2, "dt": 5e-3},
        "chip": {"profile": "h1v1", "duration": 0.2},
        "learning": {**LEARNING, "rate": 0.05},
        "machine": MACHINE,
    }
    Run.new(path / "chip", RunConfig.of(chip)).train()
    ChipRun.open(path / "chip").export(path / "export.safetensors")
    _write_study(path / "study", plain)
    _write_folds(path / "folds", plain)
    _write_search(path / "search", plain)


def _write_study(path: Path, plain: dict[str, Any]) -> None:
    """A finished study, as `nwave compare` with the words of its base call leaves it."""
    from nwavesdk.analysis.cells import evaluate_cell, run_cell
    from nwavesdk.analysis.compare import Study
    from nwavesdk.analysis.compare.report import write_comparison

    choices = {
        "data": {"source": plain["data"]["source"], "hold": 1},
        "net_file": "lif",
        "net": {"hidden": [6]},
        "learning": {"epochs": 1},
        "machine": MACHINE,
    }
    study = Study.open(path, STUDY_ARMS, 1, choices, 1)
    for cell in study.missing():
        run_cell(study.job(cell))
        evaluate_cell(study.job(cell))
    write_comparison(study)


def _write_folds(path: Path, plain: dict[str, Any]) -> None:
    """A finished cross-validation."""
    from nwavesdk.analysis.folds import FoldStudy
    from nwavesdk.analysis.folds.report import write_folds
    from nwavesdk.analysis.folds.study import run_fold

    choices = {
        "data": {**plain["data"], "folds": 2},
        "net_file": "lif",
        "net": {"hidden": [4], "population": 1},
        "learning": {"epochs": 1},
        "machine": MACHINE,
    }
    study = FoldStudy.open(path, choices, threads=1)
    for fold in study.missing():
        run_fold(study.job(fold))
    write_folds(study)


SEARCH = """
[run]
data.source = "TONES"
data.bands = 6
data.hold = 1
net.preset = "lif"
net.hidden = [4]
net.population = 1
learning.epochs = 1
[search]
trials = 2
[space]
"learning.rate" = { low = 0.01, high = 0.1, log = true }
"net.surrogate" = { choices = ["atan", "sigmoid"] }
"""


def _write_search(path: Path, plain: dict[str, Any]) -> None:
    """A finished search, with its file; its values are not proposed, which needs an extra."""
    from nwavesdk.analysis.tune import Search, TuneConfig
    from nwavesdk.analysis.tune.folder import TrialRecord
    from nwavesdk.analysis.tune.report import write_search
    from nwavesdk.analysis.tune.winner import finish_winner

    path.mkdir()
    text = SEARCH.replace("TONES", str(plain["data"]["source"]))
    (path / "search.toml").write_text(text)
    config = TuneConfig.read(path / "search.toml")
    search = Search(path, config)
    search.file.write_text(json.dumps(search.content(), indent=2) + "\n")
    for number, surrogate in enumerate(("atan", "sigmoid")):
        trial = search.trial(number)
        values = {"learning.rate": 0.02, "net.surrogate": surrogate}
        trial.write(TrialRecord(values=values))
        search.end_trial(trial, *search.work(search.job(trial), lambda *_: None))
    best = search.best()
    assert best is not None
    finish_winner(search, best)
    write_search(search)


def _write_cache(path: Path) -> None:
    """The cache of channels that `nwave data` leaves behind."""
    from nwavesdk.data import NWaveDataGen

    options = {"recording_duration_s": 0.2, "sample_rate": 8000, "progress": False}
    data = NWaveDataGen(data_parent=path / "tones", cache=path / "cache" / "data", **options)
    assert len(data.channels.keys)


def _write_graph(path: Path) -> None:
    """A small NIR graph, if the extra `interop` is there to read it."""
    path.touch()
    if find_spec("nir") is not None:
        from nwavesdk.interop.nir import graph_bytes, to_nir
        from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential

        layer = LIFLayer(5, 20e-3, reset_mechanism="zero")
        net = SpikingSequential(LIFSynapse(3, 5), layer, LIFSynapse(5, 2), LILayer(2))
        path.write_bytes(graph_bytes(to_nir(net, discretization="exact")))


def _copy_package_file(package: str, name: str, target: Path) -> None:
    from importlib.resources import files

    target.write_bytes(files(package).joinpath(name).read_bytes())


def file_kinds(path: Path) -> list[Path]:
    """One file of each kind in a folder: files whose names differ only in numbers are of a kind."""
    kinds: dict[str, Path] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            name = file.relative_to(path)
            kinds.setdefault(re.sub(r"\d+", "#", str(name)), name)
    return list(kinds.values())
