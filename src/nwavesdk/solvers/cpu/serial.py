"""The serial solver on the CPU: one compiled pass forward and one backward.

`SerialPasses` are the two passes of a call. One step of a kernel takes about a microsecond, and
choosing the kernel takes longer. So layers, which may be called step by step, keep the passes of
their last calls (`nwavesdk.layers.plan`). `forward_cpu` and `backward_cpu` make new passes for one
problem.

Design requirements: passes are never changed, so calls may share them, on any thread. They hold
values, and no graph.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.solvers.cpu.passes import (
    BackwardPass,
    ForwardPass,
    cached_backward_pass,
    cached_forward_pass,
)
from nwavesdk.solvers.feedback import bounded_feedback
from nwavesdk.solvers.passes import Chain, sum_over_batch
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    ProblemGradient,
    ResultGradient,
    Spec,
    delay_one_step,
    program_of_spec,
    spike_argument,
)
from nwavesdk.solvers.sparse.product import weight_gradient

__all__ = ["SerialPasses", "backward_cpu", "forward_cpu"]


class SerialPasses:
    """The passes of one size, with constants of fixed value.

    Args:
        spec: Neuron, surrogate and options, for which the kernels are compiled.
        saves: Purpose of the saved values, see `Problem`.
        constants: Constants of the neuron, each [N]; their values are copied.
        sizes: B, T, N.
        chain: See `nwavesdk.solvers.passes`, also for the attributes.
        dtype: Data type of charge, states and constants.
        is_recurrent: Whether the problem is recurrent.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> from nwavesdk.surrogate import atan
        >>> spec = Spec(neuron=LIF_PAGES["subtraction"].neuron, surrogate=atan(alpha=2.0))
        >>> constants = torch.full((1,), 0.5), torch.ones(1)
        >>> passes = SerialPasses(
        ...     spec,
        ...     "gradient",
        ...     constants,
        ...     sizes=(1, 4, 1),
        ...     chain=None,
        ...     dtype=torch.float32,
        ...     is_recurrent=False,
        ... )
        >>> x = torch.full((1, 4, 1), 0.6)
        >>> passes.forward(x, passes.initial_states, (), False, False).spikes.flatten()
        tensor([0., 0., 1., 0.])
    """

    def __init__(
        self,
        spec: Spec,
        saves: str,
        constants: Sequence[Tensor],
        *,
        sizes: tuple[int, int, int],
        chain: Chain | None,
        dtype: torch.dtype,
        is_recurrent: bool,
    ) -> None:
        self.spec = spec
        self.saves = saves
        self.sizes = sizes
        self.is_recurrent = is_recurrent
        self.dtype = dtype
        self.chain = chain
        self.is_readout = spec.neuron.is_readout
        self._is_step = sizes[1] == 1

        self._program = program_of_spec(spec, saves)
        self._adjoint = self._program.adjoint(chain is not None)
        self.n_states = len(spec.neuron.states)
        self.n_saved = len(self._program.saved)
        # The surrogate may need z, whose computation may recall states that the adjoint does not.
        query = self._program.spike_argument if self._adjoint.uses_surrogate else self._adjoint
        self.reads_states = bool(self._adjoint.recalled or query.recalled)

        # Backward over a single step of a recurrent layer is two products, which need no spikes.
        self.reads_spikes = is_recurrent and not self._is_step

        values = [constant.detach() for constant in constants]
        self.constants = (
            torch.stack(values) if values else torch.empty(0, sizes[2], dtype=dtype, device="cpu")
        )

        self._compiled: dict[tuple[bool, int], BackwardPass] = {}
        # A copy of the weights of the last call, and their `bounded_feedback`.
        self._last_feedback: tuple[Tensor, Tensor] | None = None

    @cached_property
    def initial_states(self) -> tuple[Tensor, ...]:
        """The initial values of the page as states, each [B, N]."""
        B, _, N = self.sizes
        return tuple(
            torch.full((B, N), value, dtype=self.dtype, device="cpu")
            for value in self.spec.neuron.step.initial
        )

    @cached_property
    def silence(self) -> Tensor:
        """No spikes before the first step, [B, N]."""
        B, _, N = self.sizes
        return torch.zeros(B, N, dtype=self.dtype, device="cpu")

    @cached_property
    def _forward(self) -> ForwardPass:
        # The kernel is compiled here, as not every use of the passes runs forward.
        return cached_forward_pass(
            self._program.step,
            self.dtype,
            sizes=self.sizes,
            is_recurrent=self.is_recurrent,
            threads=torch.get_num_threads(),
        )

    def problem(
        self, x: Tensor, states: Sequence[Tensor], recurrence: Sequence[Tensor] = ()
    ) -> Problem:
        """The problem of a call; without states, it starts from the initial states."""
        weights, spikes = recurrence or (None, None)
        return Problem(
            self.spec,
            x,
            tuple(states) or self.initial_states,
            self.constants.unbind(),
            recurrent=weights,
            spikes=spikes,
            saves=self.saves,
        )

    def forward(
        self,
        x: Tensor,
        states: Sequence[Tensor],
        recurrence: Sequence[Tensor],
        needs_membrane: bool,
        needs_saved: bool,
    ) -> PassResult:
        """Run without a graph; see `ForwardPass.run`."""
        return self._forward.run(x, states, self.constants, recurrence, needs_membrane, needs_saved)

    def backward(
        self,
        saved: Sequence[Tensor],
        states: Sequence[Tensor],
        recurrence: Sequence[Tensor],
        spikes: Tensor,
        grads: ResultGradient,
        may_overwrite: bool,
    ) -> ProblemGradient:
        """The adjoint of `forward`; see `ProblemPasses.backward`."""
        key = may_overwrite, torch.get_num_threads()
        adjoint = self._compiled.get(key) or self._compile_backward(*key)
        sigma = self._surrogate_derivative(states, saved) if adjoint.needs_sigma else None
        if not recurrence:
            return adjoint.run(saved, states, self.constants, grads, sigma)

        # A gradient reaches the weights, and through `feedback` the spikes of the step before.
        weights, spikes_before = recurrence
        feedback = self._feedback(weights)
        N = self.sizes[2]
        if self._is_step:
            gradient = adjoint.run(saved, states, self.constants, grads, sigma)
            grad = gradient.x.view(-1, N)
            gradient.recurrent = spikes_before.t() @ grad
            gradient.spikes = grad @ feedback.t()
            return gradient

        grad_before = torch.empty_like(spikes_before, memory_format=torch.contiguous_format)
        arrays = feedback.t().contiguous(), grad_before
        gradient = adjoint.run(saved, states, self.constants, grads, sigma, arrays)

        (before,) = delay_one_step([spikes_before], [spikes.reshape(self.sizes)])
        gradient.recurrent = weight_gradient(before.reshape(-1, N), gradient.x.reshape(-1, N))
        gradient.spikes = grad_before
        return gradient

    def _compile_backward(self, may_overwrite: bool, threads: int) -> BackwardPass:
        """The adjoint pass, which is compiled when the first gradient is needed."""
        compiled = cached_backward_pass(
            self._adjoint,
            self.dtype,
            self.spec.surrogate,
            sizes=self.sizes,
            is_recurrent=self.is_recurrent,
            may_overwrite=may_overwrite,
            threads=threads,
        )
        self._compiled[may_overwrite, threads] = compiled
        return compiled

    def _feedback(self, weights: Tensor) -> Tensor:
        """See `bounded_feedback`; steps that share their weights compute it once."""
        last = self._last_feedback
        if last is not None and torch.equal(last[0], weights):
            return last[1]
        feedback = bounded_feedback(replace(self.problem(weights, ()), recurrent=weights))
        # With several steps per call, weights change from call to call.
        if self._is_step and feedback is not weights:
            self._last_feedback = (weights.detach().clone(), feedback)
        return feedback

    def _surrogate_derivative(self, states: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        """σ' in each step, in the shape of the saved values, where kernels cannot compute it."""
        values = tuple(value.reshape(self.sizes) for value in saved)
        z = spike_argument(self.problem(values[0], states), values)
        return self.spec.surrogate.derivative(z).reshape(saved[0].shape)


def forward_cpu(
    problem: Problem, needs_membrane: bool = True, needs_saved: bool = True
) -> PassResult:
    """Run the problem, on the CPU, without a graph.

    Args:
        problem: The problem.
        needs_membrane: Whether to write `PassResult.mem`.
        needs_saved: Whether to write `PassResult.saved`.
    """
    return _passes_of(problem, problem.x, learns_constants=False).forward(
        problem.x, problem.states, problem.recurrence, needs_membrane, needs_saved
    )


def backward_cpu(
    problem: Problem,
    result: PassResult,
    grads: ResultGradient,
    learns_constants: bool,
    may_overwrite: bool = False,
) -> ProblemGradient:
    """The adjoint of `forward_cpu`; see `backward_serial`."""
    passes = _passes_of(problem, result.saved[0], learns_constants)
    return passes.backward(
        result.saved, problem.states, problem.recurrence, result.spikes, grads, may_overwrite
    )


def _passes_of(problem: Problem, like: Tensor, learns_constants: bool) -> SerialPasses:
    """New passes for a problem; `like` has the shape and the dtype of its charge."""
    B, T, N = like.shape
    return SerialPasses(
        problem.spec,
        problem.saves,
        problem.constants,
        sizes=(B, T, N),
        chain=sum_over_batch if learns_constants else None,
        dtype=like.dtype,
        is_recurrent=problem.recurrent is not None,
    )
