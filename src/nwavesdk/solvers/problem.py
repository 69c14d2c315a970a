"""What a solver is given and what it gives, in the shapes that all solvers share: [B, T, N], [B, N] and [N]."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nwavesdk.dynamics import Neuron
from nwavesdk.dynamics.neuron import bind
from nwavesdk.surrogate import Surrogate, heaviside

__all__ = [
    "Problem",
    "Solution",
    "Spec",
    "Trace",
    "TraceGradient",
    "delay_one_step",
    "explain_freed_graph",
    "from_saved_dtype",
    "membrane_before_reset",
    "spec_by_name",
    "spec_name",
    "spike_argument",
    "state_trajectories",
    "to_saved_dtype",
    "torch_page",
]


@dataclass(frozen=True)
class Spec:
    """The neuron, its surrogate, whether the gradient through the reset is cut, and how backward's tensors are saved.

    `saved_dtype` is None for `w` as it is, or `"bfloat16"` for `w` - threshold at half the memory (see `pack`).
    """

    neuron: Neuron
    surrogate: Surrogate
    detach_reset: bool = True
    saved_dtype: str | None = None


_specs: dict[str, Spec] = {}
_names: dict[Spec, str] = {}


def spec_name(spec: Spec) -> str:
    """A text for `spec`, by which operators know it; compiled code is compiled anew where it has changed.

    It tells what shapes and dtypes depend on, because torch keeps compiled code on disk, where another process may find
    it that counts its specs otherwise.
    """
    if spec not in _names:
        name = f"{spec.neuron.name}, saves {spec.saved_dtype} #{len(_names)}"
        _names[spec], _specs[name] = name, spec
    return _names[spec]


def spec_by_name(name: str) -> Spec:
    """The spec of that name."""
    return _specs[name]


@dataclass(frozen=True)
class Problem:
    """A sequence to be run.

    Attributes:
        spec: neuron, surrogate, `detach_reset`.
        x: input charge [B, T, N], float32 or float64; the kernels on GPUs also take bfloat16 and float16, with states
            and constants in float32, and give spikes, `mem` and ∂L/∂x in the dtype of x.
        states: the states before the first step, each [B, N], dtype (but for half `x`) and device of `x`.
        constants: the neuron's constants, each [N].
        recurrent: weights [N, N] (from, to) by which s[t-1] adds to x[t], or None.
        spikes: s before the first step [B, N]; needed with `recurrent`.
    """

    spec: Spec
    x: Tensor
    states: tuple[Tensor, ...]
    constants: tuple[Tensor, ...]
    recurrent: Tensor | None = None
    spikes: Tensor | None = None


@dataclass(frozen=True)
class Solution:
    """What came out.

    Attributes:
        spikes: [B, T, N].
        mem: the first state after each step [B, T, N], with gradients; None where it was not asked for.
        last: the states after the last step, each [B, N], with gradients.
        saved: what the steps have left (see `Trace.saved`), without a graph; None where nothing was kept.
        spike_count: how many spikes there are, or None where nobody counted; from a GPU, see `Trace.spike_count`.
    """

    spikes: Tensor
    mem: Tensor | None
    last: tuple[Tensor, ...]
    saved: tuple[Tensor, ...] | None
    spike_count: int | Tensor | None = None


class Trace(NamedTuple):
    """What a forward pass leaves, without a graph.

    Attributes:
        spikes: [B, T, N].
        mem: the first state after each step [B, T, N], or None where it was not asked for.
        last: the states after the last step, each [B, N].
        saved: `w` of each step and the states after it but the first, each [B, T, N]; None where not asked for.
        spike_count: the number of spikes, or None; on a GPU a tensor of which it is the sum, as reading it would wait.
    """

    spikes: Tensor
    mem: Tensor | None
    last: tuple[Tensor, ...]
    saved: tuple[Tensor, ...] | None
    spike_count: int | Tensor | None = None


class TraceGradient(NamedTuple):
    """∂L/∂ spikes [B, T, N], `mem` [B, T, N], states after the last step [B, N]; None where it is zero."""

    spikes: Tensor | None
    mem: Tensor | None
    last: Sequence[Tensor | None]


def delay_one_step(states: Sequence[Tensor], trajectories: Sequence[Tensor]) -> list[Tensor]:
    """The states before each step, each [B, T, N]."""
    return [
        torch.cat([s[:, None], t], 1)[:, : t.shape[1]]
        for s, t in zip(states, trajectories, strict=True)
    ]


def membrane_before_reset(problem: Problem, saved: tuple[Tensor, ...]) -> Tensor:
    """The membrane before reset `u` at all steps at once [B, T, N]; no gradient."""
    return _replay(problem, saved)[0]


def spike_argument(problem: Problem, saved: tuple[Tensor, ...]) -> Tensor:
    """What the neuron hands to its spike function, at all steps at once [B, T, N]; no gradient."""
    return _replay(problem, saved)[2]


def state_trajectories(problem: Problem, saved: tuple[Tensor, ...]) -> list[Tensor]:
    """The states after each step, each [B, T, N]; no gradient."""
    return [_replay(problem, saved)[1], *saved[1:]]


@torch.no_grad()
def _replay(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, Tensor]:
    seen: list[Tensor] = []

    def spike(z: Tensor) -> Tensor:
        seen.append(z)
        return heaviside(z)

    fire = torch_page(problem.spec.neuron, "fire", spike=spike, held=torch.detach)
    others = delay_one_step(problem.states[1:], saved[1:])
    _, u, v, *_ = fire(saved[0], *others, *problem.constants)
    return u, v, seen[0]


def to_saved_dtype(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """What is saved for backward: `kept`, or with `saved_dtype="bfloat16"` the distance of `w` from the threshold, rounded.

    Surrogates are smooth in the logarithm of that distance, so σ' is off by about 1 % at most. Its sign, the spike, is
    kept, and so is the sign of `w`, on which clamped neurons depend.
    """
    if problem.spec.saved_dtype is None:
        return saved
    w, threshold = saved[0].detach(), _threshold(problem)
    distance, zero = (w - threshold).bfloat16(), (-threshold).bfloat16()
    return torch.where(
        (w < 0) & (distance >= zero), zero.nextafter(zero.new_tensor(-torch.inf)), distance
    ), *saved[1:]


def from_saved_dtype(problem: Problem, saved: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The inverse of `pack`, but for the rounding; `problem.x` is not read."""
    if problem.spec.saved_dtype is None:
        return saved
    threshold, distance = _threshold(problem), saved[0]
    w = distance.to(threshold.dtype) + threshold
    w = torch.where(distance > 0, w.maximum(threshold.nextafter(w.new_tensor(torch.inf))), w)
    return torch.where(distance == (-threshold).bfloat16(), 0.0, w), *saved[1:]


def _threshold(problem: Problem) -> Tensor:
    constants = dict(zip(problem.spec.neuron.constants, problem.constants, strict=True))
    return constants.get("threshold", torch.zeros_like(problem.constants[0])).detach()


def torch_page(neuron: Neuron, name: str, **names: Any) -> Any:
    """The neuron's page of that name bound to torch and to `names`; `"step"` is `integrate` and `fire` in a row."""
    if name == "step":
        integrate, fire = (torch_page(neuron, half, **names) for half in ("integrate", "fire"))
        K = len(neuron.states)

        def step(x: Any, *rest: Any) -> Any:
            return fire(integrate(x, *rest), *rest[1:K], *rest[K:])

        return step
    pages = {key: bind(page, m=torch) for key, page in neuron.pages.items()}
    return bind(getattr(neuron, name), m=torch, **pages, **names)


def explain_freed_graph(error: RuntimeError) -> RuntimeError:
    """The clear form of autograd's complaint about a graph that an earlier backward pass has freed."""
    if "modified by an inplace operation" in str(error):
        return RuntimeError(
            "what an earlier part of the sequence was computed from has been written to since (a loaded checkpoint, an "
            "optimizer step, a changed input): call prepare_net(model) or detach_state(model) before the next part. "
            f"torch says: {error}"
        )
    if "second time" not in str(error):
        return error
    return RuntimeError(
        "backward() reached a sequence whose graph it has already freed: when a layer carries its state over, call "
        "prepare_net(model) to start anew, or detach_state(model) to go on from the state without its past (truncated "
        "backpropagation through time); for two passes through one sequence, backward(retain_graph=True)."
    )
