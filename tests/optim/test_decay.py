"""Weight decay acts on weights alone, and the groups hold each parameter once."""

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.nn.utils.parametrizations import weight_norm

from nwavesdk.layers import (
    AdLIFLayer,
    DelayedSynapse,
    H1v1Frontend,
    LIFLayer,
    LIFSynapse,
    StepBatchNorm,
    TemporalConv,
    TimeBatchNorm,
)
from nwavesdk.optim import weight_decay_groups


class Scaled(nn.Module):
    """A module of a user: two linear layers that share a weight, a gain, and an own matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.matrix = nn.Parameter(torch.eye(3))
        self.first = nn.Linear(3, 3)
        self.second = nn.Linear(3, 3, bias=False)
        self.second.weight = self.first.weight


def pruned() -> nn.Module:
    synapse = LIFSynapse(4, 3, bias=True)
    prune.l1_unstructured(synapse, "weight", 0.5)
    return synapse


# A module, and the names of its parameters that decay.
CASES: list[tuple[Callable[[], nn.Module], set[str]]] = [
    (lambda: LIFSynapse(4, 3, bias=True), {"weight"}),
    (lambda: nn.Linear(4, 3), {"weight"}),
    (lambda: nn.Conv2d(2, 3, 3), {"weight"}),
    (lambda: nn.ConvTranspose1d(2, 3, 3), {"weight"}),
    (lambda: TemporalConv(2, 3, 3, bias=True), {"weight"}),
    (lambda: DelayedSynapse(4, 3, max_delay=5, bias=True), {"weight"}),
    (lambda: H1v1Frontend(4), {"weight"}),
    (pruned, {"weight_orig"}),
    (
        lambda: weight_norm(nn.Linear(4, 3)),
        {"parametrizations.weight.original0", "parametrizations.weight.original1"},
    ),
    (
        lambda: LIFLayer(
            3, 1e-2, layer_topology="RC", learn_taus=True, learn_thresholds=True, recurrent_delays=4
        ),
        {"recurrent_weights"},
    ),
    (lambda: LIFLayer((2, 4, 4), torch.full((2, 1, 1), 1e-2), learn_taus=True), set()),
    (lambda: AdLIFLayer(3, learn=("tau", "tau_w", "a", "b")), set()),
    (lambda: nn.BatchNorm2d(3), set()),
    (lambda: nn.LayerNorm((2, 3)), set()),
    (lambda: nn.GroupNorm(1, 3), set()),
    (lambda: nn.PReLU(3), set()),
    (lambda: TimeBatchNorm(3), set()),
    (lambda: StepBatchNorm(3, max_steps=5), set()),
    (Scaled, {"first.weight"}),
]


@pytest.mark.parametrize(("build", "names"), CASES)
def test_only_weights_decay(build: Callable[[], nn.Module], names: set[str]) -> None:
    module = build()
    groups = weight_decay_groups(nn.Sequential(module), 0.1)
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    found = {decay: set() for decay in (0.1, 0.0)}
    for group in groups:
        found[group["weight_decay"]] |= {name_of[id(p)] for p in group["params"]}
    assert found[0.1] == names
    assert sum(len(group["params"]) for group in groups) == len(name_of)
    assert found[0.0] == set(name_of.values()) - names


def test_a_decay_that_is_not_a_number_is_an_error() -> None:
    with pytest.raises(ValueError, match="weight_decay must be a finite number of at least 0"):
        weight_decay_groups(nn.Linear(2, 2), -1)
