"""Laws of neuron layers, each over every kind of layer."""

import copy
import pickle

import pytest
import torch

from layers.nets import CLAMPED, LAYERS, RESET, drive
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, detach_state, prepare_net
from nwavesdk.surrogate import atan
from oracle import simulate
from tolerances import GRADIENT, assert_close

SOLVERS = ["serial", "reference", "compasso"]


@pytest.fixture(params=LAYERS)
def kind(request):
    return request.param


def fresh(layer, x):
    prepare_net(layer)
    return layer(x)


@pytest.mark.parametrize("solver", SOLVERS)
def test_is_the_oracle(kind, solver):
    layer, x = LAYERS[kind](6, solver=solver), drive(3, 60, 6, dtype=torch.float64)
    prepare_net(layer)
    record = layer.record(x)
    taus = layer.log_taus.double().exp().numpy()
    S, U, V = simulate(
        x.numpy(), taus, 1e-3, layer.thresholds.numpy(), RESET[kind], clamp=kind in CLAMPED
    )
    assert 0 < S.mean() < 1
    assert torch.equal(record.spk, torch.from_numpy(S))
    torch.testing.assert_close(record.u, torch.from_numpy(U), rtol=0, atol=1e-12)
    torch.testing.assert_close(record.mem, torch.from_numpy(V), rtol=0, atol=1e-12)


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_recurrence_is_the_oracle(kind, solver):
    layer, x = (
        LAYERS[kind](6, solver=solver, layer_topology="RC"),
        drive(2, 60, 6, dtype=torch.float64),
    )
    if kind in CLAMPED:
        layer.recurrent_weights.data.clamp_(-0.5, 0.5)
    prepare_net(layer)
    record = layer.record(x)
    weights = layer.effective_recurrent_weights().detach().double().numpy()
    taus = layer.log_taus.double().exp().numpy()
    S, U, V = simulate(
        x.numpy(), taus, 1e-3, 1.0, RESET[kind], clamp=kind in CLAMPED, recurrent=weights
    )
    assert torch.equal(record.spk, torch.from_numpy(S))
    torch.testing.assert_close(record.u, torch.from_numpy(U), rtol=0, atol=1e-9)
    torch.testing.assert_close(record.mem.detach(), torch.from_numpy(V), rtol=0, atol=1e-9)


@pytest.mark.parametrize("topology", ["FF", "RC"])
@pytest.mark.parametrize("cut", [0, 1, 13, 40])
def test_two_halves_are_the_whole_and_so_are_their_gradients(kind, topology, cut):
    layer, x = LAYERS[kind](5, layer_topology=topology), drive(2, 40, 5, dtype=torch.float64)
    whole, halves = x.clone().requires_grad_(), x.clone().requires_grad_()
    spk, mem = fresh(layer, whole)
    (spk.sum() + mem.square().sum()).backward()
    prepare_net(layer)
    parts = [layer(part) for part in (halves[:, :cut], halves[:, cut:])]
    spk2, mem2 = (torch.cat(pair, 1) for pair in zip(*parts, strict=True))
    (spk2.sum() + mem2.square().sum()).backward()
    assert torch.equal(spk, spk2)
    assert torch.equal(mem, mem2)
    assert_close(halves.grad, whole.grad, GRADIENT, "gradient")


@pytest.mark.parametrize("topology", ["FF", "RC"])
def test_steps_are_the_sequence_and_so_are_their_gradients(kind, topology):
    layer, x = LAYERS[kind](5, layer_topology=topology), drive(2, 20, 5, dtype=torch.float64)
    whole, steps = x.clone().requires_grad_(), x.clone().requires_grad_()
    spk, mem = fresh(layer, whole)
    (spk.sum() + mem.square().sum()).backward()
    prepare_net(layer)
    outputs = [layer(steps[:, t]) for t in range(20)]
    assert outputs[0][0].shape == (2, 5)
    spk2, mem2 = (torch.stack(column, 1) for column in zip(*outputs, strict=True))
    (spk2.sum() + mem2.square().sum()).backward()
    assert torch.equal(spk, spk2)
    assert torch.equal(mem, mem2)
    assert_close(steps.grad, whole.grad, GRADIENT, "gradient")


def test_one_vector_is_a_batch_of_one(kind):
    layer = LAYERS[kind](4)
    spk, mem = fresh(layer, torch.tensor([0.5, 2.0, -1.0, 0.0]))
    assert spk.shape == mem.shape == (1, 4)
    assert spk.tolist() == [[0.0, 1.0, 0.0, 0.0]]


def test_shaped_neurons_are_the_same_neurons(kind):
    taus = torch.linspace(5e-3, 30e-3, 24)
    flat, shaped = LAYERS[kind](24), LAYERS[kind]((2, 3, 4))
    for layer, shape in ((flat, (24,)), (shaped, (2, 3, 4))):
        layer.log_taus = taus.log().reshape(shape)
    x = drive(2, 7, 2, 3, 4)
    spk, mem = fresh(flat, x.flatten(2))
    spk2, mem2 = fresh(shaped, x)
    assert torch.equal(spk.reshape(x.shape), spk2)
    assert torch.equal(mem.reshape(x.shape), mem2)
    assert fresh(shaped, x[0, 0])[0].shape == (1, 2, 3, 4)
    assert fresh(shaped, x[:, 0])[0].shape == (2, 2, 3, 4)
    assert shaped.state["v"].shape == (2, 2, 3, 4)


def test_spikes_are_zero_or_one_and_rest_stays_rest(kind):
    layer = LAYERS[kind](5)
    spk, _ = fresh(layer, 3 * drive(2, 50, 5))
    assert set(spk.unique().tolist()) <= {0.0, 1.0}
    spk, mem = fresh(layer, torch.zeros(2, 50, 5))
    assert not spk.any()
    assert not mem.any()


def test_is_causal_and_batch_entries_are_independent(kind):
    layer, x = LAYERS[kind](5), drive(4, 30, 5)
    spk, mem = fresh(layer, x)
    later = x.clone()
    later[:, 20:] += 1.0
    spk2, _ = fresh(layer, later)
    assert torch.equal(spk[:, :20], spk2[:, :20])
    order = torch.tensor([2, 0, 3, 1])
    spk3, mem3 = fresh(layer, x[order])
    assert torch.equal(spk3, spk[order])
    assert torch.equal(mem3, mem[order])


def test_reset_leaves_silent_neurons_untouched(kind):
    x = 0.04 * torch.rand(2, 30, 5)
    spk, mem = fresh(LAYERS[kind](5), x)
    assert not spk.any()
    assert torch.equal(mem, fresh(LIFLayer(5, LAYERS[kind](5).taus, reset_mechanism="none"), x)[1])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_half_precision_keeps_a_float32_state(kind, solver, dtype):
    layer, x = LAYERS[kind](7, solver=solver, spike_grad=atan(3.0)), drive(3, 33, 7).to(dtype)
    half, full = x.clone().requires_grad_(), x.float().requires_grad_()
    spk, mem = fresh(layer, half)
    assert layer.state["v"].dtype == torch.float32
    (spk.sum() + mem.sum()).backward()
    wide, wide_mem = fresh(layer, full)
    (wide.sum() + wide_mem.sum()).backward()
    assert spk.dtype == mem.dtype == half.grad.dtype == dtype
    assert torch.equal(spk.float(), wide)
    assert torch.equal(mem, wide_mem.to(dtype))
    assert_close(half.grad, full.grad.to(dtype), GRADIENT, "gradient")


def test_state_takes_the_dtype_of_the_input(kind):
    layer = LAYERS[kind](3)
    prepare_net(layer)
    layer(drive(2, 5, 3))
    spk, _ = layer(drive(2, 5, 3, dtype=torch.float64))
    assert layer.state["v"].dtype == spk.dtype == torch.float64


def test_state_is_no_part_of_the_checkpoint(kind):
    layer, x = LAYERS[kind](3, layer_topology="RC"), drive(2, 12, 3)
    before = set(layer.state_dict())
    prepare_net(layer)
    layer(x)
    assert set(layer.state_dict()) == before


def test_copies_and_pickles_go_on_from_the_same_state(kind):
    layer, x = LAYERS[kind](3, layer_topology="RC"), drive(2, 12, 3).requires_grad_()
    prepare_net(layer)
    layer(x)
    others = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))]
    spk, mem = layer(x)
    for other in others:
        spk2, mem2 = other(x)
        assert torch.equal(spk, spk2)
        assert torch.equal(mem, mem2)


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_a_state_with_a_freed_graph_is_a_clear_error(kind, solver):
    layer, x = LAYERS[kind](3, solver=solver), drive(2, 12, 3).requires_grad_()
    fresh(layer, x)[0].sum().backward()
    with pytest.raises(
        RuntimeError, match=r"already freed: .*prepare_net\(model\) .* detach_state\(model\)"
    ):
        layer(x)[1].sum().backward()
    detach_state(layer)
    layer(x)[1].sum().backward()


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_detaching_cuts_the_recurrent_spikes_too(kind, solver):
    layer, x = LAYERS[kind](3, solver=solver, layer_topology="RC"), drive(2, 12, 3).requires_grad_()
    fresh(layer, x)[0].sum().backward()
    detach_state(layer)
    layer(x)[1].sum().backward()


@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_autocast_does_not_reach_the_dynamics(kind, solver):
    layer, x = LAYERS[kind](6, solver=solver, layer_topology="RC"), drive(2, 40, 6)
    expected = fresh(layer, x)
    with torch.autocast("cpu", torch.bfloat16):
        got = fresh(layer, x)
    assert all(map(torch.equal, got, expected))


def test_detached_chunks_have_the_truncated_gradient():
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 10e-3, learn_taus=True))
    x = drive(2, 20, 3)
    prepare_net(net)
    net(x[:, :10])
    detach_state(net)
    v = net[1].state["v"]
    net(x[:, 10:])[1].sum().backward()
    got = net[0].weight.grad.clone()
    prepare_net(net)
    net.zero_grad()
    net[1]._states = (v,)
    net(x[:, 10:])[1].sum().backward()
    assert torch.equal(got, net[0].weight.grad)


def test_gradients_of_learned_constants_are_the_reference_s():
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
        fresh(layer, drive(3, 33, 7))[0].sum().backward()
        grads[solver] = layer.log_taus.grad, layer.thresholds.grad
    for got, expected in zip(*grads.values(), strict=True):
        assert expected.abs().min() > 0
        assert_close(got, expected, GRADIENT, "constant")
    shared = LIFLayer(7, 10e-3, learn_taus=True)
    fresh(shared, drive(3, 33, 7))[1].sum().backward()
    assert shared.log_taus.grad.shape == ()


def test_learning_thresholds_and_taus_lowers_a_loss():
    layer, x = LIFLayer(8, 10e-3, learn_taus=True, learn_thresholds=True), drive(4, 60, 8) + 0.1
    optimizer = torch.optim.Adam(layer.parameters(), 0.03)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = (fresh(layer, x)[0].mean() - 0.3).square()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]


@pytest.mark.parametrize("topology", ["FF", "RC"])
@pytest.mark.parametrize("solver", ["serial", "reference"])
def test_outputs_may_be_written_to_without_harm_to_the_state(kind, solver, topology):
    layer, x = LAYERS[kind](4, solver=solver, layer_topology=topology), drive(2, 9, 4)
    with torch.no_grad():
        fresh(layer, x)
        expected = layer(x)
        for output in fresh(layer, x):
            output.fill_(7.0)
        assert all(map(torch.equal, layer(x), expected))


@pytest.mark.parametrize("topology", ["FF", "RC"])
def test_training_goes_on_from_a_state_of_inference_mode(kind, topology):
    net = SpikingSequential(LIFSynapse(3, 4), LAYERS[kind](4, layer_topology=topology))
    with torch.inference_mode():
        fresh(net, drive(2, 9, 3))
    net(drive(2, 9, 3))[1].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0


def test_recurrent_gradient_is_float32_under_autocast(kind):
    grads = []
    for enabled in (False, True):
        torch.manual_seed(4)
        layer, x = LAYERS[kind](6, layer_topology="RC"), drive(2, 40, 6)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            fresh(layer, x)[0].sum().backward()
        grads.append(layer.recurrent_weights.grad)
    assert torch.equal(*grads)


def test_u_is_what_it_was_when_the_input_is_overwritten(kind):
    layer, x = LAYERS[kind](4), drive(2, 9, 4)
    prepare_net(layer)
    record, again = layer.record(x), copy.deepcopy(layer)
    prepare_net(again)
    expected = again.record(x).u
    x.zero_()
    with torch.no_grad():
        layer.log_taus += 1
    assert torch.equal(record.u, expected)
