"""Several processes and threads at once, and signals, leave whole files and one line each."""

import signal
import sys
from pathlib import Path

import pytest

from faults.kills import Course, record
from faults.processes import compute_in_forks, compute_in_threads, ends_cleanly, signaled, together
from faults.scenes import resume_scene
from faults.world import World

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify and fork")


def test_one_of_two_runs_in_a_folder_wins(course: Course, tmp_path: Path) -> None:
    assert together(course, 0.0, (1,), tmp_path / "run") == []


def test_a_run_may_be_resumed_only_after_its_end(course: Course, tmp_path: Path) -> None:
    """On a fast machine, the first of both has ended when the second one resumes its run."""
    assert together(course, 0.2, (1, 2), tmp_path / "run") == []


def test_a_run_is_resumed_by_one_process(world: World, tmp_path: Path) -> None:
    assert together(record(resume_scene(world)), 0.0, (1, 2), tmp_path / "run") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_run_that_continues(course: Course, number: int, tmp_path: Path) -> None:
    assert signaled(course, number, (course.seconds / 2,), tmp_path / "run") == []


@pytest.mark.parametrize("function", [compute_in_threads, compute_in_forks])
def test_threads_and_forks_compute_the_same(function, tmp_path: Path) -> None:
    assert ends_cleanly(function, 0, tmp_path / "process") == []
