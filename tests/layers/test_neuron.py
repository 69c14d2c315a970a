"""What every neuron layer promises: its equation, shapes, solvers, precision and surrogates."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from layers.nets import CLAMPED, LAYERS, RECURRENT_KINDS, RESET, TAUS, drive
from nwavesdk.layers import (
    HWLayer,
    LIFLayer,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from oracle import simulate
from tolerances import GRADIENT, assert_close

SOLVERS = ["serial", "reference", "compasso"]


@pytest.fixture(params=LAYERS)
def kind(request):
    """Name of a kind of layer in `LAYERS`."""
    return request.param


def run_prepared(layer, x):
    prepare_net(layer)
    return layer(x)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_layer_equals_the_numpy_oracle(kind, solver):
    layer, x = LAYERS[kind](6, solver=solver), drive(3, 60, 6, dtype=torch.float64)
    prepare_net(layer)
    record = layer.record(x)
    taus = 15.9e-3 if kind == "h1v2" else TAUS  # the nearest one of H1v2's
    S, U, V = simulate(
        x.numpy(), taus, 1e-3, layer.thresholds.numpy(), RESET[kind], clamp=kind in CLAMPED
    )
    assert 0 < S.mean() < 1
    assert torch.equal(record.spk, torch.from_numpy(S))
    torch.testing.assert_close(record.u, torch.from_numpy(U), rtol=0, atol=1e-12)
    torch.testing.assert_close(record.mem, torch.from_numpy(V), rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_a_recurrent_layer_equals_the_numpy_oracle(kind, solver):
    layer, x = (
        LAYERS[kind](6, solver=solver, layer_topology="RC"),
        drive(2, 60, 6, dtype=torch.float64),
    )
    if kind in CLAMPED:
        layer.recurrent_weights.data.clamp_(-0.5, 0.5)
    prepare_net(layer)
    record = layer.record(x)
    weights = layer.effective_recurrent_weights().detach().double().numpy()
    taus = 15.9e-3 if kind == "h1v2" else TAUS  # the nearest one of H1v2's
    S, U, V = simulate(
        x.numpy(), taus, 1e-3, 1.0, RESET[kind], clamp=kind in CLAMPED, recurrent=weights
    )
    assert torch.equal(record.spk, torch.from_numpy(S))
    torch.testing.assert_close(record.u, torch.from_numpy(U), rtol=0, atol=1e-9)
    torch.testing.assert_close(record.mem.detach(), torch.from_numpy(V), rtol=0, atol=1e-9)


def test_one_vector_is_a_batch_of_one(kind):
    layer = LAYERS[kind](4)
    spk, mem = run_prepared(layer, torch.tensor([0.5, 2.0, -1.0, 0.0]))
    assert spk.shape == mem.shape == (1, 4)
    assert spk.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_shaped_neurons_are_the_same_neurons(kind):
    taus = torch.linspace(5e-3, 30e-3, 24)
    flat, shaped = LAYERS[kind](24), LAYERS[kind]((2, 3, 4))
    for layer, shape in ((flat, (24,)), (shaped, (2, 3, 4))):
        layer.log_taus = taus.log().reshape(shape)
    x = drive(2, 7, 2, 3, 4)
    spk, mem = run_prepared(flat, x.flatten(2))
    spk2, mem2 = run_prepared(shaped, x)
    assert torch.equal(spk.reshape(x.shape), spk2)
    assert torch.equal(mem.reshape(x.shape), mem2)
    assert run_prepared(shaped, x[0, 0])[0].shape == (1, 2, 3, 4)
    assert run_prepared(shaped, x[:, 0])[0].shape == (2, 2, 3, 4)
    assert shaped.state["v"].shape == (2, 2, 3, 4)


def test_spikes_are_zero_or_one_and_rest_stays_rest(kind):
    layer = LAYERS[kind](5)
    spk, _ = run_prepared(layer, 3 * drive(2, 50, 5))
    assert set(spk.unique().tolist()) <= {0.0, 1.0}
    spk, mem = run_prepared(layer, torch.zeros(2, 50, 5))
    assert not spk.any()
    assert not mem.any()


def test_calls_are_causal_and_batch_entries_are_independent(kind):
    layer, x = LAYERS[kind](5), drive(4, 30, 5)
    spk, mem = run_prepared(layer, x)
    later = x.clone()
    later[:, 20:] += 1.0
    spk2, _ = run_prepared(layer, later)
    assert torch.equal(spk[:, :20], spk2[:, :20])
    order = torch.tensor([2, 0, 3, 1])
    spk3, mem3 = run_prepared(layer, x[order])
    assert torch.equal(spk3, spk[order])
    assert torch.equal(mem3, mem[order])


def test_reset_leaves_silent_neurons_untouched(kind):
    x = 0.04 * torch.rand(2, 30, 5)
    spk, mem = run_prepared(LAYERS[kind](5), x)
    assert not spk.any()
    assert torch.equal(
        mem, run_prepared(LIFLayer(5, LAYERS[kind](5).taus, reset_mechanism="none"), x)[1]
    )


@pytest.mark.parametrize("kind", RECURRENT_KINDS)
@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_autocast_does_not_change_the_dynamics(kind, solver):
    layer, x = LAYERS[kind](6, solver=solver, layer_topology="RC"), drive(2, 40, 6)
    expected = run_prepared(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        got = run_prepared(layer, x)
    assert all(map(torch.equal, got, expected))


@pytest.mark.parametrize("kind", RECURRENT_KINDS)
def test_recurrent_gradient_is_float32_under_autocast(kind):
    grads = []
    for enabled in (False, True):
        torch.manual_seed(4)
        layer, x = LAYERS[kind](6, layer_topology="RC"), drive(2, 40, 6)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            run_prepared(layer, x)[0].sum().backward()
        grads.append(layer.recurrent_weights.grad)
    assert torch.equal(*grads)


def test_gradients_of_learned_constants_equal_the_reference():
    taus, thresholds = torch.rand(7) * 0.02 + 5e-3, torch.rand(7) * 0.5 + 0.8
    grads = {}
    for solver in ("serial", "reference"):
        layer = LIFLayer(
            7,
            taus,
            thresholds,
            learn_taus=True,
            learn_thresholds=True,
            solver=solver,
            detach_reset=False,
        )
        torch.manual_seed(1)
        run_prepared(layer, drive(3, 33, 7))[0].sum().backward()
        grads[solver] = layer.log_taus.grad, layer.thresholds.grad
    for got, expected in zip(*grads.values(), strict=True):
        assert expected.abs().min() > 0
        assert_close(got, expected, GRADIENT, "constant")
    shared = LIFLayer(7, 10e-3, learn_taus=True)
    run_prepared(shared, drive(3, 33, 7))[1].sum().backward()
    assert shared.log_taus.grad.shape == ()


def test_learning_thresholds_and_taus_lowers_a_loss():
    layer, x = LIFLayer(8, 10e-3, learn_taus=True, learn_thresholds=True), drive(4, 60, 8) + 0.1
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (run_prepared(layer, x)[0].mean() - 0.3).square()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


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
        prepare_net(layer)
        spk, _ = layer(leaf)
        spk.sum().backward()
        spikes.append(spk)
        grads.append(leaf.grad)
    assert all(torch.equal(s, spikes[0]) for s in spikes)
    for i, a in enumerate(grads):
        assert all(not torch.allclose(a, b) for b in grads[:i])


def test_the_default_surrogate_is_the_documented_baseline():
    assert LIFLayer(3, 20e-3).spike_grad == HWLayer(3, 20e-3).spike_grad == fast_sigmoid(25.0)


@pytest.mark.parametrize("solver", ["serial", "reference"])
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
        prepare_net(layer)
        spk, _ = layer(leaf)
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


class TestGpu:
    """What NWAVE documents on comPaSSo and `device="gpu"`."""

    def run(self, x, **options):
        layer, leaf = LIFLayer(6, 15e-3, **options), x.clone().requires_grad_()
        prepare_net(layer)
        spk, mem = layer(leaf)
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
        for got, want in zip(fixed[1:], expected[1:], strict=True):
            assert_close(got, want, GRADIENT, "comPaSSo")

    @pytest.mark.parametrize(
        "options", [{"compasso_spike_grad": "layer"}, {"solver": "serial"}, {"solver": "reference"}]
    )
    def test_uses_the_layer_s_surrogate_if_asked(self, options):
        x = drive(2, 60, 6, dtype=torch.float64)
        got, expected = (
            self.run(x, device="gpu", spike_grad=atan(), **options),
            self.run(x, spike_grad=atan()),
        )
        for a, b in zip(got, expected, strict=True):
            assert_close(a, b, GRADIENT, "comPaSSo")


def test_spikes_alone_are_those_of_a_call(kind):
    layer, x = LAYERS[kind](4), drive(2, 9, 4)
    prepare_net(layer)
    spk, mem = layer(x)
    prepare_net(layer)
    assert torch.equal(layer.spikes(x), spk)
    assert torch.equal(layer.state["v"], mem[:, -1].detach())


def test_tensors_that_a_hook_has_seen_are_not_overwritten():
    layer, x, seen = LIFLayer(10, 10e-3), torch.rand(3, 20, 10, requires_grad=True), []
    prepare_net(layer)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: seen.append(t) or len(seen) - 1, lambda i: seen[i]
    ):
        spk, _ = layer(x)
    before = [t.clone() for t in seen]
    spk.sum().backward()
    assert all(map(torch.equal, seen, before))


def saved_bytes(call):
    """Bytes that a call saves for backward, each storage once."""
    storages = {}

    def pack(t):
        storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        outputs = call()
    return sum(storages.values()), outputs


@pytest.mark.parametrize(("saved_dtype", "limit"), [(None, 4), ("bfloat16", 2)])
@pytest.mark.parametrize("reset", ["subtraction", "zero", "none"])
def test_one_tensor_is_saved_for_backward(saved_dtype, limit, reset):
    layer, x = (
        LIFLayer(64, 10e-3, reset_mechanism=reset, saved_dtype=saved_dtype),
        torch.rand(8, 100, 64, requires_grad=True),
    )
    prepare_net(layer)
    size, _ = saved_bytes(lambda: layer(x))
    assert size <= 1.05 * limit * x.numel()


SAVED_IN_BFLOAT16 = [
    (kind, surrogate)
    for kind, surrogates in (SURROGATES | {"lif_zero": [fast_sigmoid()]}).items()
    for surrogate in surrogates
    # Surrogates with edges are not smooth in the logarithm of the distance from the threshold.
    if surrogate is not TRIANGLE
] + [("h1v1", custom(lambda z: 1 / (1 + z * z)))]


@pytest.mark.parametrize(
    ("kind", "surrogate"), SAVED_IN_BFLOAT16, ids=lambda value: getattr(value, "name", None)
)
def test_bfloat16_changes_gradients_little_and_spikes_not_at_all(kind, surrogate):
    found, drawn = [], drive(8, 60, 30)
    for saved_dtype in (None, "bfloat16"):
        layer, x = (
            LAYERS[kind](30, spike_grad=surrogate, saved_dtype=saved_dtype),
            drawn.clone().requires_grad_(),
        )
        prepare_net(layer, seed=2)
        spk, mem = layer(x)
        g = torch.Generator().manual_seed(3)
        ((spk + 0.3 * mem) * torch.randn(spk.shape, generator=g)).sum().backward()
        found.append((spk, mem, x.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert torch.equal(found[0][1], found[1][1])
    assert 0 < float((found[0][2] - found[1][2]).norm()) < 0.01 * float(found[0][2].norm())


def test_bfloat16_keeps_the_derivative_of_a_membrane_at_exactly_zero():
    layer = LAYERS["h1v2"](4, saved_dtype="bfloat16", ileak_mismatch=True)
    prepare_net(layer, seed=0)
    x = torch.tensor([0.0, 0.0, -1e-6, -0.1]).reshape(1, 1, 4).requires_grad_()
    layer(x)[1].sum().backward()
    assert (x.grad != 0).tolist() == [[[True, True, False, False]]]


@pytest.mark.parametrize(("key", "name"), [("log_taus", "taus"), ("thresholds", "thresholds")])
def test_constants_that_are_not_finite_after_training(key, name):
    layer = LIFLayer(3, 20e-3, learn_taus=True, learn_thresholds=True)
    getattr(layer, key).data.fill_(math.nan)
    with pytest.raises(RuntimeError, match=f"{name} are not finite: training diverged"):
        prepare_net(layer)


def test_constants_that_are_not_finite_in_a_checkpoint():
    layer = LIFLayer(3, 20e-3)
    layer.load_state_dict(
        {key: torch.full_like(value, math.nan) for key, value in layer.state_dict().items()}
    )
    with pytest.raises(RuntimeError, match="taus are not finite"):
        prepare_net(layer)


def test_learned_thresholds_below_zero():
    layer = LIFLayer(3, 20e-3, learn_thresholds=True)
    layer.thresholds.data.fill_(-0.5)
    with pytest.raises(RuntimeError, match="thresholds must stay above 0, got -0.5"):
        prepare_net(layer)
