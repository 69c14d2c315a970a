"""Fluctuation-driven initialization: every layer fires from the first step of training on."""

import copy
import math
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init.fluctuation import FluctReport, Fluctuation, LayerFluctuation
from nwavesdk.init.pairs import Pair, find_pairs, first_batches, inputs_of
from nwavesdk.init.weights import generator_for, refuse_parametrized
from nwavesdk.layers import ChipInstance, NeuronLayer, Synapse

__all__ = ["fluct_init"]


@torch.no_grad()
def fluct_init(
    model: nn.Module,
    inputs: Tensor | tuple[Any, ...] | Iterable[Any],
    xi_targets: float | Sequence[float] | None = None,
    alpha: float = 1.0,
    *,
    mu_u: float = 0.0,
    max_dead: float = 0.0,
    max_batches: int = 4,
    seed: int | None = None,
) -> FluctReport:
    """Draw the weights of all synapses anew, so that fluctuations carry each membrane over its threshold.

        ξ = (θ − μ_U) / σ_U                     distance of the membrane from threshold
        μ_W = μ_U / (n ν ε̄)                     ε̄ = Σ ε[t],  ε̂ = Σ ε[t]²
        σ_W² = α ((θ − μ_U) / ξ)² / (n ν ε̂) − μ_W²
        σ_R² = (1 − α) ((θ − μ_U) / ξ)² / (N ν_R ε̂)

    Layers are done in the order in which they run, each with the input that the layers before it give in fact: n inputs
    of ν spikes per step (for values other than 0 and 1, the mean in μ_W and the mean square in σ_W²). The kernel ε is
    measured on the layer itself; θ and ε may differ from neuron to neuron, and μ_W and σ_W then do too. These are
    statistics of charges; on a chip each charge becomes the weight that has it by the charge law, cut off at the limit.
    Then, if more than `max_dead` of the neurons never fire, the mean of the feed-forward weights of each neuron that is
    dead is raised, by bisection, as little as wakes it; the spread, and the other neurons, stay.

    Weights are drawn for the ideal chip, without mismatch but with quantization. A bias becomes 0. Front ends stay as
    they are: set them first with `frontend_firing_init`. A synapse after which no layer runs, a read-out, stays too.
    Except for the weights the model is as if it had not been run: call `prepare_net` before the next batch. When an
    error is raised, nothing has changed.

    The documentation of NWAVE names the function, `alpha` and `xi_targets`; what else is here is our choice.

    Args:
        model: a `SpikingSequential`, or any module in which layers take the output of synapses as it is.
        inputs: one batch [B, T, N_in] as the model takes it, or (inputs, targets), or an iterable of these such as a
            DataLoader, of which the first `max_batches` are taken.
        xi_targets: ξ, one number or one per layer; None: 2, and on chips more where weights would not be held, so that
            the limit is 2 σ_W or more. A smaller ξ means more spikes.
        alpha: share of the variance that comes from feed-forward weights where a layer is recurrent, above 0 up to 1.
            The rest comes from recurrent weights, which are 0 for 1.0. ν_R is the rate that the layer has with all of
            the variance from its input.
        mu_u: mean membrane μ_U before the search [thresholds], below 1.
        max_dead: share of a layer's neurons that may stay dead.
        max_batches: the most batches of `inputs`.
        seed: of the draws; None draws from torch's global generator.

    Returns:
        What each layer has become; `print` it.

    Raises:
        TypeError: `inputs` hold something else.
        ValueError: an argument is out of its range, or a ξ is not reachable with `mu_u`.
        RuntimeError: a synapse's charge does not reach one layer as it is, there is no synapse with a layer, weights
            are parametrized, or a layer's input is silent.

    Warns:
        RuntimeWarning: neurons stay dead within the chip's limit; the weights are the best that were found.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(20, 50), LIFLayer(50, 10e-3), LIFSynapse(50, 5), LIFLayer(5, 10e-3))
        >>> x = (torch.rand(8, 100, 20, generator=torch.Generator().manual_seed(0)) < 0.01).float()
        >>> report = fluct_init(net, x, seed=0)
        >>> [layer.dead for layer in report.layers]
        [0.0, 0.0]

    References:
        J. Rossbroich, J. Gygax and F. Zenke, "Fluctuation-driven initialization for spiking neural network training",
        2022, doi:10.48550/arXiv.2206.10226, section 2.
    """
    _check(alpha, mu_u, max_dead, max_batches)
    batches = first_batches("fluct_init", model, inputs, max_batches)
    refuse_parametrized("fluct_init", model)
    generator = generator_for(seed)
    work = copy.deepcopy(model).eval()
    ChipInstance(None).hold(work)
    pairs = [pair for pair in find_pairs(work, batches[0][:1]) if isinstance(pair.driver, Synapse)]
    if not pairs:
        raise RuntimeError(
            f"fluct_init found no synapse with a neuron layer in {type(model).__name__}, expected one at least: "
            "layers must take the output of a Synapse as it is."
        )
    xis = _xis(xi_targets, pairs)
    report = FluctReport(tuple(_initialize(work, pair, batches, xi, alpha, mu_u, max_dead, generator)
                               for pair, xi in zip(pairs, xis, strict=True)))  # fmt: skip
    _give(pairs, model)
    _warn(report, max_dead)
    return report


def _initialize(
    work: nn.Module, pair: Pair, batches: list[Tensor], xi: float | None, alpha: float, mu_u: float, max_dead: float,
    generator: torch.Generator | None,
) -> LayerFluctuation:  # fmt: skip
    assert isinstance(pair.driver, Synapse)
    if pair.driver.bias is not None:
        pair.driver.bias.zero_()
    layer = Fluctuation(pair, inputs_of(work, pair.driver, batches), generator)
    if xi is None:
        xi = layer.default_xi(mu_u, 1.0 if pair.layer.recurrent_weights is None else alpha)
    layer.draw(mu_u, xi, alpha)
    rates = layer.wake(mu_u, max_dead)
    return layer.report(xi, rates)


def _check(alpha: float, mu_u: float, max_dead: float, max_batches: int) -> None:
    for name, value, told, fits in (
        ("alpha", alpha, "a share above 0 up to 1", 0 < alpha <= 1),
        ("mu_u", mu_u, "a finite number below 1 [thresholds]", -math.inf < mu_u < 1),
        ("max_dead", max_dead, "a share from 0 to below 1", 0 <= max_dead < 1),
        (
            "max_batches",
            max_batches,
            "a whole number above 0",
            max_batches >= 1 and max_batches == int(max_batches),
        ),
    ):
        if not fits:
            raise ValueError(f"fluct_init: {name} must be {told}, got {value!r}.")


def _xis(targets: float | Sequence[float] | None, pairs: list[Pair]) -> list[float | None]:
    if targets is None:
        return [None] * len(pairs)
    xis = (
        [float(targets)] * len(pairs)
        if isinstance(targets, int | float)
        else [float(xi) for xi in targets]
    )
    if len(xis) != len(pairs):
        raise ValueError(
            f"fluct_init: xi_targets must be one number or one per layer ({len(pairs)}: "
            f"{', '.join(pair.layer_name or pair.name for pair in pairs)}), got {len(xis)}."
        )
    for xi in xis:
        if not 0 < xi < math.inf:
            raise ValueError(f"fluct_init: xi_targets must be finite numbers above 0, got {xi}.")
    return [*xis]


def _give(pairs: list[Pair], model: nn.Module) -> None:
    """Copy what was found to the user's model."""
    for pair in pairs:
        driver = model.get_submodule(pair.name)
        for name, value in pair.driver.named_parameters(recurse=False):
            getattr(driver, name).copy_(value)
        found, layer = pair.layer.recurrent_weights, model.get_submodule(pair.layer_name)
        if (
            found is not None
            and isinstance(layer, NeuronLayer)
            and layer.recurrent_weights is not None
        ):
            layer.recurrent_weights.copy_(found)


def _warn(report: FluctReport, max_dead: float) -> None:
    for layer in report.layers:
        if layer.dead > max_dead:
            warnings.warn(
                f"fluct_init: {layer.dead:.1%} of the neurons of layer {layer.layer!r} stay dead, expected at most "
                f"{max_dead:.1%}: {layer.at_limit:.0%} of the weights of synapse {layer.synapse!r} are at the limit. "
                "Give inputs with more spikes or more batches, raise the gain of the front end or xi_targets (less "
                "spread leaves room for the mean), or allow max_dead.",
                RuntimeWarning,
                stacklevel=4,
            )
