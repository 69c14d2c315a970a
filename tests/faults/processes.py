"""Several processes and threads at once: on one folder, with one cache, after a fork, with signals.

Whatever they do to each other, each ends in success or in one line, and the files are whole.
"""

import os
import random
import signal
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
# Exit codes of processes that a signal ended: minus the signal, or the code of an interrupted
# shell. 1 is Python's code if SIGINT meets `multiprocessing` around the command.
CODES = {signal.SIGINT: (0, 1, -2, 130), signal.SIGTERM: (0, -15, 143), signal.SIGHUP: (0, -1, 129)}


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
    return problems + scene.check_end(folder, scene.run(folder), course.files)


def signaled(course: Course, number: int, times: tuple[float, ...], folder: Path) -> list[str]:
    """Send a signal at some time, and another one a moment later; then continue."""
    scene = course.scene
    scene.make(folder)
    started = scene.begin(folder)
    for seconds in times:
        started.process.join(seconds)
        started.signal(number)
    outcome = started.finish()
    problems = []
    if outcome.failure or outcome.code not in CODES[signal.Signals(number)]:
        problems.append(f"it ended with {outcome.code} {outcome.failure}: {outcome.last_line}")
    # Python prints a traceback of its own if it is interrupted while it shuts down.
    if "Traceback" in outcome.stderr and "nwavesdk" in outcome.stderr:
        problems.append(f"a traceback: {outcome.last_line}")
    return problems + scene.check_end(folder, scene.run(folder), course.files)


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
    for name in ("train", "resume", "compare", "channels", "export", "kernels"):
        yield from _trials_of(course_of(world, name))


def _trials_of(course: Course) -> Iterator[Trial]:
    name = course.scene.name
    draw = random.Random(0)
    is_slow = name in SLOW
    # One process owns a run at a time; caches and single files have no owner.
    has_owner = name in ("train", "resume", "compare")
    for number in range(4 if is_slow else 25):
        delay = 0.0 if number % 5 == 0 else draw.uniform(0, LATEST_START)
        winners = (1, 2) if has_owner else (2,)
        if name == "train" and not delay:
            winners = (1,)  # later, the second may resume the run after the first has ended
        trial = partial(together, course, delay, winners)
        yield Trial(f"processes/{name}/twice-{number}", trial)
    for code in CODES if has_owner or name == "channels" else ():
        for number in range(4 if is_slow else 12):
            times = [draw.uniform(0, course.seconds)]
            times += [draw.uniform(0, 0.05)] * (number % 3 == 2)
            trial = partial(signaled, course, code, tuple(times))
            yield Trial(f"processes/{name}/{code.name}-{number}", trial)
