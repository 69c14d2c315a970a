"""What every neuron layer promises: its equation, shapes, solvers, precision and surrogates."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch import nn

from layers.nets import CLAMPED, LAYERS, RECURRENT_KINDS, RESET, TAUS, drive, run
from layers.pages import AdaptiveLayer
from nwavesdk.layers import (
    HWLayer,
    LIFLayer,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from oracle import simulate
from tolerances import GRADIENT, assert_all_close, assert_close


@pytest.mark.parametrize(
    ("topology", "solver"),
    [*itertools.product(["FF", "RC"], ["serial", "reference"]), ("FF", "compasso")],
)
def test_a_layer_equals_the_numpy_oracle(kind, topology, solver):
    layer = LAYERS[kind](6, solver=solver, layer_topology=topology)
    x = drive(3, 60, 6, dtype=torch.float64)
    prepare_net(layer)
    record = layer.record(x)
    weights = layer.effective_recurrent_weights()
    recurrent = None if weights is None else weights.detach().double().numpy()
    taus = 15.9e-3 if kind == "h1v2" else TAUS  # the nearest one of H1v2's
    theta, clamp = layer.thresholds.numpy(), kind in CLAMPED
    S, U, V = simulate(x.numpy(), taus, 1e-3, theta, RESET[kind], clamp=clamp, recurrent=recurrent)
    assert 0 < S.mean() < 1
    assert torch.equal(record.spk, torch.from_numpy(S))
    torch.testing.assert_close(record.u.detach(), torch.from_numpy(U), rtol=0, atol=1e-12)
    torch.testing.assert_close(record.mem.detach(), torch.from_numpy(V), rtol=0, atol=1e-12)


def test_one_vector_is_a_batch_of_one(kind):
    layer = LAYERS[kind](4)
    spk, mem = run(layer, torch.tensor([0.5, 2.0, -1.0, 0.0]))
    assert spk.shape == mem.shape == (1, 4)
    assert spk.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_shaped_neurons_are_the_same_neurons(kind):
    taus = torch.linspace(5e-3, 30e-3, 24)
    flat, shaped = LAYERS[kind](24), LAYERS[kind]((2, 3, 4))
    for layer, shape in ((flat, (24,)), (shaped, (2, 3, 4))):
        layer.log_taus = taus.log().reshape(shape)
    x = drive(2, 7, 2, 3, 4)
    spk, mem = run(flat, x.flatten(2))
    spk2, mem2 = run(shaped, x)
    assert torch.equal(spk.reshape(x.shape), spk2)
    assert torch.equal(mem.reshape(x.shape), mem2)
    assert run(shaped, x[0, 0])[0].shape == (1, 2, 3, 4)
    assert run(shaped, x[:, 0])[0].shape == (2, 2, 3, 4)
    assert shaped.state["v"].shape == (2, 2, 3, 4)


@pytest.mark.parametrize(
    ("solver", "also_backward"), [("serial", False), ("serial", True), ("reference", False)]
)
@pytest.mark.parametrize("kind", RECURRENT_KINDS)
def test_autocast_changes_neither_outputs_nor_recurrent_gradients(kind, solver, also_backward):
    results = []
    for enabled in (False, True):
        torch.manual_seed(4)
        layer, x = LAYERS[kind](6, solver=solver, layer_topology="RC"), drive(2, 40, 6)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            spk, mem = run(layer, x)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled and also_backward):
            spk.sum().backward()
        results.append((spk, mem, layer.recurrent_weights.grad))
    assert all(map(torch.equal, *results))


TRIANGLE = custom(lambda z: torch.relu(1 - z.abs()))
# All surrogates with one kind of layer, and one other surrogate with each other kind.
SURROGATES = {
    "lif_subtraction": [fast_sigmoid(5.0), atan(), sigmoid(), TRIANGLE],
    "lif_zero": [atan()],
    "lif_none": [sigmoid()],
    "h1v1": [TRIANGLE],
    "h1v2": [atan()],
}


def test_surrogates_change_gradients_and_never_spikes(kind):
    x = drive(2, 40, 6)
    spikes, grads = [], []
    for surrogate in (None, *SURROGATES[kind]):
        layer, leaf = LAYERS[kind](6, spike_grad=surrogate), x.clone().requires_grad_()
        spk, _ = run(layer, leaf)
        spk.sum().backward()
        spikes.append(spk)
        grads.append(leaf.grad)
    assert all(torch.equal(s, spikes[0]) for s in spikes)
    for i, a in enumerate(grads):
        assert all(not torch.allclose(a, b) for b in grads[:i])


def test_the_default_surrogate_is_the_documented_baseline():
    assert LIFLayer(3, 20e-3).spike_grad == HWLayer(3, 20e-3).spike_grad == fast_sigmoid(25.0)


def test_a_foreign_surrogate_gives_its_gradient_on_every_solver(kind, solver):
    """The foreign surrogate is a fast sigmoid of slope 25 that fires at z >= 0."""

    class Foreign(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            ctx.save_for_backward(z)
            return (z >= 0).float()

        @staticmethod
        def backward(ctx, grad):
            (z,) = ctx.saved_tensors
            return grad / (25 * z.abs() + 1) ** 2

    x, results = drive(2, 40, 6), []
    x[0, 0] = 1.0  # exactly on the threshold: the foreign surrogate fires, ours does not
    for surrogate in (lambda z: Foreign.apply(z), fast_sigmoid()):
        layer, leaf = (
            LAYERS[kind](6, spike_grad=surrogate, solver=solver),
            x.clone().requires_grad_(),
        )
        spk, _ = run(layer, leaf)
        spk.sum().backward()
        results.append((spk, leaf.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert not results[0][0][0, 0].any()
    assert_close(results[0][1], results[1][1], GRADIENT, "gradient")


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
    soft = Soft()
    given = wrap(soft)
    layer = LIFLayer(3, 20e-3, spike_grad=given)
    assert set(layer.state_dict()) == {"log_taus", "thresholds"}
    run(layer, drive(2, 20, 3))[0].sum().backward()
    assert soft.slope.grad.abs() > 0
    forced = LIFLayer(3, 20e-3, spike_grad=given, solver="serial")
    with pytest.raises(
        RuntimeError, match='only the reference solver can do.*set solver="reference"'
    ):
        run(forced, drive(2, 20, 3))
    soft.slope.requires_grad_(False)
    run(forced, drive(2, 20, 3))


def test_a_surrogate_without_gradient_is_refused_on_every_solver(solver):
    layer = LIFLayer(3, 20e-3, spike_grad=lambda z: (z > 0).float(), solver=solver)
    with pytest.raises(ValueError, match="has no gradient with respect to z"):
        run(layer, drive(2, 5, 3).requires_grad_())


class TestGpu:
    """What NWAVE documents on comPaSSo and `device="gpu"`."""

    def run(self, x, **options):
        layer, leaf = LIFLayer(6, 15e-3, **options), x.clone().requires_grad_()
        spk, mem = run(layer, leaf)
        (spk.sum() + mem.sum()).backward()
        return spk, mem, leaf.grad

    def test_uses_the_fixed_surrogate_with_one_warning(self):
        x = drive(2, 60, 6, dtype=torch.float64)
        with pytest.warns(
            UserWarning,
            match=r"gradient uses fast_sigmoid\(25\) and spike_grad=ATan.*is not used",
        ):
            fixed = self.run(x, device="gpu", spike_grad=atan())
        expected = self.run(x, spike_grad=fast_sigmoid(25.0))
        assert torch.equal(fixed[0], expected[0])
        assert_all_close(fixed, expected, GRADIENT, "comPaSSo")

    @pytest.mark.parametrize(
        "options", [{"compasso_spike_grad": "layer"}, {"solver": "serial"}, {"solver": "reference"}]
    )
    def test_uses_the_layer_s_surrogate_if_asked(self, options):
        x = drive(2, 60, 6, dtype=torch.float64)
        got = self.run(x, device="gpu", spike_grad=atan(), **options)
        assert_all_close(got, self.run(x, spike_grad=atan()), GRADIENT, "comPaSSo")


def test_spikes_alone_are_those_of_a_call(kind):
    layer, x = LAYERS[kind](4), drive(2, 9, 4)
    spk, mem = run(layer, x)
    prepare_net(layer)
    assert torch.equal(layer.spikes(x), spk)
    assert torch.equal(layer.state["v"], mem[:, -1].detach())


@pytest.mark.parametrize(("saved_dtype", "limit"), [(None, 4), ("bfloat16", 2)])
@pytest.mark.parametrize("make", [*LAYERS.values(), AdaptiveLayer], ids=[*LAYERS, "adaptive"])
def test_one_number_per_step_is_saved_for_backward(make, saved_dtype, limit):
    layer, x = make(64, saved_dtype=saved_dtype), torch.rand(8, 100, 64, requires_grad=True)
    prepare_net(layer)
    sizes = {}

    def pack(t):
        sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        spk, _ = layer(x)
    assert 0 < sum(sizes.values()) <= 1.05 * limit * spk.numel()


def test_bfloat16_keeps_the_derivative_of_a_membrane_at_exactly_zero():
    layer = LAYERS["h1v2"](4, saved_dtype="bfloat16", ileak_mismatch=True)
    prepare_net(layer, seed=0)
    x = torch.tensor([0.0, 0.0, -1e-6, -0.1]).reshape(1, 1, 4).requires_grad_()
    layer(x)[1].sum().backward()
    assert (x.grad != 0).tolist() == [[[True, True, False, False]]]


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("log_taus", math.nan, "taus are not finite: training diverged"),
        ("thresholds", math.nan, "thresholds are not finite: training diverged"),
        ("thresholds", -0.5, "thresholds must stay above 0, got -0.5"),
    ],
)
def test_constants_that_training_spoiled_are_rejected(key, value, words):
    layer = LIFLayer(3, 20e-3, learn_taus=True, learn_thresholds=True)
    getattr(layer, key).data.fill_(value)
    with pytest.raises(RuntimeError, match=words):
        prepare_net(layer)
