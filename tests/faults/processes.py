"""Several processes and threads at once: on one folder, with one cache, after a fork.

Whatever they do to each other, each ends in success or in one line, and the files are whole.
"""

import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path

from faults.kills import SLOW, Course, course_of
from faults.outcome import Trial
from faults.running import run
from faults.scenes import problems_of
from faults.world import World

__all__ = ["compute_in_forks", "compute_in_threads", "ends_cleanly", "process_trials"]

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


def ends_cleanly(function: Callable[..., object], number: int, folder: Path) -> list[str]:
    """Run a function in a separate process; it must end without a word on standard error."""
    folder.mkdir(parents=True)
    outcome = run([str(number)], folder, function=function)
    if outcome.code == 0 and not outcome.stderr:
        return []
    return [f"it ended with {outcome.code} {outcome.failure}: {outcome.stderr[-400:]}"]


# Functions that run in a process


def compute_in_threads(seed: str) -> None:
    """Layers with different shapes in 8 threads at once give the spikes and gradients of one."""
    draw = random.Random(int(seed))
    shapes = [(draw.randint(1, 9), draw.randint(1, 40), draw.randint(1, 70)) for _ in range(8)]
    expected = [_digest_of_a_pass(shape) for shape in shapes]
    with ThreadPoolExecutor(len(shapes)) as pool:
        for _ in range(5):
            assert list(pool.map(_digest_of_a_pass, shapes)) == expected, shapes


def compute_in_forks(seed: str) -> None:
    """Children that are forked after, or while, kernels are used compute the same spikes."""
    import torch

    draw = random.Random(int(seed))
    torch.set_num_threads(draw.choice([1, 2, 3]))
    shape = (draw.randint(1, 9), draw.randint(1, 40), draw.randint(1, 300))
    expected = _digest_of_a_pass(shape, backward=False)
    children = []
    with ThreadPoolExecutor(1) as pool:
        for _ in range(draw.choice([0, 200])):
            pool.submit(_digest_of_a_pass, shape, backward=False)
        for _ in range(3):
            child = os.fork()
            if child == 0:
                os._exit(0 if _digest_of_a_pass(shape, backward=False) == expected else 1)
            children.append(child)
        codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        pool.shutdown(cancel_futures=True)
    assert codes == [0, 0, 0], (codes, shape)
    assert _digest_of_a_pass(shape, backward=False) == expected


def _digest_of_a_pass(shape: tuple[int, int, int], backward: bool = True) -> str:
    """Spikes, and the gradient of the input, of one layer for one shape `[B, T, N]`."""
    import torch

    from nwavesdk.layers import LIFLayer, prepare_net

    x = torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))
    x.requires_grad_(backward)
    layer = LIFLayer(shape[-1], 10e-3)
    prepare_net(layer)
    spikes, mem = layer(x)
    results = [spikes.detach(), mem.detach()]
    if backward:
        mem.square().sum().backward()
        assert x.grad is not None
        results.append(x.grad)
    return sha256(b"".join(each.numpy().tobytes() for each in results)).hexdigest()


# Groups


def process_trials(world: World) -> Iterator[Trial]:
    """All trials of processes."""
    if sys.platform != "linux":
        return
    for number in range(40):
        for label, function in (("threads", compute_in_threads), ("forks", compute_in_forks)):
            yield Trial(f"processes/{label}-{number}", partial(ends_cleanly, function, number))
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
