"""Which modules make a net for which chip.

`ChipInstance`: one chip of a series, with the same mismatch for as long as wanted.

`project`: every weight of a net moved to the nearest that its chip can hold.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from nwavesdk import chip
from nwavesdk.chip import Noise, Profile
from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer
from nwavesdk.layers.chip_synapse import H1v1Frontend, H1v1Synapse, H1v2Frontend, H1v2Synapse
from nwavesdk.layers.prepare import Prepared

__all__ = ["ChipInstance", "Family", "family_of", "project"]


class Family(NamedTuple):
    """The modules of one kind of chip."""

    frontend: Any
    synapse: Any
    layer: Any


_FAMILIES = {
    "h1v1": Family(H1v1Frontend, H1v1Synapse, H1v1Layer),
    "h1v2": Family(H1v2Frontend, H1v2Synapse, H1v2Layer),
}


def family_of(profile: Profile) -> Family:
    """The modules that a net for this chip is built from.

    Example:
        >>> from nwavesdk.chip import load_profile
        >>> family_of(load_profile("h1v2")).layer.__name__
        'H1v2Layer'
    """
    return _FAMILIES[profile.text("neuron")]


@dataclass(frozen=True)
class ChipInstance:
    """One chip: what `prepare_net` draws for a net is a function of the seed and of the place of each module in it.

    Whether a module quantizes or has mismatch at all changes no other module's draws, so that two nets of the same
    form can be compared on the same chip.

    Args:
        seed: of the draws; None is the ideal chip, without mismatch.

    Example:
        >>> from nwavesdk.layers import HWSynapse, prepare_net
        >>> synapse = HWSynapse(16, 4, stddev=0.02)
        >>> with ChipInstance(7).on(synapse):
        ...     prepare_net(synapse)
        ...     once = synapse.effective_weight()
        ...     prepare_net(synapse)
        >>> bool((synapse.effective_weight() == once).all())
        True
    """

    seed: int | None

    def __post_init__(self) -> None:
        if self.seed is not None and (
            isinstance(self.seed, bool) or not isinstance(self.seed, int)
        ):
            raise TypeError(
                f"ChipInstance: seed must be a whole number or None (the ideal chip), got {self.seed!r}."
            )

    def noise(self, place: int) -> Noise:
        """The noise of module number `place`."""
        return Noise(ideal=True) if self.seed is None else Noise.of(self.seed, place)

    def hold(self, model: nn.Module) -> None:
        """Let every `prepare_net` without a seed see this chip, on `model` and on its parts, until `release`."""
        for place, module in enumerate(Prepared.within(model, "ChipInstance.hold")):
            module.chip_noise = partial(self.noise, place)

    @staticmethod
    def release(model: nn.Module) -> None:
        """Let `prepare_net` draw anew."""
        for module in Prepared.within(model, "ChipInstance.release"):
            module.chip_noise = None

    @contextlib.contextmanager
    def on(self, model: nn.Module) -> Iterator[nn.Module]:
        """Hold this chip within a `with` block; afterwards it is as it was before."""
        modules = Prepared.within(model, "ChipInstance.on")
        before = [module.chip_noise for module in modules]
        self.hold(model)
        try:
            yield model
        finally:
            for module, noise in zip(modules, before, strict=True):
                module.chip_noise = noise


@torch.no_grad()
def project(model: nn.Module, profile: chip.Profile | None = None) -> None:
    """Move weights in place to the nearest within the chip's range whose signs agree in each block.

    For nets that were trained without these limits; what a net loses by it, only a test tells. Call `prepare_net`
    afterwards. Modules that are not of a chip stay as they are.

    Args:
        model: Any net.
        profile: The chip. [each module's own]

    Raises:
        TypeError: `model` is no module.

    Example:
        >>> from nwavesdk.layers import HWSynapse
        >>> synapse = HWSynapse(3, 1)
        >>> synapse.weight.data = torch.tensor([[2.0], [0.5], [-0.25]])
        >>> project(synapse)
        >>> synapse.weight.data.flatten()
        tensor([0.9000, 0.5000, 0.0000])
    """
    for module in Prepared.within(model, "project"):
        own = getattr(module, "profile", None)
        if own is None:
            continue
        numbers = own if profile is None else profile
        limit = numbers.number("weight_limit")
        for name in ("weight", "recurrent_weights"):
            w = getattr(module, name, None)
            if w is not None:
                signed = (numbers.count("sign_block"), numbers.text("sign_axis"), limit)
                w.copy_(
                    w.clamp(-limit, limit)
                    if w.ndim < 2
                    else chip.nearest_agreeing_weight(w, *signed)
                )
