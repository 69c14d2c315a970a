"""`StatefulNeurons`: the membranes and spikes that a layer carries from one call to the next."""

from typing import Any

import torch
from torch import Tensor

from nwavesdk.chip import Noise
from nwavesdk.dynamics import Neuron
from nwavesdk.layers.prepare import Prepared

__all__ = ["StatefulNeurons"]


class StatefulNeurons(Prepared):
    """Base of `NeuronLayer` that holds its state.

    The state is None from `prepare_net` until the first call: it is then zero, and takes batch
    size, dtype and device from the input.

    Args:
        neuron: The neuron's equation, which names its states.
        features: Shape of the neurons.
    """

    _state_attributes = ("_states", "_last_spikes")

    def __init__(self, neuron: Neuron, features: tuple[int, ...]) -> None:
        super().__init__()
        self.neuron = neuron
        self.features = features
        self._is_prepared = False
        # Each [B, N]: the states, and, in recurrent layers, the spikes after the last step.
        self._states: tuple[Tensor, ...] | None = None
        self._last_spikes: Tensor | None = None

    @property
    def state(self) -> dict[str, Tensor] | None:
        """The states by name, each [B, *features]; None from `prepare_net` to the first call."""
        if self._states is None:
            return None
        return {
            name: state.reshape(-1, *self.features)
            for name, state in zip(self.neuron.states, self._states, strict=True)
        }

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002
        """Allow calls and, unless `keep_state`, reset the state to zero."""
        self._is_prepared = True
        if not keep_state:
            self._states = self._last_spikes = None

    def detach_state(self) -> None:
        if self._states is not None:
            self._states = tuple(state.detach() for state in self._states)
        if self._last_spikes is not None:
            self._last_spikes = self._last_spikes.detach()

    def state_tensors(self) -> list[Tensor]:
        """The states, and the last spikes of a recurrent layer; empty before the first call."""
        if self._states is None:
            return []
        spikes = [] if self._last_spikes is None else [self._last_spikes]
        return [_as_trainable(state) for state in (*self._states, *spikes)]

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        K = len(self.neuron.states)
        self._states = tuple(tensors[:K]) or None
        self._last_spikes = tensors[K] if len(tensors) > K else None

    def _initial_state(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The states and the last spikes, each [B, N], before the input x [B, T, N]."""
        owner = type(self).__name__
        B, _, N = x.shape
        if not self._is_prepared:
            raise RuntimeError(
                f"{owner} is not prepared: call prepare_net(model) before the first batch."
            )
        if self._states is None:
            return tuple(x.new_zeros(B, N) for _ in self.neuron.states), x.new_zeros(B, N)
        if self._states[0].shape[0] != B:
            raise RuntimeError(
                f"{owner} has state for a batch of {self._states[0].shape[0]}, the input has {B}: "
                "call prepare_net(model) before a new batch."
            )
        spikes = x.new_zeros(B, N) if self._last_spikes is None else self._last_spikes
        states = tuple(_as_trainable(state.to(x)) for state in self._states)
        return states, _as_trainable(spikes.to(x))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they get the state without its graph."""
        attributes = self.__dict__.copy()
        if self._states is not None:
            attributes["_states"] = tuple(state.detach() for state in self._states)
        if self._last_spikes is not None:
            attributes["_last_spikes"] = self._last_spikes.detach()
        return attributes


def _as_trainable(tensor: Tensor) -> Tensor:
    """A copy if inference mode made the tensor and is over, else the tensor."""
    if torch.compiler.is_compiling():
        return tensor
    is_unfit = tensor.is_inference() and not torch.is_inference_mode_enabled()
    return tensor.clone() if is_unfit else tensor
