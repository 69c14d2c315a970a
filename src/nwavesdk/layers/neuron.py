"""`NeuronLayer`, the base of all neuron layers: constants, shapes of tensors and choice of solver.

A call goes: check the input, reshape it to [B, T, N], build a `Problem`, choose a solver, `solve`,
store the new state, reshape the result to the user's shape.
"""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Self

import torch
from torch import Tensor, nn

from nwavesdk.chip import Noise
from nwavesdk.dynamics import Neuron
from nwavesdk.internal.checks import positive_number, switch
from nwavesdk.layers.checks import LayerOptions, check_input, check_memory, per_neuron_tensor
from nwavesdk.layers.prepare import DIVERGED, StatefulNeurons
from nwavesdk.layers.record import Record
from nwavesdk.solvers import (
    NOT_COMPILED,
    Problem,
    Solution,
    Spec,
    choose_solver,
    has_serial_kernel,
    solve,
    spec_name,
)
from nwavesdk.surrogate import FastSigmoid, Foreign, Surrogate, as_surrogate

__all__ = ["NeuronLayer"]

# What a layer stores of each constant.
_STORED_AS: dict[str, Callable[[Tensor], Tensor]] = {
    "log_taus": torch.log,
    "thresholds": torch.clone,
}


def _are_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal, if the answer costs less than to compute with both."""
    is_traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return a.is_cpu and not is_traced and a.dtype == b.dtype and torch.equal(a, b)


class NeuronLayer(StatefulNeurons):
    """Base of all neuron layers: `spk, mem = layer(cur)`; subclasses define neuron and constants.

    Args:
        neuron: The neuron's equation.
        features: Shape of the neurons.
        taus: Membrane time constants [s], one number or one per neuron.
        dt: Length of a step [s].
        spike_grad: The surrogate, or None for `fast_sigmoid(25)`.
        options: How the layer is connected, solved and differentiated.
        learn_taus: Whether time constants are trained.

    Attributes:
        last_solver: Name of the solver that ran the last call, or None before the first call.

    Raises:
        ValueError: If an argument is out of its range.
    """

    log_taus: Tensor
    thresholds: Tensor

    def __init__(
        self,
        neuron: Neuron,
        features: tuple[int, ...],
        taus: float | Sequence[float] | Tensor,
        dt: float,
        spike_grad: Any,
        options: LayerOptions,
        learn_taus: bool = False,
    ) -> None:
        super().__init__(neuron, features)
        owner = type(self).__name__
        self.dt = positive_number(owner, "dt", dt, "s")
        options.check(owner)
        self.layer_topology = options.layer_topology
        self.device = options.device
        self.solver = options.solver
        self.compasso_spike_grad = options.compasso_spike_grad
        self.saved_dtype = options.saved_dtype
        self.detach_reset = switch(owner, "detach_reset", options.detach_reset)
        self.spike_grad: Surrogate = as_surrogate(spike_grad)
        # What was given in float64, and as it was stored, of each constant by its name.
        self._given: dict[str, tuple[Tensor, Tensor]] = {}
        given = per_neuron_tensor(owner, "taus", taus, features, "s")
        is_learned = switch(owner, "learn_taus", learn_taus)
        self._register_constant("log_taus", given, is_learned)
        N = math.prod(features)
        self.recurrent_weights: nn.Parameter | None = None
        if self.layer_topology == "RC":
            check_memory(owner, N, N)
            self.recurrent_weights = nn.Parameter(torch.randn(N, N) * (0.5 / math.sqrt(N)))
        self.last_solver: str | None = None
        self._has_given_surrogate = spike_grad is not None
        self._spec_name = ""
        self._slowest_decay = 0.0
        self._uses_fixed_surrogate = False
        self.set_device(self.device)

    def _register_constant(
        self, name: str, given: Tensor, is_learned: bool, persistent: bool = True
    ) -> None:
        """Register a constant under `name`; learned or not, `state_dict` has the same keys.

        It is stored in float32, also in a net of float64, so that a stored net does not depend on
        the default dtype. Only a learned constant of float64 can have more digits.
        """
        is_wide = is_learned and torch.get_default_dtype() == torch.float64
        stored = _STORED_AS[name](given if is_wide else given.float())
        self._given[name] = (given, stored.clone())
        if is_learned:
            setattr(self, name, nn.Parameter(stored))
        else:
            self.register_buffer(name, stored, persistent=persistent)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """For `.to()`, `.double()` and the like: what was given stays in float64."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not type it
        for name, (given, before) in self._given.items():
            stored = getattr(self, name)
            device = given.device if stored.is_meta else stored.device
            as_stored = before.to(device, stored.dtype)
            given = given.to(device)
            is_widened = stored.dtype == torch.float64 != before.dtype
            if is_widened and stored.requires_grad and not stored.is_meta:
                # `_in_float64` leaves learned constants alone: they get their digits here.
                exact = _STORED_AS[name](given)
                stored.data = torch.where(stored == as_stored, exact, stored.data)
                as_stored = exact
            self._given[name] = (given, as_stored)
        return self

    def _in_float64(self, name: str, read: Callable[[Tensor], Tensor]) -> Tensor:
        """A constant: what was given where it is still stored as then, `read(stored)` elsewhere."""
        stored: Tensor = getattr(self, name)
        given, as_stored = self._given[name]
        if stored.requires_grad or stored.device != as_stored.device:
            return read(stored.double())
        if _are_equal(stored, as_stored):
            return given
        return torch.where(stored == as_stored, given, read(stored.double()))

    def check_device(self, device: str) -> None:
        """Check that NWAVE's choice of solver `device` (not torch's device) suits the layer.

        Raises:
            ValueError: If the layer is recurrent and `device` is `"gpu"`.
        """
        if self.layer_topology == "RC" and self._is_on_compasso(device):
            raise ValueError(
                f"{type(self).__name__}: comPaSSo runs feed-forward layers only, got "
                'layer_topology="RC": use device="cpu", which runs on CUDA tensors too.'
            )

    def set_device(self, device: str) -> None:
        """Set NWAVE's choice of solver `device` (not torch's device); see `to_gpu`.

        Raises:
            ValueError: If the layer is recurrent and `device` is `"gpu"`.
        """
        self.check_device(device)
        self.device = device
        was_fixed = self._uses_fixed_surrogate
        self._uses_fixed_surrogate = (
            self._is_on_compasso(device) and self.compasso_spike_grad == "fixed"
        )
        ignores_surrogate = self._has_given_surrogate and self.spike_grad != FastSigmoid()
        if self._uses_fixed_surrogate and not was_fixed and ignores_surrogate:
            path = f'solver="{self.solver}"' if self.solver != "auto" else 'device="gpu"'
            warnings.warn(
                f"{type(self).__name__}: on the comPaSSo path ({path}) the gradient is that of "
                f"fast_sigmoid(25) and spike_grad={self.spike_grad!r} is not used: set "
                'compasso_spike_grad="layer", or solver="serial".',
                stacklevel=4,
            )
        if self._is_prepared:
            self._update_call_settings()

    def _update_call_settings(self) -> None:
        """Store what a call needs to know of surrogate, device and constants.

        A call cannot compute this itself, because compiled code must not read values.
        """
        self._spec_name = spec_name(self._spec())
        if self.device == "gpu":
            self._slowest_decay = float(self.constants()[0].max())

    def _is_on_compasso(self, device: str) -> bool:
        """Whether comPaSSo solves the layer; `device` is NWAVE's choice of solver, not torch's."""
        return self.solver.startswith("compasso") or (device == "gpu" and self.solver == "auto")

    @property
    def taus(self) -> Tensor:
        """Membrane time constants [s], of shape [] or `features`, in the dtype of the layer."""
        if self.log_taus.dtype == torch.float64:
            return self._in_float64("log_taus", torch.exp).clone()
        return self.log_taus.exp()

    def effective_constants(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """Time constants [s] in float64 and thresholds, both after mismatch.

        Args:
            dtype: That of the call. In float64, constants are what was given, except where they
                were learned or loaded; in narrower dtypes, they are what is stored.
        """
        if dtype == torch.float64:
            thresholds = self._in_float64("thresholds", torch.Tensor.double)
            return self._in_float64("log_taus", torch.exp), thresholds
        return self.log_taus.double().exp(), self.thresholds

    def effective_recurrent_weights(self) -> Tensor | None:
        """The recurrent weights that act, [N, N], or None."""
        return self.recurrent_weights

    def constants(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """`decay` = exp(-dt/tau) and `threshold`, each [N], in `dtype`."""
        return self._decay_and_threshold(*self.effective_constants(dtype), dtype)

    def _decay_and_threshold(
        self, taus: Tensor, thresholds: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """The only place where a time constant becomes a decay."""
        N = math.prod(self.features)
        decay = (-self.dt / taus).exp().to(dtype)
        threshold = thresholds.to(dtype)
        return (
            decay.reshape(N) if decay.ndim else decay.expand(N),
            threshold.reshape(N) if threshold.ndim else threshold.expand(N),
        )

    def check_parameters(self) -> None:
        owner = type(self).__name__
        lowest = 1.0
        for name, value in (("taus", self.log_taus), ("thresholds", self.thresholds)):
            lowest, highest = (bound.item() for bound in torch.aminmax(value.detach()))
            if not (math.isfinite(lowest) and math.isfinite(highest)):
                raise RuntimeError(f"{owner}: {name} are not finite: {DIVERGED}")
        if lowest <= 0:
            raise RuntimeError(f"{owner}: thresholds must stay above 0, got {lowest}: {DIVERGED}")

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        super().prepare(noise, keep_state)
        self._update_call_settings()

    def forward(self, cur: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and membrane after reset; see the class for shapes and errors."""
        _, solution = self._solve(cur, needs_membrane=True, needs_saved=False)
        return self._spikes_of(solution, cur), self._to_user_shape(solution.mem, cur)

    def spikes(self, cur: Tensor) -> Tensor:
        """The spikes of a call, without computing the membrane after reset."""
        _, solution = self._solve(cur, needs_membrane=False, needs_saved=False)
        return self._spikes_of(solution, cur)

    def record(self, cur: Tensor, charge: bool = False) -> Record:
        """Run a call and record it, with the membrane before reset.

        Args:
            cur: Input charge; see the class.
            charge: Whether the record holds the input charge.

        Raises:
            TypeError: If the input is not floating.
            ValueError: If the input has another width.
            RuntimeError: If `prepare_net` is missing, or the batch size changed without it.
        """
        problem, solution = self._solve(cur, needs_membrane=True, needs_saved=True)
        # Copies, because u is computed later and must not change when the layer learns.
        recurrent = None if problem.recurrent is None else problem.recurrent.detach().clone()
        problem = replace(
            problem,
            x=problem.x.detach()[:0],
            states=tuple(state.detach() for state in problem.states),
            constants=tuple(constant.detach().clone() for constant in problem.constants),
            recurrent=recurrent,
        )
        spk = self._spikes_of(solution, cur)
        mem = self._to_user_shape(solution.mem, cur)
        return Record(spk, mem, cur if charge else None, problem, solution.saved)

    def _solve(
        self, cur: Tensor, needs_membrane: bool, needs_saved: bool
    ) -> tuple[Problem, Solution]:
        """Run a call in the solvers' shape [B, T, N], and store the state after it."""
        check_input(type(self).__name__, cur, self.features)
        B = self._user_shape(cur)[0]
        T = cur.shape[1] if cur.ndim == len(self.features) + 2 else 1
        is_half = cur.dtype in (torch.float16, torch.bfloat16)
        x = cur.reshape(B, T, math.prod(self.features))
        x = x.float() if is_half else x
        problem = self._problem(x)
        solver = self._choose_solver(x)
        solution = solve(problem, solver, needs_membrane, needs_saved, self._spec_name)
        self._states = solution.last
        if problem.recurrent is not None:
            self._last_spikes = solution.spikes[:, -1].clone() if T else problem.spikes
        return problem, solution

    def _user_shape(self, cur: Tensor) -> tuple[int, ...]:
        return (1, *cur.shape) if cur.ndim == len(self.features) else tuple(cur.shape)

    def _to_user_shape(self, y: Tensor | None, cur: Tensor) -> Tensor:
        assert y is not None
        return y.to(cur.dtype).reshape(self._user_shape(cur))

    def _spikes_of(self, solution: Solution, cur: Tensor) -> Tensor:
        """The spikes in the user's shape; a sparse product that follows reads their number."""
        spk = self._to_user_shape(solution.spikes, cur)
        if isinstance(solution.spike_count, int):
            spk.nonzeros = solution.spike_count  # type: ignore[attr-defined]  # tensors take attributes, their types do not say so
        return spk

    @property
    def uses_spike_grad(self) -> bool:
        """Whether a call uses `spike_grad`; False if comPaSSo uses `fast_sigmoid(25)` instead."""
        return not self._uses_fixed_surrogate

    def _spec(self) -> Spec:
        surrogate = self.spike_grad if self.uses_spike_grad else FastSigmoid()
        return Spec(self.neuron, surrogate, self.detach_reset, self.saved_dtype)

    def _problem(self, x: Tensor) -> Problem:
        states, spikes = self._initial_state(x)
        weights = self.effective_recurrent_weights()
        spec = self._spec()
        constants = tuple(constant.to(x.device) for constant in self.constants(x.dtype))
        if weights is None:
            return Problem(spec, x, states, constants)
        return Problem(spec, x, states, constants, weights.to(x), spikes)

    def _choose_solver(self, x: Tensor) -> str:
        is_learnable = self._has_learnable_surrogate(x)
        solver = self.solver
        if solver == "auto" and self.device == "gpu":
            B, T, N = x.shape
            solver = choose_solver(x.device.type, self.neuron.name, B * N, T, self._slowest_decay)
        elif solver == "auto":
            has_kernel = has_serial_kernel(x, self.layer_topology == "RC") and not is_learnable
            solver = "serial" if has_kernel else "reference"
        if is_learnable and solver != "reference":
            raise RuntimeError(
                f"{type(self).__name__}: spike_grad has parameters to train, which only the "
                f"reference solver can do, got solver {solver!r}: set "
                'solver="reference", or freeze them with requires_grad_(False).'
            )
        self.last_solver = solver
        return solver

    def _has_learnable_surrogate(self, x: Tensor) -> bool:
        """Whether gradients are wanted for parameters inside `spike_grad`."""
        surrogate = self.spike_grad
        is_used = torch.is_grad_enabled() and self.uses_spike_grad
        if not isinstance(surrogate, Foreign) or not is_used:
            return False
        if torch.compiler.is_compiling():
            raise RuntimeError(NOT_COMPILED)
        return surrogate.learnable(x.new_zeros(1, x.shape[2]))

    def extra_repr(self) -> str:
        size = str(self.features[0] if len(self.features) == 1 else self.features)
        taus = self.taus.detach()
        text = f"{taus.min().item():.4g}"
        text += f"…{taus.max().item():.4g}" if taus.ndim else ""
        extra = f', layer_topology="{self.layer_topology}"' if self.layer_topology != "FF" else ""
        extra += f', device="{self.device}"' if self.device != "cpu" else ""
        return f"{size}, taus={text}, dt={self.dt:.4g}, spike_grad={self.spike_grad!r}{extra}"
