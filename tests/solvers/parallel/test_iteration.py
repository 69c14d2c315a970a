"""comPaSSo's other forms: the iteration and the jump."""

from dataclasses import replace

import pytest
import torch

from nwavesdk.solvers.cpu.serial import forward_cpu
from nwavesdk.solvers.parallel.iteration import forward_iteration, forward_jump, rounding_bound
from pairwise import pairwise
from solvers.parallel.drives import BETAS, DRIVES, NAMES, drive, driven


@pytest.mark.parametrize("name", NAMES)
def test_jumps_end_in_the_serial_spikes(name):
    for kind in ("gaussian", "noisy constant", "silence"):
        p = driven(name, drive(kind, 2, 600, 5, 0.95, torch.float32), 0.95, start=0.2)
        scans: list[int] = []
        got, expected = forward_jump(p, steps=60, iterates=scans), forward_cpu(p)
        assert torch.equal(got.spikes, expected.spikes)
        assert (
            scans[0]
            <= int(expected.spikes[:, :540].view(2, 9, 60, 5).sum(2).amax((0, 2)).sum()) + 2 * 9
        )


@pytest.mark.parametrize("case", pairwise(name=NAMES, kind=DRIVES, beta=BETAS[:3]), ids=str)
def test_the_iteration_differs_first_within_rounding_of_the_threshold(case):
    name, kind, beta = case.values()
    p = driven(name, drive(kind, 2, 300, 8, beta, torch.float32), beta)
    got, expected = forward_iteration(p), forward_cpu(p)
    wrong = got.spikes != expected.spikes
    first = wrong & (wrong.cumsum(1) == 1)
    distance = (expected.saved[0] - 1).abs()
    assert bool((distance <= rounding_bound(p))[first].all())
    double = replace(p, x=p.x.double(), states=tuple(v.double() for v in p.states),
                     constants=tuple(c.double() for c in p.constants))  # fmt: skip
    assert torch.equal(forward_iteration(double).spikes, forward_cpu(double).spikes)
