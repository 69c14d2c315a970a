"""What a pass did: `Record` of one neuron layer, `Recording` of a whole net.

A record gives spikes and membranes, and the gradient of the call under any surrogate.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from nwavesdk.solvers import Problem, charge_gradient, membrane_before_reset
from nwavesdk.surrogate import Surrogate

__all__ = ["Record", "Recording"]


@dataclass(frozen=True, eq=False)
class Record:
    """What a neuron layer did in one call: [B, T, *features], or [B, *features] after one step.

    Attributes:
        spk: Spikes, with gradient.
        mem: Membrane after reset, with gradient.
        cur: Input charge, with gradient; None unless requested.
    """

    spk: Tensor
    mem: Tensor
    cur: Tensor | None
    _problem: Problem
    _saved: tuple[Tensor, ...]

    @cached_property
    def u(self) -> Tensor:
        """Membrane before reset, computed at the first access; without gradient."""
        u = membrane_before_reset(self._problem, self._saved).detach()
        return u.to(self.mem.dtype).reshape(self.mem.shape)

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
        """The gradient of the input charge, under the layer's surrogate or another one.

        Spikes do not depend on the surrogate, so one pass is enough for many surrogates. Each call
        is one backward recurrence over the saved tensors, without a graph.

        Args:
            grad_spk: ∂L/∂spk, shaped like `spk`; None for zero.
            grad_mem: ∂L/∂mem, shaped like `mem`; None for zero.
            surrogate: The surrogate whose derivative is used; None for the layer's own.

        Returns:
            ∂L/∂cur, shaped like `spk`, and ∂L/∂recurrent_weights [N, N], or None without
            recurrence. They equal those of `backward()` with that surrogate in the layer.
        """
        problem = self._problem
        w = self._saved[0]
        if surrogate is not None:
            problem = replace(problem, spec=replace(problem.spec, surrogate=surrogate))
        spk, *grads = (
            None if t is None else t.detach().to(w.dtype).reshape(w.shape)
            for t in (self.spk, grad_spk, grad_mem)
        )
        assert spk is not None
        grad_x, grad_recurrent = charge_gradient(problem, spk, self._saved, *grads)
        return grad_x.to(self.spk.dtype).reshape(self.spk.shape), grad_recurrent


@dataclass(frozen=True, eq=False)
class Recording:
    """One pass of a net.

    Attributes:
        spk: What the net returns as spikes.
        mem: What the net returns as membrane.
        layers: Record of each neuron layer, by its name in the net.
    """

    spk: Tensor
    mem: Tensor
    layers: dict[str, Record]
