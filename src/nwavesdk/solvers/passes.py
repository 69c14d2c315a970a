"""Passes: a forward and a backward pass, with all that is fixed between two calls.

The autograd function in `sweep` runs them. There are two classes. The plans of neuron layers keep
`cpu.serial.SerialPasses` from call to call, and every other call makes `ProblemPasses`. Both have
the methods `problem`, `forward` and `backward`, and these attributes:

- spec: neuron, surrogate and options of backward;
- n_states, n_saved: number of states, and of values that a step saves;
- is_recurrent: whether the problem is recurrent;
- reads_states, reads_spikes: whether backward reads the states before the first step, and spikes;
- chain: the function from the gradients of the constants [C, B, N] to the gradients of the learned
  tensors; if no constant learns, it is None, and backward computes no gradients of constants.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from nwavesdk.solvers.problem import PassResult, Problem, ProblemGradient, ResultGradient

__all__ = ["Backward", "Chain", "Forward", "ProblemPasses", "sum_over_batch"]

Forward = Callable[[Problem, bool, bool], PassResult]
Backward = Callable[[Problem, PassResult, ResultGradient, bool, bool], ProblemGradient]
Chain = Callable[[Tensor], Sequence[Tensor]]


class ProblemPasses:
    """The passes of a solver that takes a `Problem`.

    Args:
        problem: The problem. Its charge, states and recurrence are not stored.
        forward: The forward pass: `(problem, needs_membrane, needs_saved) -> PassResult`.
        backward: The adjoint, see `backward_serial`.
        learns_constants: Whether the constants need gradients.
    """

    reads_states = True

    def __init__(
        self, problem: Problem, forward: Forward, backward: Backward, *, learns_constants: bool
    ) -> None:
        self.spec = problem.spec
        self.saves = problem.saves

        # Copies: parameters may change in place before backward.
        self.constants = tuple(constant.detach().clone() for constant in problem.constants)

        self.n_states = len(problem.states)
        self.n_saved = len(problem.program.saved)
        self.is_recurrent = problem.recurrent is not None
        self.reads_spikes = self.is_recurrent
        self.chain: Chain | None = sum_over_batch if learns_constants else None

        self._forward = forward
        self._backward = backward

    def problem(
        self, x: Tensor, states: Sequence[Tensor], recurrence: Sequence[Tensor] = ()
    ) -> Problem:
        """The problem of a call."""
        weights, spikes = recurrence or (None, None)
        return Problem(
            self.spec,
            x,
            tuple(states),
            self.constants,
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
        """Run without a graph; for the arguments see `sweep.run_passes`."""
        return self._forward(self.problem(x, states, recurrence), needs_membrane, needs_saved)

    def backward(
        self,
        saved: Sequence[Tensor],
        states: Sequence[Tensor],
        recurrence: Sequence[Tensor],
        spikes: Tensor,
        grads: ResultGradient,
        may_overwrite: bool,
    ) -> ProblemGradient:
        """The adjoint of `forward`.

        Args:
            saved: `PassResult.saved`.
            states: The states before the first step, if `reads_states`.
            recurrence: The weights and the spikes before the first step, if `is_recurrent`.
            spikes: The spikes of the forward pass, if `reads_spikes`.
            grads: Gradients of the result.
            may_overwrite: Whether ∂L/∂x may be written over `saved[0]`.
        """
        # Of the charge, only device and dtype are read.
        problem = self.problem(saved[0], states, recurrence)
        result = PassResult(spikes, None, (), tuple(saved))

        learns_constants = self.chain is not None
        return self._backward(problem, result, grads, learns_constants, may_overwrite)


def sum_over_batch(grad_constants: Tensor) -> Sequence[Tensor]:
    """The gradients of constants, each [N], as sums over the batch of [C, B, N]."""
    return grad_constants.sum(1).unbind()
