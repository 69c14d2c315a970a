"""How recordings lie in the arrays of a file.

- *stacked*: one array `[R, T, *features]`; a recording may end before T;
- *joined*: one array `[sum of lengths, *features]`, one recording after the other;
- *separate*: one array `[T, *features]` for each recording.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from nwavesdk.data.readers.npz import Archive, Member
from nwavesdk.data.readers.values import MOST_VALUES, NUMBER_KINDS
from nwavesdk.data.reading import RecordingError

__all__ = ["Rows", "Steps", "find_lengths", "find_steps", "group_members", "lay_out"]

MOST_RECORDINGS = 2**23

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Steps:
    """The time steps of all recordings.

    Args:
        lengths: Number of steps of each recording, `[R]`.
        may_differ: Whether the file has a form in which recordings have different lengths.
    """

    lengths: Indices
    may_differ: bool

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def text(self) -> str:
        """The shape of an array that has them, for errors."""
        shown = f"[{len(self)}, {self.lengths.max()}, ...]"
        return f"{shown} or [{self.lengths.sum()}, ...]" if self.may_differ else shown


@dataclass(frozen=True, eq=False)
class Rows:
    """The values of all recordings.

    Args:
        members: One array, or one for each recording.
        starts: Place of the first value of each recording in its array, `[R]`.
        lengths: Number of steps of each recording, `[R]`.
        features: Shape of the values of a step.
    """

    members: tuple[Member, ...]
    starts: Indices
    lengths: Indices
    features: tuple[int, ...]

    @property
    def kinds(self) -> set[str]:
        """The kinds of values, as letters of numpy."""
        return {member.header.dtype.kind for member in self.members}

    def read(self, index: int) -> npt.NDArray[Any]:
        """The values of a recording, `[T, *features]`.

        Raises:
            RecordingError: If they cannot be read.
        """
        member = self.members[index if len(self.members) > 1 else 0]
        shape = (int(self.lengths[index]), *self.features)
        return member.read(int(self.starts[index]), shape)


def group_members(
    archive: Archive, names: Sequence[str], separate: Sequence[str]
) -> dict[str, tuple[Member, ...]]:
    """The arrays of a file by what they hold.

    Args:
        archive: The file.
        names: All names that arrays may have.
        separate: Those of them that may be one array for each recording: `x_0`, `x_1`, ...

    Raises:
        RecordingError: If an array has another name, an array is missing between two others, or a
            name has both forms.
    """
    present = set(archive.names)
    counts = dict.fromkeys(separate, 0)
    for name in archive.names:
        match = re.fullmatch(r"(\w+)_(0|[1-9][0-9]{0,7})", name)
        if match and match[1] in counts:
            counts[match[1]] += 1
        elif name not in names:
            what = f"has an array {name!r}, expected only {', '.join(names)}"
            raise RecordingError(archive.path, what, "leave it out, or rename it")
    members: dict[str, tuple[Member, ...]]
    members = {name: (archive.member(name),) for name in names if name in present}
    for name, count in counts.items():
        numbered = [f"{name}_{index}" for index in range(count)]
        missing = next((each for each in numbered if each not in present), None)
        if missing is not None or (count and name in members):
            what = f"has {count} arrays {name}_<number>, and "
            what += f"no {missing}" if missing else f"also {name}"
            raise RecordingError(archive.path, what, f"save {name}, or {name}_0, {name}_1, ...")
        if count:
            members[name] = tuple(archive.member(each) for each in numbered)
    return members


def is_separate(members: tuple[Member, ...], name: str) -> bool:
    """Whether there is an array for each recording."""
    return members[0].name != name


def find_lengths(path: Path, member: Member) -> Steps:
    """The steps of recordings whose lengths are given.

    Raises:
        RecordingError: If they are not positive integers `[R]`.
    """
    dtype = member.header.dtype
    if dtype.kind not in "iu" or len(member.shape) != 1:
        what = f"has lengths of shape {list(member.shape)} and dtype {dtype}, expected integers [R]"
        raise RecordingError(path, what, "save the number of steps of each recording")
    check_count(path, member.shape[0])
    lengths = member.read_all()
    if lengths.min() < 1 or lengths.max() > MOST_VALUES:
        what = f"has lengths from {lengths.min()} to {lengths.max()}, expected 1 to {MOST_VALUES:,}"
        raise RecordingError(path, what, "save the number of steps of each recording")
    return Steps(lengths.astype(np.int64), True)


def find_steps(path: Path, name: str, members: tuple[Member, ...]) -> Steps:
    """The steps of recordings by the shape of their arrays.

    Raises:
        RecordingError: If there are no axes for recordings and for time.
    """
    least = 1 if is_separate(members, name) else 2
    short = next((member for member in members if len(member.shape) < least), None)
    if short is not None:
        expected = "[T, *features]" if least == 1 else "[R, T, *features]"
        what = f"has {short.name} of shape {list(short.shape)}, expected {expected}"
        remedy = "add the missing axis; joined recordings need lengths"
        if (name, len(short.shape)) == ("y", 1) and short.header.dtype.kind in NUMBER_KINDS:
            remedy += "; save the values of one pattern as y[:, None]"
        raise RecordingError(path, what, remedy)
    if is_separate(members, name):
        return Steps(np.array([member.shape[0] for member in members], np.int64), True)
    n_recordings = members[0].shape[0]
    check_count(path, n_recordings)
    return Steps(np.full(n_recordings, members[0].shape[1], np.int64), False)


def check_count(path: Path, n_recordings: int) -> None:
    """Reject more recordings than can be listed."""
    if n_recordings > MOST_RECORDINGS:
        what = f"has {n_recordings:,} recordings, expected at most {MOST_RECORDINGS:,}"
        raise RecordingError(path, what, "split the file")


def lay_out(path: Path, name: str, members: tuple[Member, ...], steps: Steps) -> Rows:
    """The places of all recordings in the arrays of a name.

    Raises:
        RecordingError: If no form of the arrays has these steps, or a recording is too large.
    """
    if is_separate(members, name):
        rows = _lay_out_separate(path, name, members, steps)
    else:
        rows = _lay_out_single(path, name, members[0], steps)
    n_values = int(steps.lengths.max()) * prod(rows.features)
    if n_values > MOST_VALUES:
        what = f"has {n_values:,} values in a recording, expected at most {MOST_VALUES:,}"
        raise RecordingError(path, what, "cut recordings, or average over time steps")
    return rows


def _lay_out_separate(path: Path, name: str, members: tuple[Member, ...], steps: Steps) -> Rows:
    if len(members) != len(steps):
        what = f"has {len(members)} arrays {name}_<number>, expected {len(steps)}"
        raise RecordingError(path, what, "save one for each recording")
    features = members[0].shape[1:]
    for member, length in zip(members, steps.lengths, strict=True):
        expected = (int(length), *features)
        if member.shape != expected:
            what = f"has {member.name} of shape {list(member.shape)}, expected {list(expected)}"
            raise RecordingError(path, what, "save all recordings in the same form")
    return Rows(members, np.zeros(len(steps), np.int64), steps.lengths, features)


def _lay_out_single(path: Path, name: str, member: Member, steps: Steps) -> Rows:
    shape = member.shape
    longest = int(steps.lengths.max())
    n_steps = int(steps.lengths.sum())
    if steps.may_differ and shape[:1] == (n_steps,):
        # A recording begins where the one before it ends.
        first_rows = np.cumsum(steps.lengths) - steps.lengths
        features = shape[1:]
    elif shape[:2] == (len(steps), longest) or (
        steps.may_differ and shape[:1] == (len(steps),) and len(shape) > 1 and shape[1] > longest
    ):
        first_rows = np.arange(len(steps)) * shape[1]
        features = shape[2:]
    else:
        what = f"has {name} of shape {list(shape)}, expected {steps.text}"
        raise RecordingError(path, what, "save it with the recordings and steps of the others")
    return Rows((member,), first_rows * prod(features), steps.lengths, features)
