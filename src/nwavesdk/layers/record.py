"""Recorded passes: `Record` of one neuron layer, `Recording` of a whole net.

A record holds spikes, states and z, and computes the gradient of the call under any surrogate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.layers.layout import Layout
from nwavesdk.layers.lengths import mean_over_steps
from nwavesdk.solvers import (
    Problem,
    charge_gradient,
    has_loop_gain,
    loop_gain,
    named_value,
    spike_argument,
    state_trajectories,
)
from nwavesdk.surrogate import Surrogate

__all__ = ["Record", "Recording"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Record:
    """One call of a neuron layer: values [B, T, *features], or [B, *features] after one step.

    Attributes:
        spk: Spikes, with gradient; of a read-out, the first state after each step.
        mem: First state after each step, with gradient.
        cur: Input charge, with gradient; None unless requested.
        lengths: Steps of each recording, int64 [B]; None without padding.
        is_single_step: Whether the call was one step.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> layer = LIFLayer(1, taus=20e-3, dt=1e-3)
        >>> made = layer.record(torch.full((1, 4, 1), 0.6))
        >>> made.spk.flatten(), float(made.rate())
        (tensor([0., 1., 0., 1.]), 0.5)
        >>> made.u.flatten()
        tensor([0.6000, 1.1707, 0.7624, 1.3252])
    """

    spk: Tensor
    mem: Tensor
    cur: Tensor | None
    _problem: Problem
    _saved: tuple[Tensor, ...]
    _layout: Layout
    lengths: Tensor | None = None
    is_single_step: bool = False

    def with_lengths(self, lengths: Tensor | None) -> "Record":
        """The record of a call with recordings of these lengths."""
        return self if lengths is None else replace(self, lengths=lengths)

    def cut(self) -> "Record":
        """The same record, with spikes and membrane as leaves of the graph, with gradient."""
        spk = self.spk.detach().requires_grad_()
        if hasattr(self.spk, "nonzeros"):
            spk.nonzeros = self.spk.nonzeros  # type: ignore[attr-defined]  # see NeuronLayer

        # A read-out returns the same tensor twice, which becomes a single leaf.
        mem = spk if self.mem is self.spk else self.mem.detach().requires_grad_()
        return replace(self, spk=spk, mem=mem)

    @classmethod
    def of_steps(cls, records: Sequence["Record"]) -> "Record":
        """The record of a sequence that a layer ran step by step, from the records of its steps."""
        first = records[0]
        charges = [record.cur for record in records if record.cur is not None]
        # For each saved tensor, its values from all steps, which are joined along time.
        saved = zip(*(record._saved for record in records), strict=True)
        return replace(
            first,
            spk=torch.stack([record.spk for record in records], 1),
            mem=torch.stack([record.mem for record in records], 1),
            cur=torch.stack(charges, 1) if charges else None,
            is_single_step=False,
            _saved=tuple(torch.cat(values, 1) for values in saved),
        )

    @property
    def is_readout(self) -> bool:
        """Whether the layer has no spikes."""
        return self._problem.spec.neuron.is_readout

    @property
    def spikes_act_inside(self) -> bool:
        """Whether spikes change the layer's own membranes: by a reset, or by recurrent weights."""
        return self.is_recurrent or self._problem.spec.neuron.has_reset

    def rate(self) -> Tensor:
        """Mean spikes per valid step and neuron: a scalar in float64, with gradient.

        It is NaN if there is no valid step.

        Raises:
            ValueError: If the layer is a read-out.
        """
        return self.neuron_rates().mean()

    def neuron_rates(self) -> Tensor:
        """Mean spikes per valid step of each neuron: float64 [N], with gradient.

        N neurons are in the order of the flattened features. The mean is over all valid steps of
        all recordings.

        Raises:
            ValueError: If the layer is a read-out.
        """
        self._require_spikes("rate")
        B, T, _ = self._saved[0].shape
        spikes = self.spk.reshape(B, T, *self._layout.features)
        return mean_over_steps(spikes, self.lengths).flatten()

    @cached_property
    def z(self) -> Tensor:
        """The argument of the spike, computed at the first access; without gradient.

        Raises:
            ValueError: If the layer is a read-out.
        """
        self._require_spikes("z")
        return self._in_user_shape(spike_argument(self._problem, self._saved))

    @cached_property
    def states(self) -> dict[str, Tensor]:
        """The states after each step by name, computed at the first access; without gradient."""
        states = state_trajectories(self._problem, self._saved)
        names = self._problem.spec.neuron.states
        return {name: self._in_user_shape(t) for name, t in zip(names, states, strict=True)}

    @cached_property
    def u(self) -> Tensor:
        """The value that the page calls `u`: of LIF neurons, the membrane before reset.

        It is computed at the first access, and has no gradient.

        Raises:
            AttributeError: If the page has no such value.
        """
        neuron = self._problem.spec.neuron
        if "u" not in neuron.step.names.values():
            other = "states" if self.is_readout else "z (the argument of its spike) or states"
            raise AttributeError(f"the page of {neuron.name} names no value u: read {other}.")
        return self._in_user_shape(named_value(self._problem, self._saved, "u"))

    def _require_spikes(self, name: str) -> None:
        if self.is_readout:
            raise ValueError(
                f"{self._problem.spec.neuron.name} is a read-out, which has no spikes and no "
                f"{name}: read mem or states."
            )

    def _in_user_shape(self, value: Tensor) -> Tensor:
        sequence = value.detach().expand_as(self._saved[0]).to(self.mem.dtype)
        leading = self.mem.shape[: self.mem.ndim - len(self._layout.features)]
        return self._layout.unflatten(sequence.reshape(*leading, sequence.shape[-1]))

    @property
    def is_recurrent(self) -> bool:
        """Whether the layer has recurrent weights."""
        return self._problem.recurrent is not None

    @torch.no_grad()
    def loop_gain(self) -> float | None:
        """The gain of the recurrent loop at the mean slopes of this call; see `docs/recurrence.md`.

        It belongs to the recurrent weights and does not depend on `max_loop_gain`. None without
        recurrence, and for neurons with more than one leaky state.
        """
        problem = self._problem
        if problem.recurrent is None or not has_loop_gain(problem.spec):
            return None

        slopes = self.surrogate.derivative(self.z).reshape(self._saved[0].shape)
        means = mean_over_steps(slopes, self.lengths).to(problem.recurrent)
        return float(loop_gain(problem.spec, problem.constants, problem.recurrent, means))

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate of the layer's gradient in this call."""
        return self._problem.spec.surrogate

    @torch.no_grad()
    def charge_gradient(
        self,
        grad_spk: Tensor | None,
        grad_mem: Tensor | None = None,
        surrogate: Surrogate | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The gradient of the input charge, under the layer's surrogate or a given surrogate.

        One pass is enough for many surrogates: each call is one backward recurrence, without a
        graph.

        Args:
            grad_spk: ∂L/∂spk, shaped like `spk`; None for zero.
            grad_mem: ∂L/∂mem, shaped like `mem`; None for zero.
            surrogate: The surrogate; None for the layer's surrogate.

        Returns:
            ∂L/∂cur, shaped like `spk`, and ∂L/∂recurrent_weights [N, N], or None without
            recurrence.
        """
        problem = self._problem
        w = self._saved[0]
        if surrogate is not None:
            problem = replace(problem, spec=replace(problem.spec, surrogate=surrogate))

        # Solvers take [B, T, N] in the order of the layout.
        spk, *grads = (
            None if t is None else self._layout.flatten(t.detach().to(w.dtype)).reshape(w.shape)
            for t in (self.spk, grad_spk, grad_mem)
        )
        assert spk is not None

        grad_x, grad_recurrent = charge_gradient(problem, spk, self._saved, *grads)
        return self._in_user_shape(grad_x).to(self.spk.dtype), grad_recurrent


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """One pass of a net.

    Attributes:
        spk: The first output of the net, its spikes.
        mem: The second output of the net, its membrane.
        layers: Record of each neuron layer, by its name in the net.
        lengths: Steps of each recording, int64 [B], after which values are undefined; None without
            padding.
        unread: Names of layers with spikes that have no effect, such as a `LIFLayer` with reset
            "none" whose membrane is read. They count as read-outs.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> hidden, output = LIFLayer(8, taus=20e-3), LIFLayer(2, taus=20e-3)
        >>> net = SpikingSequential(LIFSynapse(3, 8), hidden, LIFSynapse(8, 2), output)
        >>> recording = net.record(torch.zeros(1, 5, 3))
        >>> {name: rate.item() for name, rate in recording.rates().items()}
        {'1': 0.0, '3': 0.0}
        >>> recording.layers["1"].spk.shape
        torch.Size([1, 5, 8])
    """

    spk: Tensor
    mem: Tensor
    layers: dict[str, Record]
    lengths: Tensor | None = None
    unread: frozenset[str] = frozenset()

    @property
    def spiking(self) -> dict[str, Record]:
        """The records of layers with spikes, such as for rates; read-outs have no spikes."""
        return {
            name: record
            for name, record in self.layers.items()
            if not record.is_readout and name not in self.unread
        }

    def rates(self) -> dict[str, Tensor]:
        """`Record.rate` of each layer with spikes, by its name in the net."""
        return {name: record.rate() for name, record in self.spiking.items()}
