"""A run that is killed, meets a bad disk, another process or a signal continues unchanged."""

import signal
import sys
from functools import partial
from pathlib import Path

import pytest

from faults.disturbances import (
    Course,
    disturbed,
    full_disk,
    gone,
    kill_before,
    record,
    signal_at,
    together,
)
from faults.scenes import resume_scene
from faults.world import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs audit hooks and fork")

TRIALS = {
    "limited files": partial(disturbed, setting={"file_size": 1000}),
    "larger files": partial(disturbed, setting={"file_size": 10_000}),
    "a full disk": partial(full_disk, number=1),
    "a disk that becomes full": partial(full_disk, number=12),
    "a removed folder": partial(gone, number=25),
    "one of two runs wins": partial(together, delay=0.0, winners=(1,)),
    # On a fast machine, the first run has ended when the second one resumes it.
    "a later run": partial(together, delay=0.2, winners=(1, 2)),
}


@pytest.mark.parametrize("name", TRIALS)
def test_a_disturbed_run_continues(course: Course, name: str, tmp_path: Path) -> None:
    assert TRIALS[name](course, folder=tmp_path / "run") == []


def test_a_run_that_was_killed_before_an_operation_continues(
    course: Course, tmp_path: Path
) -> None:
    """While the config is linked to its name, and before other files."""
    for number in [3, *range(9, len(course.operations) + 1, 60)]:
        assert kill_before(course, number, tmp_path / str(number)) == []


@pytest.mark.parametrize(
    ("number", "n_times"), [(signal.SIGKILL, 2), (signal.SIGINT, 1), (signal.SIGTERM, 1)]
)
def test_a_run_that_gets_signals_continues(
    course: Course, number: int, n_times: int, tmp_path: Path
) -> None:
    times = (course.seconds / 2,) * n_times
    assert signal_at(course, number, times, 0.1, tmp_path / "run") == []


def test_a_file_that_was_lost_is_noticed(course: Course, tmp_path: Path) -> None:
    """The comparison sees what it should see."""
    lossy = course._replace(files={**course.files, "run/a file": ""})
    assert kill_before(lossy, 5, tmp_path / "run") == ["run/a file is missing"]


def test_a_run_is_resumed_by_one_process(world: World, tmp_path: Path) -> None:
    assert together(record(resume_scene(world)), 0.0, (1, 2), tmp_path / "run") == []
