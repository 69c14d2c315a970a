"""Executors: what they return and raise, what the driver hears, and processes that are lost."""

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.study import Processes, RayCluster
from nwavesdk.analysis.study.executors import MAX_BUSY_SECONDS, Report, _Worker, finish_all
from nwavesdk.train import BrokenRunError
from nwavesdk.train.run_folder import BusyError


def halve(job: int, report: Report) -> float:
    """Jobs of 3 fail; others report their epochs."""
    if job == 3:
        raise ValueError("three is odd")
    for epoch in range(1, job + 1):
        report(epoch, job / epoch)
    return job / 2


def die(job: int, report: Report) -> None:  # noqa: ARG001
    os.kill(os.getpid(), signal.SIGKILL)


class StopError(Exception):
    """What ends a job from the outside."""


def check(executor: Any) -> None:
    """Jobs of an executor: results, an error, a job that is stopped, and all epochs."""
    ended: dict[str, Any] = {}
    heard: list[tuple[str, int, float]] = []

    def end(name: str, future: Future[Any]) -> None:
        ended[name] = future.exception() or future.result()

    def hear(name: str, epoch: int, score: float) -> None:
        heard.append((name, epoch, score))
        if name == "stopped" and epoch == 2:
            raise StopError

    cells = [("two", 2), ("wrong", 3), ("stopped", 1000), ("four", 4)]
    with executor:
        finish_all(executor, halve, iter(cells), end, hear)
    assert (ended["two"], ended["four"]) == (1.0, 2.0)
    assert str(ended["wrong"]) == "three is odd"
    assert isinstance(ended["stopped"], StopError)
    assert [report for report in heard if report[0] == "four"] == [
        ("four", epoch, 4 / epoch) for epoch in (1, 2, 3, 4)
    ]
    assert len([report for report in heard if report[0] == "stopped"]) == 2


def test_processes() -> None:
    check(Processes(2))


@pytest.mark.hpo
@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_ray() -> None:
    check(RayCluster("local", 1))


def test_a_killed_process_and_a_wrong_end_stop_all() -> None:
    def end(_: object, future: Future[Any]) -> None:
        future.result()

    begun = time.monotonic()
    lost = "was killed, perhaps because memory .* fewer --jobs"
    with pytest.raises(BrokenRunError, match=lost), Processes(2) as executor:
        finish_all(executor, die, [(1, 1), (2, 2)], end)
    with pytest.raises(ValueError, match="three is odd"), Processes(2) as executor:
        finish_all(executor, halve, [(1, 10**9), (2, 3)], end)
    assert time.monotonic() - begun < 60


def test_cells_are_taken_when_a_process_is_free() -> None:
    """So that a proposal knows the results before it."""
    ended: list[int] = []

    class Direct:
        jobs = 1

        def call(self, work: Any, job: int, report: Report) -> float:
            return work(job, report)

        def stop(self) -> None:
            pass

    def cells() -> Iterator[tuple[int, int]]:
        for number in (2, 4, 6):
            assert len(ended) == number // 2 - 1
            yield number, number

    finish_all(Direct(), halve, cells(), lambda cell, _: ended.append(cell))  # type: ignore[arg-type]
    assert ended == [2, 4, 6]


def test_a_busy_run_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of a machine that was lost may hold its lock a little longer."""
    now = [0.0]
    monkeypatch.setattr("nwavesdk.analysis.study.executors.time.monotonic", lambda: now[0])
    monkeypatch.setattr(
        "nwavesdk.analysis.study.executors.time.sleep",
        lambda seconds: now.__setitem__(0, now[0] + seconds),
    )
    free_at = MAX_BUSY_SECONDS / 2

    def work(job: int, report: Report) -> int:  # noqa: ARG001
        if now[0] < free_at:
            raise BusyError("busy")
        return job + 1

    assert _Worker().work(work, 3) == 4
    free_at = 10 * MAX_BUSY_SECONDS
    with pytest.raises(BusyError):
        _Worker().work(work, 3)
