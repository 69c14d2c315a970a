"""One layer in fluctuation-driven initialization: its weights, and the search on their mean."""

import copy
import itertools
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from nwavesdk.init.driven import DrivenLayer
from nwavesdk.init.weights import charge_limit, set_charges, share_at_limit
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.masks import is_pruned
from nwavesdk.net.preparation import ChipInstance, prepare_net
from nwavesdk.net.wiring import module_title

__all__ = ["Fluctuation", "LayerFluctuation", "psp_kernel", "rest_distance"]

# Charge of the probe [distances from threshold]: far below a spike, small against any curvature.
_PROBE = 1e-3
# A kernel ends where it has fallen to this share of its peak.
_DECAYED = 1e-6
_CHUNK_STEPS = 256
_MAX_STEPS = 1 << 17

# The default xi.
_MIN_XI = 2.0
# Largest charge in standard deviations, for the default xi: 5 % of the weights are then cut off.
_LIMIT_IN_STDS = 2.0
# First step and largest value of the mean membrane in the search [thresholds].
_FIRST_STEP = 0.125
_HIGHEST_MEAN = 1024.0
_HALVINGS = 8
# Searches in a recurrent layer, where spikes of a raised neuron may silence a different neuron.
_RECURRENT_SEARCHES = 4


@dataclass(frozen=True, kw_only=True)
class LayerFluctuation:
    """One layer after `fluct_init`.

    Attributes:
        synapse: Name of the synapse in the model.
        layer: Name of the neuron layer in the model.
        xi: Wanted distance of the membrane from threshold [standard deviations of the membrane].
        xi_measured: This distance after the search, measured as if there were no spikes.
        mean: Mean of the feed-forward weights.
        std: Standard deviation of the feed-forward weights.
        rate: Spikes per step and neuron.
        dead: Share of neurons that never fired.
        raised: Share of neurons whose mean weight the search has raised because they were dead.
        at_limit: Share of feed-forward weights that are cut off at the chip's limit.
        passes: How often the layer ran in the search.
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


class Fluctuation:
    """A layer with the input of its synapse, and the statistics that follow from both.

    Charges are `mean + std z`, where z is drawn once. A search on the mean shifts the column of a
    neuron. If inputs are not negative, the membrane then rises everywhere until its first spike, so
    that bisection finds the smallest mean.

    Args:
        driven: Layer and synapse. Their weights are written to.
        inputs: Inputs of the synapse, each [B, T, N_in].
        generator: Generator of z; None for torch's global generator.

    Raises:
        RuntimeError: If the input is silent, or as `psp_kernel`.
    """

    def __init__(
        self, driven: DrivenLayer, inputs: list[Tensor], generator: torch.Generator | None
    ) -> None:
        self.driven = driven
        self.inputs = inputs
        self.title = module_title(driven.driver_name, driven.driver)

        values = torch.cat([x.double().flatten() for x in inputs])
        mean = float(values.mean())
        self.mean_square = float(values.square().mean())
        if not self.mean_square:
            raise RuntimeError(
                f"fluct_init: the input of {self.title} is silent, expected spikes to measure: "
                "pass inputs with more spikes, or set front ends first with "
                "frontend_firing_init. The model has not changed."
            )

        # One column for each target: neuron, or output channel of a convolution.
        self.columns = driven.edge.to_columns(driven.edge.weight).shape
        self.kernel = psp_kernel(driven.layer)
        self.distance = rest_distance(driven.layer)
        self.threshold = self._mean_by_target(self.distance)
        self.limit = charge_limit(driven.driver)
        n = self._inputs_by_target()

        # n is the number of inputs of a target. ε̂, and the membrane's variance for weights of
        # variance 1.
        self.energy = self._mean_by_target(self.kernel.square().sum(0))
        self.variance_per_weight = n * self.mean_square * self.energy

        # If values of both signs have a mean near 0, the mean weight cannot move the membrane, and
        # the charge for a mean membrane would be huge. The root mean square then takes its place.
        size = math.sqrt(self.mean_square)
        drive = mean if abs(mean) > 1e-3 * size else size

        # The mean charge for a mean membrane of one threshold: θ / (n ν ε̄), with the rate ν as
        # `drive` and ε̄ as `kernel_sum`.
        kernel_sum = self._mean_by_target(self.kernel.sum(0))
        self.charge_per_threshold = self.threshold / (n * drive * kernel_sum)

        self.z = torch.randn(self.columns, generator=generator).to(self.threshold)
        self.z_recurrent: Tensor | None = None
        if driven.layer.recurrent_weights is not None:
            N = self.distance.numel()
            self.z_recurrent = torch.randn(N, N, generator=generator).to(self.threshold)
        self.std = torch.zeros_like(self.threshold)
        self.passes = 0

    def _mean_by_target(self, values: Tensor) -> Tensor:
        """A value of neurons [N] as its mean over the neurons of each target, [targets]."""
        return values.reshape(self.columns[1], -1).mean(1)

    def _inputs_by_target(self) -> int | Tensor:
        """n: the inputs of a target, [targets] if they differ."""
        edge = self.driven.edge
        if is_pruned(edge.module, edge.key) and edge.is_dense:
            mask = edge.module.get_buffer(f"{edge.key}_mask")
            n = edge.to_columns(mask).double().sum(0).to(self.threshold)
        elif edge.is_dense:
            return edge.fan_in
        else:
            # With weights of 1, the charge is the sum of a target's inputs, which respects masks,
            # strides and borders. Squares are summed, as in the variance of charges.
            set_charges(edge.module, torch.ones_like(edge.weight))
            powers = [self.driven.charge(x.square()).double() for x in self.inputs]
            power = torch.cat([part.flatten(2).flatten(0, 1) for part in powers]).mean(0)
            n = self._mean_by_target(power) / self.mean_square

        # A target without inputs is silent for all weights; this avoids a division by 0.
        return n.where(n > 0, edge.fan_in)

    def mean_charge(self, mu_u: float | Tensor) -> Tensor:
        """The mean charge of a weight for a mean membrane of `mu_u` thresholds, [N]."""
        return (mu_u * self.charge_per_threshold).clamp(-self.limit, self.limit)

    def default_xi(self, mu_u: float, alpha: float) -> float:
        """The smallest ξ of at least 2 for which the chip can hold the charges."""
        share = 1.0 if self.z_recurrent is None else alpha
        std = self._std_for_unit_xi(mu_u, share)
        return max(_MIN_XI, float(std.max()) * _LIMIT_IN_STDS / self.limit)

    def _std_for_unit_xi(self, mu_u: float, share: float) -> Tensor:
        """Standard deviation of the charges for ξ = 1 if their mean is 0, [N]."""
        return (1 - mu_u) * self.threshold * (share / self.variance_per_weight).sqrt()

    def draw_weights(self, mu_u: float, xi: float, alpha: float) -> None:
        """Draw weights with the statistics for μ_U = `mu_u` thresholds and ξ = `xi`.

        Raises:
            ValueError: If no standard deviation leads to this ξ with this mean.
        """
        layer = self.driven.layer
        share = 1.0 if self.z_recurrent is None else alpha
        wanted = ((1 - mu_u) * self.threshold / xi).square()
        mean = self.mean_charge(mu_u)
        variance = share * wanted / self.variance_per_weight - mean.square()
        if float(variance.min()) < 0:
            reachable = float((self._std_for_unit_xi(mu_u, share) / mean.abs()).min())
            raise ValueError(
                f"fluct_init: xi {xi:g} of {self.title} is not reachable with mu_u={mu_u:g}, "
                "because the mean weight alone causes more fluctuation: pass xi up to "
                f"{reachable:.3g}, or a mu_u nearer to 0."
            )

        self.std = variance.sqrt()
        if self.z_recurrent is None:
            return

        set_charges(layer, torch.zeros_like(self.z_recurrent))
        if alpha < 1:
            # ν_R is the rate that the layer has with all of the variance from its input.
            self.std = (wanted / self.variance_per_weight - mean.square()).sqrt()
            rate = float(self.set_mean_and_run(mu_u).mean()) or self.mean_square
            self.std = variance.sqrt()
            N = len(self.z_recurrent)
            recurrent_variance = (1 - alpha) * wanted / (N * rate * self.energy)
            std_by_neuron = recurrent_variance.sqrt().repeat_interleave(N // self.columns[1])
            set_charges(layer, std_by_neuron * self.z_recurrent)

    def set_mean_and_run(self, mu_u: float | Tensor) -> Tensor:
        """Set the mean of each target's weights; return its rate [spikes per step], [targets]."""
        charges = self.mean_charge(mu_u) + self.std * self.z
        set_charges(self.driven.driver, self.driven.edge.from_columns(charges))
        self.passes += 1
        return self._mean_by_target(self.driven.rates(self.inputs))

    def wake_dead_neurons(self, xi: float, mu_u: float, max_dead: float) -> LayerFluctuation:
        """Raise the mean of each dead neuron until it just fires; return the layer's state.

        The search starts at `mu_u` and does nothing if at most `max_dead` of the neurons are dead.
        Neurons that stay dead keep the highest mean that was tried.
        """
        means = torch.full_like(self.threshold, mu_u)
        rates = self.set_mean_and_run(means)
        for _ in range(1 if self.z_recurrent is None else _RECURRENT_SEARCHES):
            if _dead_share(rates) > max_dead:
                means, rates = self._search_means(means, rates, max_dead)
        raised = float((means > mu_u).double().mean())
        return self._report(xi, rates, raised)

    def _search_means(self, means: Tensor, rates: Tensor, max_dead: float) -> tuple[Tensor, Tensor]:
        """The smallest means with which dead neurons fire, and all rates with these means."""
        highest = (self.limit / self.charge_per_threshold.abs()).clamp(max=_HIGHEST_MEAN)
        asleep = means
        awake = means
        step = _FIRST_STEP
        dead = searched = rates == 0

        # Double the step until few enough are dead: the smallest mean is then in [asleep, awake].
        while _dead_share(rates) > max_dead and bool((awake < highest)[dead].any()):
            asleep = torch.where(dead, awake, asleep)
            awake = torch.where(dead, torch.minimum(awake + step, highest), awake)
            step = 2 * step
            rates = self.set_mean_and_run(awake)
            dead = rates == 0

        # Bisect; neurons that are still dead stay at the highest mean.
        for _ in range(_HALVINGS):
            middle = torch.where(searched & ~dead, (asleep + awake) / 2, awake)
            fires = self.set_mean_and_run(middle) > 0
            asleep = torch.where(fires, asleep, middle)
            awake = torch.where(fires, middle, awake)
        return awake, self.set_mean_and_run(awake)

    def _report(self, xi: float, rates: Tensor, raised: float) -> LayerFluctuation:
        driver = self.driven.driver
        weight = self.driven.edge.weight.detach()
        if is_pruned(driver, "weight"):
            weight = weight[driver.weight_mask.bool()]

        return LayerFluctuation(
            synapse=self.driven.driver_name,
            layer=self.driven.layer_name,
            xi=xi,
            xi_measured=self._measure_xi(),
            mean=float(weight.mean()),
            std=float(weight.std()),
            rate=float(rates.mean()),
            dead=_dead_share(rates),
            raised=raised,
            at_limit=share_at_limit(driver, weight),
            passes=self.passes,
        )

    def _measure_xi(self) -> float:
        """The distance of membranes without spikes from threshold [standard deviations]."""
        recurrent = self.driven.layer.effective_recurrent_weights()
        parts = []
        for x in self.inputs:
            cur, spk = (values.double().flatten(2) for values in self.driven.charge_and_spikes(x))
            if recurrent is not None:
                # Spikes of a step arrive as charge in the next step.
                cur[:, 1:] += spk[:, :-1] @ recurrent.double()
            potential = _convolve(cur, self.kernel.to(cur))
            parts.append((potential - self.distance.to(cur)).flatten(0, 1))

        z = torch.cat(parts)
        spread = float(z.var(0, unbiased=False).mean().sqrt())
        return -float(z.mean()) / spread if spread else math.inf


def _convolve(values: Tensor, kernel: Tensor) -> Tensor:
    """The convolution of values [B, T, N] with a kernel [K, N] over time, [B, T, N]."""
    # Padded to 2 T steps, so that the circular convolution does not wrap around.
    T = values.shape[1]
    spectrum = torch.fft.rfft(values, 2 * T, dim=1) * torch.fft.rfft(kernel[:T], 2 * T, dim=0)
    potential: Tensor = torch.fft.irfft(spectrum, 2 * T, dim=1)
    return potential[:, :T]


def _dead_share(rates: Tensor) -> float:
    return float((rates == 0).double().mean())


@torch.no_grad()
def rest_distance(layer: NeuronLayer) -> Tensor:
    """The distance of z from 0 in a layer at rest, [N] in float64; the threshold of LIF neurons.

    Raises:
        RuntimeError: If the neurons spike without input.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> rest_distance(LIFLayer(2, taus=1e-3, thresholds=[0.5, 2.0]))
        tensor([0.5000, 2.0000], dtype=torch.float64)
    """
    stored = itertools.chain(layer.parameters(), layer.buffers())
    like = next(stored, torch.empty(())).detach().double()
    x = like.new_zeros(1, _CHUNK_STEPS, *layer.features)
    record = _copy_for_measurement(layer).record(x)

    distance = -record.z[0, -1].flatten()
    if bool(record.spk.any()) or not bool((distance > 0).all()):
        raise RuntimeError(
            f"{type(layer).__name__}: neurons spike without input, expected neurons that rest "
            "below their threshold: initialize the weights in another way."
        )
    return distance


@torch.no_grad()
def psp_kernel(layer: NeuronLayer) -> Tensor:
    """The postsynaptic potential of a layer's neurons: the response of z to one unit of charge.

    It is measured as a change of z on a copy of the layer, from its initial state and without
    mismatch, so it works for any equation of the neuron.

    Returns:
        Change of the membrane after a charge of 1 in step 0, [steps, N] in float64, until a
        millionth of its peak is left.

    Raises:
        RuntimeError: If the membrane has not decayed after 131,072 steps, does not respond to a
            charge, or the neurons spike without input.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> psp_kernel(LIFLayer(1, taus=1e-3))[:3].flatten()
        tensor([1.0000, 0.3679, 0.1353], dtype=torch.float64)
    """
    charge = _PROBE * rest_distance(layer)
    probe = _copy_for_measurement(layer)

    # Two recordings: with a charge in step 0, and without.
    x = charge.new_zeros(2, _CHUNK_STEPS, charge.numel())
    x[0, 0] = charge

    parts: list[Tensor] = []
    peak = 0.0
    while not parts or float(parts[-1][-1].abs().max()) > _DECAYED * peak:
        if len(parts) * _CHUNK_STEPS >= _MAX_STEPS:
            raise RuntimeError(
                f"{type(layer).__name__}: the membrane has not decayed {_MAX_STEPS} steps after a "
                f"charge: shorten its time constants, or lengthen dt ({layer.dt:g} s)."
            )
        z = probe.record(x.reshape(2, _CHUNK_STEPS, *layer.features)).z.flatten(2)
        parts.append((z[0] - z[1]) / charge)
        peak = max(peak, float(parts[-1].abs().max()))
        x = torch.zeros_like(x)

    kernel = torch.cat(parts)
    if not bool((kernel.sum(0) != 0).all()):
        raise RuntimeError(
            f"{type(layer).__name__}: the membrane does not respond to a small charge, expected "
            "a membrane that a charge moves: initialize the weights in another way."
        )
    return kernel


def _copy_for_measurement(layer: NeuronLayer) -> NeuronLayer:
    """A copy at rest on the ideal chip."""
    probe = copy.deepcopy(layer)
    # All solvers compute the same states, and "auto" accepts any length.
    probe.solver = "auto"
    probe.set_device("cpu")
    ChipInstance(None).hold(probe)
    prepare_net(probe)
    return probe
