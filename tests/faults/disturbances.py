"""Disturbances: kills, bad disks and second processes, after which a command goes on.

A command is killed exactly before each operation on files, and gets signals at random times. A full
disk fails to make files and folders, or to write beyond a size. Two processes run in one folder, or
with one cache.
"""

import random
import shutil
import signal
import sys
import time
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from faults.outcome import Trial, snapshot
from faults.scenes import Scene, contents, problems_of, scenes, without_one_warning
from faults.world import World

__all__ = [
    "Course",
    "disk_trials",
    "disturbed",
    "full_disk",
    "gone",
    "kill_before",
    "kill_trials",
    "process_trials",
    "record",
    "signal_at",
    "together",
]

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
    """

    scene: Scene
    files: dict[str, str]
    operations: list[str]
    seconds: float

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
        return Course(scene, contents(folder), operations, outcome.seconds)


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


# Disks

# Largest sizes of a file; the output of the command is a file, too [bytes].
FILE_SIZES = (1000, 2500, 4096, 10_000, 20_000, 50_000)


def full_disk(course: Course, number: int, folder: Path) -> list[str]:
    """Let the command make no file or folder from its n-th operation on; continue it with space."""
    course.scene.make(folder)
    setting = {"root": folder, "stop_at": number, "is_full": True}
    return _run_disturbed(course, folder, **setting) + course.finish(folder)


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
    for number in range(1, len(course.operations) + 1):
        yield f"full-{number}", partial(full_disk, course, number)
    if course.scene.name != "resume":  # nothing is left to resume when the run is gone
        for number in range(1, len(course.operations) + 1):
            yield f"gone-{number}", partial(gone, course, number)


# Two processes

# Time between the starts of two processes [s].
LATEST_START = 0.6


def together(course: Course, delay: float, winners: tuple[int, ...], folder: Path) -> list[str]:
    """Run a command twice at the same time, then once more.

    Args:
        course: The undisturbed command.
        delay: Time between the two starts [s].
        winners: Numbers of the two that may succeed.
        folder: Folder of the trial.
    """
    scene = course.scene
    scene.make(folder)
    first = scene.begin(folder)
    time.sleep(delay)
    second = scene.begin(folder)
    outcomes = [first.finish(), second.finish()]
    problems = [problem for outcome in outcomes for problem in problems_of(scene.words, outcome)]
    n_winners = sum(outcome.code == 0 for outcome in outcomes)
    if n_winners not in winners:
        lines = " / ".join(outcome.last_line for outcome in outcomes)
        problems.append(f"{n_winners} of 2 succeeded, expected {winners}: {lines}")
    return problems + course.finish(folder)


def process_trials(world: World) -> Iterator[Trial]:
    """All trials of processes."""
    if sys.platform != "linux":
        return
    # One process owns a run at a time; caches and single files have no owner. A resumed run may be
    # resumed again after its end.
    winners = {"train": (1,), "resume": (1, 2), "compare": (1, 2)}
    draw = random.Random(0)
    for name in ("train", "resume", "compare", "channels", "export", "kernels"):
        for number in range(4 if name in SLOW else 25):
            delay = 0.0 if number % 5 == 0 else draw.uniform(0, LATEST_START)
            may_win = (1, 2) if name == "train" and delay else winners.get(name, (2,))
            trial = partial(together, course_of(world, name), delay, may_win)
            yield Trial(f"processes/{name}/twice-{number}", trial)
