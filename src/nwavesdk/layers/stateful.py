"""`StatefulNeurons`: the state of a neuron layer between two calls."""

import math
from typing import Any

from torch import Tensor

from nwavesdk.dynamics import Neuron, Page
from nwavesdk.layers.layout import Layout
from nwavesdk.layers.prepare import Prepared, as_trainable
from nwavesdk.solvers.cpu.parameters import ParameterValues

__all__ = ["StatefulNeurons"]


class StatefulNeurons(Prepared):
    """Base of `NeuronLayer` that holds its state.

    The state is None from `prepare_net` until the first call. It then starts at the initial values
    of the page, and takes batch size, dtype and device from the input.

    Args:
        features: Shape of the neurons.
    """

    # The states, each [B, *features] in any layout, and the spikes [B, N] after the last step of a
    # recurrent layer.
    _state_attributes = ("_states", "_last_spikes")
    _states: tuple[Tensor, ...] | None = None
    _last_spikes: Tensor | None = None
    features: tuple[int, ...]
    # The number of past steps from which a step of a recurrent layer reads spikes.
    _ring_steps = 1

    def __init__(self, features: tuple[int, ...]) -> None:
        super().__init__()
        self.features = features
        self._set_state()
        # Plans of the last calls by kind of input, see `plan`; a plan is never changed.
        self._plans: dict[Any, Any] = {}
        # The parameters when they were last checked.
        self._checked: ParameterValues | None = None

    @property
    def page(self) -> Page:
        """The page of the neuron; a class with several pages chooses among them."""
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

    def has_finite_state(self) -> bool:
        for state in self._states or ():
            values = state.detach()
            # The sum is quick, but may overflow for finite numbers.
            if not (math.isfinite(values.sum().item()) or bool(values.isfinite().all())):
                return False
        return True

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        K = len(self.neuron.states)
        self._set_state(tuple(tensors[:K]) or None, tensors[K] if len(tensors) > K else None)

    def _initial_state(self, x: Tensor, layout: Layout) -> tuple[tuple[Tensor, ...], Tensor]:
        """The states and the last spikes, each [B, N], before the input x [B, T, N] in `layout`."""
        owner = type(self).__name__
        B, _, N = x.shape

        if self._states is None:
            initial = self.neuron.step.initial
            states = tuple(x.new_full((B, N), value) for value in initial)
            return states, x.new_zeros(B, self._ring_steps * N)

        self._require_own_state()
        if self._states[0].shape[0] != B:
            raise RuntimeError(
                f"{owner} has state for a batch of {self._states[0].shape[0]}, the input has {B}: "
                "call prepare_net(model) before a new batch."
            )

        # Spikes of the last `_ring_steps` steps, side by side.
        M = self._ring_steps * N
        spikes = x.new_zeros(B, M) if self._last_spikes is None else self._last_spikes
        # Kernels read all of these values.
        shapes = [tuple(state.shape) for state in self._states]
        expected = [(B, *self.features)] * len(self.neuron.states)
        if shapes != expected or spikes.shape != (B, M):
            raise RuntimeError(
                f"{owner} has states of shapes {shapes}, expected {expected} and last spikes "
                f"{[B, M]}: load the result of state_tensors() of this layer, or call "
                "prepare_net(model)."
            )

        states = tuple(layout.flatten(as_trainable(state.to(x))) for state in self._states)
        return states, as_trainable(spikes.to(x))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they get no plans."""
        return super().__getstate__() | {"_plans": {}, "_checked": None}
