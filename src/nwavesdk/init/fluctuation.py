"""The postsynaptic potential of a layer's neurons, measured: what one unit of charge does to the membrane.

What an initialization did, layer by layer, to read and to print.

One layer in fluctuation-driven initialization: weights of wanted statistics, and the search on their mean.
"""

import copy
import math
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.chip import Noise
from nwavesdk.init.pairs import Pair
from nwavesdk.init.weights import charge_limit, set_charges, share_at_limit
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.edges import module_title

__all__ = ["FluctReport", "Fluctuation", "LayerFluctuation", "free_membrane", "psp_kernel"]

_PROBE = 1e-3  # thresholds: far below a spike, and small against any curvature
_DECAYED = 1e-6
_CHUNK, _LONGEST = 256, 1 << 17


@torch.no_grad()
def psp_kernel(layer: NeuronLayer) -> Tensor:
    """Membrane after a charge of 1 in step 0, [steps, N] in float64, until a millionth of its peak is left.

    It is measured on a copy of the layer from rest without mismatch, so it knows nothing of the neuron's equations.

    Raises:
        RuntimeError: the membrane has not decayed after 131,072 steps.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> psp_kernel(LIFLayer(1, taus=1e-3))[:3].flatten()
        tensor([1.0000, 0.3679, 0.1353], dtype=torch.float64)
    """
    probe = _copy(layer)
    charge = _PROBE * probe.constants(torch.float64)[1]
    x = charge.new_zeros(1, _CHUNK, charge.numel())
    x[0, 0] = charge
    parts: list[Tensor] = []
    peak = 0.0
    while not parts or float(parts[-1][-1].abs().max()) > _DECAYED * peak:
        if len(parts) * _CHUNK >= _LONGEST:
            raise RuntimeError(
                f"{type(layer).__name__}: the membrane has not decayed {_LONGEST} steps after a charge: shorten taus, "
                f"or lengthen dt ({layer.dt:g} s)."
            )
        _, mem = probe(x.reshape(1, _CHUNK, *layer.features))
        parts.append(mem.reshape(_CHUNK, -1) / charge)
        peak = max(peak, float(parts[-1].abs().max()))
        x = torch.zeros_like(x)
    return torch.cat(parts)


@torch.no_grad()
def free_membrane(layer: NeuronLayer, cur: Tensor) -> Tensor:
    """Membrane [B, T, *features] under the charge `cur` if the threshold were out of reach; nothing is recurrent."""
    probe = _copy(layer)
    probe.thresholds.fill_(1e30)
    probe.prepare(Noise(ideal=True), keep_state=False)
    mem: Tensor = probe(cur)[1]
    return mem


def _copy(layer: NeuronLayer) -> NeuronLayer:
    probe = copy.deepcopy(layer)
    probe.solver = "auto"  # all give the same membrane, and this one asks nothing of the length
    probe.set_device("cpu")
    probe.prepare(Noise(ideal=True), keep_state=False)
    return probe


@dataclass(frozen=True)
class LayerFluctuation:
    """One layer after `fluct_init`.

    Attributes:
        synapse: name of the synapse in the model.
        layer: name of the neuron layer in the model.
        xi: the distance of the membrane from threshold that was asked for [standard deviations of the membrane].
        xi_measured: that distance in the end, measured on the layer with its threshold out of reach.
        mean: of the feed-forward weights.
        std: of the feed-forward weights.
        rate: of the layer [spikes per step and neuron].
        dead: share of neurons that never fired.
        raised: share of neurons, dead before, whose mean weight the search has raised.
        at_limit: share of feed-forward weights that are cut off at the chip's limit.
        passes: how often the layer ran in the search.
    """

    synapse: str
    layer: str
    xi: float
    xi_measured: float
    mean: float
    std: float
    rate: float
    dead: float
    raised: float
    at_limit: float
    passes: int


_COLUMNS = {
    "xi": "{:.2f}", "xi_measured": "{:.2f}", "mean": "{:+.3f}", "std": "{:.3f}", "rate": "{:.4f}", "dead": "{:.1%}",
    "raised": "{:.1%}", "at_limit": "{:.1%}", "passes": "{}",
}  # fmt: skip


@dataclass(frozen=True)
class FluctReport:
    """What `fluct_init` did; `print` shows a table.

    Attributes:
        layers: one entry for each initialized layer, in the order in which they run.
    """

    layers: tuple[LayerFluctuation, ...]

    @property
    def dead(self) -> float:
        """The largest share of dead neurons of a layer."""
        return max(layer.dead for layer in self.layers)

    def __str__(self) -> str:
        rows = [["layer", *_COLUMNS]]
        for layer in self.layers:
            told = [form.format(getattr(layer, name)) for name, form in _COLUMNS.items()]
            rows.append([f"{layer.synapse} → {layer.layer}", *told])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True)) for row in rows
        )


_LEAST_XI = 2.0
_LIMIT_IN_STDS = 2.0  # of charges, by the default xi: then 5 % of the weights are cut off
_FIRST_STEP, _HIGHEST = 0.125, 1024.0  # of the mean membrane in the search [thresholds]
_HALVINGS = 8
_ROUNDS = 4  # of a recurrent layer, where a neuron that wakes may silence another


class Fluctuation:
    """A pair of synapse and layer, the input that it gets, and the statistics that follow from both.

    Charges are `mean + std z` with z drawn once. A search on the mean shifts the column of a neuron; where inputs are
    not negative its membrane rises everywhere until its first spike, so that bisection finds the least mean.

    Args:
        pair: synapse and layer, which are written to.
        inputs: of the synapse, each [B, T, N_in].
        generator: of z; None is torch's global one.

    Raises:
        RuntimeError: the input is silent, or the membrane does not decay.
    """

    def __init__(self, pair: Pair, inputs: list[Tensor], generator: torch.Generator | None) -> None:
        self.pair, self.inputs = pair, inputs
        self.name = module_title(pair.name, pair.driver)
        values = torch.cat([x.double().flatten() for x in inputs])
        self.first, self.second = float(values.mean()), float(values.square().mean())
        if not self.second:
            raise RuntimeError(
                f"fluct_init: the input of {self.name} is silent, expected spikes to measure: give inputs with more "
                "of them, or set front ends first with frontend_firing_init. The model is as it was."
            )
        kernel = psp_kernel(pair.layer)
        self.area, self.energy = kernel.sum(0), kernel.square().sum(0)  # ε̄, ε̂
        self.threshold = pair.layer.constants(torch.float64)[1]
        self.N_in, self.N = pair.driver.nb_inputs, self.threshold.numel()
        self.limit = charge_limit(pair.driver)
        self.z = self._draw(self.N_in, generator)
        self.z_recurrent = (
            None if pair.layer.recurrent_weights is None else self._draw(self.N, generator)
        )
        self.std = torch.zeros_like(self.threshold)
        self.passes, self.raised = 0, 0.0

    def _draw(self, rows: int, generator: torch.Generator | None) -> Tensor:
        return torch.randn(rows, self.N, generator=generator).to(self.threshold)

    def mean_charge(self, mu_u: float | Tensor) -> Tensor:
        """The charge that a weight must give on average for a mean membrane of `mu_u` thresholds, [N]."""
        return (mu_u * self._per_threshold).clamp(-self.limit, self.limit)

    @cached_property
    def _per_threshold(self) -> Tensor:
        # A mean near 0 of values of both signs drives nothing; the search then goes by their size.
        drive = (
            self.first
            if abs(self.first) > 1e-3 * math.sqrt(self.second)
            else math.sqrt(self.second)
        )
        return self.threshold / (self.N_in * drive * self.area)

    def default_xi(self, mu_u: float, share: float) -> float:
        """The smallest ξ, 2 at least, whose charges the chip can hold."""
        scale = (
            (1 - mu_u) * self.threshold * (share / (self.N_in * self.second * self.energy)).sqrt()
        )
        return max(_LEAST_XI, float(scale.max()) * _LIMIT_IN_STDS / self.limit)

    def draw(self, mu_u: float, xi: float, alpha: float) -> None:
        """Give the weights the statistics for μ_U = `mu_u` thresholds and ξ = `xi`.

        Raises:
            ValueError: no standard deviation gives this ξ with this mean.
        """
        layer = self.pair.layer
        share = 1.0 if self.z_recurrent is None else alpha
        wanted = ((1 - mu_u) * self.threshold / xi).square()
        mean, per_weight = self.mean_charge(mu_u), self.N_in * self.second * self.energy
        variance = share * wanted / per_weight - mean.square()
        if float(variance.min()) < 0:
            reachable = (
                (1 - mu_u) * self.threshold * (share / per_weight).sqrt() / mean.abs()
            ).min()
            raise ValueError(
                f"fluct_init: xi {xi:g} of {self.name} is not reachable with mu_u={mu_u:g}, as the mean weight alone "
                f"makes more fluctuation: ask for xi up to {float(reachable):.3g}, or a mu_u nearer to 0."
            )
        self.std = variance.sqrt()
        if self.z_recurrent is None:
            return
        set_charges(layer, torch.zeros_like(self.z_recurrent))
        if alpha < 1:
            # As loud as the layer is when all of the variance comes from its input.
            self.std = (wanted / per_weight - mean.square()).sqrt()
            rate = float(self.run(mu_u).mean()) or self.second
            self.std = variance.sqrt()
            set_charges(
                layer,
                ((1 - alpha) * wanted / (self.N * rate * self.energy)).sqrt() * self.z_recurrent,
            )

    def run(self, mu_u: float | Tensor) -> Tensor:
        """Set the mean of each neuron's weights, and give its rate [spikes per step], [N]."""
        set_charges(self.pair.driver, self.mean_charge(mu_u) + self.std * self.z)
        self.passes += 1
        spikes = [self.pair.spikes(x)[1].double().flatten(2).flatten(0, 1) for x in self.inputs]
        return torch.cat(spikes).mean(0)

    def wake(self, mu_u: float, max_dead: float) -> Tensor:
        """Raise the mean of each dead neuron from `mu_u` as little as wakes it, unless `max_dead` are; the rates, [N].

        Neurons that stay dead keep the highest mean that was tried.
        """
        means = torch.full_like(self.threshold, mu_u)
        rates = self.run(means)
        for _ in range(1 if self.z_recurrent is None else _ROUNDS):
            if _dead_share(rates) > max_dead:
                means, rates = self._raise(means, rates, max_dead)
        self.raised = float((means > mu_u).double().mean())
        return rates

    def _raise(self, means: Tensor, rates: Tensor, max_dead: float) -> tuple[Tensor, Tensor]:
        most = (self.limit / self._per_threshold.abs()).clamp(max=_HIGHEST)
        asleep, awake, step = means, means, _FIRST_STEP
        dead = searched = rates == 0
        while _dead_share(rates) > max_dead and bool((awake < most)[dead].any()):
            asleep = torch.where(dead, awake, asleep)
            awake, step = torch.where(dead, torch.minimum(awake + step, most), awake), 2 * step
            rates = self.run(awake)
            dead = rates == 0
        for _ in range(_HALVINGS):
            middle = torch.where(searched & ~dead, (asleep + awake) / 2, awake)
            fires = self.run(middle) > 0
            asleep, awake = torch.where(fires, asleep, middle), torch.where(fires, middle, awake)
        return awake, self.run(awake)

    def report(self, xi: float, rates: Tensor) -> LayerFluctuation:
        """What the layer has become."""
        driver = self.pair.driver
        weight = driver.weight.detach()
        return LayerFluctuation(
            self.pair.name, self.pair.layer_name, xi, self._measured_xi(), float(weight.mean()), float(weight.std()),
            float(rates.mean()), _dead_share(rates), self.raised, share_at_limit(driver, weight), self.passes,
        )  # fmt: skip

    def _measured_xi(self) -> float:
        layer, parts = self.pair.layer, []
        for x in self.inputs:
            cur, spk = self.pair.spikes(x)
            recurrent = layer.effective_recurrent_weights()
            if recurrent is not None:
                heard = spk[:, :-1].flatten(2) @ recurrent.to(spk)
                cur = torch.cat([cur[:, :1], cur[:, 1:] + heard.reshape(cur[:, 1:].shape)], 1)
            parts.append(free_membrane(layer, cur).double().flatten(2).flatten(0, 1))
        mem = torch.cat(parts)
        spread = float(mem.var(0, unbiased=False).mean().sqrt())
        return float((self.threshold - mem.mean(0)).mean()) / spread if spread else math.inf


def _dead_share(rates: Tensor) -> float:
    return float((rates == 0).double().mean())
