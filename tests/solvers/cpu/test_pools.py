"""Pools over channels-last images: the bits of torch, and nothing of the input's size is saved."""

from functools import partial

import pytest
import torch
from torch.nn.functional import avg_pool2d, max_pool2d

from nwavesdk.solvers.cpu.pools import LARGEST_WINDOW, pool_images

POOLS = {False: max_pool2d, True: avg_pool2d}  # by `is_mean`
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


@pytest.mark.parametrize("is_mean", POOLS)
@pytest.mark.parametrize(("shape", "size", "stride"), CASES)
def test_outputs_and_gradients_have_the_bits_of_torch(is_mean, shape, size, stride):
    x = images(*shape).requires_grad_()
    y = torch.nn.Parameter(x.detach().clone())
    got, expected = pool_images(x, size, stride, is_mean), POOLS[is_mean](y, size, stride)
    assert torch.equal(got, expected)
    grad = torch.randn(got.shape, generator=torch.Generator().manual_seed(1))
    got.backward(grad)
    expected.backward(grad)
    assert torch.equal(x.grad, y.grad)


def test_a_nan_passes_through():
    x = images(2, 3, 4, 4)
    x[0, 1, 3, 2] = torch.nan
    for is_mean, torchs in POOLS.items():
        is_nan = pool_images(x, 2, 2, is_mean).isnan()
        assert torch.equal(is_nan, torchs(x, 2, 2).isnan())
        assert is_nan.sum() == 1


@pytest.mark.parametrize("is_mean", POOLS)
def test_a_gradient_of_a_gradient(is_mean):
    seconds = []
    for function in (partial(pool_images, is_mean=is_mean), POOLS[is_mean]):
        x = images(2, 3, 5, 6).requires_grad_()
        (first,) = torch.autograd.grad(function(x, 2, 2).pow(3).sum(), x, create_graph=True)
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
        pool_images(pool_images(x, 2, 2, is_mean=False), 2, 2, is_mean=True)
    assert sizes == [4 * 3 * 4 * 4]
