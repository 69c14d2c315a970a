"""Lists of events as the input of a net: the bits of the dense input, and one error per misuse."""

import math

import pytest
import torch

from nwavesdk.layers import (
    Dropout,
    H1v1Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)

FEW_AND_MANY = [(1, 70), (3, 7, 70), (2, 60, 70)]


def events(*shape, dtype=torch.float32, binary=True):
    x = (torch.rand(shape) < 0.1).to(dtype)
    return x if binary else x * torch.randint(1, 4, shape)


def output_and_gradient(synapse, x):
    synapse.zero_grad()
    y = synapse(x)
    torch.manual_seed(1)
    y.backward(torch.randn(y.shape, dtype=y.dtype))
    return y.detach(), synapse.weight.grad.clone()


def small_net(**options):
    torch.manual_seed(0)
    net = SpikingSequential(
        SpikingSequential(LIFSynapse(70, 8, product="sparse"), LIFLayer(8, 10e-3)),
        LIFSynapse(8, 2, product="dense"),
        LIFLayer(2, 10e-3, reset_mechanism="none"),
        **options,
    )
    prepare_net(net)
    return net


@pytest.fixture
def _without_dense(monkeypatch):
    """Fail where a list becomes dense."""
    monkeypatch.setattr(torch.Tensor, "to_dense", None)


@pytest.mark.parametrize("shape", FEW_AND_MANY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.usefixtures("_without_dense")
def test_product_and_gradient_have_the_bits_of_the_dense_input(shape, dtype, binary):
    synapse = LIFSynapse(70, 33, product="sparse", bias=True).to(dtype)
    x = events(*shape, dtype=dtype, binary=binary)
    expected = output_and_gradient(synapse, x)
    got = output_and_gradient(synapse, x.to_sparse())
    assert all(map(torch.equal, got, expected))
    assert expected[1].any()


def test_chip_synapse_takes_lists():
    synapse = H1v1Synapse(70, 16, product="sparse")
    prepare_net(synapse)
    x = events(2, 60, 70)
    got = output_and_gradient(synapse, x.to_sparse())
    assert all(map(torch.equal, got, output_and_gradient(synapse, x)))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_takes_the_dense_product(bad):
    synapse = LIFSynapse(70, 3, product="sparse")
    with torch.no_grad():
        synapse.weight[5, 1] = bad
    x = events(2, 60, 70)
    got = synapse(x.to_sparse())
    assert torch.equal(got.nan_to_num(7.0), synapse(x).nan_to_num(7.0))
    assert got[..., 1].isnan().any()


@pytest.mark.parametrize("options", [{}, {"checkpoint": 13}])
def test_net_takes_lists(options, monkeypatch):
    x = events(3, 30, 70)
    listed = x.to_sparse()
    results = []
    for given in (x, listed):
        net = small_net(**options)
        spk, mem = net(given)
        mem.sum().backward()
        results.append((spk.detach(), mem.detach(), net[0][0].weight.grad))
        if given is x:
            monkeypatch.setattr(torch.Tensor, "to_dense", None)
    assert all(map(torch.equal, *results))
    recording = small_net(**options).record(listed)
    assert torch.equal(recording.mem, results[0][1])


def test_first_modules_that_take_no_lists():
    listed = events(2, 5, 70).to_sparse()
    for first in (Dropout(0.2), torch.nn.Flatten(), LIFSynapse(70, 70, product="dense")):
        net = SpikingSequential(first, LIFSynapse(70, 2))
        words = rf"for its first module, {type(first).__name__}, got torch.sparse_coo: convert it"
        with pytest.raises(TypeError, match=words):
            net(listed)
        with pytest.raises(TypeError, match=words):
            net.record(listed)
    with pytest.raises(TypeError, match="takes a dense tensor, got torch.sparse_coo"):
        LIFSynapse(70, 2, product="dense")(listed)
    with pytest.raises(TypeError, match="takes a dense tensor, got torch.sparse_coo"):
        LIFLayer(70, 10e-3)(listed)


def test_lists_that_cannot_be_used():
    synapse = LIFSynapse(70, 2)
    x = events(2, 5, 70)
    listed = x.to_sparse()
    with pytest.raises(ValueError, match=r"got an input of shape \[2, 5, 70\]"):
        LIFSynapse(71, 2)(listed)
    with pytest.raises(
        TypeError, match=r"weights of torch.float32 and got an input of torch.int64"
    ):
        synapse(listed.to(torch.int64))
    with pytest.raises(RuntimeError, match="does not work with a gradient of the list"):
        synapse(listed.requires_grad_())
    with pytest.raises(RuntimeError, match="does not work with sparse tensors of other dimensions"):
        synapse(x.to_sparse(2))
    with torch.autocast("cpu"), pytest.raises(RuntimeError, match="does not work with autocast"):
        synapse(x.to_sparse())
    of_list = torch.func.vmap(lambda _: synapse(x.to_sparse()))
    with pytest.raises(RuntimeError, match="does not work with the transforms of torch.func"):
        of_list(torch.zeros(3))
