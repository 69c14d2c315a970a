"""What a neuron layer did in one call: spikes, membranes, and the adjoint of it under any surrogate."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.solvers import Problem, charge_gradient, membrane_before_reset
from nwavesdk.surrogate import Surrogate

__all__ = ["Record"]


@dataclass(frozen=True, eq=False)
class Record:
    """What a layer did in one call, all [B, T, *features], or [B, *features] after a single step.

    Attributes:
        spk: spikes, with gradient.
        mem: membrane after reset, with gradient.
        cur: input charge, with gradient; None where it was not asked for.
    """

    spk: Tensor
    mem: Tensor
    cur: Tensor | None
    _problem: Problem
    _kept: tuple[Tensor, ...]

    @cached_property
    def u(self) -> Tensor:
        """Membrane before reset, computed when asked for; a measurement, without gradient."""
        u = membrane_before_reset(self._problem, self._kept)
        return u.detach().to(self.mem.dtype).reshape(self.mem.shape)

    @property
    def surrogate(self) -> Surrogate:
        """The surrogate whose gradient the layer had in this call."""
        return self._problem.spec.surrogate

    @torch.no_grad()
    def charge_gradient(
        self,
        grad_spk: Tensor | None,
        grad_mem: Tensor | None = None,
        surrogate: Surrogate | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The adjoint of the call, under the layer's surrogate or another: spikes do not depend on it.

        It is one recurrence back through what the call has left, without a graph and as often as wanted.

        Args:
            grad_spk: ∂L/∂spk, shaped as `spk`; None where it is zero.
            grad_mem: ∂L/∂mem, shaped as `mem`; None where it is zero.
            surrogate: whose derivative counts; None: the layer's.

        Returns:
            ∂L/∂cur, shaped as `spk`; and ∂L/∂recurrent_weights [N, N], or None without recurrence. They are those of
            `backward()` with that surrogate in the layer.
        """
        problem, w = self._problem, self._kept[0]
        if surrogate is not None:
            problem = replace(problem, spec=replace(problem.spec, surrogate=surrogate))
        spk, *grads = (
            None if t is None else t.detach().to(w.dtype).reshape(w.shape)
            for t in (self.spk, grad_spk, grad_mem)
        )
        assert spk is not None
        found, recurrent = charge_gradient(problem, spk, self._kept, *grads)
        return found.to(self.spk.dtype).reshape(self.spk.shape), recurrent
