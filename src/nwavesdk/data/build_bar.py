"""How far the reading of a data folder is, on standard error."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

__all__ = ["Advance", "build_bar"]


class Advance(Protocol):
    """Tells the bar that one more recording is done."""

    def __call__(self, cached: int, skipped: int) -> None: ...


@contextmanager
def build_bar(total: int, show: bool | None) -> Iterator[Advance]:
    """A bar over recordings with the numbers of cached and skipped ones.

    Args:
        total: Number of recordings.
        show: Whether there is one; None: where standard error is a terminal.
    """
    if not (sys.stderr.isatty() if show is None else show):
        yield lambda cached, skipped: None  # noqa: ARG005 (called by these names)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("recordings"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[cached]} cached, {task.fields[skipped]} skipped"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task("recordings", total=total, cached=0, skipped=0)
        yield lambda cached, skipped: progress.update(task, advance=1, cached=cached, skipped=skipped)
