"""Neurons that solvers run: a page as a graph, with its constants; program texts run by torch."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

import torch
from torch import Tensor

from nwavesdk.dynamics.derivation import constant_inputs, function_text
from nwavesdk.dynamics.graph import Step

__all__ = ["Neuron", "TorchMaths", "round_decays", "torch_function"]

# The grids of rounded decays, and how much a leak, 1 - decay, may change by rounding.
DECAY_BITS = 8, 16
MAX_LEAK_CHANGE = 0.05


class TorchMaths:
    """The open name `m` of program texts: torch, which also takes plain numbers.

    Args:
        dtype: Dtype of numbers that meet no tensor.

    Example:
        >>> m = TorchMaths(torch.float32)
        >>> m.where(torch.tensor([True, False]), 1.0, 0.0)
        tensor([1., 0.])
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype

    def where(self, condition: Tensor, a: Any, b: Any) -> Tensor:
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            a = torch.full((), a, dtype=self._dtype, device=condition.device)
        return torch.where(condition, a, b)

    def pow(self, base: Tensor, exponent: float) -> Tensor:
        return torch.pow(base, exponent)

    def sqrt(self, value: Tensor) -> Tensor:
        # torch does not round a float32 root exactly on every CPU, kernels do.
        return torch.sqrt(value.double()).to(value.dtype)

    exp = staticmethod(torch.exp)
    log = staticmethod(torch.log)
    tanh = staticmethod(torch.tanh)
    sin = staticmethod(torch.sin)
    cos = staticmethod(torch.cos)
    abs = staticmethod(torch.abs)


@cache
def _compiled(text: str) -> Any:
    return compile(text, "<program text>", "exec")


def torch_function(
    text: str, name: str, dtype: torch.dtype, **names: Any
) -> Callable[..., tuple[Any, ...]]:
    """The function `name` of a program text, for tensors.

    Args:
        text: The text, see `nwavesdk.dynamics.program`.
        name: Name of the function.
        dtype: Dtype of numbers that meet no tensor.
        names: Values of its other open names.

    Example:
        >>> text = "def leak(v, ratio): return (m.exp(-ratio) * v,)"
        >>> leak = torch_function(text, "leak", torch.float32)
        >>> leak(torch.ones(2), torch.tensor([0.5, 1.0]))
        (tensor([0.6065, 0.3679]),)
    """
    scope = {"m": TorchMaths(dtype), **names}
    exec(_compiled(text), scope)  # written by `function_text`, see there
    function: Callable[..., tuple[Any, ...]] = scope[name]
    return function


@dataclass(frozen=True, eq=False)
class Neuron:
    """A neuron that solvers can run: its page as a graph, and two optional declarations.

    A solver gets its constants as one value per neuron. Each is a constant of the page, or an
    expression of constants alone, such as `decay(tau)`, which is computed once per call.

    Neurons are equal if their pages are equal.

    Attributes:
        name: A Python identifier.
        step: The page as a graph.
        carry: `carry(x, s, *constants) -> (a, b, c)` for neurons with one state: the step with its
            spike fixed, as the map v -> max(a v + b, c), for comPaSSo. The first constant is the
            decay of the state. None if there is no such map.
        forgets: `forgets(w, s) -> mask`: the steps after which the state no longer depends on the
            state before; `w` is the saved value. None if there is no such step.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> lif = LIF_PAGES["zero"].neuron
        >>> lif.states, lif.constants, lif.is_readout
        (('v',), ('decay_tau', 'threshold'), False)
        >>> values = {"tau": torch.tensor(20e-3).double(), "threshold": torch.tensor(1.0).double()}
        >>> [round(float(value), 4) for value in lif.evaluate_constants(values, dt=1e-3)]
        [0.9512, 1.0]
    """

    name: str
    step: Step
    carry: Callable[..., Any] | None = None
    forgets: Callable[..., Any] | None = None

    @property
    def states(self) -> tuple[str, ...]:
        """Names of the states in order; a layer returns the first as `mem`."""
        return self.step.states

    @property
    def is_readout(self) -> bool:
        """Whether the neuron has no spike; its output is then its first state."""
        return self.step.spike is None

    @cached_property
    def has_reset(self) -> bool:
        """Whether a state after the step depends on the spike."""
        step = self.step
        return step.spike in step.graph.needed_for([*step.after])

    @cached_property
    def constant_nodes(self) -> tuple[int, ...]:
        """Nodes of the constants that solvers get, in order."""
        return tuple(constant_inputs(self.step.graph, self.step.results))

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """Names of the constants that solvers get, in order."""
        return tuple(self._constant_name(node) for node in self.constant_nodes)

    def _constant_name(self, node: int) -> str:
        graph = self.step.graph
        op, inputs, value = graph.nodes[node]
        if op == "input":
            return str(value)
        if op == "decay":
            return f"decay_{graph.nodes[inputs[0]].value}"
        return f"constant_{node}"

    @cached_property
    def _evaluate_constants(self) -> Callable[..., tuple[Any, ...]]:
        step = self.step
        arguments = {step.input(name): f"page_{name}" for name in step.constants}
        arguments |= {node: f"decay_{name}" for name, node in self._decays().items()}
        text = function_text(step.graph, "constants", arguments, self.constant_nodes, {})
        return torch_function(text, "constants", torch.float64)

    @cached_property
    def decaying(self) -> tuple[str, ...]:
        """Names of the constants of the page whose `decay` it uses."""
        return tuple(self._decays())

    def _decays(self) -> dict[str, int]:
        """The nodes of decays by the names of their time constants."""
        graph = self.step.graph
        return {
            str(graph.nodes[node.inputs[0]].value): i
            for i, node in enumerate(graph.nodes)
            if node.op == "decay"
        }

    def evaluate_constants(
        self, values: Mapping[str, Tensor], dt: float, *, rounds_decays: bool = False
    ) -> tuple[Tensor, ...]:
        """The constants that solvers get, in float64, with gradients for the constants of the page.

        The only place where a time constant becomes a decay.

        Args:
            values: The constants of the page by name, in float64.
            dt: Length of a step [s].
            rounds_decays: Whether decays are rounded to multiples of 2^-8 or 2^-16, see
                `round_decays`.
        """
        decays = [(-dt / values[name]).exp() for name in self.decaying]
        if rounds_decays:
            decays = [round_decays(decay) for decay in decays]
        return self._evaluate_constants(*(values[name] for name in self.step.constants), *decays)

    @cached_property
    def identity(self) -> str:
        """A hash of the page: its operations, the numbers that it captures, and its names."""
        step = self.step
        graph = step.graph
        nodes = [(node, graph.nodes[node]) for node in graph.needed_for([*step.results])]
        names = sorted(step.names.items())
        page = (self.name, nodes, step.results, self.states, step.initial, self.constants, names)
        return hashlib.sha256(repr(page).encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Neuron) and self.identity == other.identity

    def __hash__(self) -> int:
        return hash(self.identity)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: without cached values; compiled functions do not pickle."""
        return {name: vars(self)[name] for name in ("name", "step", "carry", "forgets")}


def round_decays(decays: Tensor) -> Tensor:
    """Decays on the grid of 2^-8, or else of 2^-16, with a gradient of 1.

    The leak `1 - decay` of each neuron may change by `MAX_LEAK_CHANGE` of its value, so that no
    neuron loses its leak; if it would change more on both grids, decays stay unchanged.
    """
    exact = decays.detach()
    for bits in DECAY_BITS:
        rounded = (exact * 2**bits).round() / 2**bits
        if bool(((rounded - exact).abs() <= MAX_LEAK_CHANGE * (1 - exact)).all()):
            # The difference is 0 and carries the gradient.
            return torch.add(rounded, decays - exact)
    return decays
