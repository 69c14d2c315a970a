"""NeuroBench's own metrics on nets of ours, against loops over recordings and our counter."""

import importlib
import warnings

import pytest
import torch
from torch import nn

from nwavesdk.interop.neurobench import NWaveModel
from nwavesdk.interop.neurobench_eval import run_harness
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    LILayer,
    NeuronLayer,
    SpikingSequential,
    TemporalConv,
    prepare_net,
)
from nwavesdk.metrics import count_operations
from nwavesdk.net import find_edges
from nwavesdk.presets import NAMES
from nwavesdk.train.fit.network import sample_config

pytestmark = pytest.mark.interop


class OneBatch(list):
    """Pairs of input and target, as a data loader."""

    @property
    def dataset(self):
        return torch.cat([x for x, _ in self])


def measured(net, *batches):
    on_reference(net)
    from neurobench.metrics.static import ConnectionSparsity, Footprint, ParameterCount
    from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations

    static = [Footprint, ParameterCount, ConnectionSparsity]
    workload = [ActivationSparsity, SynapticOperations, MembraneUpdates]
    loader = OneBatch((x, torch.zeros(len(x))) for x in batches)
    return run_harness(NWaveModel(net), loader, [static, workload])


def on_reference(net):
    """The net on the reference solver: no test waits for a kernel."""
    for module in net.modules():
        if isinstance(module, NeuronLayer):
            module.solver = "reference"
    return net


def operations(found):
    names = ("Effective_MACs", "Effective_ACs", "Dense")
    return tuple(found[f"SynapticOperations.{name}"] for name in names)


def own_operations(net, x):
    found = count_operations(net, x)
    return found.effective_macs, found.effective_acs, found.dense


def totals(operations, x):
    """The whole numbers of which these are means over recordings."""
    return [round(mean * len(x)) for mean in operations]


def random_spikes(*shape, density=0.3):
    return (torch.rand(*shape) < density).float()


def test_all_numbers_are_those_of_a_count_by_hand():
    # Two inputs, three recurrent neurons that fire at once, one read-out; three steps.
    net = SpikingSequential(
        LIFSynapse(2, 3), LIFLayer(3, 20e-3, layer_topology="RC"), LIFSynapse(3, 1), LILayer(1)
    )
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([[2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]))
        net[1].recurrent_weights.copy_(torch.tensor([[0.0, 0, 0.1], [0, 0, 0], [0, 0, 0]]))
        net[2].weight.fill_(1)
    x = torch.zeros(1, 3, 2)
    x[0, 0] = torch.tensor([0.5, 0.5])  # 0.5 · 2 is not above the threshold
    x[0, 1, 0] = 0.5  # neurons 0 and 1 fire, at step 1 only
    found = measured(net, x)
    # Input: step 0 has two active inputs, with 2 and 0 weights; step 1 one, with 2.
    # Recurrence: neuron 0 fires at step 1 and has one weight. Read-out: 2 spikes with a weight.
    assert operations(found) == (2 + 0 + 2, 1 + 2, 3 * 6 + 2 * 9 + 3 * 3)
    assert found["ConnectionSparsity"] == round((4 + 8) / (6 + 9 + 3), 4)
    assert found["ActivationSparsity"] == pytest.approx(7 / 9)
    # The first step counts for each neuron. Then the membranes of neurons 0 and 1 change in both
    # steps, that of neuron 2 in the last one, by the recurrent spike, as does the read-out from
    # step 1 on.
    assert found["MembraneUpdates"] == 4 + 2 * 2 + 1 + 2
    constants = sum(b.numel() * b.element_size() for b in net.buffers())
    assert found["Footprint"] == 4 * found["ParameterCount"] + constants
    assert found["ParameterCount"] == sum(p.numel() for p in net.parameters())


OTHERS = {
    "delays": lambda: (
        DelayedSynapse(2, 4, max_delay=5),
        LIFLayer(4, 20e-3, layer_topology="RC", recurrent_delays=2),
    ),
    "convolutions": lambda: (
        nn.Conv1d(2, 3, 3, padding=1, stride=2),
        LIFLayer((3, 4), 20e-3),
        TemporalConv(3, 2, taps=2, kernel=(2,)),
    ),
}


@pytest.mark.parametrize(("kind", "shape"), [("delays", (2, 6, 2)), ("convolutions", (2, 5, 2, 7))])
def test_the_numbers_of_delays_and_convolutions_are_ours(kind, shape):
    net, x = SpikingSequential(*OTHERS[kind]()), 3 * random_spikes(*shape, density=0.6)
    net[0].weight.data.abs_()
    found = operations(measured(net, x))
    assert totals(found, x) == totals(own_operations(net, x), x)
    assert min(found[1:]) > 0


def config_of(name):
    options = {} if name in ("conv", "delay") else {"hidden": [12]}
    config = sample_config(name, (16,), 3, dropout=0.0, **options)
    if config.chip is None:
        return config
    hardware = config.chip.model_copy(update={"training": "hardware"})
    return config.model_copy(update={"chip": hardware})


@pytest.mark.parametrize("name", NAMES)
def test_the_numbers_of_each_preset_are_ours(name):
    page = importlib.import_module(f"nwavesdk.presets.{name}")
    net = on_reference(page.build((16,), 3, config_of(name)))
    # Values, zeros among them; of each net, spikes follow.
    x = torch.relu(2 * torch.randn(3, 12, 16))
    found = measured(net, x)
    ours = count_operations(net, x)
    assert ours.not_counted == ()
    assert ours.activation_sparsity < 1
    assert totals(operations(found), x) == totals(own_operations(net, x), x)
    assert found["ActivationSparsity"] == pytest.approx(ours.activation_sparsity, rel=1e-12)
    assert 0 < found["MembraneUpdates"] <= ours.updates
    weights = [edge.stored_weight() for edge in find_edges(net).edges]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    total = sum(weight.numel() for weight in weights)
    assert found["ConnectionSparsity"] == round(zeros / total, 4)
    assert name != "chip" or zeros  # quantization rounds some to 0


def test_batches_steps_and_new_weights_count_as_they_are():
    class Loop(nn.Module):
        def __init__(self, net):
            super().__init__()
            self.net = net

        def forward(self, x):
            return torch.stack([self.net.step(x[:, t])[0] for t in range(x.shape[1])], 1)

    net = SpikingSequential(TemporalConv(3, 4, taps=2), LIFLayer(4, 20e-3), LIFSynapse(4, 2))
    x = 3 * torch.randn(4, 5, 3)
    whole = measured(net, x)
    assert measured(Loop(net), x) == whole
    assert measured(net, x[:1], x[1:]) == pytest.approx(whole)
    assert measured(SpikingSequential(*net, time_first=True), x) == whole
    net[1](torch.zeros(4, 2, 4))  # a state of another call is not read
    model = NWaveModel(net)
    with torch.no_grad():
        net[2].weight.zero_()
    from neurobench.metrics.static import ConnectionSparsity

    assert ConnectionSparsity()(model) == round(8 / (24 + 8), 4)


def test_what_is_not_counted_is_named():
    class Mix(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Parameter(torch.randn(2, 2))

        def forward(self, x):
            return x @ self.mix

    with pytest.warns(UserWarning, match="operations of 1 cannot be counted"):
        model = NWaveModel(SpikingSequential(LIFSynapse(2, 2), Mix()))
    assert model.not_counted == ["1"]
    with warnings.catch_warnings():
        NWaveModel(SpikingSequential(LIFSynapse(2, 2)))


def test_a_series_goes_on_from_the_state_of_the_batch_before():
    net = SpikingSequential(LIFSynapse(2, 2), LIFLayer(2, 20e-3))
    x = 3 * torch.rand(1, 6, 2)
    whole = NWaveModel(net)(x)
    prepare_net(net)
    model = NWaveModel(net, keep_state=True)
    assert torch.equal(torch.cat([model(x[:, :4]), model(x[:, 4:])], 1), whole)
    assert whole[:, 4:].sum() > 0
    assert not torch.equal(NWaveModel(net)(x[:, 4:]), whole[:, 4:])


def last_membrane(spk, mem):
    assert spk is not mem
    return mem[:, -1]


def test_the_harness_moves_the_net_and_all_images():
    net = SpikingSequential(LIFSynapse(2, 2), LIFLayer(2, 20e-3))
    view = NWaveModel(net).__net__()
    view.to("meta")
    assert {parameter.device.type for parameter in net.parameters()} == {"meta"}
    assert view[0].weight.device.type == "meta"


def test_the_model_is_one_of_neurobench_and_decodes():
    from neurobench.models import NeuroBenchModel

    net = SpikingSequential(LIFSynapse(2, 2), LIFLayer(2, 20e-3))
    model = NWaveModel(net, decode=last_membrane)
    assert isinstance(model, NeuroBenchModel)
    x = torch.ones(1, 4, 2)
    assert torch.equal(model(x), net(x)[1][:, -1])


def test_a_metric_that_fails_is_an_error():
    from neurobench.metrics.workload import NeuronOperations

    net = SpikingSequential(LIFSynapse(2, 2), LIFLayer(2, 20e-3))
    loader = OneBatch([(torch.ones(1, 4, 2), torch.zeros(1))])
    with pytest.raises(RuntimeError, match="NeuroBench: error running .* 'NeuronOperations'"):
        run_harness(NWaveModel(net), loader, [[], [NeuronOperations]])
