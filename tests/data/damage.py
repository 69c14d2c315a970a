"""Damage of small files for hypothesis, and a bound of the memory that reading them may take."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hypothesis import strategies as st

# An edit of a file: where, what is put there, and how many bytes it replaces. Half of the edits
# are near the beginning, where headers are.
_BYTES = st.one_of(
    st.binary(max_size=4),
    st.sampled_from([b"\xff" * 4, b"\x7f\xff\xff\xff", bytes(4), b"\0\1", b"\x80"]),
)


def damaged(content: bytes, header: int = 100) -> st.SearchStrategy[bytes]:
    """Files that differ from `content` in one to three places.

    Args:
        content: A valid file.
        header: The size of what is damaged more often than the rest [bytes].
    """
    last = len(content) - 1
    places = st.one_of(st.integers(0, min(header, last)), st.integers(0, last))
    edits = st.lists(st.tuples(places, _BYTES, st.integers(0, 4)), min_size=1, max_size=3)

    def apply(edits: list[tuple[int, bytes, int]]) -> bytes:
        changed = content
        for place, new, replaced in edits:
            changed = changed[:place] + new + changed[place + replaced :]
        return changed

    return edits.map(apply)


@contextmanager
def bounded_memory(n_bytes: int) -> Iterator[None]:
    """Fail with a MemoryError if the process reserves this many bytes more; on Linux only."""
    if sys.platform != "linux":
        yield
        return
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + n_bytes, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
