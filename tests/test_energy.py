"""What `benchmarks.energy` counts, against counts by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks import cnn, energy
from nwavesdk.layers import (
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
)

STEPS = 5


class TwoRecordings:
    """As much of a `Series` as is read."""

    def __init__(self, x):
        self.x = x
        self.lengths = np.full(len(x), x.shape[1])

    def __len__(self):
        return len(self.x)

    def batch(self, indices):
        return SimpleNamespace(x=self.x[torch.as_tensor(indices)])


@pytest.fixture
def series():
    x = torch.zeros(2, STEPS, 2)
    x[0, :, 0] = 1  # five spikes in the first recording, one in the second
    x[1, 3, 1] = 1
    return TwoRecordings(x)


def test_the_costs_of_a_net_are_those_of_a_count_by_hand(series):
    layer = LIFLayer(3, 20e-3, layer_topology="RC", solver="reference")
    net = SpikingSequential(LIFSynapse(2, 3), layer)
    with torch.no_grad():
        net[0].weight.fill_(0.1)  # no neuron fires
        net[0].weight[0, 0] = 0
    found = energy.costs_of("net", net, 0.5, series)
    weights = 2 * 3 + 3 * 3
    updates = 3 * STEPS
    assert found.parameters == weights
    assert (found.macs, found.acs) == (0, (5 * 2 + 1 * 3) / 2)
    assert found.updates == updates
    # A LIF neuron has one state, which is read and written, a charge and a spike.
    neurons = 4 * updates
    inputs, charges, recurrent = 2 * STEPS, 3 * STEPS, 2 * 3 * STEPS
    assert found.least_words == weights + inputs + charges + recurrent + neurons
    assert found.most_words == 4 * found.acs + neurons
    assert found.arithmetic == pytest.approx((updates * (0.9 + 3.7) + (6.5 + updates) * 0.9) / 1e3)
    assert found.memory == (found.least_words * 5 / 1e3, found.most_words * 50 / 1e3)


def test_a_cnn_is_counted_by_the_same_rules(series):
    net = energy.OfOneLength(cnn.StepNet(2, 3, is_per_step=False, width=1 / 16))
    found = energy.costs_of("CNN", net, 0.5, series)
    # Taps 7, 5 and 3 of which five steps see the middle ones; 4, 8 and 4 filters; three scores.
    seen = {
        taps: sum(
            0 <= t + k < STEPS for t in range(STEPS) for k in range(-(taps // 2), taps // 2 + 1)
        )
        for taps in (7, 5, 3)
    }
    dense = seen[7] * 2 * 4 + seen[5] * 4 * 8 + seen[3] * 8 * 4 + 4 * 3
    assert found.dense == dense
    assert 0 < found.macs < dense  # ReLU makes zeros
    assert found.updates == 0
    values = STEPS * (2 + 4 + 4 + 8 + 8 + 4) + 4 + 3
    assert found.least_words == found.parameters + values


def test_a_net_with_unknown_operations_is_rejected(series):
    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.ones(2, 2))

        def forward(self, x):
            return x @ self.mix

    with pytest.raises(ValueError, match="operations of 0 cannot be counted"):
        energy.costs_of("net", SpikingSequential(Mix()), 0.5, series)


def test_the_energy_on_a_chip_is_that_of_the_valid_steps():
    torch.manual_seed(0)
    net = SpikingSequential(H1v2Synapse(2, 3), H1v2Layer(3, 20e-3))
    long, short = torch.rand(2, STEPS, 2).split(1)
    padded = torch.cat([long, torch.where(torch.arange(STEPS)[:, None] < 2, short, 9)])
    config = SimpleNamespace(chip="h1v2", net=SimpleNamespace(dt=1e-3))

    def energy_of(x, lengths):
        recordings = TwoRecordings(x)
        recordings.lengths = np.array(lengths)
        return energy.chip_power(SimpleNamespace(config=config, test_set=recordings), net)[1]

    alone = [energy_of(long, [STEPS]), energy_of(short[:, :2], [2])]
    assert energy_of(padded, [STEPS, 2]) == pytest.approx(sum(alone) / 2)
