"""`ChipInstance`: one chip of a series, with the same mismatch for as long as wanted."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from nwavesdk.chip import Noise
from nwavesdk.layers.prepare import Prepared

__all__ = ["ChipInstance"]


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
        if self.seed is not None and (isinstance(self.seed, bool) or not isinstance(self.seed, int)):
            raise TypeError(f"ChipInstance: seed must be a whole number or None (the ideal chip), got {self.seed!r}.")

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
