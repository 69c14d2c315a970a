"""Masks: n of m, blocks; pruned weights in every path of synapses and layers."""

import copy
import itertools
import pickle

import pytest
import torch
from torch import nn
from torch.nn.utils import prune

from layers.nets import run
from nwavesdk.layers import (
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    keep_blocks,
    keep_n_of_m,
    prepare_net,
)
from tolerances import GRADIENT, assert_close

TAU = 10e-3
COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda net: pickle.loads(pickle.dumps(net))}


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_n_of_m_keeps_the_largest_of_each_group(axis):
    weight = torch.randn(10, 9)
    mask = keep_n_of_m(weight, 2, 4, axis)
    assert mask.shape == weight.shape
    assert mask.dtype == weight.dtype
    for row, kept in zip(weight.movedim(axis, -1), mask.movedim(axis, -1), strict=True):
        for k in range(0, len(row), 4):
            group = row[k : k + 4].abs()
            largest = group.topk(min(2, len(group))).indices
            assert kept[k : k + 4].nonzero().flatten().tolist() == sorted(largest.tolist())


def test_blocks_are_kept_whole_and_are_those_with_the_largest_squares():
    weight = torch.randn(7, 5, 3)
    mask = keep_blocks(weight, (3, 2, 3), 0.4)
    squares, kept = {}, set()
    for i, j in itertools.product(range(0, 7, 3), range(0, 5, 2)):
        block = mask[i : i + 3, j : j + 2]
        assert block.unique().numel() == 1
        squares[i, j] = float(weight[i : i + 3, j : j + 2].square().sum())
        kept |= {(i, j)} if block.all() else set()
    assert kept == set(sorted(squares, key=squares.get)[-4:])  # 0.4 of 9 blocks
    assert keep_blocks(weight, 100, 1e-3).all()  # one block is always kept


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda w: keep_n_of_m(w, 5, 4), "n must be a whole number from 1 to 4, got 5"),
        (lambda w: keep_n_of_m(w, 1, 4, 2), "axis must be one of the 2 of the weight"),
        (lambda w: keep_blocks(w, (1, 2, 3), 0.5), "block must be one size, or one for each of"),
        (lambda w: keep_blocks(w, 0, 0.5), "block must be a whole number of at least 1"),
        (lambda w: keep_blocks(w, 2, 0.0), "share must be .* above 0"),
    ],
)
def test_bad_masks(call, words):
    with pytest.raises(ValueError, match=words):
        call(torch.randn(8, 8))


def pruned_net(kind):
    """A net in which all weights are pruned, and the same one whose zeros are plain numbers."""
    torch.manual_seed(0)
    if kind == "lif":
        net = SpikingSequential(
            LIFSynapse(6, 12, bias=True), LIFLayer(12, TAU, layer_topology="RC"), LIFSynapse(12, 3)
        )
    else:
        net = SpikingSequential(
            H1v1Frontend(6),
            H1v1Layer(6, TAU),
            H1v1Synapse(6, 12, 4),
            H1v1Layer(12, TAU, layer_topology="RC", quantization_bits=4),
            H1v2Synapse(12, 3),
        )
    plain = copy.deepcopy(net)
    for name in [name for name, _ in net.named_parameters() if "weight" in name]:
        place, key = name.split(".")
        weight = plain.get_parameter(name)
        mask = (torch.rand_like(weight) < 0.5).float()
        prune.custom_from_mask(net[int(place)], key, mask)
        weight.data.mul_(mask)
    return net, plain


def gradients(net):
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("kind", ["lif", "chip"])
def test_pruned_nets_train_as_those_with_zeros(kind):
    net, plain = pruned_net(kind)
    x = (torch.rand(4, 30, 6) < 0.3).float()
    optimizers = [torch.optim.SGD(n.parameters(), 0.05) for n in (net, plain)]
    masks = {name: mask.bool() for name, mask in net.named_buffers() if name.endswith("_mask")}
    for use in ("call", "record", "steps"):
        outputs = []
        for one in (net, plain):
            one.zero_grad()
            prepare_net(one)
            if use == "record":
                y = one.record(x).mem
            elif use == "steps":
                y = torch.stack([one(x[:, t])[1] for t in range(x.shape[1])], 1)
            else:
                y = one(x)[1]
            y.square().sum().backward()
            outputs.append(y.detach())
        assert torch.equal(*outputs), use
        trained, expected = gradients(net), gradients(plain)
        for name, grad in expected.items():
            mask = masks.get(f"{name}_mask")
            grad = grad if mask is None else grad * mask
            got = trained[name if mask is None else f"{name}_orig"]
            assert_close(got, grad, GRADIENT, f"{use}: {name}")
        # The optimizer moves both nets; zeros of the plain one are set back.
        for optimizer in optimizers:
            optimizer.step()
        for name, mask in masks.items():
            plain.get_parameter(name.removesuffix("_mask")).data.mul_(mask)


@pytest.mark.parametrize("make", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", ["lif", "chip"])
def test_copies_of_pruned_nets_stay_pruned(kind, make):
    net, _ = pruned_net(kind)
    x = torch.rand(2, 9, 6)
    run(net, x)[1].sum().backward()
    replica = make(net)
    prepare_net(net)
    assert torch.equal(run(replica, x)[1], net(x)[1])
    assert replica.state_dict().keys() == net.state_dict().keys()
    for parameter in replica.parameters():
        parameter.data.mul_(0.5)
    prepare_net(replica)
    for name, mask in replica.named_buffers():
        if name.endswith("_mask"):
            module, key = replica[int(name[0])], name[2:-5]
            weight = (
                module.effective_weight()
                if key == "weight"
                else module.effective_recurrent_weights()
            )
            assert not weight[mask == 0].any()
    prune.remove(replica[0], "weight")
    assert isinstance(replica[0].weight, nn.Parameter)


def test_a_compiled_net_may_be_pruned():
    net, _ = pruned_net("lif")
    x = torch.rand(2, 5, 6)
    expected = run(net, x)[1]
    prepare_net(net)
    compiled = torch.compile(net, backend="aot_eager")
    assert_close(compiled(x)[1], expected, GRADIENT, "compiled")
