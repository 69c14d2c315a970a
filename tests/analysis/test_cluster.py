"""The layer over Ray: its errors, and tasks that wait for a lost machine."""

import os
import sys
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis import cluster
from nwavesdk.analysis.cluster import (
    check_code,
    cpus,
    finish_tasks,
    join_ray,
    wait_while_busy,
)
from nwavesdk.internal.processes import check_address
from nwavesdk.train import BrokenRunError
from nwavesdk.train.run_folder import BusyError


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
    """What `cpus` reads of Ray."""

    def __init__(self, *sizes: float) -> None:
        self.sizes = sizes

    def nodes(self) -> list[dict[str, Any]]:
        alive = [{"Alive": True, "Resources": {"CPU": size}} for size in self.sizes]
        return [
            *alive,
            {"Alive": False, "Resources": {"CPU": 64.0}},
            {"Alive": True, "Resources": {}},
        ]


def test_a_task_needs_a_machine_that_is_large_enough() -> None:
    assert cpus(Machines(2.0, 4.0), 4) == 6
    with pytest.raises(ValueError, match="the largest machine .* has 4 CPUs, got 5: use fewer"):
        cpus(Machines(2.0, 4.0), 5)


def test_a_busy_run_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster.time, "sleep", lambda _: None)
    calls = iter([BusyError("busy"), BusyError("busy"), None])

    def work(job: int) -> int:
        if (error := next(calls)) is not None:
            raise error
        return job + 1

    assert wait_while_busy(work, 3) == 4
    monkeypatch.setattr(cluster, "LOST_SECONDS", -1.0)
    calls = iter([BusyError("busy")])
    with pytest.raises(BusyError):
        wait_while_busy(work, 3)


def half(job: int) -> float:
    """A task; one of its jobs fails."""
    if job == 3:
        raise ValueError("three is odd")
    return job / 2


def priority(job: int) -> int:
    """The priority of the process of a task; Ray adds to it by default."""
    del job
    return os.nice(0)


@pytest.mark.hpo
@pytest.mark.usefixtures("local_ray")
def test_tasks_return_or_raise_what_their_functions_do() -> None:
    before = os.environ.get("PYTHONPATH")
    with join_ray() as ray:
        check_code(ray, half, 1)
        assert os.environ.get("PYTHONPATH") == before
        module = type(sys)("no_such_module")
        exec("def work(): pass", vars(module))
        sys.modules["no_such_module"] = module
        try:
            with pytest.raises(BrokenRunError, match="cannot import .*no_such_module"):
                check_code(ray, module.work, 1)
        finally:
            del sys.modules["no_such_module"]
    ended = {task.place: task.result for task in finish_tasks(half, [2, 3, 4], 1)}
    assert ended[0]() == 1.0
    assert ended[2]() == 2.0
    with pytest.raises(ValueError, match="^three is odd$"):
        ended[1]()
    priorities = [task.result() for task in finish_tasks(priority, [0, 1], 1)]
    assert priorities == [os.nice(0)] * 2


@pytest.mark.hpo
@pytest.mark.parametrize(
    ("address", "error", "match"),
    [
        ("h:1", ConnectionError, r"the cluster at h:1 cannot be reached \(no answer at all\): sta"),
        ("local", Exception, r"^Ray did not start on this machine \(no answer at all\): the same"),
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
