"""Kills: a command dies at each of its writes, and continuing it must end as if nothing happened.

It is killed exactly before each operation on files, and gets signals at random times.
"""

import random
import signal
import sys
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from faults.outcome import Trial
from faults.scenes import Scene, contents, problems_of, scenes
from faults.world import World

__all__ = ["SLOW", "Course", "course_of", "kill_before", "kill_trials", "record", "signal_at"]

# Exit codes of processes that a signal ended: minus the signal, or the code of an interrupted
# shell. 1 is Python's code if SIGINT meets `multiprocessing` around the command.
CODES = {
    signal.SIGKILL: (0, -9),
    signal.SIGINT: (0, 1, -2, 130),
    signal.SIGTERM: (0, -15, 143),
    signal.SIGHUP: (0, -1, 129),
}
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
    # A study survives the processes that it has started.
    problems = [] if killed.code in (0, -9) else problems_of(course.scene.words, killed)
    return problems + course.finish(folder)


def signal_at(
    course: Course, number: int, times: tuple[float, ...], pause: float, folder: Path
) -> list[str]:
    """Send a signal to the command, and to each continuation, after some time; then continue it.

    Args:
        course: The undisturbed command.
        number: The signal, which is sent twice.
        times: Times after which it is sent first [s].
        pause: Time between the two [s].
        folder: Folder of the trial.
    """
    course.scene.make(folder)
    problems = []
    for seconds in times:
        started = course.scene.begin(folder)
        for wait in (seconds, pause):
            started.process.join(wait)
            started.signal(number)
        outcome = started.finish()
        if outcome.failure or outcome.code not in CODES[number]:
            problems.append(f"it ended with {outcome.code} {outcome.failure}: {outcome.last_line}")
        # Python prints a traceback of its own if it is interrupted while it shuts down.
        if "Traceback" in outcome.stderr and "nwavesdk" in outcome.stderr:
            problems.append(f"a traceback: {outcome.last_line}")
    return problems + course.finish(folder)


def kill_trials(world: World) -> Iterator[Trial]:
    """All kills and signals of all scenes."""
    for name in scenes(world) if sys.platform == "linux" else ():
        course = course_of(world, name)
        for number in range(1, len(course.operations) + 1):
            trial = partial(kill_before, course, number)
            yield Trial(f"kills/{name}/before-{number}", trial)
        draw = random.Random(0)
        for number in range(5 if name in SLOW else 60):
            times = tuple(draw.uniform(0, course.seconds) for _ in range(1 + number % 3))
            code = signal.SIGKILL if number % 2 else list(CODES)[number // 2 % len(CODES)]
            trial = partial(signal_at, course, code, times, draw.uniform(0, 0.05))
            yield Trial(f"kills/{name}/{code.name}-{number}", trial)
