"""Kills: a command dies at each of its writes, and continuing it must end as if nothing happened.

Three kinds of kills: exactly before each operation on files, seen from inside; right after each
event on files, seen from outside by inotify; and at random times.
"""

import os
import random
import sys
from collections import Counter
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from faults.file_events import Watch
from faults.forked import Trial
from faults.scenes import Scene, contents, differences, problems_of, scenes
from faults.worker import Outcome
from faults.world import World

__all__ = ["Course", "course_of", "kill_after", "kill_before", "kill_trials", "record"]

# Scenes that do not run in a fraction of a second: fewer random times.
SLOW = {"kernels", "compare"}
# Kinds of events after which a command is killed.
KINDS = ("create", "modify", "close", "rename", "delete")


class Course(NamedTuple):
    """A command that was not disturbed.

    Attributes:
        scene: The command.
        files: What it left behind; see `contents`.
        operations: Its operations on files, in their order.
        events: Number of events of each kind.
        seconds: Time it took.
        pages: Pages of memory that its files fill.
    """

    scene: Scene
    files: dict[str, str]
    operations: list[str]
    events: Counter[str]
    seconds: float
    pages: int


def record(scene: Scene) -> Course:
    """Run a command undisturbed, twice: with its operations, and with its events."""
    with TemporaryDirectory(prefix="nwave-faults-") as name:
        log = Path(name, "operations.txt")
        first = scene.make(Path(name, "inside"))
        outcome = scene.run(first, root=first, log=log)
        assert outcome.code == 0, outcome
        second = scene.make(Path(name, "outside"))
        with Watch(second) as watch:
            started = scene.begin(second)
            events = Counter(event.kind for event in watch.events(started.process.sentinel, 60.0))
        outcome = started.finish()
        assert outcome.code == 0, outcome
        files = contents(second)
        assert not (differing := differences(contents(first), files)), (scene.name, differing)
        operations = log.read_text().splitlines()
        sizes = [path.stat().st_size for path in second.rglob("*") if path.is_file()]
        pages = sum(-(-size // os.sysconf("SC_PAGE_SIZE")) for size in sizes)
        return Course(scene, files, operations, events, outcome.seconds, pages)


@cache
def course_of(world: World, name: str) -> Course:
    """The undisturbed course of a scene, which several groups use."""
    return record(scenes(world)[name])


def kill_before(course: Course, number: int, folder: Path) -> list[str]:
    """Kill the command before its n-th operation on files, and continue it."""
    scene = course.scene
    scene.make(folder)
    killed = scene.run(folder, root=folder, stop_at=number)
    return _continue(course, folder, killed)


def kill_after(course: Course, kind: str, number: int, folder: Path) -> list[str]:
    """Kill the command right after the n-th event of a kind, and continue it."""
    scene = course.scene
    scene.make(folder)
    with Watch(folder) as watch:
        started = scene.begin(folder)
        if watch.sees(kind, number, started.process.sentinel):
            started.signal()
    return _continue(course, folder, started.finish())


def kill_at(course: Course, times: tuple[float, ...], folder: Path) -> list[str]:
    """Kill the command, and each continuation of it, after some time; then continue it."""
    scene = course.scene
    scene.make(folder)
    for seconds in times:
        started = scene.begin(folder)
        started.process.join(seconds)
        started.signal()
        killed = started.finish()
        if killed.code not in (0, -9):
            return [f"it ended with {killed.code}: {killed.stderr[-300:]}"]
    return _continue(course, folder, killed)


def _continue(course: Course, folder: Path, killed: Outcome) -> list[str]:
    scene = course.scene
    if killed.code not in (0, -9):
        # It may end before the kill, and a study survives the processes that it has started.
        problems = problems_of(scene.words, killed)
        if problems:
            return [f"it ended with {killed.code}: {problem}" for problem in problems]
    scene.age_drafts(folder)
    return scene.check_end(folder, scene.run(folder), course.files)


# Groups


def kill_trials(world: World) -> Iterator[Trial]:
    """All kills of all scenes."""
    if sys.platform != "linux":  # inotify, mounts and forks
        return
    for name in scenes(world):
        yield from trials_of(course_of(world, name))


def trials_of(course: Course) -> Iterator[Trial]:
    """All kills of one scene."""
    group = f"kills/{course.scene.name}"
    for number in range(1, len(course.operations) + 1):
        yield Trial(f"{group}/before-{number}", partial(kill_before, course, number))
    for kind in KINDS:
        for number in range(1, course.events[kind] + 1):
            yield Trial(f"{group}/{kind}-{number}", partial(kill_after, course, kind, number))
    draw = random.Random(0)
    for number in range(5 if course.scene.name in SLOW else 40):
        times = tuple(draw.uniform(0, course.seconds) for _ in range(1 + number % 3))
        yield Trial(f"{group}/timed-{number}", partial(kill_at, course, times))
