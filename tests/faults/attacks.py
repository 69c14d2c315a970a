"""The kernel cache under attack: code that somebody else has put there must never run.

Each attack plants code that makes a file, in every form that the cache or Python could load. Then
a layer must run as ever, with at most one warning, and that file must not exist.
"""

import os
import pickle
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from importlib._bootstrap_external import _code_to_timestamp_pyc  # type: ignore[attr-defined]
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from faults.outcome import Trial
from faults.running import Setting, run
from faults.scenes import use_kernels, without_one_warning

__all__ = ["attack_trials"]

STRANGER = 54321
SETTING = Setting(variables={"NWAVESDK_CACHE": "cache", "PYTHONDONTWRITEBYTECODE": ""})
MAGIC = b"nwave kernel 1\n"
Attack = Callable[[Path, bytes], None]


class Code:
    """A pickle of it makes a folder when it is loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def run_attacked(attack: Attack, folder: Path) -> list[str]:
    """Copy a filled cache, attack it, and run a layer with it."""
    filled, expected = _filled_cache()
    shutil.copytree(filled.name, folder)
    marker = folder / "the code was run"
    attack(folder / "cache" / "compiled", pickle.dumps(Code(marker)))
    outcome = run([], folder, SETTING, use_kernels)
    problems = ["the code was run"] * marker.exists()
    if outcome.code != 0 or outcome.stdout != expected:
        problems.append(f"it ended with {outcome.code}: {outcome.stderr[-300:]}")
    # One that an entry is damaged, and one that it cannot be replaced.
    rest = without_one_warning(without_one_warning(outcome)).stderr
    if outcome.code == 0 and rest:
        problems.append(f"more than two warnings: {rest[-300:]}")
    return problems


@cache
def _filled_cache() -> tuple[TemporaryDirectory[str], str]:
    """A folder with a filled cache, and what the layer prints."""
    folder = TemporaryDirectory(prefix="nwave-faults-")
    outcome = run([], Path(folder.name), SETTING, use_kernels)
    assert outcome.code == 0, outcome
    return folder, outcome.stdout


# Attacks: each has the folder of the entries and the pickle


def _replace_entries(folder: Path, payload: bytes, head: str = "none") -> None:
    """Put the pickle in place of each entry.

    Args:
        folder: The folder of the entries.
        payload: The pickle.
        head: What is in front of it: `none`, the `old` head of the entry, or the `right` one.
    """
    for path in folder.glob("*.kernel"):
        checksum = sha256(path.name.encode() + b"\n" + payload).digest()
        old = path.read_bytes()[: len(MAGIC) + len(checksum)]
        path.write_bytes({"none": b"", "old": old, "right": MAGIC + checksum}[head] + payload)


def _plant_beside(folder: Path, payload: bytes) -> None:
    """Plant files of the formats of Python and of numba, and of earlier versions of this cache."""
    text = f"import pickle\npickle.loads({payload!r})\n"
    # A private function of Python, without types: no public one makes what its cache holds.
    bytecode = _code_to_timestamp_pyc(compile(text, "planted", "exec"))
    names = [path.stem for path in folder.glob("*.kernel")]
    names += [*(name.split(".")[0] for name in names), "numba", "sitecustomize"]
    for parent in (folder, folder.parent / "kernels", folder.parent):
        (parent / "__pycache__").mkdir(parents=True, exist_ok=True)
        for name in names:
            source = parent / f"{name}.py"
            source.write_text(text)
            compiled = Path(cache_from_source(str(source)))
            for path in (compiled, source.with_suffix(".pyc")):
                path.write_bytes(bytecode)
            for suffix in (".nbi", ".1.nbc", ".pkl"):
                compiled.with_suffix(suffix).write_bytes(payload)


def _in_reach(change: Callable[[Path], object], where: str, folder: Path, payload: bytes) -> None:
    """Right entries of an attacker, in a place that others own, can write, or link to.

    Args:
        change: Gives a path to others.
        where: `entries`, the `folder` of the entries, or a folder above it.
        folder: The folder of the entries.
        payload: The pickle.
    """
    _replace_entries(folder, payload, "right")
    above = {"folder": folder, "parent": folder.parent, "grandparent": folder.parent.parent}
    for path in sorted(folder.glob("*.kernel")) if where == "entries" else [above[where]]:
        change(path)


def _give_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def _move_and_link(path: Path) -> None:
    """Move it to a folder that everybody can write, and link it."""
    other = Path(mkdtemp(dir=path.parent))
    other.chmod(0o777)
    path.symlink_to(shutil.move(path, other / path.name))


# Groups


def attack_trials() -> Iterator[Trial]:
    """All attacks."""
    if sys.platform != "linux":
        return
    attacks: dict[str, Attack] = {
        "pickle": _replace_entries,
        "pickle-behind-the-head": partial(_replace_entries, head="old"),
        "planted-beside": _plant_beside,
    }
    for where in ("entries", "folder", "parent", "grandparent"):
        if where != "entries":
            for mode in (0o777, 0o702):  # a group may have one member, so 770 is no attack
                change = partial(Path.chmod, mode=mode)
                attacks[f"mode-{mode:o}-of-{where}"] = partial(_in_reach, change, where)
        if where != "grandparent":
            attacks[f"link-of-{where}"] = partial(_in_reach, _move_and_link, where)
        if os.geteuid() == 0:  # only root can give files away
            attacks[f"owner-of-{where}"] = partial(_in_reach, _give_away, where)
    for name, attack in attacks.items():
        yield Trial(f"cache/{name}", partial(run_attacked, attack))
