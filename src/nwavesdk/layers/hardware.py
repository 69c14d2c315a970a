"""Synapses and neurons of the H1 chips, trained as the chip will run them.

The older names are those of H1v1. Numbers of the chips come from `chip/profiles`, where the assumed ones are marked.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from nwavesdk.chip import Profile, Quantizer, load_profile, lognormal_factors
from nwavesdk.dynamics import h1
from nwavesdk.layers.checks import features, per_neuron, positive
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.synapse import Synapse
from nwavesdk.layers.weight import EffectiveWeight

__all__ = ["H1v1Layer", "H1v1Synapse", "H1v2Layer", "H1v2Synapse", "HWLayer", "HWSynapse"]


def _effective(owner: str, chip: Profile, quantization_bits: int | None, stddev: float | None) -> EffectiveWeight:
    quantizer = None if quantization_bits is None else Quantizer(quantization_bits, chip.number("weight_limit"))
    off = stddev is None or (isinstance(stddev, int | float) and not isinstance(stddev, bool) and stddev == 0)
    spread = None if off else positive(owner, "stddev", stddev, "effective weight")
    return EffectiveWeight(owner, chip.charge_law, quantizer, spread)


class _ChipSynapse(Synapse):
    """A synapse with effective weights: quantization, charge law, mismatch, fixed by `prepare_net`."""

    chip: ClassVar[str]

    def __init__(
        self, nb_inputs: int, nb_outputs: int, quantization_bits: int | None, stddev: float | None, product: str
    ) -> None:
        self.quantization_bits, self.stddev = quantization_bits, stddev
        super().__init__(nb_inputs, nb_outputs, product=product)
        self._effective = _effective(type(self).__name__, load_profile(self.chip), quantization_bits, stddev)

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew: normal, charges near 0 of standard deviation 2/√N_in, cut off at the chip's limit."""
        super().reset_parameters()
        chip = load_profile(self.chip)
        limit = chip.number("weight_limit")
        self.weight.div_(chip.charge_law.slope(torch.zeros(()))).clamp_(-limit, limit)

    def check(self) -> None:
        self._effective.check(self.weight)

    def prepare(self, generator: torch.Generator | None, keep_state: bool) -> None:  # noqa: ARG002
        self._effective.prepare(self.weight, generator)

    def effective_weight(self) -> Tensor:
        return self._effective(self.weight)


class H1v1Synapse(_ChipSynapse):
    """A synapse of the H1v1 chip: non-linear charge law (assumed form, see the profile), additive mismatch.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: from 2 to 8 bits over the chip's range with a straight-through gradient, or None.
        stddev: standard deviation of the mismatch on the effective weights, drawn by `prepare_net`, or None.
        product: as in `LIFSynapse`.

    Shape:
        as `LIFSynapse`.

    Raises:
        ValueError: a size, `quantization_bits`, `stddev` or `product` is out of its range.
        RuntimeError: `prepare_net` is missing, or the weights have changed since.
    """

    chip = "h1v1"

    def __init__(
        self,
        nb_inputs: int,
        nb_outputs: int,
        quantization_bits: int | None = None,
        stddev: float | None = None,
        *,
        product: str = "auto",
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, quantization_bits, stddev, product)


class H1v2Synapse(_ChipSynapse):
    """A synapse of the H1v2 chip: linear, no mismatch of its own (that lives in the layer).

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: from 2 to 8 bits over the chip's range with a straight-through gradient, or None.
        product: as in `LIFSynapse`.

    Shape:
        as `LIFSynapse`.

    Raises:
        ValueError: a size, `quantization_bits` or `product` is out of its range.
        RuntimeError: `prepare_net` is missing, or the weights have changed since.
    """

    chip = "h1v2"

    def __init__(
        self, nb_inputs: int, nb_outputs: int, quantization_bits: int | None = None, *, product: str = "auto"
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, quantization_bits, None, product)


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
        kept: str = "full",
        quantization_bits: int | None = None,
        stddev: float | None = None,
    ) -> None:
        owner, chip = type(self).__name__, load_profile(self.chip)
        shape = features(owner, n_neurons)
        if chip.tau_profiles:
            wanted = per_neuron(owner, "taus", taus, shape, "s")
            series = torch.tensor(chip.tau_profiles)
            taus = series[(wanted.log()[..., None] - series.log()).abs().argmin(-1)]
        super().__init__(
            h1(self.version), shape, taus, dt, spike_grad, layer_topology=layer_topology, device=device,
            detach_reset=detach_reset, solver=solver, compasso_spike_grad=compasso_spike_grad, kept=kept,
        )  # fmt: skip
        self.ileak_mismatch = bool(ileak_mismatch)
        self.register_buffer("thresholds", torch.tensor(chip.number("threshold")), persistent=False)
        self._leak: Tensor | None = None
        self._threshold_factors: Tensor | None = None
        self._recurrent = _effective(f"{owner}.recurrent_weights", chip, quantization_bits, stddev)

    def check(self) -> None:
        super().check()
        if self.recurrent_weights is not None:
            self._recurrent.check(self.recurrent_weights)

    def prepare(self, generator: torch.Generator | None, keep_state: bool) -> None:
        super().prepare(generator, keep_state)
        if self.ileak_mismatch:
            chip = load_profile(self.chip)
            self._leak = lognormal_factors(self.features, chip.number("leak_mismatch"), generator)
            spread = chip.number("threshold_mismatch")
            self._threshold_factors = 1 + spread * torch.randn(self.features, generator=generator) if spread else None
        if self.recurrent_weights is not None:
            self._recurrent.prepare(self.recurrent_weights, generator)

    def effective_recurrent_weights(self) -> Tensor | None:
        return None if self.recurrent_weights is None else self._recurrent(self.recurrent_weights)

    def effective_constants(self) -> tuple[Tensor, Tensor]:
        taus, thresholds = super().effective_constants()
        if self._leak is not None:
            taus = taus / self._leak.to(taus)
        if self._threshold_factors is not None:
            thresholds = thresholds * self._threshold_factors.to(thresholds)
        return taus, thresholds


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
        kept: as in `LIFLayer`.
        quantization_bits: of the recurrent weights, from 2 to 8 or None.
        stddev: mismatch of the recurrent weights, or None.

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
        kept: see `H1v1Layer`.
        quantization_bits: see `H1v1Layer`.
        stddev: see `H1v1Layer`.

    Shape:
        as `LIFLayer`.

    Raises:
        ValueError: see `H1v1Layer`.
        RuntimeError: see `H1v1Layer`.
    """

    chip = "h1v2"
    version = 2


HWSynapse = H1v1Synapse
HWLayer = H1v1Layer
