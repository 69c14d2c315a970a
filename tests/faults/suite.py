"""All groups of cases, a sample of them, and running them on several workers."""

import queue
import random
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from pathlib import Path

from faults.attacks import attack_trials
from faults.disks import disk_trials
from faults.files import byte_cases, folder_cases, place_cases, undamaged_cases, value_cases
from faults.forked import Trial
from faults.kills import kill_trials
from faults.models import model_cases
from faults.options import option_cases, pair_cases, random_cases
from faults.outcome import Case, Verdict, try_case
from faults.processes import process_trials
from faults.worker import Worker
from faults.world import World

__all__ = ["GROUPS", "all_cases", "run_cases", "sample"]

# The cases of each group, for a world and a seed.
GROUPS: dict[str, Callable[[World, int], Iterable[Case | Trial]]] = {
    "undamaged": undamaged_cases,
    "options": lambda world, seed: option_cases(world),  # noqa: ARG005
    "pairs": pair_cases,
    "random": random_cases,
    "bytes": byte_cases,
    "values": value_cases,
    "places": place_cases,
    "folders": folder_cases,
    "models": lambda world, seed: model_cases(world),  # noqa: ARG005
    "kills": lambda world, seed: kill_trials(world),  # noqa: ARG005
    "disks": lambda world, seed: disk_trials(world),  # noqa: ARG005
    "processes": lambda world, seed: process_trials(world),  # noqa: ARG005
    "cache": lambda world, seed: attack_trials(),  # noqa: ARG005
}


def all_cases(world: World, seed: int, groups: Sequence[str] = ()) -> dict[str, list[Case | Trial]]:
    """All cases of some groups, or of all of them.

    Raises:
        ValueError: If two cases have the same name, so that one could not be repeated.
    """
    cases = {name: list(GROUPS[name](world, seed)) for name in groups or GROUPS}
    seen: set[str] = set()
    for case in (case for group in cases.values() for case in group):
        if case.name in seen:
            raise ValueError(f"two cases are called {case.name}")
        seen.add(case.name)
    return cases


def sample(
    cases: dict[str, list[Case | Trial]], most: int, seed: int
) -> dict[str, list[Case | Trial]]:
    """About `most` cases, as many of each group as there are, or an equal share."""
    choice = random.Random(seed)
    chosen: dict[str, list[Case | Trial]] = {}
    left = most
    by_size = sorted(cases, key=lambda name: len(cases[name]))
    for place, name in enumerate(by_size):
        share = min(len(cases[name]), left // (len(by_size) - place))
        chosen[name] = choice.sample(cases[name], share)
        left -= share
    return {name: chosen[name] for name in cases}


def run_cases(cases: Sequence[Case | Trial], folder: Path, n_workers: int = 1) -> Iterator[Verdict]:
    """Run cases on warm workers; verdicts come in the order in which they end."""
    pending: queue.SimpleQueue[Case | Trial] = queue.SimpleQueue()
    done: queue.SimpleQueue[Verdict | BaseException | None] = queue.SimpleQueue()
    numbers = count()
    for case in cases:
        pending.put(case)

    def work() -> None:
        try:
            with Worker() as worker:
                while not pending.empty():
                    try:
                        case = pending.get_nowait()
                    except queue.Empty:
                        break
                    place = folder / f"case-{next(numbers)}"
                    is_trial = isinstance(case, Trial)
                    done.put(case.verdict(place) if is_trial else try_case(case, worker, place))
        except BaseException as error:
            done.put(error)
        done.put(None)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(n_workers)]
    for thread in threads:
        thread.start()
    running = n_workers
    while running:
        verdict = done.get()
        if isinstance(verdict, BaseException):
            raise verdict
        if verdict is None:
            running -= 1
        else:
            yield verdict
