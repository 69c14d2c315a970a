"""A search on a Ray cluster of two nodes: one of them is lost, or the driver is killed."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.here import Here
from analysis.study.conftest import Content
from nwavesdk.analysis.study import RunSearch, TuneConfig
from nwavesdk.analysis.study.cells import run_cell

pytestmark = [pytest.mark.cluster, pytest.mark.hpo]

N_TRIALS = 4
N_EPOCHS = 120

DRIVER = """
import sys
from pathlib import Path
from nwavesdk.analysis.study import RunSearch, TuneConfig, on_ray

def note(cell):
    print(cell.name, cell.arm, flush=True)

if __name__ == "__main__":
    path = Path(sys.argv[1])
    search = RunSearch.open(path, TuneConfig.read(path / "tune.json"))
    search.finish(on_ray(sys.argv[2], 1, jobs=2), note)
"""


@pytest.fixture
def two_nodes() -> Iterator[Any]:
    """A cluster of two nodes with one CPU each, in processes of this machine."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    node.pop("include_dashboard")
    try:
        cluster.add_node(**node)
        yield cluster
    finally:
        cluster.shutdown()


@pytest.fixture
def searching(content: Content, tmp_path: Path) -> RunSearch:
    """Trials that take much longer than a process of Ray takes to begin."""
    given = content(trials=N_TRIALS, seed=1)
    given["run"]["learning"]["epochs"] = N_EPOCHS
    given["run"]["data"]["test"] = False
    given["space"]["net.tau"] = {"choices": [0.01, 0.02]}
    (tmp_path / "driver.py").write_text(DRIVER)
    return RunSearch.open(tmp_path / "search", TuneConfig.of(given).completed())


def command(search: RunSearch, cluster: Any) -> list[str]:
    script = search.path.parent / "driver.py"
    return [sys.executable, str(script), str(search.path), cluster.address]


@contextlib.contextmanager
def driving(search: RunSearch, cluster: Any) -> Iterator[Any]:
    """The process that searches on a cluster, when trials run on both of its nodes."""
    driver = subprocess.Popen(command(search, cluster), stdout=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 900
        while sum(map(is_in_the_middle, range(N_TRIALS), [search.path] * N_TRIALS)) < 2:
            assert driver.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield driver
    finally:
        driver.kill()
        driver.wait()


def is_in_the_middle(number: int, path: Path) -> bool:
    """Whether a trial has some epochs, and not nearly all of them."""
    file = path / f"trial-{number}" / "metrics.csv"
    return file.is_file() and 2 <= file.read_text().count("\n") - 1 < 0.8 * N_EPOCHS


def test_a_search_survives_the_loss_of_a_node(searching: RunSearch, two_nodes: Any) -> None:
    """One of two nodes is killed in the middle: no trial is lost, doubled or different."""
    (lost,) = [node for node in two_nodes.list_all_nodes() if node is not two_nodes.head_node]
    with driving(searching, two_nodes) as driver:
        two_nodes.remove_node(lost, allow_graceful=False)
        output, _ = driver.communicate(timeout=900)
        assert driver.returncode == 0, output
    assert sorted(output.splitlines()) == [f"trial {n} finished" for n in range(N_TRIALS)]
    check_trials(searching)


def test_a_killed_search_on_a_cluster_goes_on(searching: RunSearch, two_nodes: Any) -> None:
    with driving(searching, two_nodes) as driver:
        driver.send_signal(signal.SIGKILL)
        output, _ = driver.communicate()
    again = subprocess.run(
        command(searching, two_nodes), stdout=subprocess.PIPE, text=True, timeout=900, check=True
    )
    lines = [*output.splitlines(), *again.stdout.splitlines()]
    assert sorted(lines) == [f"trial {n} finished" for n in range(N_TRIALS)]
    check_trials(searching)


def check_trials(search: RunSearch) -> None:
    """All epochs are there, none was repeated, and models equal the models of a single process."""
    here = Here()
    for trial in RunSearch(search.path, search.config).trials:
        path, choices, threads, _ = search.job(trial)
        cell = search.cell(trial)
        assert [row["epoch"] for row in cell.metrics()] == [*range(1, N_EPOCHS + 1)]
        assert Path(f"{path}.log").read_text().count(f"{N_EPOCHS}/{N_EPOCHS}") == 1
        here.call(run_cell, (f"{path}-here", choices, threads, None))
        model = Path(f"{path}-here", "model.safetensors").read_bytes()
        assert model == cell.folder.model.read_bytes()
