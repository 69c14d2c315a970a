"""Which recordings are to learn from, which to select on and which to report: by indices, with nothing random in it.

Every order is that of SHA-256, so a part depends neither on a seed, nor on the machine, nor on the order of files.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from nwavesdk.data.recordings import Indices, hash_order

__all__ = ["Partition", "by_recording", "by_speaker", "check_shares"]

Counts = npt.NDArray[Any]


class Partition(NamedTuple):
    """Indices of each part, rising."""

    train: Indices
    val: Indices
    test: Indices


def by_recording(
    keys: Sequence[str], labels: Indices, classes: Sequence[str], val: float = 0.15, test: float = 0.15
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
    speakers: Sequence[str], labels: Indices, classes: Sequence[str], val: float = 0.15, test: float = 0.15
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
    goals = {2: np.maximum(1, np.round(test * counts.sum(0))), 1: np.maximum(1, np.round(val * counts.sum(0)))}
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
        raise ValueError(f"The shares of validation and test must be positive and sum below 1, got {val} and {test}.")


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


def _complete(counts: Indices, goals: dict[int, Counts], home: Indices, classes: Sequence[str]) -> None:
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
