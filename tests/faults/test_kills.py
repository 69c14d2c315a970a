"""A run that is killed at its writes continues as if nothing had happened."""

import sys
from pathlib import Path

import pytest

from faults.kills import Course, kill_after, kill_at, kill_before

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify and fork")


def test_killed_before_an_operation(course: Course, tmp_path: Path) -> None:
    """While the config is linked to its name, and before files of the end."""
    numbers = [3, *range(9, len(course.operations) + 1, 20)]
    for number in numbers:
        assert kill_before(course, number, tmp_path / str(number)) == []


@pytest.mark.parametrize("kind", ["create", "modify", "rename"])
def test_killed_after_an_event(course: Course, kind: str, tmp_path: Path) -> None:
    assert kill_after(course, kind, course.events[kind] // 2, tmp_path / kind) == []


def test_killed_twice(course: Course, tmp_path: Path) -> None:
    half = course.seconds / 2
    assert kill_at(course, (half, half), tmp_path / "run") == []


def test_a_file_that_was_lost_is_noticed(course: Course, tmp_path: Path) -> None:
    """The comparison sees what it should see."""
    lossy = course._replace(files={**course.files, "run/a file": ""})
    assert kill_before(lossy, 5, tmp_path / "run") == ["run/a file is missing"]
