"""Each mistake has an error of its own, told by its words."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from layers.nets import LAYERS, drive
from nwavesdk.layers import (
    Dropout,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    detach_state,
    prepare_net,
)

WRONG = [
    (lambda: Dropout(1.0), r"Dropout: p must be a finite number of at least 0 and below 1, got 1.0"),
    (lambda: Dropout("much"), r"Dropout: p must be .* got 'much'"),
    (lambda: LIFLayer(0, 20e-3), r"LIFLayer: n_neurons must be a whole number of at least 1, got 0"),
    (lambda: LIFLayer(2.5, 20e-3), r"n_neurons must be a whole number of at least 1, got 2.5"),
    (lambda: LIFLayer((), 20e-3), r"n_neurons must be a whole number or a shape"),
    (lambda: LIFLayer((3, -1), 20e-3), r"n_neurons must be a whole number of at least 1, got -1"),
    (lambda: LIFLayer(3, 0.0), r"LIFLayer: taus must be finite and above 0 \[s\], got 0.0"),
    (
        lambda: LIFLayer(3, [1e-3, -2e-3, 1e-3]),
        r"taus must be finite and above 0 \[s\], got -0.002",
    ),
    (lambda: LIFLayer(3, math.nan), r"taus must be finite and above 0 \[s\], got nan"),
    (lambda: LIFLayer(3, "slow"), r"taus must be a number or one per neuron \[s\], got 'slow'"),
    (
        lambda: LIFLayer(3, [1e-3, 2e-3]),
        r"taus must be one number or have the shape \[3\] .* got the shape \[2\]",
    ),
    (
        lambda: LIFLayer(3, 20e-3, math.nan),
        r"thresholds must be finite and above 0 \[membrane\], got nan",
    ),
    (
        lambda: LIFLayer(3, 20e-3, -1.0),
        r"thresholds must be finite and above 0 \[membrane\], got -1.0",
    ),
    (lambda: LIFLayer(3, 20e-3, dt=0), r"dt must be a finite number above 0 \[s\], got 0"),
    (lambda: LIFLayer(3, 20e-3, dt=-1e-3), r"dt must be a finite number above 0 \[s\], got -0.001"),
    (lambda: LIFLayer(3, 20e-3, dt=math.nan), r"dt must be a finite number above 0 \[s\], got nan"),
    (
        lambda: LIFLayer(3, 20e-3, reset_mechanism="hard"),
        r"reset_mechanism must be one of 'none', 'subtraction', 'zero', got 'hard'",
    ),
    (
        lambda: LIFLayer(3, 20e-3, layer_topology="ALL"),
        r"layer_topology must be one of 'FF', 'RC', got 'ALL'",
    ),
    (lambda: LIFLayer(3, 20e-3, device="cuda"), r"device must be one of 'cpu', 'gpu', got 'cuda'"),
    (lambda: LIFLayer(3, 20e-3, solver="fast"), r"solver must be one of 'auto', .* got 'fast'"),
    (
        lambda: LIFLayer(3, 20e-3, compasso_spike_grad="own"),
        r"must be one of 'fixed', 'layer', got 'own'",
    ),
    (
        lambda: LIFLayer(3, 20e-3, saved_dtype="full"),
        r"""saved_dtype must be None or "bfloat16", got 'full'""",
    ),
    (
        lambda: HWLayer(3, 20e-3, saved_dtype=torch.bfloat16),
        r"""saved_dtype must be None or "bfloat16", got torch.bfloat16""",
    ),
    (
        lambda: LIFLayer(3, 20e-3, layer_topology="RC", device="gpu"),
        r'comPaSSo runs feed-forward layers only, got layer_topology="RC": use device="cpu"',
    ),
    (lambda: HWLayer(3, -1), r"H1v1Layer: taus must be finite and above 0"),
    (
        lambda: HWSynapse(3, 4, quantization_bits=1),
        r"quantization_bits must be a whole number from 2 to 8, got 1",
    ),
    (lambda: HWSynapse(3, 4, quantization_bits=9), r"whole number from 2 to 8, got 9"),
    (lambda: HWSynapse(3, 4, stddev=-0.1), r"H1v1Synapse: stddev must be a finite number above 0"),
    (lambda: LIFSynapse(0, 4), r"LIFSynapse: nb_inputs must be a whole number of at least 1, got 0"),
    (
        lambda: H1v2Synapse(3, True),
        r"H1v2Synapse: nb_outputs must be a whole number of at least 1, got True",
    ),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words[:50] for _, words in WRONG])
def test_constructor(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("kind", LAYERS)
def test_forgotten_prepare_net(kind):
    with pytest.raises(
        RuntimeError, match=r"is not prepared: call prepare_net\(model\) before the first batch"
    ):
        LAYERS[kind](3)(drive(2, 5, 3))


@pytest.mark.parametrize("kind", LAYERS)
def test_changed_batch_size_loses_nothing(kind):
    layer = LAYERS[kind](3)
    prepare_net(layer)
    layer(drive(32, 5, 3))
    before = layer.state["v"]
    with pytest.raises(
        RuntimeError,
        match=r"has state for a batch of 32, the input has 64: call prepare_net\(model\) before a new batch",
    ):
        layer(drive(64, 5, 3))
    assert layer.state["v"] is before or torch.equal(layer.state["v"], before)
    layer(drive(32, 5, 3))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 7, 5), (2, 3, 4, 3), ()])
def test_wrong_width(kind, shape):
    layer = LAYERS[kind](3)
    prepare_net(layer)
    with pytest.raises(
        ValueError,
        match=r"takes \[3\], \[B, 3\] \(one step\) or \[B, T, 3\] \(a sequence\), got an input",
    ):
        layer(torch.zeros(shape))


def test_wrong_width_of_a_synapse_names_its_sizes():
    with pytest.raises(
        ValueError, match=r"LIFSynapse\(3, 4\) takes \[3\].* got an input of shape \[2, 4\]"
    ):
        LIFSynapse(3, 4)(torch.zeros(2, 4))


def test_inputs_that_are_not_floating():
    layer = LIFLayer(3, 20e-3)
    prepare_net(layer)
    with pytest.raises(
        TypeError, match=r"LIFLayer takes a floating input, got torch.int64: convert it"
    ):
        layer(torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(
        TypeError, match=r"LIFSynapse\(3, 4\) takes a floating input, got torch.bool"
    ):
        LIFSynapse(3, 4)(torch.ones(2, 3, dtype=torch.bool))


def test_not_a_module():
    for function in (prepare_net, detach_state):
        with pytest.raises(TypeError, match=rf"{function.__name__} takes a torch module, got list"):
            function([LIFLayer(3, 20e-3)])


def test_effective_weights_missing_or_stale():
    net = SpikingSequential(HWSynapse(3, 4), HWLayer(4, 20e-3, layer_topology="RC"))
    x = drive(2, 6, 3)
    with pytest.raises(
        RuntimeError, match=r"H1v1Synapse has no effective weights yet: call prepare_net"
    ):
        net(x)
    prepare_net(net)
    net(x)[1].sum().backward()
    torch.optim.SGD(net.parameters(), 0.1).step()
    with pytest.raises(
        RuntimeError, match=r"H1v1Synapse: the weights have changed since prepare_net .* are stale"
    ):
        net(x)
    prepare_net(net, keep_state=True)
    net(x)


@pytest.mark.parametrize(("key", "name"), [("log_taus", "taus"), ("thresholds", "thresholds")])
def test_constants_that_training_made_useless(key, name):
    layer = LIFLayer(3, 20e-3, learn_taus=True, learn_thresholds=True)
    getattr(layer, key).data.fill_(math.nan)
    with pytest.raises(RuntimeError, match=f"{name} are not finite: training diverged"):
        prepare_net(layer)


def test_constants_that_a_checkpoint_made_useless():
    layer = LIFLayer(3, 20e-3)
    layer.load_state_dict(
        {key: torch.full_like(value, math.nan) for key, value in layer.state_dict().items()}
    )
    with pytest.raises(RuntimeError, match="taus are not finite"):
        prepare_net(layer)


def test_learned_thresholds_that_fell_to_zero():
    layer = LIFLayer(3, 20e-3, learn_thresholds=True)
    layer.thresholds.data.fill_(-0.5)
    with pytest.raises(RuntimeError, match="thresholds must stay above 0, got -0.5"):
        prepare_net(layer)


def test_weights_that_are_not_finite():
    synapse = HWSynapse(3, 4, quantization_bits=4)
    synapse.weight.data[0, 0] = math.nan
    with pytest.raises(
        RuntimeError, match="H1v1Synapse: weights are not finite: training diverged"
    ):
        prepare_net(synapse)


def test_prepare_net_that_fails_has_changed_nothing():
    net = SpikingSequential(LIFLayer(3, 20e-3), LIFLayer(3, 20e-3, learn_taus=True))
    prepare_net(net)
    net(drive(2, 5, 3))
    before = net[0].state["v"].clone()
    net[1].log_taus.data.fill_(math.nan)
    with pytest.raises(RuntimeError, match="taus are not finite"):
        prepare_net(net)
    assert torch.equal(net[0].state["v"], before)


def test_a_net_that_fails_half_way_has_changed_nothing():
    net = SpikingSequential(
        LIFSynapse(3, 4), LIFLayer(4, 20e-3), HWSynapse(4, 2), HWLayer(2, 20e-3)
    )
    prepare_net(net)
    net(drive(2, 5, 3))
    before = net[1].state["v"].clone()
    with torch.no_grad():
        net[2].weight.mul_(0.5)
    with pytest.raises(RuntimeError, match="are stale"):
        net(drive(2, 5, 3))
    assert torch.equal(net[1].state["v"], before)


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW])
def test_fused_optimizers_make_weights_stale_too(optimizer):
    synapse = HWSynapse(3, 4)
    prepare_net(synapse)
    synapse(torch.ones(2, 3)).sum().backward()
    optimizer(synapse.parameters(), 0.1, fused=True).step()
    with pytest.raises(RuntimeError, match="are stale"):
        synapse(torch.ones(2, 3))


def test_containers_that_hide_layers_from_a_net():
    net = SpikingSequential(nn.Sequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3)))
    prepare_net(net)
    with pytest.raises(
        TypeError,
        match="hands batch and time as one to Sequential.* use SpikingSequential there too",
    ):
        net(drive(2, 5, 3))
    with pytest.raises(TypeError, match="GRU in a SpikingSequential must give a tensor, got tuple"):
        SpikingSequential(nn.GRU(3, 4))(drive(2, 5, 3))


def test_inputs_that_are_no_tensors_or_of_another_dtype():
    layer = LIFLayer(3, 20e-3)
    prepare_net(layer)
    with pytest.raises(
        TypeError, match=r"LIFLayer takes a tensor, got tuple: take the spikes of \(spk, mem\)"
    ):
        layer(layer(drive(2, 5, 3)))
    with pytest.raises(TypeError, match="LIFLayer takes a tensor, got list"):
        layer([0.0, 1.0, 2.0])
    with pytest.raises(TypeError, match=r"got torch.float8_e5m2: convert it, as in x.float\(\)"):
        layer(torch.zeros(2, 3, dtype=torch.float8_e5m2))
    with pytest.raises(
        TypeError, match=r"has weights of torch.float32 and got an input of torch.float64"
    ):
        LIFSynapse(3, 4)(drive(2, 3, dtype=torch.float64))


@pytest.mark.parametrize("n", [np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_other_libraries_are_taken(n):
    assert LIFLayer(n, 20e-3).features == (3,)
    assert LIFSynapse(n, 4).weight.shape == (3, 4)


def test_numbers_in_disguise_are_refused():
    for make in (
        lambda: LIFLayer(3, True),
        lambda: LIFLayer(3, 20e-3, dt="0.001"),
        lambda: HWSynapse(3, 4, stddev=True),
        lambda: HWSynapse(3, 4, stddev=torch.ones(2)),
    ):
        with pytest.raises(ValueError, match=r"must be a (finite )?number"):
            make()


def test_loading_in_the_middle_of_a_sequence_and_going_back_tells_the_remedy():
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, learn_thresholds=True))
    prepare_net(net)
    net(drive(2, 5, 3))
    net.load_state_dict({key: value.clone() for key, value in net.state_dict().items()})
    with pytest.raises(RuntimeError, match=r"has been modified since .*detach_state\(model\)"):
        net(drive(2, 5, 3))[1].sum().backward()


class Soft(nn.Module):
    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(5.0))

    def forward(self, z):
        return torch.sigmoid(self.slope * z)


@pytest.mark.parametrize(
    "wrap", [lambda f: f, partial, lambda f: lambda z: f(z), lambda f: f.forward]
)
def test_learnable_surrogate_trains_on_the_reference_and_is_refused_elsewhere(wrap):
    module = Soft()
    soft, given = module, wrap(module)
    layer = LIFLayer(3, 20e-3, spike_grad=given)
    assert set(layer.state_dict()) == {"log_taus", "thresholds"}
    prepare_net(layer)
    layer(drive(2, 20, 3))[0].sum().backward()
    assert soft.slope.grad.abs() > 0
    forced = LIFLayer(3, 20e-3, spike_grad=given, solver="serial")
    prepare_net(forced)
    with pytest.raises(
        RuntimeError, match='only the reference solver can do.*set solver="reference"'
    ):
        forced(drive(2, 20, 3))
    soft.slope.requires_grad_(False)
    forced(drive(2, 20, 3))


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_a_surrogate_without_gradient_is_refused_on_every_solver(solver):
    layer = LIFLayer(3, 20e-3, spike_grad=lambda z: (z > 0).float(), solver=solver)
    prepare_net(layer)
    with pytest.raises(ValueError, match="has no gradient with respect to z"):
        layer(drive(2, 5, 3).requires_grad_())


def test_dropout_asks_for_prepare_net():
    drop = Dropout(0.5)
    with pytest.raises(RuntimeError, match=r"Dropout is not prepared: call prepare_net"):
        drop(torch.ones(2, 3, 4))
    prepare_net(drop)
    drop(torch.ones(2, 3, 4))
    with pytest.raises(TypeError, match=r"Dropout takes a floating tensor, got torch.int64"):
        drop(torch.ones(2, 3, 4, dtype=torch.int64))
    with pytest.raises(
        RuntimeError, match=r"a mask for steps of shape \[2, 4\], got one of \[5, 4\]"
    ):
        drop(torch.ones(5, 3, 4))
