"""Disks that are full, read-only or gone: a command must end in success or in one line.

Afterwards, what existed is unchanged, and with space the same command ends as if nothing happened.
Full disks are small file systems in memory, which only root can mount; limits of the size of a file
need no rights.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from faults.kills import Course, course_of
from faults.outcome import Trial, snapshot
from faults.scenes import problems_of, scenes, without_one_warning
from faults.world import World

__all__ = ["can_mount", "disk_trials", "disturbed", "full_disk", "gone", "read_only"]

PAGE = os.sysconf("SC_PAGE_SIZE")
PLENTY = 256 * 2**20
# Pages of drafts that exist next to the finished files.
DRAFT_PAGES = 12
# Largest sizes of a file; the output of the command is a file, too [bytes].
FILE_SIZES = (1000, 2500, 4096, 10_000, 20_000, 50_000)
NOBODY = 65534


@contextmanager
def disk(folder: Path) -> Iterator[None]:
    """Mount an empty file system in memory on a folder."""
    folder.mkdir(parents=True)
    _mount(folder, f"size={PLENTY}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True, capture_output=True)


def _mount(folder: Path, options: str) -> None:
    command = ["mount", "-t", "tmpfs", "-o", options, "none", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


@cache
def can_mount() -> bool:
    """Whether this process may mount file systems."""
    with TemporaryDirectory() as name:
        try:
            with disk(Path(name, "disk")):
                return True
        except (OSError, subprocess.CalledProcessError):
            return False


def full_disk(course: Course, kind: str, number: int, folder: Path) -> list[str]:
    """Run the command with a number of free `pages` or `inodes`; continue it with plenty."""
    with disk(folder):
        course.scene.prepare(folder)
        used = os.statvfs(folder)
        limits = {
            "pages": f"size={(used.f_blocks - used.f_bfree) * used.f_frsize + number * PAGE}",
            "inodes": f"nr_inodes={used.f_files - used.f_ffree + number}",
        }
        return _on_disk(course, limits[kind], folder)


def read_only(course: Course, folder: Path) -> list[str]:
    """Run the command on a read-only disk; continue it on one that can be written."""
    with disk(folder):
        course.scene.prepare(folder)
        return _on_disk(course, "ro", folder)


def _on_disk(course: Course, limit: str, folder: Path) -> list[str]:
    _mount(folder, f"remount,{limit}")
    problems = _run_disturbed(course, folder)
    _mount(folder, f"remount,rw,size={PLENTY},nr_inodes=100000")
    return problems + course.finish(folder)


def disturbed(course: Course, setting: dict[str, Any], folder: Path) -> list[str]:
    """Run the command in a setting, such as a limit of the size of files; continue it without."""
    course.scene.make(folder)
    return _run_disturbed(course, folder, **setting) + course.finish(folder)


def gone(course: Course, number: int, folder: Path) -> list[str]:
    """Remove what the command has written, before its n-th operation on files; begin again."""
    course.scene.make(folder)
    remove = partial(shutil.rmtree, folder / course.scene.output, ignore_errors=True)
    problems = _run_disturbed(course, folder, root=folder, stop_at=number, action=remove)
    remove()
    return problems + course.finish(folder)


def _run_disturbed(course: Course, folder: Path, **setting: Any) -> list[str]:
    scene = course.scene
    before = snapshot(folder)
    outcome = scene.run(folder, **setting)
    after = snapshot(folder)
    # The files of the command itself may have advanced, such as a run that is resumed.
    inside = f"{scene.output}/"
    changed = [name for name in before if after.get(name) != before[name]]
    problems = [f"{name} was changed" for name in changed if not name.startswith(inside)]
    if scene.is_cache and outcome.code != 0:
        problems.append("a cache that cannot be written ended the command")
    if scene.function is not None:
        outcome = without_one_warning(outcome)
    problems += problems_of(scene.words, outcome)
    return [f"{problem} ({outcome.last_line})" for problem in problems]


def disk_trials(world: World) -> Iterator[Trial]:
    """All trials of disks."""
    for name in scenes(world) if sys.platform == "linux" else ():
        course = course_of(world, name)
        for label, trial in _trials_of(course):
            yield Trial(f"disks/{name}/{label}", trial)


def _trials_of(course: Course) -> Iterator[tuple[str, Any]]:
    for size in FILE_SIZES:
        yield f"files-of-{size}", partial(disturbed, course, {"file_size": size})
    if os.geteuid() == 0:
        yield "other-user", partial(disturbed, course, {"user": NOBODY})
    if can_mount():
        yield "read-only", partial(read_only, course)
        # 0 is no limit.
        for number in range(1, course.size // PAGE + len(course.files) + DRAFT_PAGES):
            yield f"pages-{number}", partial(full_disk, course, "pages", number)
        for number in range(1, len(course.files) + 4):
            yield f"inodes-{number}", partial(full_disk, course, "inodes", number)
    if course.scene.name != "resume":  # nothing is left to resume when the run is gone
        for number in range(1, len(course.operations) + 1):
            yield f"gone-{number}", partial(gone, course, number)
