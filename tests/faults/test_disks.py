"""A run on a disk that is full, read-only or gone ends in one line, and continues later."""

import sys
from pathlib import Path

import pytest

from faults.disks import can_mount, full_disk, gone, limited_files, read_only
from faults.kills import Course

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs inotify and fork")
needs_mount = pytest.mark.skipif(not can_mount(), reason="may not mount a file system")


@needs_mount
@pytest.mark.parametrize("kind", ["pages", "inodes"])
def test_a_full_disk(course: Course, kind: str, tmp_path: Path) -> None:
    for number in (1, 6):
        assert full_disk(course, kind, number, tmp_path / f"{kind}-{number}") == []


@needs_mount
def test_a_disk_that_cannot_be_written(course: Course, tmp_path: Path) -> None:
    assert read_only(course, tmp_path / "disk") == []


@pytest.mark.parametrize("size", [1000, 10_000])
def test_a_limit_of_the_size_of_files(course: Course, size: int, tmp_path: Path) -> None:
    assert limited_files(course, size, tmp_path / "disk") == []


def test_a_run_whose_folder_is_removed(course: Course, tmp_path: Path) -> None:
    assert gone(course, "rename", 3, tmp_path / "disk") == []
