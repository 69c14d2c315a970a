"""Executors: results and errors, further jobs of a cell, and lost processes."""

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.study.jobs import die, halve, wait_if_even
from nwavesdk.analysis.study import on_processes, on_ray
from nwavesdk.analysis.study.executors import (
    MAX_BUSY_SECONDS,
    Executor,
    Work,
    Workers,
    _work_if_free,
    finish_all,
    join_ray,
    require_cpus,
)
from nwavesdk.internal.processes import check_address
from nwavesdk.train import BrokenRunError
from nwavesdk.train.run_folder import BusyError
from train.runs import Choices


def check(executor: Executor) -> None:
    """Results, an error, and a further job of a cell."""
    ended: Choices = {}

    def end(name: str, result: Callable[[], float]) -> int | None:
        try:
            ended[name] = result()
        except ValueError as error:
            ended[name] = str(error)
        return 6 if ended[name] == 4.0 else None

    with executor as workers:
        finish_all(workers, halve, iter([("two", 2), ("wrong", 3), ("eight", 8)]), end)
    assert ended == {"two": 1.0, "wrong": "three is odd", "eight": 3.0}


def test_processes() -> None:
    check(on_processes(2))


@pytest.mark.hpo
@pytest.mark.usefixtures("local_ray")
def test_ray() -> None:
    check(on_ray("local", 1))


def test_a_killed_process_and_a_wrong_end_stop_all() -> None:
    def end(_: object, result: Callable[[], object]) -> None:
        result()

    begun = time.monotonic()
    lost = r"a process of the study was lost \(.*perhaps because memory .* as with --jobs"
    with pytest.raises(BrokenRunError, match=lost), on_processes(1) as workers:
        finish_all(workers, die, [(1, 1), (2, 2)], end)
    with pytest.raises(ValueError, match="three is odd"), on_processes(2) as workers:
        finish_all(workers, wait_if_even, [(1, 1000), (2, 3)], end)
    assert time.monotonic() - begun < 200


def test_cells_are_taken_when_a_process_is_free() -> None:
    """So that a proposal knows the results before it."""
    ended: list[int] = []

    def submit(work: Work, job: int) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(work(job))
        return future

    def cells() -> Iterator[tuple[int, int]]:
        for number in (2, 4, 6):
            assert len(ended) == number // 2 - 1
            yield number, number

    finish_all(Workers(1, submit), halve, cells(), lambda cell, _: ended.append(cell))
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

    def work(job: int) -> int:
        if now[0] < free_at:
            raise BusyError("busy")
        return job + 1

    assert _work_if_free(work, 3) == 4
    free_at = 10 * MAX_BUSY_SECONDS
    with pytest.raises(BusyError):
        _work_if_free(work, 3)


@pytest.mark.parametrize("address", ["local", "auto", "10.0.0.1:6379", "head-1:6379", "[::1]:80"])
def test_addresses(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address", ["", "remote", "host:", ":80", "a b:80", "ray://host:80", "h:٣"]
)
def test_other_texts_are_errors(address: str) -> None:
    with pytest.raises(ValueError, match="expected local .* or HOST:PORT of a Ray cluster"):
        check_address(address)


class Machines:
    """The part of Ray that `require_cpus` reads."""

    def __init__(self, *sizes: float) -> None:
        self.sizes = sizes

    def nodes(self) -> list[Choices]:
        alive = [{"Alive": True, "Resources": {"CPU": size}} for size in self.sizes]
        return [
            *alive,
            {"Alive": False, "Resources": {"CPU": 64.0}},
            {"Alive": True, "Resources": {}},
        ]


def test_a_task_needs_a_machine_that_is_large_enough() -> None:
    assert require_cpus(Machines(2.0, 4.0), 4) == 6
    with pytest.raises(ValueError, match="the largest machine .* has 4 CPUs, got 5: use fewer"):
        require_cpus(Machines(2.0, 4.0), 5)


def priority(job: int) -> int:  # noqa: ARG001
    """The priority of the process of a job; Ray adds to it by default."""
    return os.nice(0)


@pytest.mark.hpo
@pytest.mark.usefixtures("local_ray")
def test_jobs_have_the_usual_priority() -> None:
    before = os.environ.get("PYTHONPATH")
    with on_ray("local", 1) as workers:
        assert workers.submit(priority, 0).result() == os.nice(0)
    assert os.environ.get("PYTHONPATH") == before


@pytest.mark.hpo
@pytest.mark.parametrize(
    ("address", "error", "match"),
    [
        ("h:1", ConnectionError, r"the cluster at h:1 cannot be reached \(no answer at all\): sta"),
        ("local", Exception, r"the cluster at local cannot be reached \(no answer at all\): start"),
    ],
)
def test_a_cluster_that_does_not_answer_is_one_line(
    address: str, error: type[Exception], match: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray raises a plain Exception where its own processes start too slowly."""
    ray = pytest.importorskip("ray")

    def fail(*_: Any, **__: Any) -> None:
        raise error("no answer\nat all")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    with pytest.raises(BrokenRunError, match=match), join_ray(address):
        pass
