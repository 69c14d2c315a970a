"""Plots of weights and delays: images and bars of the right numbers."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from nwavesdk import plot
from nwavesdk.layers import DelayedSynapse, LIFSynapse


def axes():
    return Figure().subplots()


def image_of(ax):
    return np.ma.filled(np.ma.asarray(ax.images[0].get_array()).astype(float), np.nan)


def test_dense_weights_have_a_row_per_input():
    synapse = LIFSynapse(4, 3)
    weight = synapse.weight.detach().numpy()
    linear = torch.nn.Linear(4, 3)
    with torch.no_grad():
        linear.weight.copy_(synapse.weight.mT)
    for given in (synapse, synapse.weight, weight, linear):
        ax = plot.weights(given, axes())
        np.testing.assert_allclose(image_of(ax), weight, rtol=1e-6)
        low, high = ax.images[0].get_clim()
        assert -low == high == pytest.approx(np.abs(weight).max())
    front = plot.weights(weight[0], axes())
    np.testing.assert_allclose(image_of(front), weight[:1], rtol=1e-6)


def test_kernels_are_a_grid_with_gaps():
    conv = torch.nn.Conv2d(2, 3, (4, 5))
    image = image_of(plot.weights(conv, axes()))
    assert image.shape == (3 * 5 - 1, 2 * 6 - 1)
    for o in range(3):
        for i in range(2):
            kernel = image[5 * o : 5 * o + 4, 6 * i : 6 * i + 5]
            np.testing.assert_allclose(kernel, conv.weight[o, i].detach(), rtol=1e-6)
    assert np.isnan(image[4]).all()
    assert np.isnan(image[:, 5]).all()
    flat = image_of(plot.weights(torch.nn.Conv1d(2, 3, 5), axes()))
    assert flat.shape == (5, 11)


def test_delays_are_counted_in_whole_steps():
    steps = torch.tensor([[0.0, 2.4], [2.0, 4.6]])
    weight = torch.tensor([[1.0, -2.0], [3.0, 0.5]])
    ax = plot.delays(steps, axes())
    assert [bar.get_height() for bar in ax.patches] == [1, 0, 2, 0, 0, 1]
    weighted = plot.delays(steps, axes(), weight=weight, dt=1e-3)
    assert [bar.get_height() for bar in weighted.patches] == [1, 0, 5, 0, 0, 0.5]
    assert weighted.get_xlabel() == "delay [ms]"
    synapse = DelayedSynapse(3, 4, max_delay=6)
    bars = plot.delays(synapse, axes()).patches
    assert sum(bar.get_height() for bar in bars) == synapse.delays.numel()


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (
            lambda: plot.weights(3.0),
            ValueError,
            r"weights takes weights \[N\] or .*got the shape \[\]",
        ),
        (
            lambda: plot.weights(torch.nn.Identity()),
            TypeError,
            "weights takes a tensor or an array of numbers, got Ident",
        ),
        (
            lambda: plot.delays(torch.tensor([-1.0])),
            ValueError,
            "finite delays of at least 0 steps",
        ),
        (
            lambda: plot.delays(torch.tensor([1.0]), weight=torch.ones(2)),
            ValueError,
            r"weight has the shape \[2\], expected \[1\]",
        ),
    ],
)
def test_arguments_are_checked(draw, error, words):
    with pytest.raises(error, match=words):
        draw()
