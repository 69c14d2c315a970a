"""Fixtures that the tests of all studies share."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch


@pytest.fixture
def finished_in_turn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[str, int]]]:
    """Cells finish in this process and without pictures; returns their names and their `jobs`."""
    pytest.importorskip("lightning")
    from nwavesdk.analysis import cells

    finished: list[tuple[str, int]] = []
    threads = torch.get_num_threads()

    def finish(
        study: Any,
        chosen: Sequence[Any],
        jobs: int,
        on_finished: Callable[[Any], None],
        work: Callable[[Any], None] = cells.run_cell,
    ) -> None:
        for cell in chosen:
            finished.append((cell.name, jobs))
            work(study.job(cell))
            on_finished(cell)

    monkeypatch.setattr(cells, "finish_on_processes", finish)
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    yield finished
    torch.set_num_threads(threads)
