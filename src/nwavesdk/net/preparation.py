"""Preparation of a net for a batch, `prepare_net` and `streaming`, and mismatch, `ChipInstance`.

A net for which `prepare_net` was never called prepares itself in each call; see `layers.prepare`.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from torch import nn

from nwavesdk.internal.checks import seed_number, shown, switch
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import (
    hold_prepared,
    mixed_modes,
    prepare_modules,
    prepared_modules,
    self_preparing_modules,
)
from nwavesdk.net.calls import replaced

__all__ = ["ChipInstance", "detach_state", "prepare_net", "prepared", "streaming"]


def prepare_net(model: nn.Module, seed: int | None = None, keep_state: bool = False) -> None:
    """Prepare every layer of `model` for a new batch: states, mismatch and effective weights.

    Call it once per batch, before the sequence or before the loop over time steps. A net on which
    it was never called prepares itself in each call with a whole sequence; from the first
    `prepare_net` on, calls never do.

    Args:
        model: Any module; all its submodules are visited.
        seed: Seed of the draws, which are then the same everywhere and equal the draws of
            `ChipInstance(seed)`. None draws from torch's global generator, or from the
            `ChipInstance` that is held.
        keep_state: Keep the current state; only mismatch and effective weights are new.

    Raises:
        TypeError: If `model` is not a module.
        RuntimeError: If weights, constants or the states of the last call are not finite, or a
            threshold is not above 0.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(2, taus=20e-3)
        >>> prepare_net(layer)
        >>> spk, mem = layer(torch.tensor([0.5, 1.5]))
        >>> spk
        tensor([[0., 1.]])
    """
    prepared_modules(model, "prepare_net")
    seed = None if seed is None else seed_number("prepare_net", seed)
    keep_state = switch("prepare_net", "keep_state", keep_state)

    modules = self_preparing_modules(model)
    prepare_modules(modules, seed, keep_state)
    for module in modules:
        module._is_explicit = module._is_prepared = True


@contextlib.contextmanager
def prepared(model: nn.Module, seed: int | None = None) -> Iterator[nn.Module]:
    """Prepare a net within a `with` block, for functions of this library that run a user's net.

    Calls and steps in the block carry the state over. Afterwards, a net on which `prepare_net` was
    never called prepares itself again.

    Args:
        model: Any module.
        seed: See `prepare_net`.

    Raises:
        RuntimeError: See `prepare_net`; if `prepare_net` was called on a part of the net only.
    """
    modules = self_preparing_modules(model)
    explicit = [module for module in modules if module._is_explicit]
    if explicit and len(explicit) < len(modules):
        raise mixed_modes(type(model).__name__, explicit[0])

    prepare_modules(modules, seed)
    with hold_prepared(modules):
        yield model


@contextlib.contextmanager
def streaming(model: nn.Module, seed: int | None = None) -> Iterator[nn.Module]:
    """Carry the state over calls and steps within a `with` block.

    The net is prepared at entry, and forgets its state at exit. Between them it takes single steps
    and sequences in any order.

    Args:
        model: Any module.
        seed: See `prepare_net`.

    Raises:
        TypeError: If `model` is not a module.
        RuntimeError: See `prepare_net`; if `prepare_net` was called on a part of the net only.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(2, taus=20e-3)
        >>> with streaming(layer):
        ...     for _ in range(3):
        ...         spk, mem = layer(torch.tensor([0.5, 0.1]))
        >>> spk
        tensor([[1., 0.]])
    """
    modules = prepared_modules(model, "streaming")
    with prepared(model, seed):
        try:
            yield model
        finally:
            for module in modules:
                module.forget_state()


def detach_state(model: nn.Module) -> None:
    """Drop the graph behind every layer's state: truncated backpropagation through time.

    Raises:
        TypeError: If `model` is not a module.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(1, taus=20e-3, solver="reference")
        >>> x = torch.full((1, 5, 1), 0.3, requires_grad=True)
        >>> _ = layer(x)
        >>> detach_state(layer)
        >>> [state.requires_grad for state in layer.state_tensors() if state is not None]
        [False]
    """
    for module in prepared_modules(model, "detach_state"):
        module.detach_state()


@dataclass(frozen=True)
class ChipInstance:
    """One chip of a series, with the same mismatch in every `prepare_net` while it is held.

    The mismatch of a module depends on the seed and on the module's position in the net, so two
    nets of the same structure can be compared on the same chip.

    Args:
        seed: Seed of the draws; None is the ideal chip, without mismatch.

    Raises:
        TypeError: If `seed` is neither a whole number nor None.

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
        is_number = isinstance(self.seed, int) and not isinstance(self.seed, bool)
        if self.seed is not None and not is_number:
            raise TypeError(
                "ChipInstance: seed must be a whole number or None (the ideal chip), "
                f"got {shown(self.seed)}."
            )

    def noise(self, position: int) -> Noise:
        """The noise of the module at `position` of the net."""
        return Noise(ideal=True) if self.seed is None else Noise.of(self.seed, position)

    def hold(self, model: nn.Module) -> None:
        """Make every `prepare_net` without a seed use this chip, on `model` and on its parts."""
        for position, module in enumerate(prepared_modules(model, "ChipInstance.hold")):
            module.chip_noise = partial(self.noise, position)

    @staticmethod
    def release(model: nn.Module) -> None:
        """End `hold`: every `prepare_net` draws again."""
        for module in prepared_modules(model, "ChipInstance.release"):
            module.chip_noise = None

    @contextlib.contextmanager
    def on(self, model: nn.Module) -> Iterator[nn.Module]:
        """Hold this chip within a `with` block; afterwards, the chip held before is held again."""
        modules = prepared_modules(model, "ChipInstance.on")
        noises = [(m, "chip_noise", partial(self.noise, i)) for i, m in enumerate(modules)]
        with replaced(noises):
            yield model
