"""Synapses of the H1 chips: dense weights, and the diagonal front end, trained as the chip will hold them.

The older names are those of H1v1. Numbers of the chips come from `chip/profiles`, where the assumed ones are marked.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn

from nwavesdk.chip import Noise, Profile
from nwavesdk.internal.checks import positive_number, whole_number
from nwavesdk.layers.checks import checked_input, per_neuron, profile_for
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.synapse import Synapse
from nwavesdk.layers.weight import EffectiveWeight

__all__ = ["Frontend", "H1v1Frontend", "H1v1Synapse", "H1v2Frontend", "H1v2Synapse", "HWSynapse"]


class _ChipWeight(Prepared):
    """What modules with a chip's weight share: the profile, and an effective weight fixed by `prepare_net`."""

    weight: nn.Parameter
    profile: Profile
    quantization_bits: int | None
    stddev: float | None

    def _on_chip(
        self,
        chip: str,
        profile: str | Path | Profile | None,
        quantization_bits: int | None,
        stddev: float | None,
    ) -> EffectiveWeight:
        owner = type(self).__name__
        self.profile = profile_for(owner, chip, profile)
        self.quantization_bits, self.stddev = quantization_bits, stddev
        return EffectiveWeight(owner, self.profile, quantization_bits, stddev)

    _effective: EffectiveWeight

    def check(self) -> None:
        self._effective.check(self.weight)

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002
        self._effective.prepare(self.weight, noise)

    def drawn(self, noise: Noise) -> Tensor:
        """The weight that acts on the chip of that noise, after a `prepare_net`; no gradient."""
        return self._effective.drawn(noise)

    def effective_weight(self) -> Tensor:
        """The weight that acts, after quantization, charge law and mismatch, with gradient for `weight`."""
        return self._effective(self.weight)

    def extra_repr(self) -> str:
        """Size and what is simulated, for `print(model)`."""
        told = super().extra_repr()
        for name in ("quantization_bits", "stddev"):
            value = getattr(self, name)
            told += "" if value is None else f", {name}={value:g}"
        return told


class _ChipSynapse(_ChipWeight, Synapse):
    chip: ClassVar[str]

    def __init__(
        self,
        nb_inputs: int,
        nb_outputs: int,
        quantization_bits: int | None,
        stddev: float | None,
        product: str,
        profile: str | Path | Profile | None,
    ) -> None:
        nn.Module.__init__(self)
        effective = self._on_chip(self.chip, profile, quantization_bits, stddev)
        super().__init__(nb_inputs, nb_outputs, product=product)
        self._effective = effective

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw the weights anew: normal, charges near 0 of standard deviation 2/√N_in, cut off at the chip's limit."""
        super().reset_parameters()
        limit = self.profile.number("weight_limit")
        self.weight.div_(self.profile.charge_law.slope(torch.zeros(()))).clamp_(-limit, limit)


class H1v1Synapse(_ChipSynapse):
    """A synapse of the H1v1 chip: non-linear charge law (assumed form, see the profile), additive mismatch.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: from 2 to 8 bits over the chip's range with a straight-through gradient, or None.
        stddev: standard deviation of the mismatch on the effective weights, drawn by `prepare_net`, or None.
        product: as in `LIFSynapse`.
        profile: of a chip of your own: the path of a TOML file, or a `Profile`. [H1v1's]

    Shape:
        as `LIFSynapse`.

    Raises:
        ValueError: a size, `quantization_bits`, `stddev`, `product` or `profile` is out of its range.
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
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, quantization_bits, stddev, product, profile)


class H1v2Synapse(_ChipSynapse):
    """A synapse of the H1v2 chip: linear, no mismatch of its own (that lives in the layer).

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: from 2 to 8 bits over the chip's range with a straight-through gradient, or None.
        product: as in `LIFSynapse`.
        profile: of a chip of your own: the path of a TOML file, or a `Profile`. [H1v2's]

    Shape:
        as `LIFSynapse`.

    Raises:
        ValueError: a size, `quantization_bits`, `product` or `profile` is out of its range.
        RuntimeError: `prepare_net` is missing, or the weights have changed since.
    """

    chip = "h1v2"

    def __init__(
        self,
        nb_inputs: int,
        nb_outputs: int,
        quantization_bits: int | None = None,
        *,
        product: str = "auto",
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, quantization_bits, None, product, profile)


class _Frontend(_ChipWeight):
    chip: ClassVar[str]

    def __init__(
        self,
        nb_inputs: int,
        quantization_bits: int | None,
        stddev: float | None,
        init: float | Sequence[float] | Tensor,
        lif_threshold: float | None,
        profile: str | Path | Profile | None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self._effective = self._on_chip(self.chip, profile, quantization_bits, stddev)
        self.nb_inputs = whole_number(owner, "nb_inputs", nb_inputs)
        threshold = self.profile.number("threshold") if lif_threshold is None else lif_threshold
        self.lif_threshold = positive_number(owner, "lif_threshold", threshold, "normalized charge")
        charges = (
            per_neuron(owner, "init", init, (self.nb_inputs,), "thresholds") * self.lif_threshold
        )
        limit = self.profile.number("weight_limit")
        weight = self.profile.charge_law.weight(charges).clamp(-limit, limit)
        self.weight = nn.Parameter(weight.expand(self.nb_inputs).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Charge from the channels of the filter bank, each for its own neuron; see the class."""
        owner = f"{type(self).__name__}({self.nb_inputs})"
        checked_input(owner, x, (self.nb_inputs,))
        weight = self.effective_weight()
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"{owner} has weights of {weight.dtype} and got an input of {x.dtype}: convert one."
            )
        return (x[None] if x.ndim == 1 else x) * weight

    def extra_repr(self) -> str:
        return f"{self.nb_inputs}" + super().extra_repr()


class H1v1Frontend(_Frontend):
    """The way from the filter bank into the H1v1 chip: each channel drives one neuron, a diagonal synapse.

    Args:
        nb_inputs: Channels; the chip has 16.
        quantization_bits: as in `H1v1Synapse`.
        stddev: as in `H1v1Synapse`.
        init: Charge of an input of 1 at the beginning [thresholds], a number or one per channel; the weight for it is
            cut off at the chip's limit. The documentation names the argument, not what it does: our choice.
        lif_threshold: Threshold of the neurons that follow, in which `init` is given. [the chip's]
        profile: as in `H1v1Synapse`.

    Shape:
        Input [B, T, nb_inputs], [B, nb_inputs] or [nb_inputs]; output the same, the last as [1, nb_inputs].

    Raises:
        ValueError: an argument is out of its range, or the input has another width.
        TypeError: the input is not floating, or of another dtype than the weights.
        RuntimeError: `prepare_net` is missing, or the weights have changed since.
    """

    chip = "h1v1"

    def __init__(
        self,
        nb_inputs: int = 16,
        quantization_bits: int | None = None,
        stddev: float | None = None,
        init: float | Sequence[float] | Tensor = 0.5,
        lif_threshold: float | None = None,
        *,
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__(nb_inputs, quantization_bits, stddev, init, lif_threshold, profile)


class H1v2Frontend(_Frontend):
    """The way from the filter bank into the H1v2 chip, as `H1v1Frontend` but without mismatch of its own.

    Args:
        nb_inputs: see `H1v1Frontend`.
        quantization_bits: see `H1v1Frontend`.
        init: see `H1v1Frontend`.
        lif_threshold: see `H1v1Frontend`.
        profile: see `H1v1Frontend`.

    Shape:
        as `H1v1Frontend`.

    Raises:
        ValueError: see `H1v1Frontend`.
        TypeError: see `H1v1Frontend`.
        RuntimeError: see `H1v1Frontend`.
    """

    chip = "h1v2"

    def __init__(
        self,
        nb_inputs: int = 16,
        quantization_bits: int | None = None,
        init: float | Sequence[float] | Tensor = 0.5,
        lif_threshold: float | None = None,
        *,
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__(nb_inputs, quantization_bits, None, init, lif_threshold, profile)


HWSynapse = H1v1Synapse
Frontend = H1v1Frontend
