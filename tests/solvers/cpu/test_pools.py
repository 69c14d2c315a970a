"""Pools over channels-last images: the bits of torch, and nothing of the input's size is saved."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, max_pool2d

from nwavesdk.solvers.cpu.pools import LARGEST_WINDOW, max_pool, mean_pool

POOLS = {"max": (max_pool, max_pool2d), "mean": (mean_pool, avg_pool2d)}
# Shape, size of a window, stride.
CASES = [
    ((3, 5, 7, 9), 2, 2),
    ((2, 12, 30, 30), 2, 2),
    ((40, 9, 13, 11), 3, 3),  # several threads
    ((2, 3, 13, 11), 2, 3),
    ((2, 3, 11, 13), 3, 5),
    ((1, 1, 4, 4), 2, 2),
    ((2, 2, 5, 5), 5, 7),
    ((2, 3, 6, 4), 1, 2),
    ((1, 2, 31, 16), LARGEST_WINDOW, 15),
    ((0, 2, 4, 4), 2, 2),
]


def images(*shape, seed=0):
    """Few different values, so that maxima are at several places."""
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (4 * x).round().contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_outputs_and_gradients_have_the_bits_of_torch(kind, shape, size, stride):
    ours, torchs = POOLS[kind]
    x = images(*shape).requires_grad_()
    y = torch.nn.Parameter(x.detach().clone())
    got, expected = ours(x, size, stride), torchs(y, size, stride)
    assert torch.equal(got, expected)
    grad = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    got.backward(grad)
    expected.backward(grad)
    assert torch.equal(x.grad, y.grad)


def test_a_nan_passes_through():
    x = images(2, 3, 4, 4)
    x[0, 1, 3, 2] = torch.nan
    for ours, torchs in POOLS.values():
        assert torch.equal(ours(x, 2, 2).isnan(), torchs(x, 2, 2).isnan())
        assert ours(x, 2, 2).isnan().sum() == 1


@pytest.mark.parametrize("kind", POOLS)
def test_a_gradient_of_a_gradient(kind):
    ours, torchs = POOLS[kind]
    seconds = []
    for pool in (ours, torchs):
        x = images(2, 3, 5, 6).requires_grad_()
        (first,) = torch.autograd.grad(pool(x, 2, 2).pow(3).sum(), x, create_graph=True)
        (second,) = torch.autograd.grad(first.pow(2).sum(), x)
        seconds.append(second)
    torch.testing.assert_close(*seconds)


def test_what_is_saved():
    sizes = []
    x = images(4, 3, 8, 8).requires_grad_()

    def note(t):
        sizes.append(t.nbytes)
        return t

    with torch.autograd.graph.saved_tensors_hooks(note, lambda t: t):
        mean_pool(max_pool(x, 2, 2), 2, 2)
    assert sizes == [4 * 3 * 4 * 4]
