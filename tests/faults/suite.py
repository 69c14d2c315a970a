"""All groups of cases, a sample of them, and running them in several processes at a time."""

import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path

from faults.disturbances import disk_trials, kill_trials, process_trials
from faults.files import damage_cases, folder_cases, place_cases, undamaged_cases
from faults.options import option_cases
from faults.outcome import Case, Trial, Verdict
from faults.world import World

__all__ = ["GROUPS", "all_cases", "run_cases", "sample"]

# The cases of each group, for a world and a seed.
GROUPS: dict[str, Callable[[World, int], Iterable[Case | Trial]]] = {
    "undamaged": lambda world, _: undamaged_cases(world),
    "options": lambda world, _: option_cases(world),
    "bytes": partial(damage_cases, group="bytes"),
    "values": partial(damage_cases, group="values"),
    "places": lambda world, _: place_cases(world),
    "folders": lambda world, _: folder_cases(world),
    "kills": lambda world, _: kill_trials(world),
    "disks": lambda world, _: disk_trials(world),
    "processes": lambda world, _: process_trials(world),
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
    for index, name in enumerate(by_size):
        share = min(len(cases[name]), left // (len(by_size) - index))
        chosen[name] = choice.sample(cases[name], share)
        left -= share
    return {name: chosen[name] for name in cases}


def run_cases(
    cases: Sequence[Case | Trial], folder: Path, n_processes: int = 1
) -> Iterator[Verdict]:
    """Run some cases at a time; verdicts come in the order in which they end."""
    with ThreadPoolExecutor(n_processes) as pool:
        futures = [
            pool.submit(case.verdict, folder / f"case-{number}")
            for number, case in enumerate(cases)
        ]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)
