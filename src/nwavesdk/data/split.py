"""Three parts of a set of recordings: to learn from, to select on, to report once."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from nwavesdk.data.partition import Partition, by_recording, by_speaker
from nwavesdk.data.recordings import Indices, Recordings
from nwavesdk.data.speaker import speakers_of

__all__ = ["By", "Parted", "Split", "auto_split", "part", "speaker_split", "stratified_split"]

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
