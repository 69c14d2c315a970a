"""A scan gives what whole passes under autograd give, for each surrogate by itself."""

import copy

import numpy as np
import pytest
import torch

from nwavesdk.analysis import scan_slopes
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import (
    Dropout,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    NeuronLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from tolerances import GRADIENT, assert_close

B, T, N = 3, 40, 6
CANDIDATES = {
    "steep": fast_sigmoid(50),
    "gentle": fast_sigmoid(2),
    "atan": atan(3),
    "sigmoid": sigmoid(8),
    "own": custom(lambda z: torch.exp(-z * z)),
    "mixed": [fast_sigmoid(5), atan(2), sigmoid(4)],
}


def lif(detach_reset, reset="subtraction", topology="FF", **options):
    own = {
        "reset_mechanism": reset,
        "layer_topology": topology,
        "detach_reset": detach_reset,
        "spike_grad": atan(1.5),
    }
    layers = [LIFLayer(n, taus=8e-3, **own, **options) for n in (12, 9, 5)]
    return SpikingSequential(
        LIFSynapse(N, 12, bias=True), layers[0], Dropout(0.3), SpikingSequential(LIFSynapse(12, 9), layers[1]),
        torch.nn.Linear(9, 5, bias=False), layers[2],
    )  # fmt: skip


def chip(version, detach_reset, topology="FF"):
    layer = {1: H1v1Layer, 2: H1v2Layer}[version]
    weights = {"quantization_bits": 5} | ({"stddev": 0.05} if version == 1 else {})
    synapse = {1: H1v1Synapse, 2: H1v2Synapse}[version]
    own = {"ileak_mismatch": True, "detach_reset": detach_reset, "layer_topology": topology}
    own |= {"quantization_bits": 5} if topology == "RC" else {}
    first = H1v1Frontend(N, init=0.6) if version == 1 else synapse(N, N, **weights)
    return SpikingSequential(
        first, layer(N, 10e-3, **own), synapse(N, 9, **weights), layer(9, 10e-3, **own), synapse(9, 5, **weights),
        layer(5, 10e-3, **own),
    )  # fmt: skip


NETS = {
    f"{name} {'detached' if detached else 'full'}": (make, detached)
    for detached in (True, False)
    for name, make in {
        "subtraction": lambda d: lif(d),
        "zero": lambda d: lif(d, "zero"),
        "none": lambda d: lif(d, "none"),
        "recurrent": lambda d: lif(d, topology="RC"),
        "reference": lambda d: lif(d, solver="reference"),
        "comPaSSo": lambda d: lif(d, solver="compasso", compasso_spike_grad="layer"),
        "bfloat16": lambda d: lif(d, saved_dtype="bfloat16"),
        "h1v1": lambda d: chip(1, d),
        "h1v2": lambda d: chip(2, d),
        "h1v2 recurrent": lambda d: chip(2, d, "RC"),
    }.items()
}


def loss_fn(spk, mem):
    ramp = torch.linspace(-1, 1, spk.numel(), dtype=spk.dtype).reshape(spk.shape)
    return (spk * ramp).sum() + (mem * ramp.flip(1)).pow(2).sum()


def charge_of(net, names):
    """The module whose output is the charge of each layer: the one before it."""
    rows = list(net.named_modules())
    rows = [(name, m) for name, m in rows if not isinstance(m, SpikingSequential) and name]
    return [rows[[n for n, _ in rows].index(name) - 1][1] for name in names]


def whole_pass(net, x, chosen, seed):
    """∂L/∂ charges by layer and ∂L/∂ parameters by name, from one pass under autograd."""
    net = copy.deepcopy(net)
    layers = [(name, m) for name, m in net.named_modules() if isinstance(m, NeuronLayer)]
    for (_, layer), surrogate in zip(layers, chosen, strict=True):
        layer.spike_grad = surrogate
    charges = []

    def keep(_module, _inputs, output):
        output.retain_grad()
        charges.append(output)

    for module in charge_of(net, [name for name, _ in layers]):
        module.register_forward_hook(keep)
    prepare_net(net, seed=seed)
    loss_fn(*net(x)).backward()
    return [c.grad.reshape(B, T, -1) for c in charges], {
        n: p.grad for n, p in net.named_parameters()
    }


@pytest.fixture(params=NETS)
def net(request):
    torch.manual_seed(5)
    make, detached = NETS[request.param]
    return make(detached).double().eval()


@pytest.fixture
def x():
    torch.manual_seed(6)
    return 1.5 * torch.rand(B, T, N, dtype=torch.float64)


def test_gradients_are_those_of_whole_passes(net, x):
    recorded = RecordedPass(net, x, loss_fn, seed=4, weights=True)
    assert all(record.spk.sum() for record in recorded.records), "a silent layer tests nothing"
    for one in CANDIDATES.values():
        chosen = one if isinstance(one, list) else [one] * 3
        charges, parameters = whole_pass(net, x, chosen, seed=4)
        learned = {}
        for gradient in recorded.gradients(chosen):
            assert_close(
                gradient.charge,
                charges[gradient.index],
                GRADIENT,
                f"charge of layer {gradient.index}",
            )
            learned |= gradient.weights
        expected = {name for name in parameters if "weight" in name or "bias" in name}
        assert learned.keys() == expected
        for name in expected:
            assert_close(learned[name], parameters[name], GRADIENT, name)


def test_the_numbers_of_a_scan(net, x):
    scan = scan_slopes(net, x, loss_fn, CANDIDATES, seed=4, weights=True, floor=0.3)
    assert scan.candidates == tuple(CANDIDATES)
    assert len(scan.layers) == 3
    for row, chosen in enumerate(scan.surrogates):
        charges, parameters = whole_pass(net, x, chosen, seed=4)
        received = [c.abs().sum((0, 1)) for c in charges]
        for layer, charge in enumerate(charges):
            assert scan.norm[row, layer] == pytest.approx(float(charge.norm()), rel=1e-10)
            by_time = charge.pow(2).sum((0, 2)).sqrt().numpy()
            np.testing.assert_allclose(scan.by_time[row, layer], by_time, rtol=1e-9, atol=1e-12)
            share = (received[layer] >= 0.3 * received[-1].mean()).double().mean()
            assert scan.usable[row, layer] == pytest.approx(float(share))
        assert scan.ratio[row] == pytest.approx(float(charges[0].norm() / charges[-1].norm()))
        assert scan.transfer[row, 1] == pytest.approx(float(charges[1].norm() / charges[2].norm()))
        for name, norms in scan.weight_norm.items():
            assert norms[row] == pytest.approx(float(parameters[name].norm()), rel=1e-9)


def test_the_net_stays_as_it_is(x):
    net = lif(True).double()
    before = copy.deepcopy(net.state_dict())
    generator = torch.get_rng_state()
    scan_slopes(net, x, loss_fn, CANDIDATES)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(
        m.state is None and not m.times_prepared
        for m in net.modules()
        if isinstance(m, NeuronLayer)
    )
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    assert net.training
    net.eval()
    torch.set_rng_state(generator)
    scan_slopes(net, x, loss_fn, CANDIDATES)
    assert torch.equal(torch.get_rng_state(), generator), (
        "without dropout and mismatch nothing is drawn"
    )


def test_layers_with_nothing_between_them(x):
    """What reaches the lower one is then the very tensor that was measured in the upper one."""
    net = SpikingSequential(
        LIFSynapse(N, 5), LIFLayer(5, 8e-3), torch.nn.Identity(), LIFLayer(5, 8e-3)
    ).double()
    scan = scan_slopes(net, x, loss_fn, [fast_sigmoid(4)], weights=True)
    for layer in (net[1], net[3]):
        layer.spike_grad = fast_sigmoid(4)
    prepare_net(net)
    loss_fn(*net(x)).backward()
    assert scan.weight_norm["0.weight"][0] == pytest.approx(
        float(net[0].weight.grad.norm()), rel=1e-10
    )


def test_norms_below_what_float32_can_square():
    torch.manual_seed(0)
    net = lif(True)
    x = torch.rand(B, T, N)
    plain = scan_slopes(net.eval(), x, loss_fn, [atan(2)])
    for scale in (1e-28, 1e-22, 1e-20, 1e18):
        scaled = scan_slopes(
            net, x, lambda spk, mem, scale=scale: scale * loss_fn(spk, mem), [atan(2)]
        )
        np.testing.assert_allclose(scaled.norm / scale, plain.norm, rtol=1e-4)


@pytest.mark.parametrize(
    ("surrogates", "words"),
    [
        ([], "no candidate"),
        ([atan(2), atan(2)], "two candidates 'atan\\(alpha=2\\)'"),
        ([[atan(2)] * 2], "has 2 surrogates, the net has 3"),
    ],
)
def test_candidates_that_do_not_fit(surrogates, words, x):
    with pytest.raises(ValueError, match=words):
        scan_slopes(lif(True).double().eval(), x, loss_fn, surrogates)


def test_what_cannot_be_scanned(x):
    net = lif(True).double().eval()
    with pytest.raises(TypeError, match=r"got 'relu' in"):
        scan_slopes(net, x, loss_fn, {"a": ["relu"] * 3})
    with pytest.raises(TypeError, match="SpikingSequential, got Sequential"):
        scan_slopes(torch.nn.Sequential(*net), x, loss_fn)
    with pytest.raises(
        ValueError, match=r"sequences \[B, T, \*features\], got an input of shape \[40, 6\]"
    ):
        scan_slopes(net, x[0], loss_fn)
    with pytest.raises(ValueError, match="no neuron layer"):
        scan_slopes(SpikingSequential(LIFSynapse(N, 3)).double(), x, loss_fn)
    with pytest.raises(ValueError, match="depends on what the net returns"):
        scan_slopes(net, x, lambda *_: torch.zeros(()))
