"""A sample of the cases of every group; `python -m benchmarks.faults` runs all of them.

The sample is the same in each run. A failing case prints the command that repeats it.
"""

from pathlib import Path

import pytest

from faults.options import commands
from faults.outcome import Case
from faults.suite import GROUPS, all_cases, sample
from faults.world import World

# Cases of each group: what a few seconds allow.
N_CASES = {"options": 8, "bytes": 8, "values": 8, "places": 8}
N_OTHERS = 6
# Commands that take seconds if they succeed; the whole suite tries more of them.
SLOW = ("train", "compare", "slopes", "tune")


# `test_trials.py` tests them.
OTHERS = ("kills", "disks", "processes")


@pytest.mark.parametrize("group", [group for group in GROUPS if group not in OTHERS])
def test_sample_is_clean(group: str, world: World, tmp_path: Path) -> None:
    cases = all_cases(world, 0, [group])[group]
    quick = [c for c in cases if isinstance(c, Case) and (c.words[0] not in SLOW or c.must_fail)]
    chosen = sample({group: list(quick)}, N_CASES.get(group, N_OTHERS), 0)[group]
    verdicts = [case.verdict(tmp_path / str(i)) for i, case in enumerate(chosen)]
    failed = [verdict.text() for verdict in verdicts if verdict.problems]
    assert not failed, "\n\n".join(failed)


def test_every_command_has_a_base_call() -> None:
    assert commands()
