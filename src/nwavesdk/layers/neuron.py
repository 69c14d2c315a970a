"""What neuron layers share: constants, state, the door between user shapes and solver shapes, the choice of solver."""

import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import Noise
from nwavesdk.dynamics import Neuron
from nwavesdk.internal.checks import choice, positive_number
from nwavesdk.layers.checks import checked_input, per_neuron
from nwavesdk.layers.prepare import DIVERGED, Prepared
from nwavesdk.layers.record import Record
from nwavesdk.solvers import (
    NOT_COMPILED,
    SOLVERS,
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


def _trainable(v: Tensor) -> Tensor:
    """`v`, copied where inference mode has left it unfit for training."""
    if torch.compiler.is_compiling():
        return v
    return v.clone() if v.is_inference() and not torch.is_inference_mode_enabled() else v


class NeuronLayer(Prepared):
    """Base of all neuron layers: `spk, mem = layer(cur)`; subclasses choose the neuron and its constants.

    Attributes:
        last_solver: which solver ran the last call, or None before the first.
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
        *,
        learn_taus: bool = False,
        layer_topology: str,
        device: str,
        detach_reset: bool,
        solver: str,
        compasso_spike_grad: str,
        saved_dtype: str | None,
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.neuron, self.features = neuron, features
        self.dt = positive_number(owner, "dt", dt, "s")
        self.layer_topology = choice(owner, "layer_topology", layer_topology, ["FF", "RC"])
        self.device = choice(owner, "device", device, ["cpu", "gpu"])
        self.solver = choice(owner, "solver", solver, ["auto", *SOLVERS])
        self.compasso_spike_grad = choice(
            owner, "compasso_spike_grad", compasso_spike_grad, ["fixed", "layer"]
        )
        if saved_dtype not in (None, "bfloat16"):
            raise ValueError(
                f'{owner}: saved_dtype must be None or "bfloat16", got {saved_dtype!r}.'
            )
        self.saved_dtype = saved_dtype
        self.detach_reset = bool(detach_reset)
        self.spike_grad: Surrogate = as_surrogate(spike_grad)
        self._keep("log_taus", per_neuron(owner, "taus", taus, features, "s").log(), learn_taus)
        N = math.prod(features)
        self.recurrent_weights: nn.Parameter | None = None
        if layer_topology == "RC":
            self.recurrent_weights = nn.Parameter(torch.randn(N, N) * (0.5 / math.sqrt(N)))
        self.last_solver: str | None = None
        self._given = spike_grad is not None
        self._armed = False
        self._spec_name = ""
        self._slowest = 0.0
        self._fixed_surrogate = False
        self.set_device(self.device)
        self._states: tuple[Tensor, ...] | None = None
        self._fired: Tensor | None = None

    def _keep(self, name: str, value: Tensor, learn: bool) -> None:
        """Register a constant under `name`, trained or not: the keys of `state_dict` do not depend on it."""
        if learn:
            setattr(self, name, nn.Parameter(value))
        else:
            self.register_buffer(name, value)

    def check_device(self, device: str) -> None:
        """Raise a ValueError when the layer cannot be solved with `device`; changes nothing."""
        if self.layer_topology == "RC" and self._on_compasso(device):
            raise ValueError(
                f'{type(self).__name__}: comPaSSo runs feed-forward layers only, got layer_topology="RC": use '
                'device="cpu", which runs on CUDA tensors too.'
            )

    def set_device(self, device: str) -> None:
        """Be solved with `device` from now on; see `to_gpu`.

        Raises:
            ValueError: the layer is recurrent and `device` is `"gpu"`.
        """
        self.check_device(device)
        self.device, told = device, self._fixed_surrogate
        self._fixed_surrogate = self._on_compasso(device) and self.compasso_spike_grad == "fixed"
        if self._fixed_surrogate and not told and self._given and self.spike_grad != FastSigmoid():
            path = f'solver="{self.solver}"' if self.solver != "auto" else 'device="gpu"'
            warnings.warn(
                f"{type(self).__name__}: on the comPaSSo path ({path}) the gradient is that of fast_sigmoid(25) and "
                f'spike_grad={self.spike_grad!r} is not used: set compasso_spike_grad="layer", or solver="serial".',
                stacklevel=4,
            )
        if self._armed:
            self._get_ready()

    def _get_ready(self) -> None:
        """Get ready what a call needs, in compiled code too, of surrogate, device and constants."""
        self._spec_name = spec_name(self._spec())
        if self.device == "gpu":
            self._slowest = float(self.constants()[0].max())

    def _on_compasso(self, device: str) -> bool:
        """Whether the layer counts as solved by comPaSSo, whichever solver the model then picks."""
        return self.solver.startswith("compasso") or (device == "gpu" and self.solver == "auto")

    # ---- constants ----------------------------------------------------------------------------------------------

    @property
    def taus(self) -> Tensor:
        """Membrane time constants [s], of shape [] or `features`."""
        return self.log_taus.exp()

    def effective_constants(self) -> tuple[Tensor, Tensor]:
        """Time constants [s] and thresholds that act, after mismatch; float64 for the former."""
        return self.log_taus.double().exp(), self.thresholds

    def effective_recurrent_weights(self) -> Tensor | None:
        """The recurrent weights that act, [N, N], or None."""
        return self.recurrent_weights

    def constants(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        """`decay` = exp(-dt/tau) and `threshold`, each [N], in `dtype`."""
        return self._derived(*self.effective_constants(), dtype)

    def _derived(
        self, taus: Tensor, thresholds: Tensor, dtype: torch.dtype
    ) -> tuple[Tensor, Tensor]:
        """The one place where a decay is made of a time constant."""
        N = math.prod(self.features)
        both = ((-self.dt / taus).exp().to(dtype), thresholds.to(dtype))
        decay, threshold = (c.expand(N) if c.ndim == 0 else c.reshape(N) for c in both)
        return decay, threshold

    # ---- state --------------------------------------------------------------------------------------------------

    @property
    def state(self) -> dict[str, Tensor] | None:
        """The states by name, each [B, *features]; None until the first call after `prepare_net`."""
        if self._states is None:
            return None
        return {
            k: v.reshape(-1, *self.features)
            for k, v in zip(self.neuron.states, self._states, strict=True)
        }

    def check(self) -> None:
        owner = type(self).__name__
        lowest = 1.0
        for name, value in (("taus", self.log_taus), ("thresholds", self.thresholds)):
            lowest, highest = (edge.item() for edge in torch.aminmax(value.detach()))
            if not (math.isfinite(lowest) and math.isfinite(highest)):
                raise RuntimeError(f"{owner}: {name} are not finite: {DIVERGED}")
        if lowest <= 0:
            raise RuntimeError(f"{owner}: thresholds must stay above 0, got {lowest}: {DIVERGED}")

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002
        """Arm the layer; see `prepare_net`."""
        self._armed = True
        self._get_ready()
        if not keep_state:
            self._states = self._fired = None

    def detach_state(self) -> None:
        if self._states is not None:
            self._states = tuple(v.detach() for v in self._states)
        if self._fired is not None:
            self._fired = self._fired.detach()

    def hold_state(self) -> Callable[[], None]:
        states, fired = self._states, self._fired

        def restore() -> None:
            self._states, self._fired = states, fired

        return restore

    def give_state(self) -> list[Tensor]:
        if self._states is None:
            return []
        return [
            _trainable(v) for v in (*self._states, *([] if self._fired is None else [self._fired]))
        ]

    def take_state(self, given: list[Tensor]) -> None:
        K = len(self.neuron.states)
        self._states = tuple(given[:K]) or None
        self._fired = given[K] if len(given) > K else None

    def _state_for(self, x: Tensor) -> tuple[tuple[Tensor, ...], Tensor]:
        """The states and the last spikes, each [B, N], for input [B, T, N]."""
        owner, B, N = type(self).__name__, x.shape[0], x.shape[2]
        if not self._armed:
            raise RuntimeError(
                f"{owner} is not prepared: call prepare_net(model) before the first batch."
            )
        if self._states is None:
            return tuple(x.new_zeros(B, N) for _ in self.neuron.states), x.new_zeros(B, N)
        if self._states[0].shape[0] != B:
            raise RuntimeError(
                f"{owner} has state for a batch of {self._states[0].shape[0]}, the input has {B}: "
                "call prepare_net(model) before a new batch."
            )
        fired = x.new_zeros(B, N) if self._fired is None else self._fired
        states = tuple(_trainable(v.to(x)) for v in self._states)
        return states, _trainable(fired.to(x))

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: the state comes along, its graph does not."""
        kept = self.__dict__.copy()
        if self._states is not None:
            kept["_states"] = tuple(v.detach() for v in self._states)
        kept["_fired"] = None if self._fired is None else self._fired.detach()
        return kept

    # ---- a call -------------------------------------------------------------------------------------------------

    def forward(self, cur: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes and membrane after reset; see the class for shapes and errors."""
        solution = self._run(cur, mem=True, keep=False)[1]
        return self._shaped(solution.spikes, cur, solution.spike_count), self._shaped(
            solution.mem, cur
        )

    def spikes(self, cur: Tensor) -> Tensor:
        """As a call, the spikes alone: the membrane after reset is not even written."""
        solution = self._run(cur, mem=False, keep=False)[1]
        return self._shaped(solution.spikes, cur, solution.spike_count)

    def record(self, cur: Tensor, charge: bool = False) -> Record:
        """As a call, and the membrane before reset with it; with `charge`, the input is held on to, too.

        Raises:
            TypeError: the input is not floating.
            ValueError: the input has another width.
            RuntimeError: `prepare_net` is missing, or the batch size changed without it.
        """
        problem, solution = self._run(cur, mem=True, keep=True)
        assert solution.saved is not None
        # What u is computed from must not change when the layer learns.
        recurrent = None if problem.recurrent is None else problem.recurrent.detach().clone()
        problem = replace(
            problem, x=problem.x.detach()[:0], states=tuple(v.detach() for v in problem.states), recurrent=recurrent,
            constants=tuple(c.detach().clone() for c in problem.constants),
        )  # fmt: skip
        spk, mem = (
            self._shaped(solution.spikes, cur, solution.spike_count),
            self._shaped(solution.mem, cur),
        )
        return Record(spk, mem, cur if charge else None, problem, solution.saved)

    def _run(self, cur: Tensor, mem: bool, keep: bool) -> tuple[Problem, Solution]:
        k = len(self.features)
        checked_input(type(self).__name__, cur, self.features)
        B, T = self._shape(cur)[0], cur.shape[1] if cur.ndim == k + 2 else 1
        half = cur.dtype in (torch.float16, torch.bfloat16)
        x = cur.reshape(B, T, math.prod(self.features)).to(torch.float32 if half else cur.dtype)
        problem = self._problem(x)
        solution = solve(problem, self._solver_for(x), mem, keep, self._spec_name)
        self._states = solution.last
        if problem.recurrent is not None:
            self._fired = solution.spikes[:, -1].clone() if T else problem.spikes
        return problem, solution

    def _shape(self, cur: Tensor) -> tuple[int, ...]:
        return (1, *cur.shape) if cur.ndim == len(self.features) else tuple(cur.shape)

    def _shaped(self, y: Tensor | None, cur: Tensor, count: object = None) -> Tensor:
        """`y` in the user's shape and dtype; with the number of its spikes, for a synapse that follows."""
        assert y is not None
        y = y.to(cur.dtype).reshape(self._shape(cur))
        if isinstance(count, int):
            y.nonzeros = count  # type: ignore[attr-defined]  # tensors take attributes, their types do not say so
        return y

    @property
    def uses_spike_grad(self) -> bool:
        """Whether `spike_grad` is what a call takes; False where comPaSSo has fast_sigmoid(25) in its place."""
        return not self._fixed_surrogate

    def _spec(self) -> Spec:
        surrogate = self.spike_grad if self.uses_spike_grad else FastSigmoid()
        return Spec(self.neuron, surrogate, self.detach_reset, self.saved_dtype)

    def _problem(self, x: Tensor) -> Problem:
        states, fired = self._state_for(x)
        weights = self.effective_recurrent_weights()
        spec = self._spec()
        constants = tuple(c.to(x.device) for c in self.constants(x.dtype))
        if weights is None:
            return Problem(spec, x, states, constants)
        return Problem(spec, x, states, constants, weights.to(x), fired)

    def _solver_for(self, x: Tensor) -> str:
        learnable = False
        if (
            isinstance(self.spike_grad, Foreign)
            and not self._fixed_surrogate
            and torch.is_grad_enabled()
        ):
            if torch.compiler.is_compiling():
                raise RuntimeError(NOT_COMPILED)
            learnable = self.spike_grad.learnable(x.new_zeros(1, x.shape[2]))
        if self.solver == "auto":
            solver = (
                "serial"
                if has_serial_kernel(x, self.layer_topology == "RC") and not learnable
                else "reference"
            )
            if self.device == "gpu":
                B, T, N = x.shape
                solver = choose_solver(x.device.type, self.neuron.name, B * N, T, self._slowest)
        else:
            solver = self.solver
        if learnable and solver != "reference":
            raise RuntimeError(
                f"{type(self).__name__}: spike_grad has parameters to train, which only the reference solver can do, "
                f'got solver {solver!r}: set solver="reference", or freeze them with requires_grad_(False).'
            )
        self.last_solver = solver
        return solver

    def extra_repr(self) -> str:
        """Size and constants, for `print(model)`."""
        size = str(self.features[0] if len(self.features) == 1 else self.features)
        taus = self.taus.detach()
        told = (
            f"{taus.item():.4g}"
            if taus.ndim == 0
            else f"{taus.min().item():.4g}…{taus.max().item():.4g}"
        )
        extra = f', layer_topology="{self.layer_topology}"' if self.layer_topology != "FF" else ""
        extra += f', device="{self.device}"' if self.device != "cpu" else ""
        return f"{size}, taus={told}, dt={self.dt:.4g}, spike_grad={self.spike_grad!r}{extra}"
