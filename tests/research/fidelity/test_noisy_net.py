"""The estimate equals the gradient of the expected loss, summed over all patterns of spikes."""

import copy
import itertools
import math

import pytest
import torch

from layers.pages import AdaptiveLayer, LILayer
from nwavesdk.layers import (
    ChipInstance,
    Dropout,
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    NeuronLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.solvers.problem import specs_by_name
from nwavesdk.surrogate import atan, fast_sigmoid
from research.fidelity import SHAPES, Control, LikelihoodRatio, NoisyNet, ThresholdNoise

B, T, N = 2, 3, 2
CUMULATIVE = {
    "normal": torch.distributions.Normal(0.0, 1 / 2.3548200450309493).cdf,
    "logistic": lambda z: 1 / (1 + torch.exp(-3.525494348078172 * z)),
    "laplace": torch.distributions.Laplace(0.0, 1 / 1.3862943611198906).cdf,
    "cauchy": torch.distributions.Cauchy(0.0, 0.5).cdf,
}
"""For a width of 1 at half height; the numbers are √(8 ln 2), 2 arcosh 3 and 2 ln 2."""


def lif(reset="subtraction", read_out=False, **options):
    layers = [LIFLayer(N, taus=6e-3, reset_mechanism=reset, **options) for _ in range(2)]
    modules = [LIFSynapse(N, N), layers[0], LIFSynapse(N, N, bias=True), layers[1]]
    if read_out:
        modules += [LIFSynapse(N, 3), LIFLayer(3, taus=6e-3, reset_mechanism="none")]
    return SpikingSequential(*modules)


def chip(version):
    synapse, layer = {1: (H1v1Synapse, H1v1Layer), 2: (H1v2Synapse, H1v2Layer)}[version]
    return SpikingSequential(synapse(N, N), layer(N, 10e-3), synapse(N, N), layer(N, 10e-3))


NETS = {
    "subtraction": lif,
    "zero": lambda: lif("zero"),
    "none": lambda: SpikingSequential(*[*lif("none")][:2], *[*lif()][2:]),
    "full gradient": lambda: lif(detach_reset=False),
    "learnable constants": lambda: lif("zero", learn_taus=True, learn_thresholds=True),
    "recurrent": lambda: lif(layer_topology="RC"),
    "read-out": lambda: lif(read_out=True),
    "nested": lambda: SpikingSequential(
        SpikingSequential(*[*lif()][:2]), Dropout(0.5), *[*lif()][2:]
    ),
    "comPaSSo": lambda: lif(device="gpu"),
    "h1v1": lambda: chip(1),
    "h1v2": lambda: chip(2),
}


def loss_fn(spk, mem, targets):
    """A function of spikes and membranes that is far from linear."""
    ramp = torch.linspace(0.5, 1.5, spk.shape[1] * spk.shape[2], dtype=spk.dtype).reshape(
        spk.shape[1:]
    )
    fired = (spk.nan_to_num() * ramp).sum((1, 2)) * (mem.shape[2] == N)
    return (fired - targets) ** 2 + (mem * ramp).sum((1, 2)).tanh()


def expected_loss(net, x, targets, cumulative):
    """Return Σ P(pattern) · loss(pattern), the mean over recordings; with gradient."""
    prepare_net(net)
    modules = [m for _, m in net.modules_in_order() if not isinstance(m, Dropout)]
    pairs = [*zip(modules[::2], modules[1::2], strict=True)]
    noisy = [
        layer
        for _, layer in pairs
        if not (layer is pairs[-1][1] and layer.neuron.name == "lif_none")
    ]
    patterns = torch.tensor(
        [*itertools.product([0.0, 1.0], repeat=len(noisy) * T * N)], dtype=x.dtype
    )
    patterns = patterns.reshape(-1, len(noisy), T, N)
    total = 0.0
    for recording, target in zip(x, targets, strict=True):
        inward, chance = (
            recording.expand(len(patterns), T, -1),
            torch.ones(len(patterns), dtype=x.dtype),
        )
        for depth, (synapse, layer) in enumerate(pairs):
            cur, (decay, threshold) = synapse(inward), layer.constants(x.dtype)
            v = torch.zeros_like(cur[:, 0])
            spikes, membranes, s = [], [], torch.zeros_like(v)
            for t in range(T):
                u = decay * v + cur[:, t]
                if layer.recurrent_weights is not None:
                    u = u + s @ layer.recurrent_weights
                if layer.neuron.name.startswith("h1"):
                    u = u.clamp(min=0)
                if layer in noisy:
                    s, p = patterns[:, depth, t], cumulative(u - threshold)
                    chance = chance * torch.where(s > 0, p, 1 - p).prod(1)
                    zero = layer.neuron.name in ("lif_zero", "h1v1")
                    v = (
                        u
                        if layer.neuron.name == "lif_none"
                        else u * (1 - s)
                        if zero
                        else u - threshold * s
                    )
                else:
                    s, v = (u > threshold).to(u), u
                spikes.append(s)
                membranes.append(v)
            inward = torch.stack(spikes, 1)
        loss = loss_fn(inward, torch.stack(membranes, 1), target.expand(len(patterns)))
        total = total + (chance * loss).sum() / len(x)
    return total


@pytest.fixture
def data():
    torch.manual_seed(2)
    return 2 * torch.rand(B, T, N, dtype=torch.float64), torch.tensor(
        [2.0, 5.0], dtype=torch.float64
    )


def exact_gradient(net, x, targets, cumulative, names):
    net = copy.deepcopy(net)
    loss = expected_loss(net, x, targets, cumulative)
    parameters = dict(net.named_parameters())
    gradients = torch.autograd.grad(loss, [parameters[name] for name in names])
    return loss.item(), torch.cat([gradient.flatten() for gradient in gradients])


def assert_unbiased(estimates, expected):
    """Test that the mean of estimates is the gradient, at a level of one in 100,000.

    The errors must be small compared with the gradient. They include a ten-thousandth of the
    gradient, for spikes that are so rare that no sample contains them.
    """
    f = pytest.importorskip("scipy.stats").f
    K, P = estimates.shape
    off = estimates.mean(0) - expected
    covariance = estimates.t().cov() / K
    assert covariance.trace().sqrt() < 0.1 * expected.norm(), "too few samples"
    covariance += torch.eye(P) * (1e-4 * expected.norm()) ** 2
    squares = off @ torch.linalg.solve(covariance, off)  # Hotelling's T²
    assert squares * (K - P) / (P * (K - 1)) < f.ppf(1 - 1e-5, P, K - P)


def build_net(name):
    torch.manual_seed(1)
    net = NETS[name]().double().eval()
    for parameter in net.parameters():
        if parameter.ndim == 2:
            torch.nn.init.uniform_(parameter, -0.6, 0.9)
    return net


@pytest.mark.parametrize("name", NETS)
@pytest.mark.filterwarnings("ignore:.*comPaSSo path")
def test_the_estimate_has_no_bias(name, data):
    net, (x, targets) = build_net(name), data
    noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("logistic", 0.8), seed=3)
    assert noisy.sites == 2 * T * N
    expected_of_loss, expected = exact_gradient(
        net, x, targets, lambda z: CUMULATIVE["logistic"](z / 0.8), noisy.parameters
    )
    estimates = LikelihoodRatio(noisy).gradients(20_000, 100)
    assert_unbiased(estimates, expected)
    losses = noisy.losses(5_000).mean(1)
    assert losses.mean().item() == pytest.approx(
        expected_of_loss, abs=5 * losses.std().item() / math.sqrt(5_000)
    )


def test_a_neuron_without_spikes_is_a_read_out_like_one_without_reset(data):
    x, targets = data
    results = []
    for read_out in (LIFLayer(3, taus=6e-3, reset_mechanism="none"), LILayer(3, tau=6e-3)):
        torch.manual_seed(1)
        hidden = (LIFSynapse(N, N), AdaptiveLayer(N, tau=6e-3), LIFSynapse(N, 3))
        net = SpikingSequential(*hidden, read_out).double()
        noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("logistic", 0.8), seed=3)
        assert noisy.sites == T * N
        surrogates = [fast_sigmoid(5.0)] * len(noisy.surrogates)
        results.append((noisy.losses(100), *noisy.surrogate_gradient(surrogates)))
    for one, other in zip(*results, strict=True):
        assert torch.equal(torch.as_tensor(one), torch.as_tensor(other))


@pytest.mark.parametrize("shape", SHAPES)
def test_the_estimate_has_no_bias_with_noise_of_every_shape(shape, data):
    net, (x, targets) = build_net("zero"), data
    noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise(shape, 0.4), seed=4)
    _, expected = exact_gradient(
        net, x, targets, lambda z: CUMULATIVE[shape](z / 0.4), noisy.parameters
    )
    assert_unbiased(LikelihoodRatio(noisy).gradients(20_000, 100), expected)


def test_no_control_causes_a_bias(data):
    """Random numbers give no bias, either; fitted ones only lower the variance."""
    net, (x, targets) = build_net("subtraction"), data
    noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("logistic", 0.8), seed=5)
    _, expected = exact_gradient(
        net, x, targets, lambda z: CUMULATIVE["logistic"](z / 0.8), noisy.parameters
    )
    fitted, slope = LikelihoodRatio(noisy), 3 * torch.randn(B, noisy.sites, dtype=torch.float64)
    wild = LikelihoodRatio(noisy, Control(torch.tensor([1.0, -2.0], dtype=torch.float64), slope))
    assert math.isnan(fitted.explained)
    estimates, others = fitted.gradients(20_000, 100), wild.gradients(60_000, 100)
    assert_unbiased(others, expected)
    assert 0.5 < fitted.explained < 1
    assert wild.explained < 0
    assert 3 * others.var(0).sum() > 10 * estimates.var(0).sum()


def test_a_site_that_hardly_ever_varies_does_no_harm():
    """With narrow noise many sites have the same outcome in all samples of the fit."""
    torch.manual_seed(0)
    net = SpikingSequential(
        LIFSynapse(4, 12), LIFLayer(12, 6e-3), LIFSynapse(12, 6), LIFLayer(6, 6e-3)
    )
    x, targets = 3 * torch.randn(4, 20, 4), torch.tensor([0, 3, 5, 1])

    def decide(spk, _mem, targets):
        return torch.nn.functional.cross_entropy(25 * spk.mean(1), targets, reduction="none")

    for seed in range(3):
        ratio = LikelihoodRatio(
            NoisyNet(net, x, targets, decide, ThresholdNoise("logistic", 0.1), seed)
        )
        ratio.gradients(1_000)
        assert ratio.explained > 0.4


def test_a_read_out_is_not_noisy_and_not_hidden(data):
    noisy = NoisyNet(build_net("read-out"), *data, loss_fn, ThresholdNoise("normal", 0.5))
    assert noisy.hidden == ("0.weight", "2.weight", "2.bias")
    assert noisy.parameters == (*noisy.hidden, "4.weight")
    assert noisy.sites == 2 * T * N


def test_a_layer_without_reset_before_another_module_is_noisy(data):
    net = SpikingSequential(
        LIFSynapse(N, N), LIFLayer(N, 6e-3, reset_mechanism="none"), LIFSynapse(N, 3)
    ).double()
    noisy = NoisyNet(net, *data, lambda cur, *_: cur.sum((1, 2)), ThresholdNoise("normal", 0.5))
    assert noisy.sites == T * N
    assert (noisy.hidden, noisy.parameters) == (("0.weight",), ("0.weight", "2.weight"))


def test_the_net_is_not_changed(data):
    net = build_net("nested").train()
    before, random = copy.deepcopy(net.state_dict()), torch.get_rng_state()
    noisy = NoisyNet(net, *data, loss_fn, ThresholdNoise("normal", 0.5))
    LikelihoodRatio(noisy).gradients(40, 20)
    noisy.surrogate_gradient(noisy.surrogates)
    assert torch.equal(torch.get_rng_state(), random), (
        "dropout is off, and samples have their own generator"
    )
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    layers = [module for module in net.modules() if isinstance(module, NeuronLayer)]
    assert [layer.solver for layer in layers] == ["auto", "auto"]
    assert repr(layers[0].spike_grad) == "FastSigmoid(slope=25.0)"
    assert all(parameter.grad is None for parameter in net.parameters())
    assert net.training


def test_a_seed_gives_the_same_estimates(data):
    first, again, other = (
        LikelihoodRatio(
            NoisyNet(build_net("zero"), *data, loss_fn, ThresholdNoise("normal", 0.5), seed)
        ).gradients(100, 5)
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_many_samples_run_in_chunks(data, monkeypatch):
    """Chunks are weighted by their samples: 7, 7 and 2 have the variance of 16 together."""
    net, (x, targets) = build_net("zero"), data
    noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("logistic", 0.8), seed=6)
    _, expected = exact_gradient(
        net, x, targets, lambda z: CUMULATIVE["logistic"](z / 0.8), noisy.parameters
    )
    ratio = LikelihoodRatio(noisy)
    in_one = ratio.gradients(16 * 400, 400)
    monkeypatch.setattr(
        "research.fidelity.noisy_net._NUMBERS_PER_CHUNK", 7 * B * (2 * T * N + T * N)
    )
    assert noisy.chunk_sizes(16) == [7, 7, 2]
    in_chunks = ratio.gradients(16 * 400, 400)
    assert_unbiased(in_chunks, expected)
    assert in_chunks.var(0).sum() / in_one.var(0).sum() == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("held", [False, True])
def test_samples_and_surrogates_use_one_chip(data, held):
    """The mismatch is from the seed, or from the `ChipInstance` held on the net."""
    torch.manual_seed(1)
    net = SpikingSequential(
        H1v1Synapse(N, N, stddev=0.3),
        H1v1Layer(N, 10e-3, ileak_mismatch=True),
        H1v1Synapse(N, N, stddev=0.3),
        H1v1Layer(N, 10e-3, ileak_mismatch=True),
    )
    net = net.double().eval()
    (x, targets), held_on = data, copy.deepcopy(net)
    ChipInstance(7).hold(held_on)
    noisy = NoisyNet(
        held_on if held else net,
        x,
        targets,
        loss_fn,
        ThresholdNoise("logistic", 0.8),
        3 if held else 7,
    )
    loss, gradient = noisy.surrogate_gradient(noisy.surrogates)
    for layer in (net[1], net[3]):
        layer.solver = "reference"  # no kernel needs to be compiled for this
    prepare_net(net, seed=7)
    whole = loss_fn(*net(x), targets).mean()
    assert loss == pytest.approx(whole.item(), rel=1e-9)
    expected = torch.autograd.grad(whole, [*net.parameters()])
    torch.testing.assert_close(gradient, torch.cat([g.flatten() for g in expected]))
    prepare_net(net, seed=7)
    _, expected = exact_gradient(
        held_on, x, targets, lambda z: CUMULATIVE["logistic"](z / 0.8), noisy.parameters
    )
    if held:
        assert_unbiased(LikelihoodRatio(noisy).gradients(20_000, 100), expected)


@pytest.mark.parametrize("kind", ["learned", "tied", "checkpoint", "after", "none"])
def test_the_surrogate_gradient_is_that_of_backward(data, kind):
    """For every parameter, in whatever way it acts."""
    (x, targets), make = data, NETS["learnable constants" if kind == "learned" else "subtraction"]
    torch.manual_seed(3)
    net = make().double()
    if kind == "tied":
        net[2].weight = net[0].weight
    if kind == "checkpoint":
        net = SpikingSequential(*net, checkpoint=2)
    if kind == "after":
        net = SpikingSequential(*net, LIFSynapse(N, N).double())
    noisy = NoisyNet(net, x, targets, loss_fn, ThresholdNoise("logistic", 0.8))
    chosen = [atan(2), fast_sigmoid(3)]
    loss, gradient = noisy.surrogate_gradient(chosen)
    for layer, surrogate in zip(
        (m for m in net.modules() if isinstance(m, NeuronLayer)), chosen, strict=True
    ):
        layer.spike_grad = surrogate
        layer.solver = "reference"  # no kernel needs to be compiled for this
    prepare_net(net)
    whole = loss_fn(*net(x), targets).mean()
    names = dict(net.named_parameters())
    assert set(noisy.parameters) == set(names)
    expected = torch.autograd.grad(whole, [names[name] for name in noisy.parameters])
    torch.testing.assert_close(gradient, torch.cat([g.flatten() for g in expected]))
    assert loss == pytest.approx(whole.item())
    assert LikelihoodRatio(noisy).gradients(20, 4).isfinite().all()


def test_no_sample_remains_when_a_loss_fails(data):
    net = build_net("zero")
    noisy = NoisyNet(net, *data, loss_fn, ThresholdNoise("normal", 0.5))
    noisy.loss_fn = lambda *_: 1 / 0
    with pytest.raises(ZeroDivisionError):
        noisy.sample(3)
    assert all(not sampler.z and not sampler.spikes for sampler in noisy._samplers)


def test_equal_noise_shares_one_spec(data):
    """Solvers store specs forever: a second net with the same noise adds none."""
    noise = ThresholdNoise("normal", 0.123)
    NoisyNet(build_net("zero"), *data, loss_fn, noise)
    before = len(specs_by_name)
    NoisyNet(build_net("zero"), *data, loss_fn, noise, seed=1)
    assert len(specs_by_name) == before


def with_weight(value):
    net = build_net("zero")
    with torch.no_grad():
        net[0].weight[0, 0] = value
    return net


def test_a_regression_that_is_too_large_is_rejected(data, monkeypatch):
    monkeypatch.setattr("research.fidelity.likelihood_ratio._MAX_BYTES", 1000)
    with pytest.raises(
        ValueError,
        match="2 recordings with 12 steps of noisy neurons each need 0.0 GB, expected at most",
    ):
        LikelihoodRatio(NoisyNet(build_net("zero"), *data, loss_fn, ThresholdNoise("normal", 0.5)))


def inputs(**changed):
    valid = {
        "net": build_net("zero"),
        "x": torch.rand(B, T, N, dtype=torch.float64),
        "targets": torch.ones(B),
        "loss_fn": loss_fn,
        "noise": ThresholdNoise("normal", 0.5),
    }
    return {**valid, **changed}


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (lambda: {"net": torch.nn.Linear(2, 2)}, "needs a SpikingSequential, got Linear"),
        (
            lambda: {"noise": "normal"},
            r'noise must be a ThresholdNoise, as ThresholdNoise\("normal", 0.3\), got \'normal\'',
        ),
        (lambda: {"targets": [1, 2]}, "x and targets must be tensors, got Tensor and list"),
        (
            lambda: {"targets": torch.ones(5)},
            r"one target for each of 2 recordings, got targets of shape \[5\]",
        ),
        (
            lambda: {"targets": torch.tensor(1.0)},
            r"one target for each of 2 recordings, got targets of shape \[\]",
        ),
        (
            lambda: {"x": torch.rand(B, N)},
            r"needs sequences \[B, T, \*features\], got an input of shape \[2, 2\]",
        ),
        (lambda: {"x": torch.rand(B, 0, N)}, r"got an input of shape \[2, 0, 2\]"),
        (lambda: {"x": torch.full((B, T, N), torch.nan).double()}, "x is not finite"),
        (lambda: {"net": with_weight(torch.inf)}, "0.weight is not finite"),
        (
            lambda: {"net": build_net("zero").requires_grad_(False)},
            "no parameter of the net requires a gradient",
        ),
        (
            lambda: {
                "net": SpikingSequential(
                    LIFSynapse(N, N), LIFLayer(N, 5e-3, reset_mechanism="none")
                ).double()
            },
            "no neuron layer before its read-out",
        ),
        (
            lambda: {"loss_fn": lambda spk, *_: spk.mean()},
            r"for each of 2 recordings, got a torch.float64 of shape \[\]",
        ),
        (
            lambda: {"loss_fn": lambda spk, *_: spk.sum((1, 2)).long()},
            r"one floating-point loss .* got a torch.int64",
        ),
        (lambda: {"loss_fn": lambda *_: 3.0}, "got float: use reduction"),
        (lambda: {"loss_fn": lambda spk, *_: spk.sum((1, 2)) / 0}, "a loss that is not finite"),
        (
            lambda: {"net": build_net("read-out"), "loss_fn": lambda spk, *_: spk.sum((1, 2))},
            "for a read-out, a last layer without reset, it may use mem only",
        ),
    ],
)
def test_wrong_inputs_are_rejected(changed, words):
    with pytest.raises((TypeError, ValueError), match=words):
        NoisyNet(**inputs(**changed()))


def test_the_loss_may_have_another_precision(data):
    net, (x, targets) = build_net("zero").float(), data
    noisy = NoisyNet(net, x.float(), targets, loss_fn, ThresholdNoise("normal", 0.5))
    assert noisy.sample(2).loss.dtype == torch.float32
    assert LikelihoodRatio(noisy).gradients(20, 4).isfinite().all()
