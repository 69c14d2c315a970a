"""Random nets, called in random ways, against a plain loop; see `random_nets/`."""

import pytest
import torch

from tests.random_nets.calls import find_disagreement

# Most nets need kernels that no other test has. A kernel takes longer to compile than a net to run,
# so quick tests let some nets use all kernels, and others only the kernels of LIF neurons.
CASES = [
    (range(4), True),
    (range(4, 18), False),
    pytest.param(range(100), True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("seeds", "kernels"), CASES, ids=str)
def test_random_nets_agree_with_a_plain_loop(seeds, kernels):
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        disagreements = [
            text for seed in seeds if (text := find_disagreement(seed, kernels=kernels)[0])
        ]
    finally:
        torch.set_num_threads(threads)
    assert not disagreements, "\n\n".join(disagreements)
