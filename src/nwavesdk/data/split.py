"""Who speaks in a recording, where the names of a data set's files tell it.

Which recordings are to learn from, which to select on and which to report: by indices, with nothing random in it.

Every order is that of SHA-256, so a part depends neither on a seed, nor on the machine, nor on the order of files.


Three parts of a set of recordings: to learn from, to select on, to report once.
"""

import re
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, Recordings, hash_order

__all__ = [
    "By",
    "Parted",
    "Partition",
    "Split",
    "auto_split",
    "by_recording",
    "by_speaker",
    "check_shares",
    "part",
    "speaker_split",
    "speakers_of",
    "stratified_split",
]

PATTERNS = {
    "<speaker>_nohash_<n>.wav": re.compile(r"([0-9a-f]+)_nohash_[0-9]+\.wav", re.IGNORECASE),
    "<digit>_<speaker>_<index>.wav": re.compile(r"[0-9]_([^\W_]+)_[0-9]+\.wav", re.IGNORECASE),
}
"""How files are named: Speech Commands (a speaker is a number in hex), and the Free Spoken Digit Dataset."""


def speakers_of(keys: Sequence[str]) -> tuple[str, ...]:
    """The speaker of each recording.

    Args:
        keys: Paths; their last part is the name of a file.

    Returns:
        One name for each key.

    Raises:
        ValueError: The names do not all follow one pattern; the text gives the first that does not follow the one
            that most do.

    Example:
        >>> speakers_of(["no/03401e93_nohash_0.wav", "yes/0c40e715_nohash_1.wav"])
        ('03401e93', '0c40e715')
        >>> speakers_of(["7/7_george_12.wav"])
        ('george',)

    References:
        Speech Commands: Warden, 2018, arXiv 1804.03209. Spoken digits: Jackson et al., doi:10.5281/zenodo.1342401.
    """
    matches = [
        [pattern.fullmatch(key.rpartition("/")[2]) for key in keys] for pattern in PATTERNS.values()
    ]  # fmt: skip
    best = max(matches, key=lambda found: sum(match is not None for match in found))
    odd = [key for key, match in zip(keys, best, strict=True) if match is None]
    if not odd:
        return tuple(match[1] for match in best if match)
    raise ValueError(
        f"The names of the files do not tell who speaks: got {odd[0]!r}, expected all like "
        f"{' or all like '.join(PATTERNS)}: rename them, or split by recording."
    )


Counts = npt.NDArray[Any]


class Partition(NamedTuple):
    """Indices of each part, rising."""

    train: Indices
    val: Indices
    test: Indices


def by_recording(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    val: float = 0.15,
    test: float = 0.15,
) -> Partition:
    """Part recordings class by class, by the hash of their keys.

    Args:
        keys: A name for each recording.
        labels: Class index of each, `[B]`; all 0 where there are no classes.
        classes: Name of each class.
        val: Share of each class to select on.
        test: Share of each class to report.

    Returns:
        The parts; each holds at least one recording of every class. A recording that is added later moves at most a
        few others.

    Raises:
        ValueError: The shares leave nothing to learn from, or a class has less than three recordings.
    """
    check_shares(val, test)
    parts: tuple[list[Indices], ...] = ([], [], [])
    for label, name in enumerate(classes):
        order = hash_order(keys, np.flatnonzero(labels == label))
        if len(order) < 3:
            raise ValueError(
                f"Class {name!r} has {len(order)} recordings, expected at least 3 (train, validation, test): "
                f"add recordings or leave the class out."
            )
        n_test, n_val = (max(1, round(share * len(order))) for share in (test, val))
        cuts: Sequence[npt.NDArray[np.int64]] = np.split(order, [n_test, n_test + n_val])
        for part, indices in zip(parts, (cuts[2], cuts[1], cuts[0]), strict=True):
            part.append(indices)
    return Partition(*(np.sort(np.concatenate(part)) for part in parts))


def by_speaker(
    speakers: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    val: float = 0.15,
    test: float = 0.15,
) -> Partition:
    """Part recordings so that no speaker is in two parts.

    Speakers come in the order of their names' hashes. One joins the test part if that brings its number of recordings
    of each class, summed over classes, closer to `test`; otherwise the validation part by the same rule; otherwise the
    training part. A class that is then missing in a part is brought by the speaker of another part whose move disturbs
    the shares least.

    Args:
        speakers: Who speaks in each recording, `B` names.
        labels: Class index of each recording, `[B]`; all 0 where there are no classes.
        classes: Name of each class.
        val: Share of each class to select on.
        test: Share of each class to report.

    Returns:
        The parts; each holds every class. Shares are met as well as whole speakers allow.

    Raises:
        ValueError: The shares leave nothing to learn from, or there are too few speakers for every class in each part.
    """
    check_shares(val, test)
    names = sorted(set(speakers))
    names = [names[index] for index in hash_order(names, np.arange(len(names)))]
    place = {name: row for row, name in enumerate(names)}
    counts = np.zeros((len(names), len(classes)), np.int64)
    for speaker, label in zip(speakers, labels, strict=True):
        counts[place[speaker], label] += 1
    goals = {
        2: np.maximum(1, np.round(test * counts.sum(0))),
        1: np.maximum(1, np.round(val * counts.sum(0))),
    }
    home = _fill(counts, goals)
    _complete(counts, goals, home, classes)
    of_recording = home[[place[speaker] for speaker in speakers]]
    return Partition(*(np.flatnonzero(of_recording == part) for part in range(3)))


def check_shares(val: float, test: float) -> None:
    """Refuse shares that leave nothing to learn from.

    Raises:
        ValueError: A share is not positive, or both sum to 1 or more.
    """
    if not (val > 0 and test > 0 and val + test < 1):
        raise ValueError(
            f"The shares of validation and test must be positive and sum below 1, got {val} and {test}."
        )


def _fill(counts: Indices, goals: dict[int, Counts]) -> Indices:
    """The part of each speaker, one after the other."""
    home = np.zeros(len(counts), np.int64)
    held = {part: np.zeros(counts.shape[1]) for part in goals}
    for row, count in enumerate(counts):
        for part, goal in goals.items():
            if _gain(held[part], count, goal) > 0:
                home[row] = part
                held[part] += count
                break
    return home


def _complete(
    counts: Indices, goals: dict[int, Counts], home: Indices, classes: Sequence[str]
) -> None:
    """Move speakers, in `home`, until each part holds every class; no move takes a class from where it was."""
    while True:
        held = np.stack([counts[home == part].sum(0) for part in range(3)])
        lacking = np.argwhere(held == 0)
        if not len(lacking):
            return
        part, label = (int(index) for index in lacking[-1])
        moves: list[tuple[float, int]] = []
        for row in np.flatnonzero((home != part) & (counts[:, label] > 0)):
            count, left = counts[row], held[home[row]] - counts[row]
            if (left[count > 0] > 0).all():
                gain = _gain(held[part], count, goals[part]) if part else 0.0
                gain -= _gain(left, count, goals[home[row]]) if home[row] else 0.0
                moves.append((gain, -int(row)))
        if not moves:
            raise ValueError(
                f"{len(counts)} speakers are too few for three parts that each hold every class with no speaker in two "
                f"of them (class {classes[label]!r} is missing in one): add speakers, or split by recording."
            )
        home[-max(moves)[1]] = part


def _gain(held: Counts, count: Indices, goal: Counts) -> float:
    """By how many recordings a part comes closer to its goal when a speaker joins."""
    return float(np.abs(held - goal).sum() - np.abs(held + count - goal).sum())


By = Literal["auto", "speaker", "recording"]
"""What parts are made by; `"auto"` is by speaker where names tell who speaks and there are enough of them."""


class Parted(NamedTuple):
    """Indices of the parts, what they were made by, and who speaks in each recording (empty: not looked at)."""

    parts: Partition
    by: Literal["speaker", "recording"]
    speakers: tuple[str, ...]


class Split(NamedTuple):
    """The three parts."""

    train: Recordings
    val: Recordings
    test: Recordings


def part(
    keys: Sequence[str],
    labels: Indices,
    classes: Sequence[str],
    by: By = "auto",
    val: float = 0.15,
    test: float = 0.15,
) -> Parted:
    """Part recordings by speaker or by recording, see `by_speaker` and `by_recording`.

    Raises:
        ValueError: The shares leave nothing, a class is too small, or `by` is `"speaker"` and names do not tell who
            speaks or there are too few speakers.
    """
    if by != "recording":
        try:
            speakers = speakers_of(keys)
            return Parted(by_speaker(speakers, labels, classes, val, test), "speaker", speakers)
        except ValueError:
            if by == "speaker":
                raise
    return Parted(by_recording(keys, labels, classes, val, test), "recording", ())


def auto_split(
    recordings: Recordings, by: By = "auto", val: float = 0.15, test: float = 0.15
) -> tuple[Split, Literal["speaker", "recording"]]:
    """Part recordings, by speaker where that can be; see `part`.

    Returns:
        The parts, and what they were made by.
    """
    parted = part(recordings.keys, recordings.labels, recordings.classes, by, val, test)
    return _taken(recordings, parted.parts), parted.by


def stratified_split(recordings: Recordings, val: float = 0.15, test: float = 0.15) -> Split:
    """Part recordings class by class, by the hash of their keys.

    Nothing random is involved: not the seed of a run, nor the machine, nor the order of files in a folder changes a
    recording's part, and a recording that is added later moves at most a few others.

    Args:
        recordings: The whole set.
        val: Share of each class to select on.
        test: Share of each class to report.

    Returns:
        The parts; each holds at least one recording of every class.

    Raises:
        ValueError: The shares leave nothing to learn from, or a class has less than three recordings.
    """
    return auto_split(recordings, "recording", val, test)[0]


def speaker_split(recordings: Recordings, val: float = 0.15, test: float = 0.15) -> Split:
    """Part recordings so that nobody who is heard in one part is heard in another, by the hash of speakers' names.

    Args:
        recordings: The whole set; its keys end in file names that tell the speaker, see `speakers_of`.
        val: Share of recordings to select on.
        test: Share of recordings to report.

    Returns:
        The parts; each holds every class. Shares are met as well as whole speakers allow.

    Raises:
        ValueError: The names do not tell the speaker, there are too few speakers, or the shares leave nothing.
    """
    return auto_split(recordings, "speaker", val, test)[0]


def _taken(recordings: Recordings, partition: Partition) -> Split:
    return Split(*(recordings.take(indices) for indices in partition))
