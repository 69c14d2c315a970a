"""`prepare_net` prepares a net for a batch; `ChipInstance` fixes the mismatch that it draws.

`StatefulNeurons` holds what a layer carries from one call to the next.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import Noise
from nwavesdk.dynamics import Neuron, Page
from nwavesdk.internal.checks import seed_number, shown, switch
from nwavesdk.layers.layout import Layout
from nwavesdk.solvers.cpu.parameters import ParameterValues

__all__ = [
    "DIVERGED",
    "ChipInstance",
    "Prepared",
    "StatefulNeurons",
    "as_trainable",
    "detach_state",
    "prepare_net",
    "prepared_modules",
]

DIVERGED = "training diverged; lower the learning rate and go back to an earlier checkpoint."


class Prepared(nn.Module):
    """Base of all modules that `prepare_net` prepares before each batch.

    A `SpikingSequential` passes whole sequences to these modules.

    Attributes:
        times_prepared: How often `prepare_net` has visited the module.
        chip_noise: Source of the module's mismatch while a `ChipInstance` is held. None: each
            `prepare_net` draws again.
    """

    times_prepared = 0
    chip_noise: Callable[[], Noise] | None = None
    _state_attributes: tuple[str, ...] = ()

    def check_parameters(self) -> None:
        """Raise a RuntimeError if the module cannot be prepared; changes nothing."""

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        """Draw mismatch, compute effective weights and, unless `keep_state`, reset the state."""

    def detach_state(self) -> None:
        """Keep the state and drop the graph behind it."""

    def state_restorer(self) -> Callable[[], None]:
        """A function that sets the state back to what it is now."""
        names = self._state_attributes
        return partial(_set_attributes, self, names, [getattr(self, name) for name in names])

    def state_tensors(self) -> list[Tensor]:
        """All that the next step needs of the past; empty before the first call after `prepare`."""
        return []

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        """Set the state to what `state_tensors` returned."""


def _set_attributes(module: Prepared, names: tuple[str, ...], values: list[Any]) -> None:
    for name, value in zip(names, values, strict=True):
        setattr(module, name, value)


class StatefulNeurons(Prepared):
    """Base of `NeuronLayer` that holds its state.

    The state is None from `prepare_net` until the first call. It then starts at the initial values
    of the page, and takes batch size, dtype and device from the input.

    Args:
        features: Shape of the neurons.
    """

    features: tuple[int, ...]

    def __init__(self, features: tuple[int, ...]) -> None:
        super().__init__()
        self.features = features
        self._is_prepared = False
        # The states, each [B, *features] in any layout, and the spikes [B, N] after the last step
        # of a recurrent layer.
        self._states: tuple[Tensor, ...] | None = None
        self._last_spikes: Tensor | None = None
        # Plans of the last calls, see `plan`; a plan is never changed.
        self._plans: dict[Any, Any] = {}
        # The parameters when they were last checked.
        self._checked: ParameterValues | None = None

    @property
    def page(self) -> Page:
        """The page of the neuron; a class with several pages chooses one."""
        raise NotImplementedError(
            f"{type(self).__name__} has no page: use @neuron to make a layer."
        )

    @property
    def neuron(self) -> Neuron:
        """The neuron's equation."""
        return self.page.neuron

    @property
    def state(self) -> dict[str, Tensor] | None:
        """The states by name, each [B, *features]; None from `prepare_net` to the first call."""
        if self._states is None:
            return None
        return dict(zip(self.neuron.states, self._states, strict=True))

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002
        """Allow calls and, unless `keep_state`, reset the state."""
        self._is_prepared = True
        if not keep_state:
            self._states = self._last_spikes = None

    def detach_state(self) -> None:
        vars(self).update(self._detached_state())

    def state_restorer(self) -> Callable[[], None]:
        return partial(self._set_state, self._states, self._last_spikes)

    def _set_state(self, states: tuple[Tensor, ...] | None, last_spikes: Tensor | None) -> None:
        self._states = states
        self._last_spikes = last_spikes

    def state_tensors(self) -> list[Tensor]:
        """The states, and the last spikes of a recurrent layer; empty before the first call."""
        if self._states is None:
            return []
        spikes = [] if self._last_spikes is None else [self._last_spikes]
        return [as_trainable(state) for state in (*self._states, *spikes)]

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        K = len(self.neuron.states)
        self._states = tuple(tensors[:K]) or None
        self._last_spikes = tensors[K] if len(tensors) > K else None

    def _initial_state(self, x: Tensor, layout: Layout) -> tuple[tuple[Tensor, ...], Tensor]:
        """The states and the last spikes, each [B, N], before the input x [B, T, N] in `layout`."""
        owner = type(self).__name__
        B, _, N = x.shape
        if not self._is_prepared:
            raise RuntimeError(
                f"{owner} is not prepared: call prepare_net(model) before the first batch."
            )
        if self._states is None:
            initial = self.neuron.step.initial
            return tuple(x.new_full((B, N), value) for value in initial), x.new_zeros(B, N)
        if self._states[0].shape[0] != B:
            raise RuntimeError(
                f"{owner} has state for a batch of {self._states[0].shape[0]}, the input has {B}: "
                "call prepare_net(model) before a new batch."
            )
        spikes = x.new_zeros(B, N) if self._last_spikes is None else self._last_spikes
        self._check_sizes([*self._states, spikes], B, N)
        states = tuple(layout.flatten(as_trainable(state.to(x))) for state in self._states)
        return states, as_trainable(spikes.to(x))

    def _check_sizes(self, tensors: list[Tensor], B: int, N: int) -> None:
        """Check the states and, after them, the last spikes: kernels read B · N of each."""
        shapes = [list(tensor.shape) for tensor in tensors]
        expected = [[B, *self.features]] * len(self.neuron.states)
        if shapes != [*expected, [B, N]]:
            raise RuntimeError(
                f"{type(self).__name__} has states of shapes {shapes[:-1]} and last spikes of "
                f"shape {shapes[-1]}, expected {expected} and {[B, N]}: load what "
                "state_tensors() of this layer returned, or call prepare_net(model)."
            )

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they get the state without its graph, and no plans."""
        return vars(self) | self._detached_state() | {"_plans": {}, "_checked": None}

    def _detached_state(self) -> dict[str, Any]:
        """The attributes of the state, without its graph."""
        states = self._states
        spikes = self._last_spikes
        return {
            "_states": None if states is None else tuple(state.detach() for state in states),
            "_last_spikes": None if spikes is None else spikes.detach(),
        }


def as_trainable(tensor: Tensor) -> Tensor:
    """A copy if inference mode made the tensor and is over, else the tensor."""
    if torch.compiler.is_compiling():
        return tensor
    is_unfit = tensor.is_inference() and not torch.is_inference_mode_enabled()
    return tensor.clone() if is_unfit else tensor


def prepared_modules(model: nn.Module, caller: str) -> list[Prepared]:
    """All modules of `model` that `prepare_net` visits, in their order in the net.

    Args:
        model: Any module.
        caller: Name of the calling function, for the message.

    Raises:
        TypeError: If `model` is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    return [module for module in model.modules() if isinstance(module, Prepared)]


def prepare_net(model: nn.Module, seed: int | None = None, keep_state: bool = False) -> None:
    """Prepare every layer of `model` for a new batch: states, mismatch and effective weights.

    Call it once per batch, before the sequence or before the loop over time steps.

    Args:
        model: Any module; all its submodules are visited.
        seed: Seed of the draws. They are then the same on every device and in every process: those
            of `ChipInstance(seed)`. None draws from torch's global generator, or from the
            `ChipInstance` that is held.
        keep_state: Keep the current state; only mismatch and effective weights are new.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If `seed` is not a whole number of 64 bits, or `keep_state` not True or False.
        RuntimeError: If weights or constants are not finite, or a threshold is not above 0. No
            layer has changed then.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(2, taus=20e-3)
        >>> prepare_net(layer)
        >>> spk, mem = layer(torch.tensor([0.5, 1.5]))
        >>> spk
        tensor([[0., 1.]])
    """
    modules = prepared_modules(model, "prepare_net")
    seed = None if seed is None else seed_number("prepare_net", seed)
    keep_state = switch("prepare_net", "keep_state", keep_state)
    for module in modules:
        module.check_parameters()
    for place, module in enumerate(modules):
        draw_noise = module.chip_noise or Noise
        noise = draw_noise() if seed is None else Noise.of(seed, place)
        module.prepare(noise, keep_state)
        module.times_prepared += 1


def detach_state(model: nn.Module) -> None:
    """Drop the graph behind every layer's state: truncated backpropagation through time.

    Raises:
        TypeError: If `model` is not a module.
    """
    for module in prepared_modules(model, "detach_state"):
        module.detach_state()


@dataclass(frozen=True)
class ChipInstance:
    """One chip of a series, with the same mismatch in every `prepare_net` while it is held.

    What `prepare_net` draws for a module depends on the seed and on the module's position in the
    net. It does not depend on whether other modules quantize or have mismatch. So two nets of the
    same structure can be compared on the same chip.

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

    def noise(self, place: int) -> Noise:
        """The noise of the module at position `place` of the net."""
        return Noise(ideal=True) if self.seed is None else Noise.of(self.seed, place)

    def hold(self, model: nn.Module) -> None:
        """Make every `prepare_net` without a seed use this chip, on `model` and on its parts."""
        for place, module in enumerate(prepared_modules(model, "ChipInstance.hold")):
            module.chip_noise = partial(self.noise, place)

    @staticmethod
    def release(model: nn.Module) -> None:
        """End `hold`: every `prepare_net` draws again."""
        for module in prepared_modules(model, "ChipInstance.release"):
            module.chip_noise = None

    @contextlib.contextmanager
    def on(self, model: nn.Module) -> Iterator[nn.Module]:
        """Hold this chip within a `with` block; afterwards, the chip held before is held again."""
        modules = prepared_modules(model, "ChipInstance.on")
        before = [module.chip_noise for module in modules]
        self.hold(model)
        try:
            yield model
        finally:
            for module, noise in zip(modules, before, strict=True):
                module.chip_noise = noise
