"""The catalogue against the libraries it comes from, where installed, and their mistakes."""

import math

import pytest
import torch

from nwavesdk.surrogate import available, heaviside

ALL = available()
Z = torch.linspace(-4, 4, 1001) + 0.0003  # no kink lies on it


def gradient(spikes, z=Z):
    leaf = z.clone().requires_grad_()
    return torch.autograd.grad(spikes(leaf).sum(), leaf)[0]


def same(name, theirs, z=Z, **parameters):
    s = ALL[name](**parameters)
    assert torch.equal(s(z), heaviside(z))
    got, scale = s.derivative(z), float(theirs.abs().max())
    torch.testing.assert_close(got, theirs, rtol=2e-5, atol=3e-6 * scale)


# snnTorch


@pytest.fixture(scope="module")
def snn():
    return pytest.importorskip("snntorch.surrogate")


def test_snntorch(snn):
    same("atan", gradient(snn.atan()))
    same("atan", gradient(snn.atan(5.0)), alpha=5)
    same("fast_sigmoid", gradient(snn.fast_sigmoid()))
    near = Z[Z > -3]  # beyond, theirs is NaN
    same("sigmoid", gradient(snn.sigmoid(), near), near)
    same("straight_through", gradient(snn.straight_through_estimator()))
    same("leaky_k_relu", gradient(snn.heaviside()))
    same("spike_rate_escape", gradient(snn.spike_rate_escape()))
    same("spike_rate_escape", gradient(snn.spike_rate_escape(2, 3)), beta=2, slope=3)
    same("snntorch_triangular", gradient(snn.triangular()))
    same("snntorch_triangular", gradient(snn.triangular(0.5)), threshold=0.5)


def test_snntorch_s_leaky_operator_does_not_run(snn):
    with pytest.raises(TypeError, match="variance"):
        snn.LSO()(Z)
    same("leaky_k_relu", torch.where(Z > 0, 1.0, 0.1), leak=0.1)


def test_snntorch_s_sparse_gradient_is_zero_where_it_should_not_be(snn):
    theirs = gradient(snn.SFS())
    assert not theirs[Z.abs() < 1].any()
    assert theirs[Z > 1].all()
    same("sparse_fast_sigmoid", gradient(snn.fast_sigmoid()) * (Z.abs() < 1))


def test_snntorch_s_escape_rate_peaks_at_twice_the_threshold(snn):
    assert abs(Z[gradient(snn.spike_rate_escape()).argmax()] - 1) < 0.01
    printed = 25 * torch.exp(-((Z + 1) - 1).abs())  # slope e^(-beta |U - 1|), U = z + 1
    same("spike_rate_escape", printed, center=0)


def test_snntorch_s_sigmoid_overflows(snn):
    assert gradient(snn.sigmoid(), torch.tensor([-10.0])).isnan()
    assert ALL["sigmoid"]().derivative(torch.tensor([-10.0])).isfinite()


# SpikingJelly


@pytest.fixture(scope="module")
def jelly():
    return pytest.importorskip("spikingjelly.activation_based.surrogate")


@pytest.mark.parametrize(
    ("name", "theirs", "parameters"),
    [
        ("atan", "ATan", {"alpha": 2.0}),
        ("soft_sign", "SoftSign", {"alpha": 2.0}),
        ("super_spike", "SuperSpike", {"alpha": 1.0}),
        ("piecewise_quadratic", "PiecewiseQuadratic", {"alpha": 1.0}),
        ("piecewise_exp", "PiecewiseExp", {"alpha": 1.0}),
        ("erf", "Erf", {"alpha": 2.0}),
        ("nonzero_sign_log_abs", "NonzeroSignLogAbs", {"alpha": 1.0}),
        ("piecewise_leaky_relu", "PiecewiseLeakyReLU", {"w": 1.0, "c": 0.01}),
        ("s2nn", "S2NN", {"alpha": 4.0, "beta": 1.0}),
        ("q_pseudo_spike", "QPseudoSpike", {"alpha": 2.0}),
        ("leaky_k_relu", "LeakyKReLU", {"leak": 0.0, "k": 1.0}),
        ("log_tailed_relu", "LogTailedReLU", {"alpha": 0.0}),
        ("fake_numerical_gradient", "FakeNumericalGradient", {"alpha": 0.3}),
        ("rect", "Rect", {"alpha": 1.0}),
    ],
)
def test_spikingjelly(jelly, name, theirs, parameters):
    kind = getattr(jelly, theirs)
    assert ALL[name]().parameters == parameters
    same(name, gradient(kind()))
    other = {key: 1.5 * value + 0.2 for key, value in parameters.items()}
    same(name, gradient(kind(**other)), **other)


def test_spikingjelly_by_other_names(jelly):
    same("straight_through", gradient(jelly.DeterministicPass()))
    same("soft_sign", 1.5 * ALL["fast_sigmoid"](3.0).derivative(Z), alpha=3.0)
    for n, period in ((2, 8.0), (5, 3.0), (7, 8.0)):
        theirs = gradient(jelly.SquarewaveFourierSeries(n, period))
        same("squarewave_fourier_series", theirs, n=n, period=period)


def test_spikingjelly_s_sigmoid_has_no_right_tail(jelly):
    theirs, here = gradient(jelly.Sigmoid(), torch.tensor([-5.0, 5.0])), torch.tensor([-5.0, 5.0])
    assert theirs[0] > 8e-9
    assert theirs[1] == 0
    assert (ALL["sigmoid"](4).derivative(here) > 8e-9).all()
    near = Z[Z < 1.5]
    same("sigmoid", gradient(jelly.Sigmoid(), near), near, slope=4)


def test_spikingjelly_s_series_has_one_term_less_than_it_says(jelly):
    assert not gradient(jelly.SquarewaveFourierSeries(n=1)).any()


# Norse


@pytest.fixture(scope="module")
def norse():
    module = pytest.importorskip("norse.torch.functional.threshold")
    return lambda method, alpha: lambda z: module.threshold(z, method, alpha)


def test_norse(norse):
    same("triangle", gradient(norse("triangle", 0.3)))
    for k in (1.0, 3.0):
        same("tanh", gradient(norse("tanh", k)), k=k)
        same("heavi_erfc", gradient(norse("heavi_erfc", k)), k=k)
        same("circ", gradient(norse("circ", k)), alpha=k)


def test_norse_s_superspike_forgets_its_slope(norse):
    for slope in (1.0, 100.0):
        same("fast_sigmoid", gradient(norse("super", slope)), slope=1.0)
    same("fast_sigmoid", 1 / (100 * Z.abs() + 1) ** 2, slope=100.0)


def test_norse_s_tanh_and_erfc_are_not_the_derivatives_of_their_steps(norse):
    """1/2 + tanh(k z)/2 rises by k/2 at 0, 1/2 + erf(k z)/2 by k/√pi; theirs do not depend on k."""
    zero = torch.zeros(1)
    for k in (1.0, 100.0):
        assert gradient(norse("tanh", k), zero).item() == 1
        assert gradient(norse("heavi_erfc", k), zero).item() == pytest.approx(
            2 / math.sqrt(math.pi)
        )
    assert ALL["sigmoid"](slope=2 * 100.0).derivative(zero).item() == 100.0 / 2


# sinabs


@pytest.fixture(scope="module")
def sinabs():
    return pytest.importorskip("sinabs.activation")


@pytest.mark.parametrize("threshold", [1.0, 2.5])
def test_sinabs(sinabs, threshold):
    v = Z + threshold
    same("gaussian", sinabs.Gaussian()(v, threshold))
    same("gaussian", sinabs.Gaussian(0.3, 0.2, 2.0)(v, threshold), mu=0.3, sigma=0.2, scale=2.0)
    same("multi_gaussian", sinabs.MultiGaussian()(v, threshold))
    same(
        "multi_gaussian",
        sinabs.MultiGaussian(0.0, 0.3, 0.2, 4, 2.0)(v, threshold),
        sigma=0.3,
        h=0.2,
        s=4,
        scale=2.0,
    )
    same("heaviside_window", sinabs.Heaviside()(v, threshold), threshold=threshold)
    same("single_exponential", sinabs.SingleExponential()(v, threshold), threshold=threshold)
    same("periodic_exponential", sinabs.PeriodicExponential()(v, threshold), threshold=threshold)
    same(
        "periodic_exponential",
        sinabs.PeriodicExponential(2.0, 3.0)(v, threshold),
        width=2,
        scale=3,
        threshold=threshold,
    )


def test_sinabs_window_is_not_relative_to_the_threshold(sinabs):
    """As documented, a window of 1 would begin at a membrane of 0; here it begins at 1.5."""
    v = torch.tensor([0.5, 1.4, 1.6])
    assert torch.equal(sinabs.Heaviside(1.0)(v, 2.5) > 0, torch.tensor([False, False, True]))


def test_sinabs_mean_does_not_move_all_of_a_multi_gaussian(sinabs):
    here, there = (sinabs.MultiGaussian(mu)(Z + 1, 1.0) for mu in (0.0, 0.5))
    shifted = sinabs.MultiGaussian(0.0)(Z + 0.5, 1.0)
    assert not torch.allclose(there, shifted, atol=1e-3)
    assert not torch.allclose(there, here, atol=1e-3)


# Spyx needs jax, so its formulas are written out.


def test_spyx():
    same("fixed_peak_atan", 1 / ((1 + (2 * math.pi * Z) ** 2) * math.pi))
    same("triangle", torch.relu(1 - (2 * Z).abs()), alpha=1, k=2)
    same("boxcar", 0.5 * (Z.abs() < 1))
    same("tanh", 4 / (torch.exp(-Z) + torch.exp(Z)) ** 2)
    same("fast_sigmoid", 1 / (1 + 25 * Z.abs()) ** 2)
