"""`Plan`: a call with all that is fixed computed before, for the serial solver on the CPU.

`solve` works out for each call what it runs. A layer that is called step by step cannot afford
that: one step of the kernel takes a microsecond. So a layer keeps plans, and a planned call does
nothing but allocate its outputs and run the kernel.

Design requirements: a plan is never changed, so calls may share it, on any thread. It holds values,
and no graph: each call reaches the parameters by its own node of the graph, whose gradients go
from the constants of the solver to the parameters by the chain rule. What backward reads of a call
is saved by `save_for_backward`.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.parameters import ParameterChain
from nwavesdk.solvers.cpu.passes import BackwardPass, backward_pass, forward_pass
from nwavesdk.solvers.feedback import bounded_feedback
from nwavesdk.solvers.problem import (
    Problem,
    Spec,
    load_saved_tensors,
    program_of_spec,
    spike_argument,
)
from nwavesdk.solvers.sweep import NO_SECOND_GRADIENT

__all__ = ["Plan"]


class Plan:
    """Calls of one size, with constants of fixed value.

    Args:
        spec: What the kernels are compiled for; it saves unchanged values.
        sizes: B, T, N.
        constants: Constants of the neuron, each [N]; their values are copied.
        chain: The chain rule from the constants to the parameters that learn; None if none learns.
        dtype: That of charge, states and constants.
        is_recurrent: Whether the layer is recurrent.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(LIF_PAGES["subtraction"].neuron, atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> plan = Plan(spec, (1, 4, 1), constants, None, torch.float32, is_recurrent=False)
        >>> spikes, *_ = plan.run(torch.full((1, 4, 1), 0.6), plan.rest, (), (), False)
        >>> spikes.flatten()
        tensor([0., 0., 1., 0.])
    """

    def __init__(
        self,
        spec: Spec,
        sizes: tuple[int, int, int],
        constants: Sequence[Tensor],
        chain: ParameterChain | None,
        dtype: torch.dtype,
        *,
        is_recurrent: bool,
    ) -> None:
        assert spec.saved_dtype is None
        B, _, N = sizes
        self.spec = spec
        self.sizes = sizes
        self.is_recurrent = is_recurrent
        self.is_step = sizes[1] == 1
        self.dtype = dtype
        self.saves = "gradient" if chain is None else "learning"
        self.program = program_of_spec(spec, self.saves)
        self.adjoint = self.program.adjoint(chain is not None)
        query = self.program.spike_argument if self.adjoint.uses_surrogate else self.adjoint
        self.reads_states = bool(self.adjoint.recalled or query.recalled)
        values = [c.detach() for c in constants]
        self.constants = (
            torch.stack(values) if values else torch.empty(0, N, dtype=dtype, device="cpu")
        )
        self.rest = tuple(
            torch.full((B, N), value, dtype=dtype, device="cpu")
            for value in spec.neuron.step.initial
        )
        self.silence = torch.zeros(B, N, dtype=dtype, device="cpu")
        self.forward = forward_pass(
            self.program.step, dtype, sizes, is_recurrent, torch.get_num_threads()
        )
        self.chain = chain
        # A copy of the weights of the last step, and `bounded_feedback` of them.
        self._last_feedback: tuple[Tensor, Tensor] | None = None
        # Found when gradients are first needed, because it is then that they are compiled.
        self._backward: dict[tuple[bool, int], BackwardPass] = {}

    def run(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        recurrence: Sequence[Tensor],
        parameters: Sequence[Tensor],
        needs_membrane: bool,
    ) -> tuple[Tensor, Tensor | None, tuple[Tensor, ...], int | None, Tensor | None]:
        """A call with gradients; without them, `forward.run` is enough.

        Args:
            x: Charge [B, T, N], or its values in another shape.
            states: States before the first step, each [B, N]; `rest` are the initial ones.
            recurrence: Of a recurrent layer, weights [N, N] and the spikes before the first step
                [B, N], of which `silence` has none.
            parameters: The parameters that learn.
            needs_membrane: Whether the membrane after each step is returned.

        Returns:
            Spikes, membrane, last states, the number of spikes and, of a recurrent layer, the
            spikes of the last step [B, N].
        """
        spikes, mem, count, last_spikes, *last = _apply_planned(
            self, needs_membrane, x, *states, *recurrence, *parameters
        )
        return spikes, mem, tuple(last), count, last_spikes

    def last_spikes(self, spikes: Tensor, before: Tensor) -> Tensor:
        """A copy of the spikes of the last step [B, N]; without steps, those before."""
        if spikes.shape == before.shape:
            return spikes.clone()
        return spikes.reshape(self.sizes)[:, -1].clone() if self.sizes[1] else before.clone()

    def backward(self, may_overwrite: bool) -> BackwardPass:
        """The adjoint pass, which is compiled when the first gradient is needed."""
        threads = torch.get_num_threads()
        found = self._backward.get((may_overwrite, threads))
        if found is None:
            found = self._backward[may_overwrite, threads] = backward_pass(
                self.adjoint,
                self.dtype,
                self.spec.surrogate,
                self.sizes,
                self.is_recurrent,
                may_overwrite,
                threads,
            )
        return found

    def feedback(self, weights: Tensor) -> Tensor:
        """See `bounded_feedback`; steps that share their weights compute it once."""
        last = self._last_feedback
        if last is not None and torch.equal(last[0], weights):
            return last[1]
        problem = Problem(self.spec, weights, (), self.constants.unbind(), weights)
        feedback = bounded_feedback(problem)
        # With several steps per call, weights change from call to call.
        if self.is_step and feedback is not weights:
            self._last_feedback = (weights.detach().clone(), feedback)
        return feedback

    def add_last(self, grad_s: Tensor | None, grad_last: Tensor, like: Tensor) -> Tensor:
        """∂L/∂spikes with the gradient of the last step [B, N] added."""
        if self.is_step:
            grad = grad_last if grad_last.shape == like.shape else grad_last.reshape(like.shape)
            return grad if grad_s is None else grad_s + grad
        total = torch.zeros_like(like) if grad_s is None else grad_s.contiguous().clone()
        if self.sizes[1]:
            total.view(self.sizes)[:, -1] += grad_last
        return total

    def surrogate_derivative(self, states: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """σ' in each step, in the shape of the saved values, where kernels cannot compute it."""
        shape = saved[0].shape
        saved = tuple(value.reshape(self.sizes) for value in saved)
        constants = self.constants.unbind()
        problem = Problem(
            self.spec, saved[0], tuple(states) or self.rest, constants, saves=self.saves
        )
        z = spike_argument(problem, saved)
        return self.spec.surrogate.derivative(z).reshape(shape)


class _PlannedCall(torch.autograd.Function):
    """Outputs: spikes, `mem` or None, the number of spikes, the last spikes or None, last states.

    Saved: what the step saves; the states before it, if backward reads them; and, of a recurrent
    layer, weights, the spikes before the first step and, of several steps, the spikes.
    """

    @staticmethod
    def forward(
        ctx: Any, plan: Plan, needs_membrane: bool, x: Tensor, *tensors: Tensor
    ) -> tuple[Any, ...]:
        K = len(plan.rest)
        states = tensors[:K]
        recurrence = tensors[K : K + 2] if plan.is_recurrent else ()
        spikes, mem, last, saved, count = plan.forward.run(
            x, states, plan.constants, recurrence, needs_membrane, True
        )
        last_spikes = plan.last_spikes(spikes, recurrence[1]) if recurrence else None
        ctx.plan = plan
        # A hook may keep what it sees, so nothing is written over it.
        ctx.is_seen = torch._C._autograd._top_saved_tensors_default_hooks(False) is not None
        read = states if plan.reads_states else ()
        needs_spikes = plan.is_recurrent and not plan.is_step
        ctx.save_for_backward(*saved, *read, *recurrence, *([spikes] if needs_spikes else []))
        ctx.set_materialize_grads(False)
        return spikes, mem, count, last_spikes, *last

    @staticmethod
    def backward(
        ctx: Any,
        grad_s: Tensor | None,
        grad_mem: Tensor | None,
        _: None,
        grad_last_spikes: Tensor | None,
        *last: Tensor | None,
    ) -> Any:
        if torch.is_grad_enabled():
            raise RuntimeError(NO_SECOND_GRADIENT)
        plan: Plan = ctx.plan
        tensors = load_saved_tensors(ctx)
        S = len(plan.program.saved)
        K = len(plan.rest) if plan.reads_states else 0
        saved = tensors[:S]
        states = tensors[S : S + K]
        keeps_graph = torch._C._autograd._get_current_graph_task_keep_graph()
        backward = plan.backward(not (ctx.is_seen or keeps_graph))
        sigma = plan.surrogate_derivative(states, saved) if backward.needs_sigma else None
        if grad_last_spikes is not None:
            grad_s = plan.add_last(grad_s, grad_last_spikes, saved[0])
        arguments = (saved, states, plan.constants, grad_s, grad_mem, last, sigma)
        through_recurrence: Sequence[Tensor] = ()
        if plan.is_recurrent:
            weights, spikes_before = tensors[S + K : S + K + 2]
            recurrence = (plan.feedback(weights), spikes_before)
            with _without_autocast():
                grad_x, grad_states, grad_constants, *through_recurrence = backward.run_recurrent(
                    *arguments, recurrence, tensors[-1]
                )
        else:
            grad_x, grad_states, grad_constants = backward.run(*arguments)
        learned = plan.chain(grad_constants) if plan.chain and grad_constants is not None else ()
        return None, None, grad_x, *grad_states, *through_recurrence, *learned


def _without_autocast() -> AbstractContextManager[object]:
    """A context in which products keep their data type."""
    is_enabled = torch.is_autocast_enabled("cpu")
    return torch.autocast("cpu", enabled=False) if is_enabled else nullcontext()


# `torch.autograd.Function.apply` looks for transforms of `torch.func` before it does this. No
# planned call is in one, and the search is slow compared with one step.
_apply_planned = super(torch.autograd.Function, _PlannedCall).apply
