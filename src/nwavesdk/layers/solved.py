"""`SolvedNeurons`: neurons whose calls are solved, without a plan.

A call runs `_solve`: check the input, view it as [B, T, N] in the order of its memory (`layout`),
build a `Problem`, choose a solver, `solve`, and store the new state.

NWAVE is the SDK whose documented interface this library implements. Its `device` chooses a solver.
"""

import math
import warnings
from collections.abc import Callable, Collection, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import choice, finite_number, positive_number, shown, switch
from nwavesdk.layers.checks import check_input, check_memory, neuron_shape
from nwavesdk.layers.constants import ConstantNeurons
from nwavesdk.layers.layout import Layout, is_channels_last
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import leave_graph
from nwavesdk.layers.recurrent_delays import RecurrentDelays
from nwavesdk.layers.weight import parameter_of
from nwavesdk.solvers import (
    NOT_COMPILED,
    SOLVERS,
    PassResult,
    Problem,
    Spec,
    choose_solver,
    has_serial_kernel,
    solve,
    spec_name,
)
from nwavesdk.solvers.problem import specs_by_name
from nwavesdk.surrogate import FastSigmoid, Foreign, Surrogate, as_surrogate

__all__ = ["CALL_SETTINGS", "SolvedNeurons"]

CALL_SETTINGS = (
    "dt",
    "spike_grad",
    "detach_reset",
    "layer_topology",
    "recurrent_delays",
    "device",
    "solver",
    "compasso_spike_grad",
    "saved_dtype",
    "max_loop_gain",
    "rounds_decays",
    "_slowest_decay",
)
"""The attributes that a call reads, besides constants, weights and state, and that may change.

A plan is valid while they are unchanged. `tests/layers/test_plan.py` records which attributes a
call reads.
"""

# The surrogate of calls that ignore the user's surrogate.
FIXED_SURROGATE = FastSigmoid()


class SolvedNeurons(ConstantNeurons):
    """Settings and state of neurons, and calls in the solvers' shape; the base of `NeuronLayer`.

    `NeuronLayer` describes the arguments. Calls of a layer may have a plan, which reads this class.
    """

    # From a layer to the tuple of its settings, in one look-up.
    read_settings: ClassVar[Any] = attrgetter(*CALL_SETTINGS)
    last_solver: str | None
    # Gets the layer, the charge and the spikes [B, T, N] of each call; see `watch_calls`.
    on_call: Callable[[Any, Tensor, Tensor], None] | None = None
    recurrent_weights: nn.Parameter | None
    max_loop_gain: float | None = None
    recurrent_delays: RecurrentDelays | None

    def __init__(
        self,
        n_neurons: int | Sequence[int],
        values: Mapping[str, Any],
        *,
        learned: Collection[str],
        dt: float,
        spike_grad: Any,
        layer_topology: str = "FF",
        device: str = "cpu",
        detach_reset: bool = True,
        solver: str = "auto",
        compasso_spike_grad: str = "fixed",
        saved_dtype: str | None = None,
        recurrent_delays: object = None,
        max_loop_gain: float | None = None,
    ) -> None:
        owner = type(self).__name__
        dt = positive_number(owner, "dt", dt, "s")
        super().__init__(neuron_shape(owner, n_neurons), dt, values, learned)

        self.layer_topology = choice(owner, "layer_topology", layer_topology, ["FF", "RC"])
        self.solver = choice(owner, "solver", solver, ["auto", *SOLVERS])
        self.compasso_spike_grad = choice(
            owner, "compasso_spike_grad", compasso_spike_grad, ["fixed", "layer"]
        )
        self.saved_dtype = saved_dtype
        if saved_dtype is not None:
            choice(owner, "saved_dtype", saved_dtype, ["bfloat16"])
        self.max_loop_gain = max_loop_gain
        if max_loop_gain is not None:
            finite_number(owner, "max_loop_gain", max_loop_gain, least=0)
        self.detach_reset = switch(owner, "detach_reset", detach_reset)
        self.spike_grad: Surrogate = as_surrogate(spike_grad)

        self._set_recurrence(recurrent_delays)

        self.last_solver = None
        self._has_given_surrogate = spike_grad is not None
        # The name of the spec, which compiled code cannot compute; None before the first call.
        self._spec_name: str | None = None
        # The settings from which the spec was made.
        self._known_settings: tuple[Any, ...] = ()
        # The decay of the slowest neuron, for the choice between serial solver and comPaSSo.
        self._slowest_decay = 0.0
        self._use_device(device, used_fixed_surrogate=False)

    def _set_recurrence(self, delays: object) -> None:
        """Make the recurrent weights, and their delays, by the argument `recurrent_delays`."""
        owner = type(self).__name__
        N = math.prod(self.features)
        self.recurrent_weights = None
        if self.layer_topology == "RC":
            check_memory(owner, N, N)
            self.recurrent_weights = nn.Parameter(torch.randn(N, N) * (0.5 / math.sqrt(N)))

        self.recurrent_delays = None
        if delays is not None:
            if self.recurrent_weights is None:
                raise ValueError(
                    f"{owner}: recurrent_delays belong to recurrent weights, got "
                    f'layer_topology="{self.layer_topology}": use layer_topology="RC".'
                )
            self.recurrent_delays = RecurrentDelays(owner, delays, N, self.dt)
            self._ring_steps = self.recurrent_delays.ring_steps

    def extra_repr(self) -> str:
        size = str(self.features[0] if len(self.features) == 1 else self.features)
        texts = [size, *self._constant_texts(), f"dt={self.dt:.4g}"]
        texts += [] if self.neuron.is_readout else [f"spike_grad={self.spike_grad!r}"]
        texts += [f'layer_topology="{self.layer_topology}"'] if self.layer_topology != "FF" else []
        texts += [f'device="{self.device}"'] if self.device != "cpu" else []
        return ", ".join(texts)

    def __getstate__(self) -> dict[str, Any]:
        return super().__getstate__() | {"_known_settings": ()}

    def layout_of(self, cur: Tensor) -> Layout:
        """The order in which neurons are run: the order of the input, or channels first.

        Recurrent weights connect neurons in the order of the features, so a recurrent layer runs in
        that order.
        """
        follows_input = self.layer_topology != "RC"
        return Layout(self.features, follows_input and is_channels_last(cur, len(self.features)))

    def _sizes(self, cur: Tensor) -> tuple[int, int, int]:
        """B, T, N of an input; single steps have T = 1, and [*features] has B = 1."""
        leading = cur.shape[: cur.ndim - len(self.features)]
        B, T = (*leading, 1, 1)[:2]
        return B, T, math.prod(self.features)

    # Calls without a plan

    def _solve(
        self, cur: Tensor, needs_membrane: bool, needs_saved: bool = False
    ) -> tuple[Problem, PassResult]:
        """Run a call in the solvers' shape [B, T, N], and store the state after it."""
        check_input(type(self).__name__, cur, self.features)
        layout = self.layout_of(cur)

        # Solvers run in float32 or float64; half precision is converted.
        is_half = cur.dtype in (torch.float16, torch.bfloat16)
        x = layout.flatten(cur).reshape(self._sizes(cur))
        x = x.float() if is_half else x

        problem = self._problem(x, layout)
        solver = self._choose_solver(x)
        result = solve(problem, solver, needs_membrane, needs_saved, self._spec_name)

        self._states = tuple(layout.unflatten(state) for state in result.last)
        self._last_spikes = result.recent
        if self.on_call is not None:
            self.on_call(self, cur, result.spikes)
        return problem, result

    def _problem(self, x: Tensor, layout: Layout) -> Problem:
        """The problem of a charge [B, T, N] in the order of `layout`."""
        states, spikes = self._initial_state(x, layout)
        weights = self.effective_recurrent_weights()
        spec = self._spec()
        constants = tuple(layout.arrange(c.to(x.device)) for c in self.constants(x.dtype))
        if weights is None:
            return Problem(spec, x, states, constants)

        N = x.shape[2]
        if weights.shape != (N, N):
            raise RuntimeError(
                f"{type(self).__name__}: recurrent_weights must have the shape {[N, N]}, got "
                f"{list(weights.shape)}: assign weights of that shape."
            )

        if self.recurrent_delays is not None:
            weights = self.recurrent_delays(weights)
        return Problem(spec, x, states, constants, recurrent=weights.to(x), spikes=spikes)

    def _spec(self) -> Spec:
        surrogate = self.spike_grad if self.uses_spike_grad else FIXED_SURROGATE
        limit = self.max_loop_gain if self.layer_topology == "RC" else None
        return Spec(
            neuron=self.neuron,
            surrogate=surrogate,
            detach_reset=self.detach_reset,
            saved_dtype=self.saved_dtype,
            max_loop_gain=limit,
        )

    @property
    def uses_spike_grad(self) -> bool:
        """Whether a call uses `spike_grad`.

        False for read-outs, and if comPaSSo uses `fast_sigmoid(25)` instead.
        """
        return not (self._uses_fixed_surrogate or self.neuron.is_readout)

    @property
    def _uses_fixed_surrogate(self) -> bool:
        """Whether the gradient uses `FIXED_SURROGATE`, whatever `spike_grad` is."""
        return self.compasso_spike_grad == "fixed" and self._is_on_compasso(self.device)

    def effective_recurrent_weights(self) -> Tensor | None:
        """The recurrent weights that act, [N, N], or None."""
        weights: Tensor | None = parameter_of(self, "recurrent_weights")
        return weights

    def _choose_solver(self, x: Tensor) -> str:
        """The name of the solver for a charge [B, T, N], which `last_solver` then records."""
        is_learnable = self._has_learnable_surrogate(x)
        solver = self.solver

        # A layer on comPaSSo runs where the cost model predicts less time. All others run on the
        # serial kernel, or on the reference if there is no kernel for them.
        if solver == "auto" and self._is_on_compasso(self.device):
            B, T, N = x.shape
            solver = choose_solver(x.device.type, self.neuron, B * N, T, self._slowest_decay)
        elif solver == "auto":
            has_kernel = has_serial_kernel(x, self.layer_topology == "RC") and not is_learnable
            has_kernel = has_kernel and self.recurrent_delays is None
            solver = "serial" if has_kernel else "reference"

        if self.recurrent_delays is not None:
            self.recurrent_delays.require_reference(solver)
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

    # Preparation before a call

    def prepare(self, noise: Noise, keep_state: bool) -> None:
        super().prepare(noise, keep_state)
        self._update_call_settings()

    def prepare_in_graph(self) -> None:
        super().prepare_in_graph()
        known = None if self._spec_name is None else specs_by_name.get(self._spec_name)
        if torch.compiler.is_compiling() and known != self._spec():
            leave_graph(type(self).__name__)

    def _update_call_settings(self) -> None:
        """Store the name of the spec and, for comPaSSo, the slowest decay, before the first call.

        A call cannot compute them itself, because compiled code must not read values.
        """
        settings = (self.page, *self.read_settings(self))
        is_on_compasso = self._is_on_compasso(self.device)
        if settings == self._known_settings and not is_on_compasso:
            return

        self._spec_name = spec_name(self._spec())
        # Within `torch.utils.checkpoint`, this must save no tensors: it does not run a second time.
        with torch.no_grad():
            constants = self.constants()
        if is_on_compasso:
            self._slowest_decay = float(constants[0].max())

        # Read again, because the slowest decay is one of the settings.
        self._known_settings = (self.page, *self.read_settings(self))

    # NWAVE's choice of solver `device`, which is not torch's device

    def check_device(self, device: str) -> None:
        """Check that NWAVE's choice of solver `device` (not torch's device) suits the layer.

        Raises:
            ValueError: If it is not `"cpu"` or `"gpu"`; if comPaSSo would have to run a recurrent
                layer, or a neuron for which it is not exact.
        """
        if not isinstance(device, str) or device not in ("cpu", "gpu"):
            raise ValueError(
                f"{type(self).__name__}: device must be 'cpu' or 'gpu', got {shown(device)}: it is "
                'NWAVE\'s choice of solver; to move tensors, use .to("cuda").'
            )
        if self.solver.startswith("compasso") and self.neuron.carry is None:
            raise ValueError(
                f"{type(self).__name__}: comPaSSo is not exact for this neuron, got "
                f'solver="{self.solver}": use solver="auto".'
            )

        if self.layer_topology == "RC" and self._is_on_compasso(device):
            raise ValueError(
                f"{type(self).__name__}: comPaSSo runs feed-forward layers only, got "
                'layer_topology="RC": use device="cpu", which runs on CUDA tensors too.'
            )

    def set_device(self, device: str) -> None:
        """Set NWAVE's choice of solver `device` (not torch's device); see `to_gpu`.

        Raises:
            ValueError: See `check_device`.
        """
        self._use_device(device, used_fixed_surrogate=self._uses_fixed_surrogate)
        if self._spec_name is not None:
            self._update_call_settings()

    def _use_device(self, device: str, *, used_fixed_surrogate: bool) -> None:
        """Set the device; warn if this makes `spike_grad` ineffective."""
        self.check_device(device)
        self.device = device

        ignores_surrogate = self._has_given_surrogate and self.spike_grad != FIXED_SURROGATE
        if self._uses_fixed_surrogate and not used_fixed_surrogate and ignores_surrogate:
            path = f'solver="{self.solver}"' if self.solver != "auto" else 'device="gpu"'
            warnings.warn(
                f"{type(self).__name__}: on the comPaSSo path ({path}) the gradient uses "
                f"fast_sigmoid(25) and spike_grad={self.spike_grad!r} is not used: set "
                'compasso_spike_grad="layer", or solver="serial".',
                stacklevel=5,  # the caller of a layer, or of `to_gpu`
            )

    def _is_on_compasso(self, device: str) -> bool:
        """Whether comPaSSo solves the layer; `device` is NWAVE's choice of solver, not torch's."""
        is_chosen = device == "gpu" and self.solver == "auto" and self.neuron.carry is not None
        return is_chosen or self.solver.startswith("compasso")
