"""`NeuronLayer`, the base of all neuron layers: calls in the user's shape.

A call with a plan (`plan`) reuses the decisions of an earlier call and runs the same passes. All
others are solved as `solved` describes. The result has the user's shape.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeVar

from torch import Tensor

from nwavesdk.layers.checks import check_input
from nwavesdk.layers.plan import attach_spike_count, run_planned
from nwavesdk.layers.prepare import hold_prepared
from nwavesdk.layers.record import Record
from nwavesdk.layers.solved import SolvedNeurons
from nwavesdk.solvers import PassResult

__all__ = ["NeuronLayer"]

ResultT = TypeVar("ResultT")


class NeuronLayer(SolvedNeurons):
    """Base of all neuron layers: `spk, mem = layer(cur)`; a subclass has a page.

    A read-out is a layer with a page without spikes. It returns its first state twice.

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        values: The constants of the page by name.
        learned: Names of the constants that are trained.
        dt: Length of a step [s].
        spike_grad: The surrogate, or None for `fast_sigmoid(25)`.

    `LIFLayer` describes the other arguments.

    Attributes:
        last_solver: Name of the solver that ran the last call, or None before the first call.

    Shape:
        Input charge [B, T, *features], or [B, *features] for one step. `spk` and `mem` have the
        same shape.

    Raises:
        ValueError: If an argument is out of its range.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer((8,), taus=20e-3))
        >>> [name for name, module in net.named_modules() if isinstance(module, NeuronLayer)]
        ['1']
        >>> spk, mem = net[1](torch.zeros(2, 5, 8))
        >>> spk.shape, net[1].last_solver
        (torch.Size([2, 5, 8]), 'serial')
    """

    def forward(self, cur: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and first state after each step; see the class for shapes and errors."""
        if not self._is_prepared:
            return self._prepare_and_call(self.forward, cur)
        result = run_planned(self, cur, needs_membrane=True)
        if result is None:
            result = self._run_without_plan(cur, needs_membrane=True)
        spk = result.spikes
        return spk, spk if result.mem is None else result.mem

    def spikes(self, cur: Tensor) -> Tensor:
        """The first output of a call, without computing the second: spikes, or v of a read-out.

        Args:
            cur: Input charge; see the class, also for the shape of the output.
        """
        if not self._is_prepared:
            return self._prepare_and_call(self.spikes, cur)
        result = run_planned(self, cur, needs_membrane=False)
        if result is None:
            result = self._run_without_plan(cur, needs_membrane=False)
        return result.spikes

    def record(self, cur: Tensor, charge: bool = False) -> Record:
        """Run a call and record it, with all states.

        Args:
            cur: Input charge; see the class.
            charge: Whether the record holds the input charge.

        Raises:
            TypeError: If the input is not floating.
            ValueError: If the input has another width.
            RuntimeError: If `prepare_net` is missing, or the batch size changed without it.
        """
        if not self._is_prepared:
            return self._prepare_and_call(self.record, cur, charge)
        is_readout = self.neuron.is_readout
        problem, solution = self._solve(cur, needs_membrane=not is_readout, needs_saved=True)
        result = self._in_user_shape(solution, cur)

        # Copies, because a record is read later and must not change when the layer learns.
        recurrent = None if problem.recurrent is None else problem.recurrent.detach().clone()
        problem = replace(
            problem,
            x=problem.x.detach()[:0],
            states=tuple(state.detach() for state in problem.states),
            constants=tuple(constant.detach().clone() for constant in problem.constants),
            recurrent=recurrent,
            saves="record",
        )

        return Record(
            spk=result.spikes,
            mem=result.spikes if result.mem is None else result.mem,
            cur=cur if charge else None,
            _problem=problem,
            _saved=result.saved,
            _layout=self.layout_of(cur),
            is_single_step=cur.ndim < len(self.features) + 2,
        )

    def _prepare_and_call(self, call: Callable[..., ResultT], cur: Tensor, *rest: Any) -> ResultT:
        """Prepare the layer for one call, and run the call; the state after it has no graph."""
        check_input(type(self).__name__, cur, self.features)
        self._require_prepared(cur.ndim == len(self.features) + 2)
        with hold_prepared([self]):
            result = call(cur, *rest)
        self.detach_state()
        return result

    def _run_without_plan(self, cur: Tensor, needs_membrane: bool) -> PassResult:
        """Run a call; spikes and membrane of the result have the user's shape."""
        _, result = self._solve(cur, needs_membrane and not self.neuron.is_readout)
        return self._in_user_shape(result, cur)

    def _in_user_shape(self, result: PassResult, cur: Tensor) -> PassResult:
        """The result with spikes and membrane in the user's shape."""
        spikes = self._to_user_shape(result.spikes, cur)
        if result.spike_count is not None:
            attach_spike_count(spikes, result.spike_count)
        mem = None if result.mem is None else self._to_user_shape(result.mem, cur)
        return result._replace(spikes=spikes, mem=mem)

    def _to_user_shape(self, y: Tensor, cur: Tensor) -> Tensor:
        """A sequence [B, T, N] in shape, dtype and layout of the input; [*features] has B = 1."""
        leading = cur.shape[: cur.ndim - len(self.features)] or (1,)
        return self.layout_of(cur).unflatten(y.to(cur.dtype).reshape(*leading, y.shape[-1]))
