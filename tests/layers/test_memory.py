"""What is kept for backward, and training in checkpointed chunks."""

import pytest
import torch
from torch import nn

from layers.nets import LAYERS, drive
from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid
from tolerances import GRADIENT, assert_close


def net(checkpoint=None, drop=nn.Identity, kind="lif_zero"):
    torch.manual_seed(0)
    inner = SpikingSequential(LIFSynapse(12, 6), LAYERS[kind](6))
    return SpikingSequential(
        LIFSynapse(5, 20), LIFLayer(20, 10e-3, learn_taus=True), drop(), LIFSynapse(20, 12),
        LIFLayer(12, 10e-3, layer_topology="RC"), inner, LIFSynapse(6, 3), LIFLayer(3, 10e-3, reset_mechanism="none"),
        checkpoint=checkpoint,
    )  # fmt: skip


def train(model, parts):
    """Membranes and gradients of one pass over consecutive parts."""
    prepare_net(model)
    torch.manual_seed(7)
    mem = torch.cat([model(x)[1] for x in parts], 1)
    mem.square().mean().backward()
    return mem, [p.grad for p in model.parameters()]


@pytest.mark.parametrize("steps", [1, 7, 50, 1000])
def test_chunks_change_nothing(steps):
    x = (torch.rand(4, 50, 5) < 0.3).float()
    whole, grads = train(net(), [x[:, :20], x[:, 20:]])
    mem, chunked = train(net(steps), [x[:, :20], x[:, 20:]])
    assert torch.equal(mem, whole)
    for mine, theirs in zip(chunked, grads, strict=True):
        assert_close(mine, theirs, GRADIENT, "gradient")


@pytest.mark.parametrize("kind", [nn.Dropout, Dropout])
def test_the_second_run_of_a_chunk_drops_what_the_first_dropped(kind):
    x = (torch.rand(4, 50, 5) < 0.3).float()
    streamed, grads = train(net(drop=lambda: kind(0.3)), x.split(7, 1))
    mem, chunked = train(net(7, drop=lambda: kind(0.3)), [x])
    assert torch.equal(mem, streamed)
    assert all(map(torch.equal, chunked, grads))


def test_chunks_run_back_twice_and_from_either_output():
    x = (torch.rand(4, 50, 5) < 0.3).float()
    weights = torch.rand(2, 4, 50, 3)
    found = []
    for model in net(), net(7):
        prepare_net(model)
        outputs, leaves = model(x.requires_grad_()), [x, *model.parameters()]
        for output, weight in zip(outputs, weights, strict=True):
            loss = (output * weight).sum()
            grads = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
            again = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
            assert all(map(torch.equal, grads, again))
            found += grads
    half = len(found) // 2
    for mine, theirs in zip(found[:half], found[half:], strict=True):
        assert_close(mine, theirs, GRADIENT, "gradient")


def test_a_net_that_ends_in_a_synapse_is_chunked_too():
    x, w = torch.rand(2, 20, 5), torch.rand(2, 20, 3)
    found = []
    for checkpoint in None, 6:
        torch.manual_seed(0)
        model = SpikingSequential(
            LIFSynapse(5, 4), LIFLayer(4, 10e-3), LIFSynapse(4, 3), checkpoint=checkpoint
        )
        prepare_net(model)
        cur, same = model(x)
        assert cur is same
        (cur * w).sum().backward()
        found.append((cur, model[0].weight.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert_close(found[0][1], found[1][1], GRADIENT, "gradient")


def test_chunks_leave_the_state_of_the_end():
    x = (torch.rand(4, 50, 5) < 0.3).float()
    models = net(), net(7)
    for model in models:
        prepare_net(model)
        model(x)[1].sum().backward()
    for mine, theirs in zip(*(m.modules() for m in models), strict=True):
        if isinstance(mine, LIFLayer):
            assert torch.equal(mine.state["v"], theirs.state["v"])


@pytest.mark.parametrize("change", ["prepare", "weights", "mode"])
def test_chunks_refuse_to_run_again_on_another_net(change):
    model = net(7)
    prepare_net(model)
    loss = model(torch.rand(4, 50, 5))[1].sum()
    if change == "prepare":
        prepare_net(model)
    elif change == "mode":
        model.eval()
    else:
        with torch.no_grad():
            model[0].weight += 1
    with pytest.raises(
        RuntimeError, match="prepared, its weights were changed or its mode switched since forward"
    ):
        loss.backward()


@pytest.mark.parametrize("bad", [0, -1, 2.5, True])
def test_checkpoint_is_a_whole_number(bad):
    with pytest.raises(ValueError, match="checkpoint must be a whole number of at least 1"):
        SpikingSequential(LIFSynapse(2, 2), checkpoint=bad)


def test_chunks_go_on_from_a_state_of_inference_mode():
    model = net(7)
    prepare_net(model)
    with torch.inference_mode():
        model(torch.rand(4, 20, 5))
    model(torch.rand(4, 20, 5))[1].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_chunks_refuse_modules_with_statistics():
    model = SpikingSequential(LIFSynapse(5, 4), nn.BatchNorm1d(4), LIFLayer(4, 10e-3), checkpoint=3)
    prepare_net(model)
    with pytest.raises(RuntimeError, match=r"module 1 \(BatchNorm1d\) keeps statistics"):
        model(torch.rand(2, 9, 5))
    model.eval()
    model(torch.rand(2, 9, 5))


def test_what_a_hook_has_seen_is_not_written_over():
    layer, x, seen = LIFLayer(10, 10e-3), torch.rand(3, 20, 10, requires_grad=True), []
    prepare_net(layer)
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: seen.append(t) or len(seen) - 1, lambda i: seen[i]
    ):
        spk, _ = layer(x)
    before = [t.clone() for t in seen]
    spk.sum().backward()
    assert all(map(torch.equal, seen, before))


def kept_bytes(call):
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
def test_one_tensor_is_kept_for_backward(saved_dtype, limit, reset):
    layer, x = (
        LIFLayer(64, 10e-3, reset_mechanism=reset, saved_dtype=saved_dtype),
        torch.rand(8, 100, 64, requires_grad=True),
    )
    prepare_net(layer)
    size, _ = kept_bytes(lambda: layer(x))
    assert size <= 1.05 * limit * x.numel()


@pytest.mark.parametrize(
    "surrogate",
    [atan(), fast_sigmoid(), sigmoid(), custom(lambda z: 1 / (1 + z * z))],
    ids=lambda s: type(s).__name__,
)
@pytest.mark.parametrize("kind", LAYERS)
def test_bfloat16_moves_gradients_little_and_spikes_not_at_all(kind, surrogate):
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


@pytest.mark.parametrize("kind", LAYERS)
def test_spikes_alone_are_those_of_a_call(kind):
    layer, x = LAYERS[kind](4), drive(2, 9, 4)
    prepare_net(layer)
    spk, mem = layer(x)
    prepare_net(layer)
    assert torch.equal(layer.spikes(x), spk)
    assert torch.equal(layer.state["v"], mem[:, -1].detach())
