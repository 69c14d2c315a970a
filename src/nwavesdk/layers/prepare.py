"""`prepare_net` arms a net for a batch; `detach_state` cuts the graph that its state carries."""

from collections.abc import Callable

from torch import Tensor, nn

from nwavesdk.chip import Noise

__all__ = ["DIVERGED", "Prepared", "detach_state", "prepare_net"]

DIVERGED = "training diverged; lower the learning rate and go back to an earlier checkpoint."


class Prepared(nn.Module):
    """A module with something to get ready before each batch; in a `SpikingSequential` it takes sequences as they are.

    Attributes:
        times_prepared: how often `prepare_net` has visited it.
        chip_noise: where its mismatch comes from while a `ChipInstance` is held; None: drawn anew each time.
    """

    times_prepared = 0
    chip_noise: Callable[[], Noise] | None = None

    @staticmethod
    def within(model: nn.Module, caller: str) -> "list[Prepared]":
        """All such modules of `model`, in its order."""
        if not isinstance(model, nn.Module):
            raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
        return [module for module in model.modules() if isinstance(module, Prepared)]

    def check(self) -> None:
        """Raise a RuntimeError when the module cannot be made ready; changes nothing."""

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        """Draw what is random, compute what is effective, and unless `keep_state` forget the state."""

    def detach_state(self) -> None:
        """Go on from the same state without its past."""

    def hold_state(self) -> Callable[[], None]:
        """A function that puts the state back to what it is now."""
        return _nothing

    def give_state(self) -> list[Tensor]:
        """All that the next step needs of the past, as tensors; none before the first call after `prepare_net`."""
        return []

    def take_state(self, given: list[Tensor]) -> None:
        """Set the state to what `give_state` gave."""


def _nothing() -> None:
    pass


def prepare_net(model: nn.Module, seed: int | None = None, keep_state: bool = False) -> None:
    """Arm every layer of `model` for a new batch: zero state, fresh effective weights and mismatch draws.

    Call it once per batch, before the sequence or before the loop over time steps.

    Args:
        model: any module; all its submodules are visited.
        seed: of the draws, which are then the same on every device and in every process (the same chip, as
            `ChipInstance(seed)` holds it); None draws from torch's global generator, unless an instance is held.
        keep_state: go on from the current state, with fresh effective weights.

    Raises:
        TypeError: `model` is no module.
        RuntimeError: weights or constants are not finite, or a threshold is not above 0; no layer has changed then.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(2, taus=20e-3)
        >>> prepare_net(layer)
        >>> spk, mem = layer(torch.tensor([0.5, 1.5]))
        >>> spk
        tensor([[0., 1.]])
    """
    modules = Prepared.within(model, "prepare_net")
    for module in modules:
        module.check()
    for place, module in enumerate(modules):
        if seed is not None:
            noise = Noise.of(seed, place)
        else:
            noise = module.chip_noise() if module.chip_noise is not None else Noise()
        module.prepare(noise, keep_state)
        module.times_prepared += 1


def detach_state(model: nn.Module) -> None:
    """Cut the graph behind every layer's state: truncated backpropagation through time, flat in memory.

    Raises:
        TypeError: `model` is no module.
    """
    for module in Prepared.within(model, "detach_state"):
        module.detach_state()
