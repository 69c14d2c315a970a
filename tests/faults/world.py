"""The world of the suite: small runs, a study, an export, a profile, a table and data folders.

It is made once. Cases copy what they need from it and never write to it.
"""

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import nwavesdk
from examples import small_data
from faults.running import Setting, run
from nwavesdk.train import Run
from train.runs import stop_after

__all__ = ["SMALL_SETS", "World", "file_kinds", "make_world"]

# Data sets of `examples/small_data.py`, one of each format that another reader opens.
SMALL_SETS = ["flac", "ogg", "npy", "csv", "png", "idx", "ts", "npz", "labels", "events"]
if find_spec("h5py") is not None:
    SMALL_SETS += ["bin", "shd"]

# The commands that write runs, studies and files of the world, as short as training can be.
_DATA = "--data TONES --hold 1 --net lif"
_RUN = f"{_DATA} --bands 6 --length 12 --hidden 6,5 --seed 3 --batch-size 8 --accelerator cpu"
_CHIP = "--data TONES --chip h1v1 --duration 0.2 --sample-rate 8000 --accelerator cpu --seed 3"
COMMANDS = (
    f"train --out run {_RUN} --epochs 2 --population 2",
    f"train --out chip {_CHIP} --hidden 8 --population 2 --dt 5e-3 --epochs 2 --batch-size 8",
    "export chip --out export.safetensors",
    # The words of the base call of the command.
    f"compare --out study {_DATA} --hidden 6 --epochs 1 --surrogates fast_sigmoid,atan --seeds 1",
    f"train --out folds {_DATA} --folds 2 --bands 6 --hidden 4 --population 1 --epochs 1",
    "data TONES --no-plot --chip h1v1 --duration 0.2 --sample-rate 8000",
    # Functions of this file.
    "half run",
    "search TONES",
)


@dataclass(frozen=True)
class World:
    """Where everything is.

    Attributes:
        path: The folder, with `tones` (wavs by class), `regression` (wavs and targets), `run` and
            `chip` (finished runs), `half` (a run that was interrupted), `study` (a finished study),
            `folds` (a finished cross-validation), `search` (a finished search),
            `export.safetensors`, `profile.toml`, `graph.nir` (empty without the
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
    package = Path(nwavesdk.__file__).parent
    shutil.copyfile(package / "chip" / "profiles" / "h1v1.toml", path / "profile.toml")
    tones = str(path / "tones")
    cache = {"NWAVESDK_CACHE": str(path / "cache")}
    functions = {"half": _write_half, "search": _write_search}
    for line in COMMANDS:
        words = line.replace("TONES", tones).split()
        # `nwave data` alone fills the cache of the world.
        setting = Setting(cache if words[0] == "data" else {})
        if function := functions.get(words[0]):
            outcome = run(words[1:], path, setting, function)
        else:
            outcome = run(words, path, setting)
        assert outcome.code == 0, outcome
    _write_graph(path / "graph.nir")
    return World(path)


def _write_half(run: str) -> None:
    """A run with the config of another one, interrupted after its first epoch."""
    stop_after(Run.new("half", Run.open(run).config), 1)


SEARCH = """
[run]
data.source = "TONES"
data.bands = 6
data.hold = 1
net.name = "lif"
net.hidden = [4]
net.population = 1
learning.epochs = 1
[search]
trials = 2
[space]
"learning.rate" = { low = 0.01, high = 0.1, log = true }
"net.surrogate" = { choices = ["atan", "sigmoid"] }
"""


def _write_search(tones: str) -> None:
    """A finished search, with its file, if the extra `hpo` is there to search."""
    path = Path("search")
    path.mkdir()
    if find_spec("optuna") is not None:
        from nwavesdk.cli.app import app

        Path("search.toml").write_text(SEARCH.replace("TONES", tones))
        app(["tune", "search.toml", "--out", "search"], standalone_mode=False)
        Path("search.toml").rename(path / "search.toml")


def _write_graph(path: Path) -> None:
    """A small NIR graph, if the extra `interop` is there to read it."""
    path.touch()
    if find_spec("nir") is not None:
        from nwavesdk.interop.nir import graph_bytes, to_nir
        from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential

        layer = LIFLayer(5, 20e-3, reset_mechanism="zero")
        net = SpikingSequential(LIFSynapse(3, 5), layer, LIFSynapse(5, 2), LILayer(2))
        path.write_bytes(graph_bytes(to_nir(net, discretization="exact")))


def file_kinds(path: Path) -> list[Path]:
    """One file of each kind in a folder: files whose names differ only in numbers are of a kind."""
    kinds: dict[str, Path] = {}
    for file in sorted(path.rglob("*")):
        if file.is_file():
            name = file.relative_to(path)
            kinds.setdefault(re.sub(r"\d+", "#", str(name)), name)
    return list(kinds.values())
