"""Commands that write files: how to begin and to continue them, and what they leave behind.

However such a command is disturbed, continuing it must give the files of an undisturbed one.
"""

import csv
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from faults.outcome import Case, judge
from faults.running import Outcome, Setting, Started, start
from faults.world import World
from nwavesdk.internal.files import is_draft

__all__ = ["Scene", "problems_of", "scenes", "train_scene", "without_one_warning"]

# A run of a quarter of a second.
RUN = ("--limit", "60", "--net", "lif", "--hidden", "8")
TRAIN = ("--epochs", "2", "--population", "2", "--accelerator", "cpu", *RUN)
STUDY = ("--surrogates", "fast_sigmoid,atan", "--seeds", "1", "--jobs", "1", "--epochs", "1", *RUN)

# What differs between equal runs in JSON: times, paths, and checksums of files that hold them.
VARYING = re.compile(rb'"(seconds|run)": [^,\n}]*|"[0-9a-f]{64}"')


def _nothing(folder: Path) -> None:
    """Leave the folder empty."""


@dataclass(frozen=True)
class Scene:
    """A command that writes files.

    Attributes:
        name: Its name.
        words: The command line without `nwave`.
        prepare: Fills the empty folder in which the command runs.
        output: The folder or file that it writes, inside that folder.
        variables: Further environment variables.
        is_run: Whether the command needs `--resume` to continue.
        drafts: When the next command removes the drafts of a killed one: at once, because it owns
            the folder; later, because drafts may belong to other processes; or never, because the
            folder is the user's.
        function: What runs instead of `nwave`.
    """

    name: str
    words: tuple[str, ...]
    prepare: Callable[[Path], None] = _nothing
    output: str = "run"
    variables: Mapping[str, str] = field(default_factory=dict)
    is_run: bool = False
    drafts: str = "at once"
    function: Callable[..., object] | None = None

    @property
    def is_cache(self) -> bool:
        """Whether the command can do without the files that it writes."""
        return self.output.startswith("cache")

    def begin(self, folder: Path, **setting: Any) -> Started:
        """Start the command in its folder, which `prepare` has filled."""
        words = self.words
        if self.is_run and (folder / self.output / "config.json").is_file():
            words = (*words, "--resume")
        setting = {"variables": self.variables, **setting}
        return start(words, folder, Setting(**setting), self.function)

    def run(self, folder: Path, **setting: Any) -> Outcome:
        """Run the command to its end."""
        return self.begin(folder, **setting).finish()

    def make(self, folder: Path) -> Path:
        """Make and fill the folder of one try."""
        folder.mkdir(parents=True)
        self.prepare(folder)
        return folder

    def check_end(self, folder: Path, outcome: Outcome, expected: dict[str, str]) -> list[str]:
        """What is wrong after the command has ended, or was continued and has ended."""
        problems = problems_of(self.words, outcome)
        if outcome.code != 0:
            return [*problems, f"it ended with {outcome.code}: {outcome.last_line}"]
        found = contents(folder)
        if self.drafts == "never":
            found = {name: digest for name, digest in found.items() if "draft" not in name}
        return problems + differences(expected, found)

    def age_drafts(self, folder: Path) -> None:
        """Let a day pass for the drafts in a folder that other processes use, too."""
        if self.drafts == "later":
            day_ago = time.time() - 86400
            for path in folder.rglob(".*"):
                os.utime(path, (day_ago, day_ago))


def problems_of(words: tuple[str, ...], outcome: Outcome) -> list[str]:
    """What is wrong with the output of a command that may fail with one line."""
    return judge(Case("disturbed", words, _nothing), outcome)


def without_one_warning(outcome: Outcome) -> Outcome:
    """The outcome without its first warning of Python, which has two lines."""
    text = re.sub(r"^.*Warning: .*\n?.*\n?", "", outcome.stderr, count=1, flags=re.MULTILINE)
    return replace(outcome, stderr=text)


def differences(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    """How the files of a disturbed command differ from an undisturbed command."""
    problems = [f"{name} is missing" for name in sorted(expected.keys() - found.keys())]
    problems += [f"{name} is left behind" for name in sorted(found.keys() - expected.keys())]
    both = expected.keys() & found.keys()
    return problems + [f"{name} differs" for name in sorted(both) if expected[name] != found[name]]


# What a command leaves behind


def contents(folder: Path) -> dict[str, str]:
    """Each file with a digest of what must be equal in it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_dir():
            continue
        name = str(path.relative_to(folder))
        if is_draft(path) or path.suffix == ".tmp":
            found[f"the draft {name}"] = ""
        elif path.parent.name == "tensorboard":
            found[str(Path(name).parent)] = ""  # a resumed run has another file
        else:
            found[name] = _digest(path)
    return found


def _digest(path: Path) -> str:
    if path.suffix in {".html", ".ckpt", ".log", ".kernel"}:  # they hold times and addresses
        return "" if path.stat().st_size else "empty"
    content = path.read_bytes()
    if path.suffix == ".json":
        content = VARYING.sub(b"", content)
    if path.suffix == ".csv":
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        content = repr([{**row, "seconds": None} for row in rows]).encode()
    return sha256(content).hexdigest()


# The scenes


def train_scene() -> Scene:
    """`nwave train` on digits."""
    return Scene("train", ("train", "--out", "run", *TRAIN), is_run=True)


def resume_scene(world: World) -> Scene:
    """`nwave train --resume` of a run that was interrupted after its first epoch."""
    return Scene("resume", ("train", "--out", "half"), world.copies("half"), "half", is_run=True)


def scenes(world: World) -> dict[str, Scene]:
    """All scenes by name."""
    copy_data = world.copies("tones")
    chip = ("--chip", "h1v1", "--duration", "0.2", "--sample-rate", "8000")
    data = ("data", "tones", *chip, "--no-plot")
    slopes = ("slopes", str(world / "run"), "--surrogates", "atan,fast_sigmoid")
    chip_run = str(world / "chip")
    cache = {"NWAVESDK_CACHE": "cache"}
    compiling = {**cache, "PYTHONDONTWRITEBYTECODE": ""}
    # Commands that write one file, which may be in a folder of the user.
    writers = {
        "export": ("export", chip_run, "--out", "out.chip"),
        "page": (*slopes, "--page", "page.html", "--plot", "plot.png"),
    }
    listed = [
        train_scene(),
        resume_scene(world),
        Scene("compare", ("compare", "--out", "study", *STUDY), output="study"),
        Scene("channels", data, copy_data, "cache/data", cache, drafts="later"),
        Scene("kernels", (), _nothing, "cache/compiled", compiling, False, "later", use_kernels),
    ]
    listed += [
        Scene(name, words, output=words[-1], drafts="never") for name, words in writers.items()
    ]
    return {scene.name: scene for scene in listed}


# Functions that run in a process


def use_kernels() -> None:
    """Run a layer whose kernel the cache may not have yet; print what decides its spikes."""
    import torch

    from nwavesdk.layers import LIFLayer, prepare_net

    layer = LIFLayer(8, 10e-3)
    prepare_net(layer)
    with torch.no_grad():
        spikes, _ = layer(torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(0)))
    print(sha256(spikes.numpy().tobytes()).hexdigest())
