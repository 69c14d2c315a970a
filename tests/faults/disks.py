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

from faults.file_events import Watch
from faults.forked import Trial
from faults.kills import Course, course_of
from faults.outcome import Snapshot, snapshot
from faults.scenes import Scene, problems_of, scenes
from faults.worker import Outcome
from faults.world import World

__all__ = [
    "can_mount",
    "disk_trials",
    "full_disk",
    "gone",
    "limited_files",
    "read_only",
    "without_one_warning",
]

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


# Trials


def full_disk(course: Course, kind: str, number: int, folder: Path) -> list[str]:
    """Run the command with a number of free pages or free inodes; continue it with plenty.

    Args:
        course: The undisturbed command.
        kind: `pages` or `inodes`.
        number: How many are free.
        folder: Folder of the trial.
    """
    scene = course.scene
    with disk(folder):
        scene.prepare(folder)
        used = os.statvfs(folder)
        if kind == "pages":
            size = (used.f_blocks - used.f_bfree) * used.f_frsize + number * PAGE
            limit = f"remount,size={size}"
        else:
            limit = f"remount,nr_inodes={used.f_files - used.f_ffree + number}"
        before = snapshot(folder)
        _mount(folder, limit)
        problems = _judge_disturbed(scene, scene.run(folder), before, folder)
        _mount(folder, f"remount,size={PLENTY},nr_inodes=100000")
        return problems + _continue(course, folder)


def read_only(course: Course, folder: Path) -> list[str]:
    """Run the command on a read-only disk; continue it on one that can be written."""
    scene = course.scene
    with disk(folder):
        scene.prepare(folder)
        before = snapshot(folder)
        _mount(folder, "remount,ro")
        problems = _judge_disturbed(scene, scene.run(folder), before, folder)
        _mount(folder, "remount,rw")
        return problems + _continue(course, folder)


def limited_files(course: Course, size: int, folder: Path) -> list[str]:
    """Run the command with files of limited size; continue it without the limit."""
    return _disturbed(course, folder, file_size=size)


def other_user(course: Course, folder: Path) -> list[str]:
    """Run the command as a user who may not write; continue it as one who may."""
    return _disturbed(course, folder, user=NOBODY)


def gone(course: Course, kind: str, number: int, folder: Path) -> list[str]:
    """Remove what the command has written, right after the n-th event of a kind; begin again."""
    scene = course.scene
    scene.make(folder)
    with Watch(folder) as watch:
        started = scene.begin(folder)
        if watch.sees(kind, number, started.process.sentinel):
            shutil.rmtree(folder / scene.output, ignore_errors=True)
    outcome = started.finish()
    problems = _judge_disturbed(scene, outcome, {}, folder)
    shutil.rmtree(folder / scene.output, ignore_errors=True)
    return problems + _continue(course, folder)


def _disturbed(course: Course, folder: Path, **setting: Any) -> list[str]:
    scene = course.scene
    scene.make(folder)
    before = snapshot(folder)
    problems = _judge_disturbed(scene, scene.run(folder, **setting), before, folder)
    return problems + _continue(course, folder)


def _judge_disturbed(scene: Scene, outcome: Outcome, before: Snapshot, folder: Path) -> list[str]:
    after = snapshot(folder)
    changed = [name for name, content in before.items() if after.get(name) != content]
    # The files of the command itself may have advanced: those of a run that is resumed.
    inside = f"{scene.output}/"
    problems = [f"{name} was changed" for name in changed if not name.startswith(inside)]
    if scene.is_cache and outcome.code != 0:
        problems.append("a cache that cannot be written ended the command")
    if scene.function is not None:
        outcome = without_one_warning(outcome)
    problems += problems_of(scene.words, outcome)
    return [f"{problem} ({_last_line(outcome)})" for problem in problems]


def without_one_warning(outcome: Outcome) -> Outcome:
    """The outcome without its first warning of Python, which has two lines."""
    lines = outcome.stderr.splitlines()
    for number, line in enumerate(lines):
        if "Warning: " in line:
            del lines[number : number + 2]
            break
    return Outcome(outcome.code, outcome.stdout, "\n".join(lines), outcome.seconds, outcome.failure)


def _last_line(outcome: Outcome) -> str:
    return "".join(outcome.stderr.strip().splitlines()[-1:])[:250]


def _continue(course: Course, folder: Path) -> list[str]:
    scene = course.scene
    scene.age_drafts(folder)
    problems = scene.check_end(folder, scene.run(folder), course.files)
    return [f"afterwards: {problem}" for problem in problems]


# Groups


def disk_trials(world: World) -> Iterator[Trial]:
    """All trials of disks."""
    if sys.platform != "linux":  # inotify, mounts and forks
        return
    for name in scenes(world):
        yield from trials_of(course_of(world, name))


def trials_of(course: Course) -> Iterator[Trial]:
    """All trials of one command."""
    group = f"disks/{course.scene.name}"
    for size in FILE_SIZES:
        yield Trial(f"{group}/files-of-{size}", partial(limited_files, course, size))
    if os.geteuid() == 0:
        yield Trial(f"{group}/other-user", partial(other_user, course))
    if can_mount():
        yield Trial(f"{group}/read-only", partial(read_only, course))
        for number in range(1, course.pages + DRAFT_PAGES):  # 0 is no limit
            yield Trial(f"{group}/pages-{number}", partial(full_disk, course, "pages", number))
        for number in range(1, len(course.files) + 4):
            yield Trial(f"{group}/inodes-{number}", partial(full_disk, course, "inodes", number))
    if course.scene.name == "resume":  # nothing is left to resume when the run is gone
        return
    for kind in ("create", "close", "rename"):
        for number in range(1, course.events[kind] + 1):
            yield Trial(f"{group}/gone-{kind}-{number}", partial(gone, course, kind, number))
