"""Kills: a command dies at each of its writes, and continuing it must end as if nothing happened.

Two kinds of kills: exactly before each operation on files, and at random times.
"""

import random
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from faults.outcome import Trial
from faults.running import Outcome
from faults.scenes import Scene, contents, problems_of, scenes
from faults.world import World

__all__ = ["SLOW", "Course", "course_of", "kill_at", "kill_before", "kill_trials", "record"]

# Scenes that do not run in a fraction of a second: fewer trials.
SLOW = {"kernels", "compare"}


class Course(NamedTuple):
    """A command that was not disturbed.

    Attributes:
        scene: The command.
        files: The files that it left behind; see `contents`.
        operations: Its operations on files, in their order.
        seconds: Time it took.
        size: Size of its files [bytes].
    """

    scene: Scene
    files: dict[str, str]
    operations: list[str]
    seconds: float
    size: int

    def finish(self, folder: Path) -> list[str]:
        """Continue a disturbed command to its end; return what is wrong then."""
        self.scene.age_drafts(folder)
        return self.scene.check_end(folder, self.scene.run(folder), self.files)


def record(scene: Scene) -> Course:
    """Run a command undisturbed."""
    with TemporaryDirectory(prefix="nwave-faults-") as name:
        log = Path(name, "operations.txt")
        folder = scene.make(Path(name, "folder"))
        outcome = scene.run(folder, root=folder, log=log)
        assert outcome.code == 0, outcome
        operations = log.read_text().splitlines()
        size = sum(path.stat().st_size for path in folder.rglob("*"))
        return Course(scene, contents(folder), operations, outcome.seconds, size)


@cache
def course_of(world: World, name: str) -> Course:
    """The undisturbed course of a scene, which several groups use."""
    return record(scenes(world)[name])


def kill_before(course: Course, number: int, folder: Path) -> list[str]:
    """Kill the command before its n-th operation on files, and continue it."""
    course.scene.make(folder)
    killed = course.scene.run(folder, root=folder, stop_at=number)
    return _problems_of_killed(course, killed) + course.finish(folder)


def kill_at(course: Course, times: tuple[float, ...], folder: Path) -> list[str]:
    """Kill the command, and each continuation of it, after some time; then continue it."""
    course.scene.make(folder)
    problems = []
    for seconds in times:
        started = course.scene.begin(folder)
        started.process.join(seconds)
        started.signal()
        problems += _problems_of_killed(course, started.finish())
    return problems + course.finish(folder)


def _problems_of_killed(course: Course, outcome: Outcome) -> list[str]:
    # It may end before the kill, and a study survives the processes that it has started.
    return [] if outcome.code in (0, -9) else problems_of(course.scene.words, outcome)


def kill_trials(world: World) -> Iterator[Trial]:
    """All kills of all scenes."""
    for name in scenes(world) if sys.platform == "linux" else ():
        course = course_of(world, name)
        for number in range(1, len(course.operations) + 1):
            trial = partial(kill_before, course, number)
            yield Trial(f"kills/{name}/before-{number}", trial)
        draw = random.Random(0)
        for number in range(5 if name in SLOW else 60):
            times = tuple(draw.uniform(0, course.seconds) for _ in range(1 + number % 3))
            yield Trial(f"kills/{name}/timed-{number}", partial(kill_at, course, times))
