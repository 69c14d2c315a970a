"""The adjoint of a step, derived from its graph, and what a forward pass must save for it.

Reverse mode: every node passes the gradient of the loss with respect to itself on to its inputs,
times a partial derivative. A contribution that flows through one branch of a `where` carries that
choice along and is exactly 0 when the branch is not taken, whatever the partials of the branch are.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations
from math import comb

from nwavesdk.dynamics.graph import OPERATIONS, Graph, Step

__all__ = [
    "RESERVED",
    "constant_inputs",
    "derive_adjoint",
    "find_saved",
    "function_text",
    "gradient_input",
    "guarded_results",
    "is_computed_from",
    "sufficiency_test",
    "unused_name",
]

# A condition and whether it must be true or false; None: always.
Choice = tuple[int, bool] | None

# Names that a text, or the kernel around it, gives a meaning. `sigma` and `k0`… are the derivative
# of the surrogate and its parameters.
RESERVED = {
    *("m", "spike", "surrogate", "held", "decay", "real", "index", "where", "abs", "pow"),
    *("exp", "log", "sqrt", "tanh", "sin", "cos", "floor", "np", "tl", "triton"),
    *("sigma", *(f"k{i}" for i in range(16))),
}


# Up to this many sets, all nodes may be saved; above it, those that the page names.
MAX_SETS = 50_000


def unused_name(name: str, taken: Collection[str]) -> str:
    """The name, with underscores behind it if it is taken."""
    while name in taken:
        name += "_"
    return name


def constant_inputs(graph: Graph, nodes: Iterable[int]) -> list[int]:
    """The constant nodes that value nodes take, and those among `nodes`, in the order of first use.

    A solver gets their values: expressions of constants are computed once per call.

    Args:
        graph: The graph.
        nodes: What is to be computed.
    """
    wanted = list(nodes)
    users = [node for node in graph.needed_for(wanted) if not graph.is_constant(node)]
    first_use = {
        constant: user
        for user in reversed(users)
        for constant in graph.nodes[user].inputs
        if graph.is_constant(constant)
    }
    constants = {*first_use, *(node for node in wanted if graph.is_constant(node))}
    numbered = [node for node in constants if graph.number_of(node) is None]
    return sorted(numbered, key=lambda node: (first_use.get(node, node), node))


def _nested(graph: Graph, outer: Choice, inner: tuple[int, bool]) -> tuple[int, bool]:
    """The choice that is taken if both are."""
    return inner if outer is None else _joined(graph, "and", [outer, inner])


def _joined(graph: Graph, op: str, choices: list[tuple[int, bool]]) -> tuple[int, bool]:
    if len(choices) == 1:
        return choices[0]
    result, *others = (c if is_true else graph.add("not", c) for c, is_true in choices)
    for condition in others:
        result = graph.add(op, result, condition)
    return result, True


def _is_unbounded(graph: Graph, node: int) -> bool:
    """Whether the partial derivatives of an operation may be infinite."""
    op, inputs, _ = graph.nodes[node]
    number = graph.number_of(inputs[1]) if op in ("**", "/") else None
    if number is None:
        return OPERATIONS[op].unbounded_in is not None
    return number < 1 if op == "**" else not number


def _descend_from_unbounded(graph: Graph) -> set[int]:
    """The nodes that such an operation computes, or that are computed from it."""
    descendants: set[int] = set()
    for node, (_, inputs, _) in enumerate(graph.nodes):
        if _is_unbounded(graph, node) or descendants.intersection(inputs):
            descendants.add(node)
    return descendants


class _Accumulator:
    """Sums of the gradients of nodes."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.below_unbounded = _descend_from_unbounded(graph)
        # Contributions by node: the choice under which they count, and the node of the product.
        self.parts: dict[int, list[tuple[Choice, int]]] = {}

    def give(self, node: int, choice: Choice, gradient: int) -> None:
        self.parts.setdefault(node, []).append((choice, gradient))

    def take(self, node: int) -> tuple[Choice, int] | None:
        """The sum for a node, and the choice under which it is not 0."""
        sums: dict[Choice, int] = {}
        for choice, gradient in self.parts.pop(node, []):
            earlier = sums.get(choice)
            sums[choice] = gradient if earlier is None else self.graph.plus(earlier, gradient)
        if len(sums) < 2:
            return next(iter(sums.items()), None)

        first, *others = (self.choose(choice, gradient) for choice, gradient in sums.items())
        for other in others:
            first = self.graph.plus(first, other)
        if node not in self.below_unbounded or None in sums:
            return None, first
        return _joined(self.graph, "or", [choice for choice in sums if choice]), first

    def total(self, node: int) -> int | None:
        """The sum for a node, 0 where its choice is not taken; None if nothing reaches it."""
        taken = self.take(node)
        return None if taken is None else self.choose(*taken)

    def choose(self, choice: Choice, gradient: int) -> int:
        if choice is None:
            return gradient
        condition, is_true = choice
        zero = self.graph.number(0)
        branches = (gradient, zero) if is_true else (zero, gradient)
        return self.graph.add("where", condition, *branches)


def derive_adjoint(step: Step, detach_reset: bool) -> dict[int, int | None]:
    """Derive the adjoint of a step.

    Gradients of results are new inputs of the graph: see `gradient_input`.

    Args:
        step: The step. Its graph gets further nodes.
        detach_reset: Whether gradients through `held` are dropped.

    Returns:
        For the charge, each state and each constant that solvers get, the node of the gradient of
        the loss; None where it is 0.
    """
    graph = step.graph
    results = [*step.results]
    constants = constant_inputs(graph, results)
    sums = _Accumulator(graph)
    for state, node in zip(step.states, step.after, strict=True):
        sums.give(node, None, gradient_input(graph, state))
    sums.give(step.results[0], None, gradient_input(graph))
    for node in reversed(graph.needed_for(results)):
        if not graph.is_constant(node) and graph.nodes[node].op != "input":
            _pass_back(graph, sums, node, detach_reset)
    names = (step.charge, *step.states, *step.constants)
    inputs = [graph.add("input", value=name) for name in names]
    values = [node for node in inputs if not graph.is_constant(node)]
    return {node: sums.total(node) for node in (*values, *constants)}


def gradient_input(graph: Graph, state: str | None = None) -> int:
    """Node of the gradient of a state after the step, or of the output.

    The output is the spike, or the first state of a read-out.
    """
    # No name of a page has a space.
    return graph.add("input", value=f"grad of {state or 'the output'}")


def _pass_back(graph: Graph, sums: _Accumulator, node: int, detach_reset: bool) -> None:
    """Give the inputs of a node their part of its gradient."""
    op, inputs, _ = graph.nodes[node]
    taken = sums.take(node)
    if taken is None or (op == "held" and detach_reset):
        return
    choice, g = taken
    if op == "where":
        condition, *branches = inputs
        for branch, is_true in zip(branches, (True, False), strict=True):
            sums.give(branch, _nested(graph, choice, (condition, is_true)), g)
        return
    for i, partial in zip(inputs, OPERATIONS[op].partials, strict=True):
        if graph.number_of(i) is None:
            sums.give(i, choice, partial(graph, g, node, *inputs))


# The step under autograd


def guarded_results(step: Step) -> list[int]:
    """The results of a step, made so that autograd gives them the gradients of the adjoint.

    Autograd multiplies the gradient 0 of a branch that is not taken by partial derivatives, which
    may be infinite. So operations that serve one branch alone get 1 where it is not taken.
    Conditions have no gradient and stay as they are.
    """
    graph = step.graph
    order = graph.needed_for([*step.results])
    uses = _choices_of_uses(step, order)
    guarded: dict[int, int] = {}
    for node in order:
        op, inputs, value = graph.nodes[node]
        if graph.is_condition(node) or graph.is_constant(node):
            guarded[node] = node
            continue
        new = [guarded[i] for i in inputs]
        choices = [choice for choice in uses.get(node, ()) if choice is not None]
        if choices and None not in uses[node] and _is_unbounded(graph, node):
            condition, is_true = _joined(graph, "or", choices)
            position = OPERATIONS[op].unbounded_in
            assert position is not None
            branches = [new[position], graph.number(1)]
            new[position] = graph.add("where", condition, *branches[:: 1 if is_true else -1])
        guarded[node] = graph.add(op, *new, value=value)
    return [guarded[node] for node in step.results]


def _choices_of_uses(step: Step, order: list[int]) -> dict[int, set[Choice]]:
    """The choices under which the gradient of each node is not 0; None is always."""
    graph = step.graph
    uses: dict[int, set[Choice]] = {node: {None} for node in step.results}
    for node in reversed(order):
        choices = uses.get(node, set())
        inputs = graph.nodes[node].inputs
        if graph.nodes[node].op == "where":
            condition, *branches = inputs
            for branch, is_true in zip(branches, (True, False), strict=True):
                nested = {_nested(graph, choice, (condition, is_true)) for choice in choices}
                uses.setdefault(branch, set()).update(nested)
        elif not graph.is_condition(node):
            for i in inputs:
                uses.setdefault(i, set()).update(choices)
    return uses


# What is saved


def find_saved(step: Step, wanted: Iterable[int], given: Iterable[int] = ()) -> tuple[int, ...]:
    """The smallest set of nodes that a forward pass must save to compute others in backward.

    A state before a step is known if its value after the step before can be computed from what that
    step saved. Among sets of one size, the one with the least to compute again is taken. Of a long
    page, not all sets are compared.

    Args:
        step: The step.
        wanted: Nodes of the adjoint, or of the step, that are to be computed.
        given: Nodes that the set must contain.
    """
    graph = step.graph
    wanted = list(wanted)
    given = tuple(given)
    charge = step.input(step.charge)
    candidates = [
        node
        for node in graph.needed_for([*step.results])
        if not graph.is_constant(node)
        and node not in given
        and not graph.is_condition(node)
        and graph.nodes[node].op not in {"held", "spike"}
        and (graph.nodes[node].op != "input" or node == charge or node in step.after)
    ]
    # With these, the charge and all states after the step can be saved.
    firsts = {
        charge,
        *step.names,
        *step.after,
        *(i for n in step.results for i in graph.nodes[n].inputs),
    }
    few = [node for node in candidates if node in firsts]
    is_enough = sufficiency_test(step)
    for size in range(len(step.states) + 2):
        chosen = candidates if comb(len(candidates), size) <= MAX_SETS else few
        costs = {
            given + more: _recall_cost(step, wanted, given + more)
            for more in combinations(chosen, size)
            if is_enough(wanted, given + more)
        }
        if costs:
            return min(costs, key=lambda saved: (costs[saved], saved))
    raise AssertionError("the charge and all states after the step are always enough")


def is_computed_from(graph: Graph, node: int, source: int) -> bool:
    """Whether a node follows from another one and constants alone."""
    needed = graph.needed_for([node], frozenset([source]))
    return all(graph.nodes[i].op != "input" or graph.is_constant(i) for i in needed)


def sufficiency_test(step: Step) -> Callable[[Iterable[int], Collection[int]], bool]:
    """A function of nodes `wanted` and `saved`: whether backward can compute the former.

    A state before the step must follow from what the step before has saved, and from no further
    state. `find_saved` asks thousands of times: each answer ends at the first node out of reach.
    """
    graph = step.graph
    charge = step.input(step.charge)
    after = dict(zip(map(step.input, step.states), step.after, strict=True))
    inputs = [[i for i in node.inputs if not graph.is_constant(i)] for node in graph.nodes]

    def needed_values(nodes: Iterable[int], saved: Collection[int]) -> Iterator[int]:
        seen = set(saved)
        pending = list(nodes)
        while pending:
            node = pending.pop()
            if node not in seen:
                seen.add(node)
                yield node
                pending += inputs[node]

    def is_enough(wanted: Iterable[int], saved: Collection[int]) -> bool:
        recalled = []
        for node in needed_values(wanted, saved):
            if node == charge:
                return False
            if node in after:
                recalled.append(after[node])
        return not any(node == charge or node in after for node in needed_values(recalled, saved))

    return is_enough


def _recall_cost(step: Step, wanted: list[int], saved: Iterable[int]) -> int:
    """What computing `wanted` costs if `saved` is there."""
    graph = step.graph
    saved = frozenset(saved)
    needed = graph.needed_for(wanted, saved)
    recalled = [
        after
        for state, after in zip(step.states, step.after, strict=True)
        if step.input(state) in needed
    ]
    return _cost(graph, needed) + sum(
        _cost(graph, graph.needed_for([after], saved)) for after in recalled
    )


def _cost(graph: Graph, nodes: Iterable[int]) -> int:
    return sum(
        OPERATIONS[graph.nodes[node].op].cost for node in nodes if not graph.is_constant(node)
    )


# Source text


def function_text(
    graph: Graph,
    name: str,
    arguments: Mapping[int, str],
    results: Iterable[int | None],
    names: Mapping[int, str],
    *,
    keep_held: bool = False,
) -> str:
    """The program text of a function that computes nodes of a graph and returns them as a tuple.

    It is Python. Its open names are `m` for the maths, `spike` and `surrogate`.

    Args:
        graph: The graph.
        name: Name of the function.
        arguments: Names of its arguments, by the nodes that they are.
        results: Nodes that it returns; None is 0.
        names: Names for nodes that have one in the user's source.
        keep_held: Whether to call `held`, which changes nothing but gradients under autograd.
    """
    wanted = list(results)
    nodes = graph.needed_for([node for node in wanted if node is not None], frozenset(arguments))
    text_of = dict(arguments)
    taken = {*arguments.values(), *RESERVED}
    lines = []
    for node in nodes:
        op, inputs, value = graph.nodes[node]
        assert op != "input", f"{value} is not an argument"
        text = OPERATIONS[op].text.format(*(text_of[i] for i in inputs))
        if op == "number":
            text_of[node] = repr(value)
        elif op == "held":
            text_of[node] = text if keep_held else text_of[inputs[0]]
        else:
            text_of[node] = unused_name(names.get(node, f"t{node}"), taken)
            taken.add(text_of[node])
            lines.append(f"    {text_of[node]} = {text}\n")
    returned = "".join(f"{'0.0' if node is None else text_of[node]}, " for node in wanted)
    head = f"def {name}({', '.join(arguments.values())}):\n"
    return f"{head}{''.join(lines)}    return ({returned.strip()})\n"
