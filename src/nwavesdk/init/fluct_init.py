"""Fluctuation-driven initialization: every layer fires from the first step of training on."""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.init.driven import (
    DrivenLayer,
    driver_inputs,
    find_driven_layers,
    first_batches,
    weights_before_norms,
)
from nwavesdk.init.fluctuation import Fluctuation, LayerFluctuation
from nwavesdk.init.weights import generator_for, reject_parametrized
from nwavesdk.internal.checks import finite_number
from nwavesdk.layers import ChipInstance, H1v1Frontend, H1v2Frontend, find_edges
from nwavesdk.layers.masks import copy_module

__all__ = ["FluctReport", "fluct_init"]

_OWNER = "fluct_init"

# Format of each column of a report.
_COLUMNS = {
    "xi": "{:.2f}",
    "xi_measured": "{:.2f}",
    "mean": "{:+.3f}",
    "std": "{:.3f}",
    "rate": "{:.4f}",
    "dead": "{:.1%}",
    "raised": "{:.1%}",
    "at_limit": "{:.1%}",
    "passes": "{}",
}


@dataclass(frozen=True)
class FluctReport:
    """The result of `fluct_init`; `print` shows a table.

    Attributes:
        layers: One entry for each initialized layer, in the order in which they run.
        uncovered: Names of modules whose parameters were not initialized; see `NetEdges`.
        normalized: Names of weights that were not initialized, because a norm follows.
    """

    layers: tuple[LayerFluctuation, ...]
    uncovered: tuple[str, ...] = ()
    normalized: tuple[str, ...] = ()

    @property
    def dead(self) -> float:
        """The largest share of dead neurons of a layer."""
        return max(layer.dead for layer in self.layers)

    def __str__(self) -> str:
        table = [["layer", *_COLUMNS]]
        for layer in self.layers:
            cells = [form.format(getattr(layer, name)) for name, form in _COLUMNS.items()]
            table.append([f"{layer.synapse} → {layer.layer}", *cells])

        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = [
            "  ".join(cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
            for cells in table
        ]

        if self.uncovered:
            names = ", ".join(name or "the net itself" for name in self.uncovered)
            lines.append(f"Not initialized, neither synapse nor neuron layer: {names}.")
        if self.normalized:
            names = ", ".join(self.normalized)
            lines.append(
                f"Not initialized, because a norm sets the scale of their charge: {names}."
            )
        return "\n".join(lines)


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
    """Draw the weights of a net so that fluctuations carry each membrane over threshold.

        ξ = (θ − μ_U) / σ_U                     distance of the membrane from threshold
        μ_W = μ_U / (n ν ε̄)                     ε̄ = Σ ε[t],  ε̂ = Σ ε[t]²
        σ_W² = α ((θ − μ_U) / ξ)² / (n ν ε̂) − μ_W²
        σ_R² = (1 − α) ((θ − μ_U) / ξ)² / (N ν_R ε̂)

    Layers are initialized in the order in which they run, each with the actual output of the layers
    before it: n inputs of ν spikes per step (for other values, the mean in μ_W and the mean square
    in σ_W²). The threshold θ and the kernel ε are measured, for neurons of any kind. On a chip,
    each charge becomes a weight by the charge law, cut off at the limit.

    Then, if more than `max_dead` of the neurons never fire, each dead neuron gets the smallest mean
    of its feed-forward weights with which it fires.

    It initializes the synapses of `nwavesdk.layers`, `nn.Linear` and the convolutions of torch, in
    which an output channel takes the role of a neuron. Biases become 0, pruned weights stay 0, and
    delays do not change. Chips are ideal, without mismatch but with quantization.

    Front ends (see `frontend_firing_init`), weights of read-outs and weights in front of a norm do
    not change, and after an error nothing has changed. Call `prepare_net` before the next batch.
    NWAVE documents the name of the function, `alpha` and `xi_targets`.

    Args:
        model: A `SpikingSequential`, or any module in which layers take the output of synapses
            unchanged.
        inputs: One batch [B, T, N_in], or (inputs, targets), or an iterable of these such as a
            DataLoader. Padding does not count in a `Batch` of `nwavesdk.data`, which has `lengths`.
        xi_targets: ξ, one number or one per layer. A smaller ξ means more spikes. If None, uses 2,
            or on a chip the larger ξ with which the limit of the weights is 2 σ_W.
        alpha: Share of the variance that comes from feed-forward weights in a recurrent layer,
            above 0 and at most 1. The rest comes from recurrent weights; ν_R is the layer's rate
            without them.
        mu_u: Mean membrane μ_U before the search [thresholds], below 1.
        max_dead: Share of a layer's neurons that may stay dead.
        max_batches: Largest number of batches of `inputs`.
        seed: Seed of the draws; None draws from torch's global generator.

    Returns:
        The state of each layer; `print` it.

    Raises:
        TypeError: If `inputs` contain something else.
        ValueError: If an argument is out of its range, or a ξ is not reachable with `mu_u`.
        RuntimeError: If a synapse's charge does not reach one layer unchanged, weights are
            parametrized, a layer's input is silent, or its neurons spike without input, do not
            decay or do not respond.

    Warns:
        RuntimeWarning: If neurons stay dead within the chip's limit.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> hidden = LIFSynapse(20, 50), LIFLayer(50, 10e-3)
        >>> net = SpikingSequential(*hidden, LIFSynapse(50, 5), LIFLayer(5, 10e-3))
        >>> x = torch.rand(8, 100, 20, generator=torch.Generator().manual_seed(0)) < 0.01
        >>> report = fluct_init(net, x.float(), seed=0)
        >>> [layer.dead for layer in report.layers]
        [0.0, 0.0]

    References:
        J. Rossbroich, J. Gygax and F. Zenke, "Fluctuation-driven initialization for spiking neural
        network training", 2022, doi:10.48550/arXiv.2206.10226, section 2.
    """
    finite_number(_OWNER, "alpha", alpha, above=0, most=1)
    finite_number(_OWNER, "mu_u", mu_u, below=1, unit="thresholds")
    finite_number(_OWNER, "max_dead", max_dead, least=0, below=1)
    batches = first_batches(_OWNER, model, inputs, max_batches)
    net = find_edges(model)
    reject_parametrized(_OWNER, model, net)
    generator = generator_for(seed)

    # The weights are drawn in a copy, on an ideal chip, so that an error changes nothing.
    work = copy_module(model).eval()
    ChipInstance(None).hold(work)
    layers = [
        driven
        for driven in find_driven_layers(work, batches[0][:1])
        if not isinstance(driven.driver, H1v1Frontend | H1v2Frontend)
    ]
    if not layers:
        raise RuntimeError(
            f"fluct_init found no synapse with a neuron layer in {type(model).__name__}, expected "
            "at least one: layers must take the output of a synapse unchanged."
        )

    # In the order in which layers run, so that each gets the spikes of initialized layers.
    fluctuations = []
    for driven, xi in zip(layers, _xi_per_layer(xi_targets, layers), strict=True):
        _reset_bias(driven)
        fluctuation = Fluctuation(driven, driver_inputs(work, driven.driver, batches), generator)
        if xi is None:
            xi = fluctuation.default_xi(mu_u, alpha)
        fluctuation.draw_weights(mu_u, xi, alpha)
        fluctuations.append(fluctuation.wake_dead_neurons(xi, mu_u, max_dead))

    report = FluctReport(tuple(fluctuations), net.uncovered, weights_before_norms(model))
    for parameter, value in zip(model.parameters(), work.parameters(), strict=True):
        parameter.copy_(value)
    _warn_of_dead_neurons(report, max_dead)
    return report


def _reset_bias(driven: DrivenLayer) -> None:
    bias = driven.driver._parameters.get("bias_orig", driven.driver.bias)
    if bias is not None:
        bias.zero_()


def _xi_per_layer(
    xi_targets: float | Sequence[float] | None, layers: list[DrivenLayer]
) -> Sequence[float | None]:
    if xi_targets is None:
        return [None] * len(layers)
    xis = list(xi_targets) if isinstance(xi_targets, Sequence) else [xi_targets] * len(layers)
    if len(xis) != len(layers):
        raise ValueError(
            f"fluct_init: xi_targets must be one number or one per layer ({len(layers)}: "
            f"{', '.join(d.layer_name or d.driver_name for d in layers)}), got {len(xis)}."
        )
    return [finite_number(_OWNER, "xi_targets", xi, above=0) for xi in xis]


def _warn_of_dead_neurons(report: FluctReport, max_dead: float) -> None:
    for layer in report.layers:
        if layer.dead > max_dead:
            warnings.warn(
                f"fluct_init: {layer.dead:.1%} of the neurons of layer {layer.layer!r} stay dead, "
                f"expected at most {max_dead:.1%}: {layer.at_limit:.0%} of the weights of synapse "
                f"{layer.synapse!r} are at the limit. Pass inputs with more spikes or more "
                "batches, raise the gain of the front end or xi_targets (a smaller spread allows a "
                "larger mean), or allow max_dead.",
                RuntimeWarning,
                stacklevel=4,
            )
