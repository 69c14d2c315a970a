"""One layer in fluctuation-driven initialization: weights of wanted statistics, and the search on their mean."""

import math
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.init.charge import charge_limit, set_charges, share_at_limit
from nwavesdk.init.kernel import free_membrane, psp_kernel
from nwavesdk.init.pairs import Pair, title
from nwavesdk.init.report import LayerFluctuation

__all__ = ["Fluctuation"]

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
        self.name = title(pair.name, pair.driver)
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
        self.z_recurrent = None if pair.layer.recurrent_weights is None else self._draw(self.N, generator)
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
        drive = self.first if abs(self.first) > 1e-3 * math.sqrt(self.second) else math.sqrt(self.second)
        return self.threshold / (self.N_in * drive * self.area)

    def default_xi(self, mu_u: float, share: float) -> float:
        """The smallest ξ, 2 at least, whose charges the chip can hold."""
        scale = (1 - mu_u) * self.threshold * (share / (self.N_in * self.second * self.energy)).sqrt()
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
            reachable = ((1 - mu_u) * self.threshold * (share / per_weight).sqrt() / mean.abs()).min()
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
            set_charges(layer, ((1 - alpha) * wanted / (self.N * rate * self.energy)).sqrt() * self.z_recurrent)

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
