"""`Program`: a neuron as texts that torch, numba and Triton run, and the values that they save.

A program text is a plain Python function that returns a tuple. Its open names are `m` (the maths),
`spike`, `surrogate` and, in the text for the reference solver, `held`. Torch, numba and Triton each
have their own functions for these names.
"""

from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, cached_property

from nwavesdk.dynamics.derivation import (
    RESERVED,
    derive_adjoint,
    find_saved,
    function_text,
    gradient_input,
    guarded_results,
    is_computed_from,
    sufficiency_test,
    unused_name,
)
from nwavesdk.dynamics.neuron import Neuron

__all__ = ["SAVES", "Program", "QueryText", "StepText", "program_of"]

SAVES = ("gradient", "learning", "record")
"""The purpose of saved values: `"gradient"`, gradients of the charge and the states; `"learning"`,
also gradients of the constants; `"record"`, also the values of a record."""


@dataclass(frozen=True, kw_only=True)
class StepText:
    """`step(charge, *states, *constants) -> (output, *states, *saved)` as a text.

    The output is the spike, or the first state of a read-out.

    Attributes:
        name: Name of the neuron.
        text: The text.
        states: Number of states.
        constants: Number of constants.
        saved: Number of values that are saved.
        is_readout: Whether the output is a state.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> program = program_of(LIF_PAGES["subtraction"].neuron)
        >>> print(program.step.text.strip())
        def step(x, v, constant_decay_tau, constant_threshold):
            t5 = constant_decay_tau * v
            u = t5 + x
            t7 = u - constant_threshold
            s = spike(t7)
            t10 = constant_threshold * s
            t11 = u - t10
            return (s, t11, u,)
    """

    name: str
    text: str
    states: int
    constants: int
    saved: int
    is_readout: bool


@dataclass(frozen=True, kw_only=True)
class QueryText:
    """The computation of values of a step from saved values.

    `recall(*saved, *constants) -> recalled` computes some of the states after a step, which are the
    states before the next step. Before the first step, these are the initial states.

    `query(*saved, *recalled, *constants, ...)` computes all other values. As `adjoint`, it also
    takes `grad_s` and the gradients of the states after the step, and returns the gradients of the
    charge, of the states before the step, and (if they are learned) of the constants.

    Attributes:
        name: Name of the neuron.
        recall: The first text; empty if no state is recalled.
        query: The second text. Its function is called `adjoint` or `query`.
        states: Number of states.
        constants: Number of constants.
        saved: Number of saved values.
        recalled: Positions of the states that are recalled.
        results: Number of results of the query.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> adjoint = program_of(LIF_PAGES["subtraction"].neuron).adjoint(learns_constants=False)
        >>> print(adjoint.query.strip())
        def adjoint(saved_0, constant_decay_tau, constant_threshold, grad_s, grad_v):
            t7 = saved_0 - constant_threshold
            t19 = surrogate(t7)
            t20 = grad_s * t19
            t22 = grad_v + t20
            t24 = t22 * constant_decay_tau
            return (t22, t24,)
    """

    name: str
    recall: str
    query: str
    states: int
    constants: int
    saved: int
    recalled: tuple[int, ...]
    results: int

    @property
    def learns_constants(self) -> bool:
        """Whether an adjoint returns the gradients of constants."""
        return self.results > 1 + self.states

    @property
    def uses_surrogate(self) -> bool:
        """Whether an adjoint calls `surrogate`."""
        return "surrogate(" in self.query


class Program:
    """A neuron with the values that a forward pass saves.

    Args:
        neuron: The neuron.
        detach_reset: Whether no gradient flows through `held`.
        saves: One of `SAVES`.
        keeps_z: Whether z, or a value that differs from it by a constant, must be the first saved
            value.

    Attributes:
        saved: Nodes of the saved values.
        anchor: Position of the constant c if z is the first saved value minus c, as in
            u - threshold; None if the first saved value is z or unrelated to it.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> lif = LIF_PAGES["zero"].neuron
        >>> program = Program(lif, detach_reset=True, saves="gradient", keeps_z=False)
        >>> program.step.saved, program.adjoint(learns_constants=True).results
        (1, 4)
    """

    def __init__(self, neuron: Neuron, detach_reset: bool, saves: str, keeps_z: bool) -> None:
        self.neuron = neuron
        # Derivation adds nodes to the graph.
        self._step = replace(neuron.step, graph=deepcopy(neuron.step.graph))
        self._graph = self._step.graph

        gradients = derive_adjoint(self._step, detach_reset)
        inputs = [self._step.input(name) for name in (neuron.step.charge, *neuron.states)]
        self._value_gradients = [gradients[node] for node in inputs]
        self._constant_gradients = [gradients.get(node) for node in neuron.constant_nodes]

        # Names of the arguments of the texts. `_choose_saved` reads `_constants`, set before it.
        taken = set(RESERVED)
        self._charge, *self._states = _distinct([neuron.step.charge, *neuron.states], taken)
        constants = _distinct([f"constant_{name}" for name in neuron.constants], taken)
        self._constants = dict(zip(neuron.constant_nodes, constants, strict=True))
        self.saved = self._choose_saved(saves, keeps_z)
        self._saved_names = _distinct([f"saved_{i}" for i in range(len(self.saved))], taken)
        self._gradient_names = _distinct([f"grad_{name}" for name in ("s", *neuron.states)], taken)
        self.anchor = self._anchor(self.saved[0])

    @cached_property
    def step(self) -> StepText:
        """The step of kernels, which also returns the values to be saved."""
        return StepText(
            name=self.neuron.name,
            text=self._step_text([*self._step.results], keep_held=False),
            states=len(self._states),
            constants=len(self._constants),
            saved=len(self.saved),
            is_readout=self.neuron.is_readout,
        )

    @cached_property
    def reference(self) -> str:
        """The text of the step for autograd, with `held` as a further open name."""
        return self._step_text(guarded_results(self._step), keep_held=True)

    def _step_text(self, results: list[int], keep_held: bool) -> str:
        names = (self.neuron.step.charge, *self.neuron.states)
        inputs = {
            self._step.input(name): safe
            for name, safe in zip(names, (self._charge, *self._states), strict=True)
        }

        # The output of a read-out is its first state, which is then returned twice.
        after = results[-len(self._states) :]
        return function_text(
            self._graph,
            "step",
            inputs | self._constants,
            [results[0], *after, *self.saved],
            self._step.names,
            keep_held=keep_held,
        )

    @cache  # noqa: B019  # `program_of` never drops a program anyway
    def adjoint(self, learns_constants: bool) -> QueryText:
        """The adjoint of the step."""
        nodes = [gradient_input(self._graph, name) for name in (None, *self.neuron.states)]
        arguments = dict(zip(nodes, self._gradient_names, strict=True))
        results = [*self._value_gradients]
        results += self._constant_gradients if learns_constants else []
        return self._query("adjoint", results, arguments)

    @cached_property
    def spike_argument(self) -> QueryText:
        """The argument z of the spike in a step."""
        assert self._step.z is not None
        return self._query("query", [self._step.z])

    @cached_property
    def states_after(self) -> QueryText:
        """The states after a step; only if it was saved for a record."""
        return self._query("query", [*self._step.after])

    def named_value(self, name: str) -> QueryText:
        """The value with that name on the page; only if it was saved for a record."""
        # If a name is assigned again, the last value counts.
        *_, node = (node for node, assigned in self._step.names.items() if assigned == name)
        return self._query("query", [node])

    def _query(
        self, name: str, results: list[int | None], more: dict[int, str] | None = None
    ) -> QueryText:
        """The texts of a query for nodes; `more` names further arguments by their nodes."""
        # The states before the step that do not follow from its own saved values are recalled from
        # the saved values of the step before.
        wanted = [node for node in results if node is not None]
        needed = self._graph.needed_for(wanted, frozenset(self.saved))
        states = [self._step.input(state) for state in self.neuron.states]
        recalled = tuple(k for k, state in enumerate(states) if state in needed)

        saved = dict(zip(self.saved, self._saved_names, strict=True))
        before = {states[k]: self._states[k] for k in recalled}
        recall = function_text(
            self._graph,
            "recall",
            saved | self._constants,
            [self._step.after[k] for k in recalled],
            self._step.names,
        )

        return QueryText(
            name=self.neuron.name,
            recall=recall if recalled else "",
            query=function_text(
                self._graph,
                name,
                saved | before | self._constants | (more or {}),
                results,
                self._step.names,
            ),
            states=len(states),
            constants=len(self._constants),
            saved=len(saved),
            recalled=recalled,
            results=len(results),
        )

    # Saved values

    def _choose_saved(self, saves: str, keeps_z: bool) -> tuple[int, ...]:
        """The values to save.

        The values for learning are saved for the other purposes, too, unless they are not enough or
        fewer values are. So calls of different purposes mostly share a kernel.
        """
        learning = self._find_saved(self._constant_gradients, keeps_z)
        if saves == "learning":
            return learning

        more: list[int | None] = []
        if saves == "record":
            z = self._step.z
            named = [n for n in self._step.names if not self._graph.is_constant(n)]
            more = [*self._constant_gradients, *self._step.after, z, *named]

        saved = self._find_saved(more, keeps_z)
        if len(saved) < len(learning):
            return saved
        return learning if sufficiency_test(self._step)(self._wanted(more), learning) else saved

    def _find_saved(self, more: Sequence[int | None], keeps_z: bool) -> tuple[int, ...]:
        """The fewest values to save; with `keeps_z`, the first leads to z without other values."""
        saved = find_saved(self._step, self._wanted(more))
        if self._step.z is None or not keeps_z:
            return saved or (self._step.after[0],)  # kernels and solvers expect a saved value

        anchored = [
            node for node in saved if node == self._step.z or self._anchor(node) is not None
        ]
        if not anchored:
            return find_saved(self._step, self._wanted(more), given=[self._step.z])
        return (anchored[0], *(node for node in saved if node != anchored[0]))

    def _wanted(self, more: Iterable[int | None]) -> list[int]:
        return [node for node in (*self._value_gradients, *more) if node is not None]

    def _anchor(self, node: int) -> int | None:
        """Position of the constant c if z is the node, or the clamped node, minus c; else None."""
        z = self._step.z
        if z is None or self._graph.nodes[z].op != "-":
            return None

        # A clamp, as in `torch.maximum(w, 0.0)`, is a `where` that takes the node as a branch.
        value, constant = self._graph.nodes[z].inputs
        is_clamped = (
            self._graph.nodes[value].op == "where"
            and node in self._graph.nodes[value].inputs
            and is_computed_from(self._graph, value, node)
        )

        if constant not in self._constants or not (value == node or is_clamped):
            return None
        return list(self._constants).index(constant)


@cache
def program_of(
    neuron: Neuron, *, detach_reset: bool = True, saves: str = "gradient", keeps_z: bool = False
) -> Program:
    """The program of a neuron with these options; see `Program`.

    Example:
        >>> from nwavesdk.layers import IzhikevichLayer
        >>> izhikevich = IzhikevichLayer(1).page.neuron
        >>> {saves: program_of(izhikevich, saves=saves).step.saved for saves in SAVES}
        {'gradient': 1, 'learning': 3, 'record': 3}
    """
    return Program(neuron, detach_reset, saves, keeps_z)


def _distinct(names: Iterable[str], taken: set[str]) -> list[str]:
    """The names, changed where they are taken. Adds them to `taken`."""
    distinct = []
    for name in names:
        distinct.append(unused_name(name, taken))
        taken.add(distinct[-1])
    return distinct
