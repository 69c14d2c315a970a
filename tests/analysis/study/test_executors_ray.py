"""Joining Ray: addresses, errors, and the priority of its processes."""

import os
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.study import on_ray
from nwavesdk.analysis.study.executors import join_ray, require_cpus
from nwavesdk.internal.processes import check_address
from nwavesdk.train import BrokenRunError


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

    def nodes(self) -> list[dict[str, Any]]:
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
