"""Who speaks in a recording: read from file names of known data sets, or by a pattern of the user.

Design requirement: a pattern that takes very long ends. Python cannot interrupt the search for a
match, whose time can double with each letter. So patterns and names are short, and another process
searches, for a limited time.
"""

import json
import re
import subprocess
import sys
from collections.abc import Sequence

from nwavesdk.data.assignment import OR_BY_RECORDING, CannotSplitError
from nwavesdk.internal.files import printable

__all__ = ["check_speaker_pattern", "match_speakers", "speakers_of"]

_SUFFIX = r"(?i:\.(?:wav|flac|ogg))"

# File names of Speech Commands (a speaker is a hexadecimal number), of the Free Spoken Digit
# Dataset, and of the Arabic Speech Commands (a speaker is a decimal number).
PATTERNS = {
    "<speaker>_nohash_<n>": re.compile(rf"(?i:([0-9a-f]+)_nohash_[0-9]+){_SUFFIX}"),
    "<digit>_<speaker>_<index>": re.compile(rf"[0-9]_([^\W_]+)_[0-9]+{_SUFFIX}"),
    "<speaker>_NO_<n>": re.compile(rf"([0-9]+)_NO_[0-9]+{_SUFFIX}"),
}

# The key of a recording in a file that holds many.
_IN_FILE = re.compile(r"\.\w+/[0-9]+$")

# Longest pattern and longest name that it is searched in [letters].
MAX_PATTERN = 200
MAX_KEY = 1000

# Time after which the search ends [s]; a hundred thousand names take a tenth of a second.
MAX_SEARCH_SECONDS = 20.0

# The program that searches. It reads the pattern and the names, and writes the group of each match.
_SEARCH = """
import json, re, sys
pattern, keys = json.load(sys.stdin)
pattern = re.compile(pattern)
group = "speaker" if "speaker" in pattern.groupindex else 1
json.dump([match and match[group] for match in map(pattern.search, keys)], sys.stdout)
"""


def speakers_of(keys: Sequence[str]) -> tuple[str, ...]:
    """The speaker of each recording, by the file names of three known data sets.

    Args:
        keys: Paths whose last part is the name of a wav, FLAC or Ogg file.

    Returns:
        One name for each key.

    Raises:
        CannotSplitError: If the names do not all follow one pattern. The message has the first
            name that does not follow the most common pattern.

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
    matches = [[pattern.fullmatch(name) for name in names] for pattern in PATTERNS.values()]
    best = max(matches, key=lambda of_pattern: sum(match is not None for match in of_pattern))
    for key, match in zip(keys, best, strict=True):
        if match is None:
            remedy = "give a pattern with --speaker-pattern or rename the files"
            if _IN_FILE.search(key):
                remedy = "give groups in an array `group`, or in a table (--split FILE.csv)"
            raise CannotSplitError(
                f"Names do not show who speaks: got '{printable(key)}', expected all like "
                f"{' or all like '.join(PATTERNS)}",
                remedy,
                OR_BY_RECORDING,
            )
    return tuple(match[1] for match in best if match)


def check_speaker_pattern(pattern: str) -> None:
    """Reject what is not a pattern for `match_speakers`.

    Raises:
        ValueError: If it is too long, is not a regular expression, or has no group.
    """
    if len(pattern) > MAX_PATTERN:
        raise ValueError(
            f"data.speaker_pattern: the pattern has {len(pattern)} letters, expected at most "
            f"{MAX_PATTERN}: shorten it."
        )
    try:
        compiled = re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(
            f"data.speaker_pattern: the pattern is not a regular expression of Python ({error}): "
            f"got {pattern!r}: correct it."
        ) from None
    if not compiled.groups:
        raise ValueError(
            f"data.speaker_pattern: the pattern has no group: got {pattern!r}, expected the "
            r"speaker in parentheses, as in '/(?P<speaker>\w+)_\d+\.wav$': add them."
        )


def match_speakers(keys: Sequence[str], pattern: str) -> tuple[str, ...]:
    r"""The speaker of each recording, by a pattern of the user.

    Args:
        keys: Name of each recording, of at most 1000 letters.
        pattern: Regular expression of at most 200 letters, which is searched in each key. Its group
            `speaker` is the speaker; its first group if none has this name.

    Returns:
        One name for each key.

    Raises:
        ValueError: If it is not such a pattern, is not found in a key, finds an empty name, or
            takes longer than 20 s.

    Example:
        >>> match_speakers(["yes/ann-1.wav", "no/bob-1.wav"], r"/(\w+)-\d")
        ('ann', 'bob')
    """
    check_speaker_pattern(pattern)
    longest = max(keys, key=len, default="")
    if len(longest) > MAX_KEY:
        raise ValueError(
            f"data.speaker_pattern: the pattern is not searched in names of more than "
            f"{MAX_KEY} letters: got "
            f"{len(longest)} letters ('{printable(longest[:60])}…'): shorten the name."
        )
    speakers = _search(keys, pattern)
    for key, speaker in zip(keys, speakers, strict=True):
        if not speaker:
            raise ValueError(
                f"data.speaker_pattern: the pattern finds no name in '{printable(key)}': got "
                f"{pattern!r}, expected one that finds the speaker in the name of each recording: "
                "correct it."
            )
    return tuple(map(str, speakers))


def _search(keys: Sequence[str], pattern: str) -> list[str | None]:
    """What the group of the pattern matches in each key, or None."""
    try:
        finished = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps([pattern, list(keys)]),
            capture_output=True,
            text=True,
            check=True,
            timeout=MAX_SEARCH_SECONDS,
        )
    except subprocess.SubprocessError:
        raise ValueError(
            f"data.speaker_pattern: the pattern cannot be searched in {MAX_SEARCH_SECONDS:g} s: "
            f"got {pattern!r}: remove repetitions inside of repetitions, such as (a+)+."
        ) from None
    matches: list[str | None] = json.loads(finished.stdout)
    return matches
