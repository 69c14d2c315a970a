"""Tables of reports for a terminal."""

from collections.abc import Sequence

__all__ = ["text_table"]


def text_table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align the columns of a table: the first to the left, all others to the right.

    Example:
        >>> text_table([("", "no", "yes"), ("train", "12", "7")])
        ['       no  yes', 'train  12    7']
    """
    width, *widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([name.ljust(width), *map(str.rjust, numbers, widths)]) for name, *numbers in rows
    ]
