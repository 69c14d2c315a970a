"""The gain of a recurrent loop: its formula against eigenvalues and gradients, and its bound."""

import math
from dataclasses import replace

import pytest
import torch

from nwavesdk.layers import ALIFLayer, HWLayer, LIFLayer, prepare_net
from nwavesdk.solvers import spec_name
from nwavesdk.solvers.feedback import loop_gain, mean_slope, spectral_radius
from nwavesdk.solvers.ops import solve_in_graph
from nwavesdk.solvers.sweep import FORWARD, sweep
from nwavesdk.surrogate import atan, boxcar, fast_sigmoid
from tolerances import GRADIENT, assert_all_close, assert_close

N, T = 40, 60
TAU = 20e-3


def layer_of(max_loop_gain=None, weight_scale=3.0, surrogate=None, tau=TAU, kind=LIFLayer):
    """A recurrent layer whose loop gain is well above 1."""
    torch.manual_seed(1)
    layer = kind(
        N,
        tau,
        spike_grad=surrogate or atan(2),
        layer_topology="RC",
        max_loop_gain=max_loop_gain,
    )
    layer.recurrent_weights.data.mul_(weight_scale)
    return layer


def gradient_over_time(layer):
    """The norm of ∂L/∂x in each step, [T], for a loss that reads the last membrane only."""
    generator = torch.Generator().manual_seed(2)
    x = (0.25 * torch.randn(8, T, N, generator=generator)).requires_grad_()
    direction = torch.randn(8, N, generator=generator)
    prepare_net(layer)
    spk, mem = layer(x)
    (mem[:, -1] * direction).sum().backward()
    return spk, x.grad.norm(dim=(0, 2))


def growth_per_step(layer):
    """Factor by which the gradient grows from a step to the one before."""
    norms = gradient_over_time(layer)[1]
    return float((norms[5] / norms[45]) ** (1 / 40))


def test_the_spectral_radius_is_that_of_the_eigenvalues():
    generator = torch.Generator().manual_seed(3)
    for size in (5, 60, 512):  # torch multiplies the largest
        noise = torch.randn(size, size, generator=generator) / math.sqrt(size)
        outlier = 3 * torch.ones(size, size) / size
        for matrix, tolerance in ((noise, 0.1), (noise + outlier, 0.02)):
            expected = torch.linalg.eigvals(matrix).abs().max()
            assert float(spectral_radius(matrix)) == pytest.approx(float(expected), rel=tolerance)


def test_the_spectral_radius_without_loops_is_zero_and_not_finite_without_numbers():
    assert float(spectral_radius(torch.ones(5, 5).triu(1))) == 0
    assert float(spectral_radius(torch.zeros(3, 3))) == 0
    for value in (math.nan, math.inf):
        assert math.isnan(spectral_radius(torch.full((3, 3), value)))


def test_the_mean_slope_is_the_area_near_the_threshold():
    threshold = torch.tensor([0.5, 1.0, 4.0], dtype=torch.float64)
    density = math.exp(-0.5) / math.sqrt(2 * math.pi) / threshold
    narrow = 0.05
    assert mean_slope(boxcar(narrow, 1 / narrow), threshold).tolist() == pytest.approx(
        density.tolist(), rel=0.1
    )
    # The area of fast_sigmoid(k) is 2 / k.
    slopes = mean_slope(fast_sigmoid(1e3), threshold)
    assert slopes.tolist() == pytest.approx((2e-3 * density).tolist(), rel=0.05)


@pytest.mark.parametrize("surrogate", [atan(2), fast_sigmoid(5)])
def test_the_loop_gain_predicts_how_gradients_grow(surrogate):
    x = 0.25 * torch.randn(8, T, N, generator=torch.Generator().manual_seed(2))
    for scale in (0.5, 1.0, 2.0, 3.0):
        layer = layer_of(weight_scale=scale, surrogate=surrogate)
        prepare_net(layer)
        record = layer.record(x)
        slopes = surrogate.derivative(record.z).mean((0, 1))
        problem = record._problem
        gain = float(loop_gain(problem.spec, problem.constants, layer.recurrent_weights, slopes))
        growth = growth_per_step(layer)
        assert (growth > 1) == (gain > 1)
        # All neurons have one decay, so a loop of gain g multiplies by β + (1 - β) g.
        decay = float(problem.constants[0][0])
        assert growth == pytest.approx(decay + (1 - decay) * gain, abs=0.1)


def test_the_bound_holds_gradients_and_leaves_spikes_unchanged():
    exact, bounded, cut = (layer_of(limit) for limit in (None, 1.0, 0.0))
    assert growth_per_step(exact) > 1.05
    assert growth_per_step(bounded) < 1.0
    decay = math.exp(-1e-3 / TAU)
    assert growth_per_step(cut) == pytest.approx(decay, abs=2e-3)
    spikes = [gradient_over_time(layer)[0] for layer in (exact, bounded, cut)]
    assert torch.equal(spikes[0], spikes[1])
    assert torch.equal(spikes[0], spikes[2])


def test_a_gain_below_the_bound_changes_no_bit():
    gentle = fast_sigmoid(25)
    norms = [
        gradient_over_time(layer_of(limit, weight_scale=1.0, surrogate=gentle))[1]
        for limit in (None, 1.0)
    ]
    assert torch.equal(*norms)


def gradients(layer, run):
    x = 0.25 * torch.randn(4, 30, N, generator=torch.Generator().manual_seed(4))
    x.requires_grad_()
    prepare_net(layer)
    spk, mem = run(layer, x)
    ramp = torch.linspace(-1, 1, N)
    (spk * ramp + mem * ramp.flip(0)).sum().backward()
    return [x.grad, layer.recurrent_weights.grad, layer.log_taus.grad]


def whole(layer, x):
    return layer(x)


def step_by_step(layer, x):
    steps = [layer(x_t) for x_t in x.unbind(1)]
    return tuple(torch.stack(sequence, 1) for sequence in zip(*steps, strict=True))


def in_halves(layer, x):
    halves = [layer(half) for half in x.chunk(2, 1)]
    return tuple(torch.cat(parts, 1) for parts in zip(*halves, strict=True))


def recorded(layer, x):
    record = layer.record(x)
    return record.spk, record.mem


def bounded_lif():
    torch.manual_seed(1)
    layer = LIFLayer(N, TAU, spike_grad=atan(2), learn_taus=True, layer_topology="RC")
    layer.recurrent_weights.data.mul_(2)
    return layer


@pytest.mark.parametrize("run", [step_by_step, in_halves, recorded])
def test_every_way_to_run_has_the_same_bound(run):
    expected = gradients(bounded_lif(), whole)
    assert_all_close(gradients(bounded_lif(), run), expected, GRADIENT, "gradient")


@pytest.mark.parametrize("kind", [LIFLayer, HWLayer])
def test_solvers_agree(kind):
    layers = [layer_of(1.0, kind=kind) for _ in range(2)]
    layers[1].solver = "reference"
    norms = [gradient_over_time(layer)[1] for layer in layers]
    assert_close(*norms, GRADIENT, "gradient")


def test_a_step_sees_weights_that_have_changed():
    layer = bounded_lif()
    norms = []
    for _ in range(2):
        x = torch.full((1, N), 0.9)
        prepare_net(layer)
        before = x.clone().requires_grad_()
        layer(before)
        (layer(x)[0] * torch.linspace(-1, 1, N)).sum().backward()
        norms.append(before.grad.clone())
        # As a fused optimizer, which does not change the version.
        layer.recurrent_weights.data.mul_(3)
    fresh = bounded_lif()
    fresh.recurrent_weights.data.mul_(3)
    before = x.clone().requires_grad_()
    prepare_net(fresh)
    fresh(before)
    (fresh(x)[0] * torch.linspace(-1, 1, N)).sum().backward()
    assert torch.equal(norms[1], before.grad)


def test_recorded_gradients_of_another_surrogate_have_its_bound():
    gentle, steep = fast_sigmoid(25), atan(2)
    x = 0.25 * torch.randn(4, 30, N, generator=torch.Generator().manual_seed(4))
    layer = layer_of(1.0, surrogate=gentle)
    prepare_net(layer)
    record = layer.record(x)
    other = layer_of(1.0, surrogate=steep)
    prepare_net(other)
    leaf = x.clone().requires_grad_()
    spk, _ = other(leaf)
    ramp = torch.linspace(-1, 1, N)
    (spk * ramp).sum().backward()
    got, _ = record.charge_gradient(ramp.expand_as(spk), surrogate=steep)
    assert_close(got, leaf.grad, GRADIENT, "gradient")


def test_operators_of_compiled_code_have_the_bound():
    layer = layer_of(1.0)
    x = 0.25 * torch.randn(2, 12, N, generator=torch.Generator().manual_seed(2))
    prepare_net(layer)
    problem = layer.record(x)._problem
    found = []
    for run in (sweep, solve_in_graph):
        leaf = x.clone().requires_grad_()
        given = replace(problem, x=leaf)
        name = spec_name(given.spec)
        arguments = (FORWARD["serial"],) if run is sweep else (name, "serial", True, False)
        run(given, *arguments).mem[:, -1].sum().backward()
        found.append(leaf.grad)
    assert_close(*found, GRADIENT, "gradient")


def test_neurons_of_other_equations_are_not_bounded():
    layer = ALIFLayer(4, layer_topology="RC")
    assert layer.max_loop_gain is None


@pytest.mark.parametrize("limit", [-1, math.nan, "1", True])
def test_a_bound_is_a_number(limit):
    with pytest.raises(ValueError, match="LIFLayer: max_loop_gain must be a finite number"):
        LIFLayer(2, TAU, max_loop_gain=limit)
