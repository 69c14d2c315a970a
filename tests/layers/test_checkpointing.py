"""Training in chunks that backward runs a second time."""

import pytest
import torch
from torch import nn

from layers.nets import LAYERS
from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from tolerances import GRADIENT, assert_close


def make_net(checkpoint=None, drop=nn.Identity, kind="lif_zero"):
    torch.manual_seed(0)
    inner = SpikingSequential(LIFSynapse(12, 6), LAYERS[kind](6))
    return SpikingSequential(
        LIFSynapse(5, 20), LIFLayer(20, 10e-3, learn_taus=True), drop(), LIFSynapse(20, 12),
        LIFLayer(12, 10e-3, layer_topology="RC"), inner,
        LIFSynapse(6, 3), LIFLayer(3, 10e-3, reset_mechanism="none"),
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
def test_chunks_give_the_same_spikes_and_gradients(steps):
    x = (torch.rand(4, 50, 5) < 0.3).float()
    whole, grads = train(make_net(), [x[:, :20], x[:, 20:]])
    mem, chunked = train(make_net(steps), [x[:, :20], x[:, 20:]])
    assert torch.equal(mem, whole)
    for mine, theirs in zip(chunked, grads, strict=True):
        assert_close(mine, theirs, GRADIENT, "gradient")


@pytest.mark.parametrize("kind", [nn.Dropout, Dropout])
def test_the_second_run_of_a_chunk_drops_what_the_first_dropped(kind):
    x = (torch.rand(4, 50, 5) < 0.3).float()
    streamed, grads = train(make_net(drop=lambda: kind(0.3)), x.split(7, 1))
    mem, chunked = train(make_net(7, drop=lambda: kind(0.3)), [x])
    assert torch.equal(mem, streamed)
    assert all(map(torch.equal, chunked, grads))


def test_backward_through_chunks_runs_twice_and_from_either_output():
    x = (torch.rand(4, 50, 5) < 0.3).float()
    weights = torch.rand(2, 4, 50, 3)
    results = []
    for model in make_net(), make_net(7):
        prepare_net(model)
        outputs, leaves = model(x.requires_grad_()), [x, *model.parameters()]
        for output, weight in zip(outputs, weights, strict=True):
            loss = (output * weight).sum()
            grads = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
            again = torch.autograd.grad(loss, leaves, retain_graph=True, allow_unused=True)
            assert all(map(torch.equal, grads, again))
            results += grads
    half = len(results) // 2
    for mine, theirs in zip(results[:half], results[half:], strict=True):
        assert_close(mine, theirs, GRADIENT, "gradient")


def test_a_net_that_ends_in_a_synapse_is_chunked_too():
    x, w = torch.rand(2, 20, 5), torch.rand(2, 20, 3)
    results = []
    for checkpoint in None, 6:
        torch.manual_seed(0)
        model = SpikingSequential(
            LIFSynapse(5, 4), LIFLayer(4, 10e-3), LIFSynapse(4, 3), checkpoint=checkpoint
        )
        prepare_net(model)
        cur, same = model(x)
        assert cur is same
        (cur * w).sum().backward()
        results.append((cur, model[0].weight.grad))
    assert torch.equal(results[0][0], results[1][0])
    assert_close(results[0][1], results[1][1], GRADIENT, "gradient")


def test_chunks_leave_the_state_after_the_last_step():
    x = (torch.rand(4, 50, 5) < 0.3).float()
    models = make_net(), make_net(7)
    for model in models:
        prepare_net(model)
        model(x)[1].sum().backward()
    for mine, theirs in zip(*(m.modules() for m in models), strict=True):
        if isinstance(mine, LIFLayer):
            assert torch.equal(mine.state["v"], theirs.state["v"])


@pytest.mark.parametrize("change", ["prepare", "weights", "mode"])
def test_chunks_do_not_run_again_on_a_changed_net(change):
    model = make_net(7)
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


def test_chunks_continue_from_a_state_of_inference_mode():
    model = make_net(7)
    prepare_net(model)
    with torch.inference_mode():
        model(torch.rand(4, 20, 5))
    model(torch.rand(4, 20, 5))[1].sum().backward()
    assert model[0].weight.grad.abs().sum() > 0


def test_modules_with_statistics_are_rejected():
    model = SpikingSequential(LIFSynapse(5, 4), nn.BatchNorm1d(4), LIFLayer(4, 10e-3), checkpoint=3)
    prepare_net(model)
    with pytest.raises(RuntimeError, match=r"module 1 \(BatchNorm1d\) keeps statistics"):
        model(torch.rand(2, 9, 5))
    model.eval()
    model(torch.rand(2, 9, 5))
