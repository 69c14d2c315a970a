"""Dense synapses and diagonal front ends of the H1 chips, trained as the chip stores them.

The older names, such as `HWSynapse`, stand for H1v1. The chip parameters come from `chip/profiles`,
which marks the assumed parameters.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from nwavesdk.chip import Profile
from nwavesdk.dynamics import Kind
from nwavesdk.internal.checks import positive_number, whole_number
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.checks import check_input, check_memory, per_neuron_tensor
from nwavesdk.layers.synapse import DenseSynapse
from nwavesdk.layers.weight import ChipWeight, parameter_of

__all__ = ["Frontend", "H1v1Frontend", "H1v1Synapse", "H1v2Frontend", "H1v2Synapse", "HWSynapse"]


class _ChipConnection(ChipWeight):
    """A synapse or a frontend of a chip, whose weight users read and train."""

    weight: nn.Parameter

    def effective_weight(self) -> Tensor:
        """The weight after quantization, charge law and mismatch, with gradient for `weight`."""
        return self._effective(parameter_of(self, "weight"))

    def extra_repr(self) -> str:
        text = super().extra_repr()
        for name in ("quantization_bits", "stddev"):
            value = getattr(self, name)
            text += "" if value is None else f", {name}={value:g}"
        return text


class _ChipSynapse(_ChipConnection, DenseSynapse):
    """Dense weights on a chip."""

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
        # The options come first, because `reset_parameters` needs the profile.
        self._set_chip_options(quantization_bits, stddev, profile)
        super().__init__(nb_inputs, nb_outputs, product=product)

    def forward(self, spk: Tensor) -> Tensor:
        if not self._is_prepared:
            self._require_prepared(spk.ndim > 2)
        return super().forward(spk)

    def _multiply(self, spk: Tensor) -> Tensor:
        weight = parameter_of(self, "weight")
        if spk.dtype is not weight.dtype or not self._has_usual_weight():
            return super()._multiply(spk)
        return self._effective_product(spk, weight)

    def _stored_weight(self, weight: Tensor) -> Tensor:
        if not self._has_usual_weight():
            return weight
        return self._stored_value(weight)

    def _has_usual_weight(self) -> bool:
        """Whether the effective weight acts unchanged: no subclass overrides it."""
        return type(self).effective_weight is _ChipConnection.effective_weight

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new normal weights for charges of standard deviation 2/√N_in, within the limit."""
        super().reset_parameters()
        limit = self.profile.number("weight_limit")
        self.weight.div_(self.profile.charge_law.slope(torch.zeros(()))).clamp_(-limit, limit)


class H1v1Synapse(_ChipSynapse):
    """A synapse of the H1v1 chip: non-linear charge law and additive mismatch.

    The form of the charge law is assumed, see the profile.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: Number of bits over the chip's range, from 2 to 8, with a
            straight-through gradient; or None.
        stddev: Standard deviation of the mismatch on the effective weights, drawn by `prepare_net`;
            or None.
        product: See `LIFSynapse`.
        profile: Profile of a custom chip: the path of a TOML file, or a `Profile`. None is H1v1's.

    Shape:
        As `LIFSynapse`.

    Raises:
        ValueError: If a size, `quantization_bits`, `stddev`, `product` or `profile` is out of its
            range.
        RuntimeError: If `prepare_net` is missing, or the weights have changed since.

    Example:
        >>> from nwavesdk.layers import prepare_net
        >>> synapse = H1v1Synapse(4, 2, quantization_bits=5, stddev=0.02)
        >>> prepare_net(synapse)
        >>> synapse(torch.ones(1, 4)).shape
        torch.Size([1, 2])
    """

    chip = "h1v1"


class H1v2Synapse(_ChipSynapse):
    """A synapse of the H1v2 chip: linear, without mismatch, which is in the layer on this chip.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        quantization_bits: Number of bits over the chip's range, from 2 to 8, with a
            straight-through gradient; or None.
        product: See `LIFSynapse`.
        profile: Profile of a custom chip: the path of a TOML file, or a `Profile`. None is H1v2's.

    Shape:
        As `LIFSynapse`.

    Raises:
        ValueError: If a size, `quantization_bits`, `product` or `profile` is out of its range.
        RuntimeError: If `prepare_net` is missing, or the weights have changed since.

    Example:
        >>> synapse = H1v2Synapse(4, 2, quantization_bits=5)
        >>> synapse(torch.ones(1, 10, 4)).shape
        torch.Size([1, 10, 2])
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
        super().__init__(
            nb_inputs,
            nb_outputs,
            quantization_bits,
            product=product,
            profile=profile,
        )


class _Frontend(_ChipConnection):
    """A diagonal synapse: each input drives one neuron."""

    def __init__(
        self,
        nb_inputs: int = 16,
        quantization_bits: int | None = None,
        stddev: float | None = None,
        *,
        init: float | Sequence[float] | Tensor = 0.5,
        lif_threshold: float | None = None,
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self._set_chip_options(quantization_bits, stddev, profile)
        self.nb_inputs = whole_number(owner, "nb_inputs", nb_inputs)
        check_memory(owner, self.nb_inputs)

        threshold = self.profile.number("threshold") if lif_threshold is None else lif_threshold
        self.lif_threshold = positive_number(owner, "lif_threshold", threshold, "normalized charge")
        kind = Kind(low=0.0, unit="thresholds")
        thresholds = per_neuron_tensor(owner, "init", init, (self.nb_inputs,), kind)

        # The stored weight that causes the requested charge, within the range of the chip.
        limit = self.profile.number("weight_limit")
        charge = thresholds.to(torch.get_default_dtype()) * self.lif_threshold
        weight = self.profile.charge_law.weight(charge)
        self.weight = nn.Parameter(weight.clamp(-limit, limit).expand(self.nb_inputs).clone())

    def forward(self, x: Tensor) -> Tensor:
        """Charge of each channel of the filter bank for its own neuron; see the class."""
        if not self._is_prepared:
            self._require_prepared(x.ndim > 2)

        # The usual input passes all checks: an elementwise product takes less time than they do.
        if is_plain(x) and 1 < x.ndim < 4 and x.shape[-1] == self.nb_inputs:
            weight = self.effective_weight()
            if weight.dtype is x.dtype:
                return x * weight
        return self._charge_after_checks(x)

    def _charge_after_checks(self, x: Tensor) -> Tensor:
        owner = f"{type(self).__name__}({self.nb_inputs})"
        check_input(owner, x, (self.nb_inputs,))
        weight = self.effective_weight()
        if x.dtype != weight.dtype and not torch.is_autocast_enabled(x.device.type):
            raise TypeError(
                f"{owner} has weights of {weight.dtype} and got an input of {x.dtype}: convert one."
            )
        return (x[None] if x.ndim == 1 else x) * weight

    def extra_repr(self) -> str:
        return f"{self.nb_inputs}" + super().extra_repr()


class H1v1Frontend(_Frontend):
    """The input of the H1v1 chip: a diagonal synapse from the channels of the filter bank.

    Args:
        nb_inputs: Number of channels; the chip has 16.
        quantization_bits: See `H1v1Synapse`.
        stddev: See `H1v1Synapse`.
        init: Initial charge for an input of 1 [thresholds], one number or one per channel. NWAVE
            does not document its meaning.
        lif_threshold: Threshold of the neurons that follow, the unit of `init`; None is the chip's.
        profile: See `H1v1Synapse`.

    Shape:
        Input [B, T, nb_inputs], [B, nb_inputs] or [nb_inputs]; output the same, the last as
        [1, nb_inputs].

    Raises:
        ValueError: If an argument is out of its range, or the input has another width.
        TypeError: If the input is not floating, or its dtype differs from the weights' dtype.
        RuntimeError: If `prepare_net` is missing, or the weights have changed since.

    Example:
        >>> from nwavesdk.layers import H1v1Layer, SpikingSequential
        >>> net = SpikingSequential(H1v1Frontend(16, init=1.5), H1v1Layer(16, 20e-3))
        >>> spk, _ = net(torch.ones(1, 10, 16))
        >>> spk.shape
        torch.Size([1, 10, 16])
    """

    chip = "h1v1"


class H1v2Frontend(_Frontend):
    """The input of the H1v2 chip: as `H1v1Frontend`, but without mismatch, with the same arguments.

    Args:
        profile: Profile of a custom chip, as in `H1v1Synapse`; None is H1v2's.

    Shape:
        As `H1v1Frontend`.

    Raises:
        ValueError: See `H1v1Frontend`.
        TypeError: See `H1v1Frontend`.
        RuntimeError: See `H1v1Frontend`.

    Example:
        >>> frontend = H1v2Frontend(16)
        >>> frontend(torch.ones(1, 10, 16)).shape
        torch.Size([1, 10, 16])
    """

    chip = "h1v2"

    def __init__(
        self,
        nb_inputs: int = 16,
        quantization_bits: int | None = None,
        *,
        init: float | Sequence[float] | Tensor = 0.5,
        lif_threshold: float | None = None,
        profile: str | Path | Profile | None = None,
    ) -> None:
        super().__init__(
            nb_inputs,
            quantization_bits,
            init=init,
            lif_threshold=lif_threshold,
            profile=profile,
        )


HWSynapse = H1v1Synapse
"""NWAVE's name of `H1v1Synapse`."""

Frontend = H1v1Frontend
"""NWAVE's name of `H1v1Frontend`."""
