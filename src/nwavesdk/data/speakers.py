"""Who speaks in a recording: read from file names of known data sets, or by a pattern of the user.

The time of a search for a pattern can double with each letter of a name; Ctrl-C interrupts it.
"""

import re
from collections.abc import Sequence

__all__ = ["match_speakers", "speakers_of"]

_SUFFIX = r"(?i:\.(?:wav|flac|ogg))"

# File names of Speech Commands (a speaker is a hexadecimal number), of the Free Spoken Digit
# Dataset, and of the Arabic Speech Commands (a speaker is a decimal number).
PATTERNS = {
    "<speaker>_nohash_<n>": re.compile(rf"(?i:([0-9a-f]+)_nohash_[0-9]+){_SUFFIX}"),
    "<digit>_<speaker>_<index>": re.compile(rf"[0-9]_([^\W_]+)_[0-9]+{_SUFFIX}"),
    "<speaker>_NO_<n>": re.compile(rf"([0-9]+)_NO_[0-9]+{_SUFFIX}"),
}


def speakers_of(keys: Sequence[str]) -> tuple[str, ...]:
    """The speaker of each recording, by the file names of three known data sets.

    Args:
        keys: Paths whose last part is the name of a wav, FLAC or Ogg file.

    Returns:
        One name for each key; empty for keys that do not match the most common pattern.

    Example:
        >>> speakers_of(["no/03401e93_nohash_0.wav", "yes/0c40e715_nohash_1.wav"])
        ('03401e93', '0c40e715')
        >>> speakers_of(["7/7_george_12.wav"])
        ('george',)
        >>> speakers_of(["test/right/00000026_NO_10.flac"])
        ('00000026',)

    References:
        Speech Commands: Warden, 2018, arXiv 1804.03209. Spoken digits: Jackson et al.,
        doi:10.5281/zenodo.1342401. Arabic Speech Commands: Ghandoura et al., Engineering
        Applications of Artificial Intelligence 102, 2021, doi:10.1016/j.engappai.2021.104267.
    """
    names = [key.rpartition("/")[2] for key in keys]
    matches_by_pattern = [list(map(pattern.fullmatch, names)) for pattern in PATTERNS.values()]
    best = min(matches_by_pattern, key=lambda matches: matches.count(None))
    return tuple(match[1] if match else "" for match in best)


def match_speakers(keys: Sequence[str], pattern: str) -> tuple[str, ...]:
    r"""The speaker of each recording, by a pattern of the user.

    Args:
        keys: Name of each recording.
        pattern: Regular expression, which is searched in each key. Its group `speaker` is the
            speaker; its first group if none has this name.

    Returns:
        One name for each key; empty where the pattern is not found.

    Raises:
        ValueError: If it is not such a pattern.

    Example:
        >>> match_speakers(["yes/ann-1.wav", "no/bob-1.wav"], r"/(\w+)-\d")
        ('ann', 'bob')
    """
    try:
        compiled = re.compile(pattern)
        group = "speaker" if "speaker" in compiled.groupindex else 1
        matches = [compiled.search(key) for key in keys]
        return tuple(match[group] or "" if match else "" for match in matches)
    except (re.error, IndexError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"data.speaker_pattern: {pattern!r} cannot be searched ({error}), expected a regular "
            r"expression with a group for the speaker, such as '/(\w+)_\d+\.wav$': correct it."
        ) from None
