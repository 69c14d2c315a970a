"""The kernel cache under attack: code that somebody else has put there must never run.

Each attack plants code that makes a file, in every form that the cache or Python could load. Then
a layer must run as ever, with at most one warning, and that file must not exist.
"""

import os
import pickle
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from functools import cache, partial
from hashlib import sha256
from importlib.util import cache_from_source
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from faults.disks import without_one_warning
from faults.forked import Setting, Trial, run
from faults.scenes import use_kernels

__all__ = ["attack_trials", "run_attacked"]

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
    code = compile("import pickle\n" + f"pickle.loads({payload!r})", "planted", "exec")
    import importlib._bootstrap_external as external

    bytecode = external._code_to_timestamp_pyc(code)
    names = [path.stem for path in folder.glob("*.kernel")]
    for place in (folder, folder.parent / "kernels", folder.parent):
        place.mkdir(exist_ok=True)
        for name in (*names, *(name.split(".")[0] for name in names), "numba", "sitecustomize"):
            source = place / f"{name}.py"
            source.write_text(f"import pickle\npickle.loads({payload!r})\n")
            compiled = Path(cache_from_source(str(source)))
            compiled.parent.mkdir(exist_ok=True)
            for path in (compiled, source.with_suffix(".pyc")):
                path.write_bytes(bytecode)
            for suffix in (".nbi", ".1.nbc", ".pkl"):
                compiled.with_suffix(suffix).write_bytes(payload)


def _with_mode(mode: int, where: str, folder: Path, payload: bytes) -> None:
    """Right entries of an attacker, in a place that others can write."""
    _replace_entries(folder, payload, "right")
    _place(where, folder).chmod(mode)


def _with_owner(where: str, folder: Path, payload: bytes) -> None:
    """Right entries of an attacker, in a place that another user owns."""
    _replace_entries(folder, payload, "right")
    for path in folder.glob("*") if where == "entries" else [_place(where, folder)]:
        os.chown(path, STRANGER, STRANGER)


def _place(where: str, folder: Path) -> Path:
    return {"folder": folder, "parent": folder.parent, "grandparent": folder.parent.parent}[where]


def _with_link(where: str, folder: Path, payload: bytes) -> None:
    """Links to right entries of an attacker, in a folder that everybody can write."""
    _replace_entries(folder, payload, "right")
    other = Path(mkdtemp(dir=folder.parent.parent))
    other.chmod(0o777)
    if where == "entries":
        for path in folder.glob("*.kernel"):
            shutil.move(path, other / path.name)
            path.symlink_to(other / path.name)
    else:
        place = _place(where, folder)
        shutil.move(place, other / place.name)
        place.symlink_to(other / place.name)


def _flip_a_bit(seed: int, folder: Path, payload: bytes) -> None:  # noqa: ARG001
    """Damage an entry."""
    draw = random.Random(seed)
    for path in folder.glob("*.kernel"):
        content = bytearray(path.read_bytes())
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        path.write_bytes(content)


def _cut(seed: int, folder: Path, payload: bytes) -> None:
    """Cut an entry off, and continue it with the pickle."""
    draw = random.Random(seed)
    for path in folder.glob("*.kernel"):
        content = path.read_bytes()
        path.write_bytes(content[: draw.randrange(len(content))] + payload * (seed % 2))


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
    for where in ("folder", "parent", "grandparent"):
        for mode in (0o777, 0o702):  # a group may have one member, so 770 is no attack
            attacks[f"mode-{mode:o}-of-{where}"] = partial(_with_mode, mode, where)
    for where in ("entries", "folder", "parent"):
        attacks[f"link-of-{where}"] = partial(_with_link, where)
    if os.geteuid() == 0:  # only root can give files away
        for where in ("entries", "folder", "parent", "grandparent"):
            attacks[f"owner-of-{where}"] = partial(_with_owner, where)
    for seed in range(30):
        attacks[f"bit-{seed}"] = partial(_flip_a_bit, seed)
        attacks[f"cut-{seed}"] = partial(_cut, seed)
    for name, attack in attacks.items():
        yield Trial(f"cache/{name}", partial(run_attacked, attack))
