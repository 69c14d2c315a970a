"""Neurons of the H1 chips, trained as the chip will run them.

The older names, such as `HWLayer`, stand for H1v1. The chip parameters come from `chip/profiles`,
which marks the assumed parameters.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nwavesdk.chip import Profile, lognormal_factors
from nwavesdk.dynamics import H1_PAGES
from nwavesdk.internal.checks import switch
from nwavesdk.layers.checks import (
    accept_other_spelling,
    neuron_shape,
    per_neuron_tensor,
)
from nwavesdk.layers.lif import LEAKY_CONSTANTS
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import leave_graph
from nwavesdk.layers.solved import CALL_SETTINGS
from nwavesdk.layers.weight import ChipWeight, parameter_of

__all__ = ["H1v1Layer", "H1v2Layer", "HWLayer"]


@dataclass(frozen=True, eq=False)
class _Mismatch:
    """Factors per neuron of the leak current and of the threshold; None for no variation."""

    leak: Tensor
    threshold: Tensor | None


class _ChipLayer(ChipWeight, NeuronLayer):
    """Neurons with the chip's threshold, and with leak mismatch drawn by `prepare_net`."""

    weight_key = "recurrent_weights"
    _preparation_attributes = ("_computed", "_mismatch")
    read_settings = attrgetter(*CALL_SETTINGS, "_mismatch")
    stored_constants = (LEAKY_CONSTANTS[0], replace(LEAKY_CONSTANTS[1], is_persistent=False))
    log_taus: Tensor
    thresholds: Tensor

    @accept_other_spelling
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
        max_loop_gain: float | None = 1.0,
        quantization_bits: int | None = None,
        stddev: float | None = None,
        profile: str | Path | Profile | None = None,
    ) -> None:
        owner = type(self).__name__
        self._set_chip_options(quantization_bits, stddev, profile)
        chip = self.profile

        if chip.tau_profiles:
            shape = neuron_shape(owner, n_neurons)
            kind = self.stored_constants[0].kind
            requested = per_neuron_tensor(owner, "taus", taus, shape, kind)
            series = torch.tensor(chip.tau_profiles, dtype=torch.float64)
            # The nearest of the chip's time constants, by ratio.
            distance = (requested.float().log()[..., None] - series.float().log()).abs()
            taus = series[distance.argmin(-1)]

        super().__init__(
            n_neurons,
            {"tau": taus, "threshold": chip.number("threshold")},
            learned=(),
            dt=dt,
            spike_grad=spike_grad,
            layer_topology=layer_topology,
            device=device,
            detach_reset=detach_reset,
            solver=solver,
            compasso_spike_grad=compasso_spike_grad,
            saved_dtype=saved_dtype,
            max_loop_gain=max_loop_gain,
        )

        self.ileak_mismatch = switch(owner, "ileak_mismatch", ileak_mismatch)
        self._mismatch: _Mismatch | None = None

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        # A seed stands for the same chip only if the order of draws stays: mismatch, then weights.
        if self.ileak_mismatch:
            self._mismatch = self._draw_mismatch(noise)
        super().prepare(noise, keep_state)

    def prepare_in_graph(self) -> None:
        if self.ileak_mismatch:
            leave_graph(type(self).__name__)
        super().prepare_in_graph()

    def effective_recurrent_weights(self) -> Tensor | None:
        weights = parameter_of(self, "recurrent_weights")
        return None if weights is None else self._effective(weights)

    @property
    def taus(self) -> Tensor:
        """Membrane time constants [s] as designed, in the dtype of the layer."""
        return self.constant("tau")

    def effective_constants(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        values = super().effective_constants(dtype)
        if (mismatch := self._mismatch) is not None:
            values["tau"] = values["tau"] / mismatch.leak.to(values["tau"])
            if mismatch.threshold is not None:
                factor = mismatch.threshold.to(values["threshold"])
                values["threshold"] = values["threshold"] * factor
        return values

    def _draw_mismatch(self, noise: Noise) -> _Mismatch:
        leak = lognormal_factors(noise.normal(self.features), self.profile.number("leak_mismatch"))
        spread = self.profile.number("threshold_mismatch")
        return _Mismatch(leak, 1 + spread * noise.normal(self.features) if spread else None)


class H1v1Layer(_ChipLayer):
    """Neurons of the H1v1 chip; `device` is NWAVE's choice of solver, not torch's device.

    The membrane is never negative, and a spike resets it to zero.

        u[t] = max(exp(-dt/tau) · v[t-1] + x[t], 0)
        s[t] = 1 if u[t] > threshold else 0
        v[t] = (1 - s[t]) · u[t]

    The threshold is the chip's (assumed 1.0, see the profile). Other arguments are described in
    `LIFLayer`.

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        taus: Membrane time constants [s], one number or one per neuron.
        dt: Length of a step [s].
        spike_grad: See `LIFLayer`.
        ileak_mismatch: Whether every `prepare_net` draws each neuron's leak current from a
            log-normal distribution (spread assumed), and its threshold if the profile has a spread
            for it.
        quantization_bits: Number of bits of the recurrent weights, from 2 to 8, or None.
        stddev: Standard deviation of the mismatch of the recurrent weights, or None.
        profile: Profile of a custom chip: the path of a TOML file, or a `Profile`. None is H1v1's.

    Shape:
        As `LIFLayer`.

    Raises:
        ValueError: If an argument is out of its range, or the input has another width.
        RuntimeError: If `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> from nwavesdk.surrogate import fast_sigmoid
        >>> H1v1Layer(n_neurons=64, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid())
        H1v1Layer(64, taus=0.02, thresholds=1, dt=0.001, spike_grad=FastSigmoid(slope=25.0))

    References:
        Neuronova, documentation of the NWAVE SDK; the profile has the sources of the numbers.
    """

    chip = "h1v1"
    page = H1_PAGES[1]


class H1v2Layer(_ChipLayer):
    """Neurons of the H1v2 chip; `device` is NWAVE's choice of solver, not torch's device.

    The membrane is never negative, and a spike subtracts the threshold.

        u[t] = max(exp(-dt/tau) · v[t-1] + x[t], 0)
        s[t] = 1 if u[t] > threshold else 0
        v[t] = u[t] - threshold · s[t]

    `taus` snap to the nearest of the chip's profiles (assumed series, see the profile);
    `layer.taus` holds the result. `ileak_mismatch` draws leak current and threshold (spreads
    assumed). Other arguments are described in `H1v1Layer` and `LIFLayer`.

    Args:
        taus: Membrane time constants [s], of which the chip has the nearest.

    Shape:
        As `LIFLayer`.

    Raises:
        ValueError: See `H1v1Layer`.
        RuntimeError: See `H1v1Layer`.

    Example:
        >>> import torch
        >>> layer = H1v2Layer(1, taus=21e-3, solver="reference")
        >>> layer.taus  # the nearest of the chip
        tensor(0.0200)
        >>> spk, mem = layer(torch.full((1, 10, 1), 0.5))
        >>> int(spk.sum())
        4

    References:
        Neuronova, documentation of the NWAVE SDK; the profile has the sources of the numbers.
    """

    chip = "h1v2"
    page = H1_PAGES[2]


HWLayer = H1v1Layer
"""NWAVE's name of `H1v1Layer`."""
