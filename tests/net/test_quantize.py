"""`quantize`: exact charges for the nets of all presets, the grids, and what is rejected."""

import copy
import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from layers.nets import run
from nwavesdk.dynamics.neuron import round_decays
from nwavesdk.layers import (
    DelayedSynapse,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    LILayer,
    NeuronLayer,
    SpikingSequential,
    TemporalConv,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.net import (
    Branches,
    Feedback,
    Residual,
    find_edges,
    finish_rounding,
    quantize,
    record,
)
from nwavesdk.net.calls import replaced

lif = partial(LIFLayer, taus=10e-3)
T = 12


class Turned(nn.Module):
    def forward(self, x):
        return x.movedim(-1, 1)


class Doubled(nn.Module):
    def forward(self, x):
        return 2 * x


def trained(net, x):
    """A net with statistics and factors as after training, and biases in all of its norms."""
    with torch.no_grad():
        for _ in range(3):
            prepare_net(net.train())
            net(x)
    for norm in net.modules():
        if isinstance(norm, TimeBatchNorm):
            norm.weight.data *= torch.empty_like(norm.weight).uniform_(0.2, 5)
            norm.bias.data.normal_()
    return net.eval()


def preset(name, inputs, kind=None, task="classification", **options):
    pytest.importorskip("lightning")
    from nwavesdk.train.fit.network import network_of_run, sample_config

    net = network_of_run(sample_config(name, inputs, 5, kind, task=task, **options))
    return getattr(net, "net", net), inputs


def residual():
    body = [LIFSynapse(12, 12, bias=True), lif(12), LIFSynapse(12, 12)]
    return SpikingSequential(
        *(LIFSynapse(6, 12), TimeBatchNorm(12), lif(12)),
        *(Residual(*body, shortcut=nn.Linear(12, 12)), lif(12, layer_topology="RC")),
        *(Residual(LIFSynapse(12, 12), lif(12)), Branches(nn.Identity(), lif(12), join="add")),
        LIFSynapse(12, 3),
    ), (6,)


def images():
    return SpikingSequential(
        *(Turned(), nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), lif((4, 3, 3))),
        *(nn.AvgPool2d(2, 1), nn.Flatten(), DelayedSynapse(16, 7, max_delay=4), lif(7)),
        *(TemporalConv(7, 8, taps=3, groups=1), nn.Dropout(), lif(8), nn.Linear(8, 2)),
        LILayer(2, tau=10e-3),
    ), (8, 8, 3)


NETS = {
    "lif": lambda: preset("lif", (13,)),
    "lif, recurrent": lambda: preset("lif", (13,), recurrent=True),
    "adlif": lambda: preset("adlif", (13,)),
    "recurrent": lambda: preset("recurrent", (13,)),
    "conv, sound": lambda: preset("conv", (20,)),
    "conv, images": lambda: preset("conv", (12, 12, 3), "image"),
    "conv, events": lambda: preset("conv", (2, 20, 20)),
    "conv, values": lambda: preset("conv", (5,), "series", "regression"),
    "conv, detector": lambda: preset("conv", (20,), task="detect"),
    "delay": lambda: preset("delay", (13,)),
    "residual": residual,
    "images": images,
}


def assert_exact_charges(net, x):
    """The charge of each layer and the output are the ones of float64 for the same spikes."""
    prepare_net(net)
    recording = record(net, x, charges=True)
    wide, seen = copy.deepcopy(net).double(), {}

    def replay(name, has_membrane, cur):
        seen[name] = cur
        layer = recording.layers[name]
        return (layer.spk.double(), layer.mem.double()) if has_membrane else layer.spk.double()

    changes = [
        (layer, method, partial(replay, name, method == "forward"))
        for name, layer in wide.named_modules()
        if isinstance(layer, NeuronLayer)
        for method in ("forward", "spikes")
    ]
    prepare_net(wide)
    with replaced(changes):
        output, _ = wide(x.double())
    assert torch.equal(recording.spk.double(), output)
    for name, layer in recording.layers.items():
        assert torch.equal(layer.cur.double(), seen[name])


@pytest.mark.parametrize("name", [*NETS])
@torch.no_grad()
def test_charges_are_exact(name):
    net, inputs = NETS[name]()
    x = torch.randn(3, T, *inputs)
    bits = 4 if len(name) % 2 else 8
    quantized = quantize(trained(net, x), x, weight_bits=bits)
    assert_exact_charges(quantized, x)

    # Other orders of sums: single recordings, single steps, and the loop of torch.
    spk, mem = run(quantized, x)
    for index in range(len(x)):
        prepare_net(quantized)
        for ours, expected in zip(quantized(x[[index]]), (spk[[index]], mem[[index]]), strict=True):
            assert torch.equal(ours, expected)
    prepare_net(quantized)
    assert torch.equal(torch.stack([quantized.step(step)[1] for step in x.unbind(1)], 1), mem)
    for layer in quantized.modules():
        if isinstance(layer, NeuronLayer):
            layer.solver = "reference"
    assert torch.equal(run(quantized, x)[0], spk)

    for edge in edges(quantized):
        columns = edge.to_columns(edge.weight).double()
        whole = columns / power_of_two_in(columns)
        assert float(whole.abs().max()) <= 2 ** (bits - 1) - 1


def power_of_two_in(columns):
    """The largest power of two of which all values of a column are multiples."""
    steps = torch.full(columns.shape[1:], 2.0**10).double()
    while bool((columns % steps).any()):
        steps = torch.where((columns % steps).any(0), steps / 2, steps)
        assert float(steps.min()) > 2.0**-40
    return steps


def test_eight_bits_change_few_spikes_and_the_net_that_was_passed_not_at_all():
    net, inputs = NETS["conv, sound"]()
    x = torch.randn(3, T, *inputs)
    before = copy.deepcopy(trained(net, x).state_dict())
    quantized = quantize(net, x)
    ours, theirs = (record(model, x).layers["3"].spk for model in (quantized, net))
    assert float((ours != theirs).float().mean()) < 0.05
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert [name for name, _ in quantized.named_children()][:3] == ["rounded", "0", "1"]


@torch.no_grad()
def test_weights_count_by_their_input():
    """A large weight of an input that is nearly always 0 does not coarsen the others."""
    net = SpikingSequential(LIFSynapse(50, 3))
    net[0].weight.data[0] = 300.0
    x = torch.randn(2, T, 50).round()
    x[..., 0] = 0
    x[0, 0, 0] = 1e-3
    exact, _ = net(x)
    blind = quantize(net, step=1.0, weight_bits=4)(x)[0] - exact
    rounded = quantize(net, x, weight_bits=4)(x)[0] - exact
    assert float(rounded.norm()) < 0.5 * float(blind.norm())


@torch.no_grad()
def test_a_sum_that_could_be_inexact_gets_a_larger_step():
    net = SpikingSequential(nn.Linear(4000, 2), lif(2))
    net[0].weight.data.fill_(1.0)
    net[0].weight.data[1] *= 2.0**-30
    net[0].bias.data[:] = torch.tensor([0.3, 1.0])
    quantized = quantize(net, step=1.0)
    weight = quantized[1].weight
    assert float(weight[0, 0]) == 1.0
    assert float(weight[1].abs().max()) < 2.0**-23  # the bias needs most of the digits
    assert float(quantized[1].bias[1]) == 1.0
    assert_exact_charges(quantized, 1000 * torch.randn(2, T, 4000))


def test_a_net_that_trains_keeps_its_grids():
    net, inputs = residual()
    net.append(lif(3)).append(DelayedSynapse(3, 2, max_delay=3))
    x = torch.randn(3, T, *inputs)
    training = quantize(trained(net, x), x, weight_bits=4, trains=True)
    grids = {edge.name: edge.module.parametrizations[edge.key][0].steps for edge in edges(training)}
    initial = {edge.name: edge.weight.detach().clone() for edge in edges(training)}
    for ours, expected in zip(
        edges(quantize(net, x, weight_bits=4)), initial.values(), strict=True
    ):
        assert torch.equal(ours.weight, expected)

    optimizer = torch.optim.Adam(training.parameters(), 0.1)
    for _ in range(3):
        prepare_net(training.train())
        optimizer.zero_grad()
        (training(x)[0] - 1).square().mean().backward()
        optimizer.step()
    prepare_net(training.eval())
    outputs = training(x)[0]

    finished = finish_rounding(training)
    assert not any(parametrize.is_parametrized(module) for module in finished.modules())
    for edge in edges(finished):
        whole = edge.weight / grids[edge.name]
        assert torch.equal(whole, whole.round().clamp(-7, 7))
        assert not torch.equal(edge.weight, initial[edge.name])
    delays = finished[-1].delays
    assert torch.equal(delays, net[-1].delays.round())
    assert torch.equal(run(finished, x)[0], outputs)
    assert_exact_charges(finished, x)
    with pytest.raises(ValueError, match=r"finish_rounding: 0.weight is not rounded"):
        finish_rounding(finished)


def edges(net):
    return find_edges(net).edges


chain = SpikingSequential
REJECTED = {
    "a norm": (
        lambda: chain(LIFSynapse(4, 4), nn.LayerNorm(4), lif(4)),
        "LayerNorm '1' cannot be folded into weights: LayerNorm normalizes by the values",
    ),
    "a pool": (
        lambda: chain(nn.Unflatten(1, (1, 2, 2)), nn.AvgPool2d((1, 3), 1), nn.Flatten()),
        "AvgPool2d '1' divides by numbers that are not a power of two, got windows of 3 values",
    ),
    "feedback": (
        lambda: chain(Feedback(LIFSynapse(4, 4), lif(4))),
        "Feedback '0' has values of its own, and it is not known what it computes",
    ),
    "a chip": (lambda: chain(H1v2Synapse(4, 4), lif(4)), "H1v2Synapse '0' is of a chip"),
    "two synapses": (
        lambda: chain(LIFSynapse(4, 4), LIFSynapse(4, 4)),
        "LIFSynapse '1' gets charges, expected spikes: put a neuron layer before it",
    ),
    "a read-out within": (
        lambda: chain(LIFSynapse(4, 4), LILayer(4, tau=10e-3), LIFSynapse(4, 4)),
        "LIFSynapse '2' gets the membranes of a read-out, which are on no grid",
    ),
    "charges side by side": (
        lambda: chain(Branches(LIFSynapse(4, 2), LIFSynapse(4, 2)), lif(4)),
        "Branches '0' joins charges or membranes, expected spikes",
    ),
    "a charge for two layers": (
        lambda: chain(LIFSynapse(4, 4), Branches(lif(4), lif(4)), LIFSynapse(8, 2)),
        "LIFSynapse '0' drives 2 layers, expected one: its weights have one grid",
    ),
    "other channels": (
        lambda: chain(
            nn.Unflatten(1, (2, 2)),
            TemporalConv(2, 3, 1, kernel=1),
            lif((3, 2), layer_topology="RC"),
        ),
        r"1.weight, 2.recurrent_weights add up, and their numbers of channels differ, got 3, 6",
    ),
    "a module twice": (
        lambda: (lambda layer: chain(LIFSynapse(4, 4), layer, LIFSynapse(4, 4), layer))(lif(4)),
        "LIFLayer '3' is used at two places",
    ),
    "a pruned weight": (
        lambda: chain(prune.random_unstructured(LIFSynapse(4, 4), "weight", 0.5), lif(4)),
        "the weight of LIFSynapse '0' is pruned or parametrized: call prune.remove",
    ),
    "a module that computes": (
        lambda: chain(Doubled(), LIFSynapse(4, 4)),
        "Doubled returns other values than it gets, which are on no grid",
    ),
    "values of its own": (
        lambda: chain(nn.PReLU(), LIFSynapse(4, 4)),
        "PReLU '0' has values of its own",
    ),
    "a quantized net": (
        lambda: quantize(chain(LIFSynapse(4, 4)), step=1.0),
        "the net is quantized already: pass the net before",
    ),
}


@pytest.mark.parametrize("case", [*REJECTED])
def test_what_has_no_grid_is_rejected_by_name(case):
    build, words = REJECTED[case]
    with pytest.raises(ValueError, match=words):
        quantize(build(), torch.randn(2, T, 4))


@pytest.mark.parametrize(
    ("error", "arguments", "words"),
    [
        (TypeError, {"net": nn.Linear(4, 4)}, "takes a SpikingSequential, got Linear"),
        (TypeError, {"inputs": None}, "quantize takes a tensor, got NoneType"),
        (ValueError, {"weight_bits": 3}, "weight_bits must be a whole number from 4 to 8, got 3"),
        (ValueError, {"step": 0.3}, "step must be a power of two"),
        (ValueError, {"inputs": torch.full((1, 2, 4), math.nan)}, "inputs must be finite"),
    ],
)
def test_wrong_arguments_are_rejected(error, arguments, words):
    with pytest.raises(error, match=words):
        quantize(**{"net": chain(LIFSynapse(4, 4)), "inputs": torch.ones(1, 2, 4), **arguments})


@pytest.mark.filterwarnings("ignore:.*is longer than 1,000 steps")
@pytest.mark.parametrize(("slowest", "bits"), [(20e-3, 8), (0.5, 16), (30.0, None)])
def test_decays_are_on_a_grid_that_keeps_leaks(slowest, bits):
    net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, torch.tensor([5e-3, slowest]), dt=1e-3))
    exact, rounded = net[1].constants()[0], quantize(net, step=0.5)[2].constants()[0]
    assert torch.equal(exact, rounded) == (bits is None)
    assert ((rounded - exact).abs() <= 0.05 * (1 - exact)).all()
    if bits is not None:
        assert torch.equal(rounded * 2**bits, (rounded * 2**bits).round())


def test_rounded_decays_have_a_gradient_of_one():
    decays = torch.tensor([0.3, 0.9], dtype=torch.float64, requires_grad=True)
    round_decays(decays).sum().backward()
    assert torch.equal(decays.grad, torch.ones_like(decays))
