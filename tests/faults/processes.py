"""Two processes at once: in one folder, or with one cache.

Each ends in success or in one line, and the files are whole.
"""

import random
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from faults.kills import SLOW, Course, course_of
from faults.outcome import Trial
from faults.scenes import problems_of
from faults.world import World

__all__ = ["process_trials", "together"]

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
