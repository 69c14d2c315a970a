"""Three parts of a set of recordings: to learn from, to select on, to report once."""

from typing import NamedTuple

from nwavesdk.data.partition import Partition, by_recording, by_speaker
from nwavesdk.data.recordings import Recordings
from nwavesdk.data.speaker import speakers_of

__all__ = ["Split", "speaker_split", "stratified_split"]


class Split(NamedTuple):
    """The three parts."""

    train: Recordings
    val: Recordings
    test: Recordings


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
    return _taken(recordings, by_recording(recordings.keys, recordings.labels, recordings.classes, val, test))


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
    speakers = speakers_of(recordings.keys)
    return _taken(recordings, by_speaker(speakers, recordings.labels, recordings.classes, val, test))


def _taken(recordings: Recordings, partition: Partition) -> Split:
    return Split(*(recordings.take(indices) for indices in partition))
