"""Neurons of the H1 chips, trained as the chip will run them.

The older names are those of H1v1. Numbers of the chips come from `chip/profiles`, where the assumed ones are marked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from nwavesdk.chip import Noise, Profile, lognormal_factors
from nwavesdk.dynamics import h1
from nwavesdk.layers.checks import features, per_neuron, profile_for
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.weight import EffectiveWeight

__all__ = ["H1v1Layer", "H1v2Layer", "HWLayer"]


class _ChipLayer(NeuronLayer):
    """Neurons with the chip's threshold, and with leak mismatch drawn by `prepare_net`."""

    chip: ClassVar[str]
    version: ClassVar[int]

    def __init__(
        self,
        n_neurons: int | Sequence[int],
        taus: float | Sequence[float] | Tensor,
        dt: float = 1e-3,
        spike_grad: Any = None,
        *,
        ileak_mismatch: bool = False,
        layer_topology: str = "FF",
        device: str = "cpu",
        detach_reset: bool = True,
        solver: str = "auto",
        compasso_spike_grad: str = "fixed",
        saved_dtype: str | None = None,
        quantization_bits: int | None = None,
        stddev: float | None = None,
        profile: str | Path | Profile | None = None,
    ) -> None:
        owner = type(self).__name__
        chip = profile_for(owner, self.chip, profile)
        shape = features(owner, n_neurons)
        if chip.tau_profiles:
            wanted = per_neuron(owner, "taus", taus, shape, "s")
            series = torch.tensor(chip.tau_profiles)
            taus = series[(wanted.log()[..., None] - series.log()).abs().argmin(-1)]
        super().__init__(
            h1(self.version), shape, taus, dt, spike_grad, layer_topology=layer_topology, device=device,
            detach_reset=detach_reset, solver=solver, compasso_spike_grad=compasso_spike_grad,
            saved_dtype=saved_dtype,
        )  # fmt: skip
        self.profile = chip
        self.ileak_mismatch = bool(ileak_mismatch)
        self.quantization_bits, self.stddev = quantization_bits, stddev
        self.register_buffer("thresholds", torch.tensor(chip.number("threshold")), persistent=False)
        self._factors: tuple[Tensor, Tensor | None] | None = None
        self._recurrent = EffectiveWeight(
            f"{owner}.recurrent_weights", chip, quantization_bits, stddev
        )

    def check(self) -> None:
        super().check()
        if self.recurrent_weights is not None:
            self._recurrent.check(self.recurrent_weights)

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        if self.ileak_mismatch:
            self._factors = self._mismatch(noise)
        super().prepare(noise, keep_state)
        if self.recurrent_weights is not None:
            self._recurrent.prepare(self.recurrent_weights, noise)

    def effective_recurrent_weights(self) -> Tensor | None:
        return None if self.recurrent_weights is None else self._recurrent(self.recurrent_weights)

    def effective_constants(self) -> tuple[Tensor, Tensor]:
        return self._with(self._factors)

    def _mismatch(self, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Factors of leak current and threshold; None for one that does not vary."""
        leak, threshold = (
            self.profile.number(f"{name}_mismatch") for name in ("leak", "threshold")
        )
        factors = lognormal_factors(self.features, leak, noise)
        return factors, 1 + threshold * noise.normal(self.features) if threshold else None

    def _with(self, factors: tuple[Tensor, Tensor | None] | None) -> tuple[Tensor, Tensor]:
        """Time constants [s] and thresholds under these factors."""
        taus, thresholds = super().effective_constants()
        if factors is None:
            return taus, thresholds
        leak, threshold = factors
        return taus / leak.to(taus), thresholds if threshold is None else thresholds * threshold.to(
            thresholds
        )

    def drawn(self, noise: Noise, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decay, threshold and recurrent weights, or None, on the chip of that noise, after a `prepare_net`."""
        factors = self._mismatch(noise) if self.ileak_mismatch else None
        decay, threshold = self._derived(*self._with(factors), dtype)
        return (
            decay,
            threshold,
            None if self.recurrent_weights is None else self._recurrent.drawn(noise),
        )


class H1v1Layer(_ChipLayer):
    """Neurons of the H1v1 chip: the membrane is never negative, a spike resets it to zero.

        u[t] = max(exp(-dt/tau) · v[t-1] + x[t], 0)
        s[t] = 1 if u[t] > threshold else 0
        v[t] = (1 - s[t]) · u[t]

    The threshold is the chip's (assumed 1.0, see the profile).

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        taus: membrane time constants [s], a number or one per neuron.
        dt: length of a step [s].
        spike_grad: as in `LIFLayer`.
        ileak_mismatch: draw each neuron's leak current log-normal at every `prepare_net` (spread assumed), and its
            threshold where the profile has a spread for it.
        layer_topology: as in `LIFLayer`.
        device: as in `LIFLayer`.
        detach_reset: as in `LIFLayer`.
        solver: as in `LIFLayer`.
        compasso_spike_grad: as in `LIFLayer`.
        saved_dtype: as in `LIFLayer`.
        quantization_bits: of the recurrent weights, from 2 to 8 or None.
        stddev: mismatch of the recurrent weights, or None.
        profile: of a chip of your own: the path of a TOML file, or a `Profile`. [the chip's]

    Shape:
        as `LIFLayer`.

    Raises:
        ValueError: an argument is out of its range, or the input has another width.
        RuntimeError: `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> from nwavesdk.surrogate import fast_sigmoid
        >>> H1v1Layer(n_neurons=64, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid())
        H1v1Layer(64, taus=0.02, dt=0.001, spike_grad=FastSigmoid(slope=25.0))
    """

    chip = "h1v1"
    version = 1


class H1v2Layer(_ChipLayer):
    """Neurons of the H1v2 chip: the membrane is never negative, a spike subtracts the threshold.

        u[t] = max(exp(-dt/tau) · v[t-1] + x[t], 0)
        s[t] = 1 if u[t] > threshold else 0
        v[t] = u[t] - threshold · s[t]

    `taus` snap to the nearest of the chip's profiles (assumed series, see the profile): `layer.taus` reads what was
    taken. `ileak_mismatch` draws leak current and threshold (spreads assumed).

    Args:
        n_neurons: see `H1v1Layer`.
        taus: see `H1v1Layer`.
        dt: see `H1v1Layer`.
        spike_grad: see `H1v1Layer`.
        ileak_mismatch: see above.
        layer_topology: see `H1v1Layer`.
        device: see `H1v1Layer`.
        detach_reset: see `H1v1Layer`.
        solver: see `H1v1Layer`.
        compasso_spike_grad: see `H1v1Layer`.
        saved_dtype: see `H1v1Layer`.
        quantization_bits: see `H1v1Layer`.
        stddev: see `H1v1Layer`.
        profile: see `H1v1Layer`.

    Shape:
        as `LIFLayer`.

    Raises:
        ValueError: see `H1v1Layer`.
        RuntimeError: see `H1v1Layer`.
    """

    chip = "h1v2"
    version = 2


HWLayer = H1v1Layer
