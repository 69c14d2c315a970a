"""Several processes and threads at once: on one folder, with one cache, after a fork, with signals.

Whatever they do to each other, each ends in success or in one line, and the files are whole.
"""

import os
import random
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from faults.file_events import Watch
from faults.forked import Setting, Trial, run
from faults.kills import Course, course_of
from faults.scenes import problems_of
from faults.world import World

__all__ = ["compute_in_forks", "compute_in_threads", "process_trials", "signaled", "together"]

# Time between the starts of two processes [s].
LATEST_START = 0.6
# Exit codes of processes that a signal ended: that of the signal, or that of an interrupted shell.
# 1 is that of Python, if SIGINT meets the code of `multiprocessing` around the command.
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
    problems = [problem for each in outcomes for problem in problems_of(scene.words, each)]
    n_winners = sum(outcome.code == 0 for outcome in outcomes)
    if n_winners not in winners:
        lines = " / ".join(outcome.stderr.strip()[-200:] for outcome in outcomes)
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
        problems.append(f"it ended with {outcome.code} {outcome.failure}: {outcome.stderr[-200:]}")
    # Python prints one of its own if it is interrupted while it shuts down.
    if "Traceback" in outcome.stderr and "nwavesdk" in outcome.stderr:
        problems.append(f"a traceback: {outcome.stderr.strip()[-200:]}")
    problems += scene.check_end(folder, scene.run(folder), course.files)
    return problems


def killed_worker(course: Course, number: int, folder: Path) -> list[str]:
    """Kill a process that a study has started, after the n-th file appeared; continue the study."""
    scene = course.scene
    scene.make(folder)
    with Watch(folder) as watch:
        started = scene.begin(folder)
        if watch.sees("create", number, started.process.sentinel):
            for pid in _children(started.pid):
                os.kill(pid, signal.SIGKILL)
    problems = problems_of(scene.words, started.finish())
    return problems + scene.check_end(folder, scene.run(folder), course.files)


def _children(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def ends_cleanly(function: Callable[..., object], number: int, folder: Path) -> list[str]:
    """Run a function in a separate process; it must end without a word on standard error."""
    folder.mkdir(parents=True)
    outcome = run([str(number)], folder, Setting(), function)
    if outcome.code == 0 and not outcome.stderr:
        return []
    return [f"it ended with {outcome.code} {outcome.failure}: {outcome.stderr[-400:]}"]


# Functions that run in a process


def compute_in_threads(seed: str) -> None:
    """Layers with different shapes in 8 threads at once give the spikes and gradients of one."""
    draw = random.Random(int(seed))
    shapes = [(draw.randint(1, 9), draw.randint(1, 40), draw.randint(1, 70)) for _ in range(8)]
    expected = [_digest_of_a_pass(shape) for shape in shapes]
    found: list[str] = [""] * len(shapes)
    barrier = threading.Barrier(len(shapes))

    def work(index: int) -> None:
        barrier.wait()
        for _ in range(5):
            found[index] = _digest_of_a_pass(shapes[index])

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(shapes))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == expected, shapes


def compute_in_forks(seed: str) -> None:
    """Children that are forked after, or while, kernels are used compute the same spikes."""
    import torch

    draw = random.Random(int(seed))
    torch.set_num_threads(draw.choice([1, 2, 3]))
    shape = (draw.randint(1, 9), draw.randint(1, 40), draw.randint(1, 300))
    expected = _digest_of_a_pass(shape, backward=False)
    busy = draw.random() < 0.5
    stop = threading.Event()

    def use_kernels() -> None:
        while not stop.is_set():
            _digest_of_a_pass(shape, backward=False)

    thread = threading.Thread(target=use_kernels)
    if busy:
        thread.start()
    children = []
    for _ in range(3):
        child = os.fork()
        if child == 0:
            os._exit(0 if _digest_of_a_pass(shape, backward=False) == expected else 1)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    stop.set()
    if busy:
        thread.join()
    assert codes == [0, 0, 0], (codes, shape, busy)
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
    results: list[Any] = [spikes.detach(), mem.detach()]
    if backward:
        mem.square().sum().backward()
        results.append(x.grad)
    return sha256(b"".join(each.numpy().tobytes() for each in results)).hexdigest()


# Groups


def process_trials(world: World) -> Iterator[Trial]:
    """All trials of processes."""
    if sys.platform != "linux":  # inotify, mounts and forks
        return
    for number in range(40):
        name = f"processes/threads-{number}"
        yield Trial(name, partial(ends_cleanly, compute_in_threads, number))
    for number in range(40):
        name = f"processes/forks-{number}"
        yield Trial(name, partial(ends_cleanly, compute_in_forks, number))
    for name in ("train", "resume", "compare", "channels", "export", "kernels"):
        yield from trials_of(course_of(world, name))


def trials_of(course: Course) -> Iterator[Trial]:
    """All trials of one command."""
    scene = course.scene
    group = f"processes/{scene.name}"
    draw = random.Random(0)
    slow = scene.name in ("kernels", "compare")
    # One process owns a run at a time; caches and single files have no owner.
    has_owner = scene.name in ("train", "resume", "compare")
    for number in range(4 if slow else 25):
        delay = 0.0 if number % 5 == 0 else draw.uniform(0, LATEST_START)
        winners = (1, 2) if has_owner else (2,)
        if scene.name == "train" and not delay:
            winners = (1,)  # later, the second may resume the run after the first has ended
        yield Trial(f"{group}/twice-{number}", partial(together, course, delay, winners))
    if scene.name in ("train", "resume", "channels", "compare"):
        for code in CODES:
            for number in range(4 if slow else 12):
                times = [draw.uniform(0, course.seconds)]
                times += [draw.uniform(0, 0.05)] * (number % 3 == 2)
                name = f"{group}/{code.name}-{number}"
                yield Trial(name, partial(signaled, course, code, tuple(times)))
    if scene.name == "compare":
        for number in range(2, course.events["create"] + 1, 3):
            yield Trial(f"{group}/worker-{number}", partial(killed_worker, course, number))
