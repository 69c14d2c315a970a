"""Who speaks in a recording, where the names of a data set's files tell it."""

import re
from collections.abc import Sequence

__all__ = ["speakers_of"]

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
