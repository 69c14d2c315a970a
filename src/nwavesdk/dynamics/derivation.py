"""The adjoint of a step, the values to save for it, and program texts, derived from its graph.

The main functions, which `Program` of `nwavesdk.dynamics.program` calls:

- `derive_adjoint` adds the backward pass to the graph (reverse mode): from the results to the
  inputs, each node multiplies the gradient of the loss with respect to itself by its partial
  derivatives, and adds the products to the gradients of its inputs.
- `find_saved` searches for the fewest values that a forward pass must save for backward.
- `guarded_results` rewrites the step for the reference solver, so that autograd computes the same
  gradients as the adjoint.
- `function_text` writes the program texts: nodes of the graph as a Python function.

The docstring of `reader` lists the places of a new operation.

Saved values are arrays of the floating dtype of the step, so a condition is never saved. Solvers
take dtype and shape from the first saved value, and may write ∂L/∂x over it.

A state before the step is *recalled*: it is computed again from the saved values of the step
before. Three places must agree on it: `sufficiency_test` (whether it is possible), `_recall_cost`
(its cost) and `Program._query` (its text).

A gradient that flows through one branch of a `where` has a *choice*: the condition, and whether it
must be true or false. If the branch is not taken, the gradient is exactly 0. Without the choice, it
could be NaN, because 0 times an infinite partial derivative of the branch is NaN. An operation is
*unbounded* if its partial derivatives may be infinite.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from itertools import combinations, starmap
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

# The node of a condition, and whether it must be true or false; None: always.
Choice = tuple[int, bool] | None

# For each size, `find_saved` compares all sets of candidates if there are at most this many, and
# otherwise only sets of preferred candidates.
MAX_SETS = 50_000

# Names with a meaning in a text, or in the kernel around it. `sigma` and `k0`… are the surrogate's
# derivative and parameters.
RESERVED = {
    "m",
    "spike",
    "surrogate",
    "held",
    "decay",
    "real",
    "index",
    "where",
    "abs",
    "pow",
    "exp",
    "log",
    "sqrt",
    "tanh",
    "sin",
    "cos",
    "floor",
    "np",
    "tl",
    "triton",
    "sigma",
    *(f"k{i}" for i in range(16)),
}


def constant_inputs(graph: Graph, nodes: Iterable[int]) -> list[int]:
    """The constants that solvers get, in the order of first use.

    They are the constant nodes among `nodes` and among the inputs of value nodes. So an expression
    of constants alone, such as `decay(tau)`, is computed once per call, not in each step.

    Args:
        graph: The graph.
        nodes: Nodes to compute.
    """
    wanted = list(nodes)
    users = [node for node in graph.needed_for(wanted) if not graph.is_constant(node)]

    # From the last user to the first, so that the first user of a constant stays in the dictionary.
    first_use = {
        constant: user
        for user in reversed(users)
        for constant in graph.nodes[user].inputs
        if graph.is_constant(constant)
    }
    constants = {*first_use, *(node for node in wanted if graph.is_constant(node))}

    # Numbers are written into the text.
    constants = {node for node in constants if graph.number_of(node) is None}

    # A constant that no value node uses is a wanted node, and takes its own place in the order.
    return sorted(constants, key=lambda node: (first_use.get(node, node), node))


# Choices of branches, and operations with infinite derivatives


def _nested(graph: Graph, outer: Choice, inner: tuple[int, bool]) -> tuple[int, bool]:
    """The choice that holds if both hold."""
    return inner if outer is None else _joined(graph, "and", [outer, inner])


def _joined(graph: Graph, op: str, choices: list[tuple[int, bool]]) -> tuple[int, bool]:
    """The choice that holds if all (`op` is `"and"`) or any (`"or"`) of the choices hold."""
    if len(choices) == 1:
        return choices[0]
    result, *others = (c if is_true else graph.add("not", c) for c, is_true in choices)
    for condition in others:
        result = graph.add(op, result, condition)
    return result, True


def _where(graph: Graph, choice: tuple[int, bool], value: int, otherwise: int) -> int:
    """The node of a value where a choice holds, and of another value elsewhere."""
    condition, is_true = choice
    branches = (value, otherwise) if is_true else (otherwise, value)
    return graph.add("where", condition, *branches)


def _is_unbounded(graph: Graph, node: int) -> bool:
    """Whether the partial derivatives of an operation may be infinite."""
    op, inputs, _ = graph.nodes[node]
    number = graph.number_of(inputs[1]) if op in ("**", "/") else None
    if number is None:
        return OPERATIONS[op].unbounded_in is not None

    # Powers below 1 are infinitely steep at a base of 0. A quotient by a number is unbounded only
    # if the number is 0.
    return number < 1 if op == "**" else number == 0


def _descend_from_unbounded(graph: Graph) -> set[int]:
    """The unbounded operations, and all nodes that are computed from them."""
    descendants: set[int] = set()
    for node, (_, inputs, _) in enumerate(graph.nodes):
        if _is_unbounded(graph, node) or descendants.intersection(inputs):
            descendants.add(node)
    return descendants


# The adjoint


class _Accumulator:
    """The gradient of each node as a sum of contributions."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.after_unbounded = _descend_from_unbounded(graph)
        # Contributions by node: the choice under which they are not 0, and the node of the product.
        self.contributions: dict[int, list[tuple[Choice, int]]] = {}

    def add(self, node: int, choice: Choice, gradient: int) -> None:
        """Add a contribution to the gradient of a node."""
        self.contributions.setdefault(node, []).append((choice, gradient))

    def pop_sum(self, node: int) -> tuple[Choice, int] | None:
        """The choice under which the sum for a node is not 0, and the sum; None if it is empty."""
        # Contributions under one choice are added first, so each choice needs one `where`.
        sums: dict[Choice, int] = {}
        for choice, gradient in self.contributions.pop(node, []):
            earlier = sums.get(choice)
            sums[choice] = gradient if earlier is None else self.graph.plus(earlier, gradient)
        if len(sums) < 2:
            return next(iter(sums.items()), None)

        total, *others = starmap(self.masked, sums.items())
        for other in others:
            total = self.graph.plus(total, other)

        # If no unbounded operation is between the inputs of the step and this node, the 0 of a mask
        # stays 0 on its way to the inputs. The sum then needs no choice.
        if node not in self.after_unbounded or None in sums:
            return None, total
        return _joined(self.graph, "or", [choice for choice in sums if choice]), total

    def total(self, node: int) -> int | None:
        """The sum for a node, 0 where its choice does not hold; None if it is empty."""
        summed = self.pop_sum(node)
        return None if summed is None else self.masked(*summed)

    def masked(self, choice: Choice, gradient: int) -> int:
        """The gradient, with 0 where its choice does not hold."""
        if choice is None:
            return gradient
        return _where(self.graph, choice, gradient, self.graph.number(0))


def derive_adjoint(step: Step, detach_reset: bool) -> dict[int, int | None]:
    """Derive the adjoint of a step.

    The gradients with respect to the results are new inputs of the graph: see `gradient_input`.

    Args:
        step: The step. Nodes are added to its graph.
        detach_reset: Whether no gradient flows through `held`.

    Returns:
        For the charge, each state and each constant that solvers get, the node of the gradient of
        the loss; None if the gradient is 0.
    """
    graph = step.graph
    results = [*step.results]
    constants = constant_inputs(graph, results)

    # The gradients with respect to the results, from which the adjoint starts.
    sums = _Accumulator(graph)
    for state, node in zip(step.states, step.after, strict=True):
        sums.add(node, None, gradient_input(graph, state))
    sums.add(step.results[0], None, gradient_input(graph))

    # In this order, the gradient of a node is complete before it is passed on.
    for node in reversed(graph.needed_for(results)):
        if not graph.is_constant(node) and graph.nodes[node].op != "input":
            _pass_back(graph, sums, node, detach_reset)

    values = [step.input(name) for name in (step.charge, *step.states)]
    return {node: sums.total(node) for node in (*values, *constants)}


def gradient_input(graph: Graph, state: str | None = None) -> int:
    """Node of the gradient with respect to a state after the step, or to the output.

    The output is the spike, or the first state of a read-out.
    """
    # Names on a page have no spaces, so none is equal to this name.
    return graph.add("input", value=f"grad of {state or 'the output'}")


def _pass_back(graph: Graph, sums: _Accumulator, node: int, detach_reset: bool) -> None:
    """Add the gradient of a node, times its partial derivatives, to the gradients of its inputs."""
    op, inputs, _ = graph.nodes[node]
    summed = sums.pop_sum(node)
    if summed is None or (op == "held" and detach_reset):
        return

    # A branch of `where` gets the whole gradient, under the choice that the branch is taken.
    choice, g = summed
    if op == "where":
        condition, *branches = inputs
        for branch, is_true in zip(branches, (True, False), strict=True):
            sums.add(branch, _nested(graph, choice, (condition, is_true)), g)
        return

    for i, partial in zip(inputs, OPERATIONS[op].partials, strict=True):
        if graph.number_of(i) is None:  # numbers have no gradient
            sums.add(i, choice, partial(graph, g, node, *inputs))


# Saved values


def find_saved(step: Step, wanted: Iterable[int], given: Iterable[int] = ()) -> tuple[int, ...]:
    """The smallest set of nodes that a forward pass must save to compute other nodes in backward.

    Backward has the saved values of this step and of the step before. From the values of the step
    before, it recalls the states before this step. Among sets of equal size, the set with the
    cheapest computation in backward is taken. For a long page, only sets of preferred nodes are
    compared, so a smaller set may exist.

    Args:
        step: The step.
        wanted: Nodes of the adjoint, or of the step, to compute in backward.
        given: Nodes that the set must contain.

    Returns:
        The nodes of the set, with the given nodes first.
    """
    graph = step.graph
    wanted = list(wanted)
    given = tuple(given)
    charge = step.input(step.charge)

    # Constants are known, and conditions are not floating-point values. `held` equals its input,
    # and the spike is computed from its argument, which is a candidate. A state before the step is
    # recalled, not saved, unless it is also a state after the step: a page may return `v` as the
    # next `last`.
    candidates = [
        node
        for node in graph.needed_for([*step.results])
        if not graph.is_constant(node)
        and node not in given
        and not graph.is_condition(node)
        and graph.nodes[node].op not in {"held", "spike"}
        and (graph.nodes[node].op != "input" or node == charge or node in step.after)
    ]

    # If there are too many sets of all candidates, only sets of these are compared. The charge and
    # the states after the step, which are always sufficient, are among them.
    preferred = {
        charge,
        *step.names,
        *step.after,
        *(i for node in step.results for i in graph.nodes[node].inputs),
    }
    few = [node for node in candidates if node in preferred]

    # The charge and all states together are sufficient, so larger sets are not needed.
    is_enough = sufficiency_test(step)
    for size in range(len(step.states) + 2):
        compared = candidates if comb(len(candidates), size) <= MAX_SETS else few
        costs = {
            given + more: _recall_cost(step, wanted, given + more)
            for more in combinations(compared, size)
            if is_enough(wanted, given + more)
        }
        if costs:
            return min(costs, key=lambda saved: (costs[saved], saved))
    raise AssertionError("the charge and all states after the step are always enough")


def is_computed_from(graph: Graph, node: int, source: int) -> bool:
    """Whether a node follows from the node `source` and constants alone."""
    needed = graph.needed_for([node], frozenset([source]))
    return all(graph.nodes[i].op != "input" or graph.is_constant(i) for i in needed)


def sufficiency_test(step: Step) -> Callable[[Iterable[int], Collection[int]], bool]:
    """A function `is_enough(wanted, saved)`: whether backward can compute the wanted nodes.

    A state before the step must follow from the values that the step before has saved, and from no
    earlier state. `find_saved` calls the function thousands of times, so each call ends at the
    first input that is not available, and constants are removed from the graph beforehand.
    """
    graph = step.graph
    charge = step.input(step.charge)
    after_of_state = dict(zip(map(step.input, step.states), step.after, strict=True))

    # Without constants, which are always known.
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
            if node in after_of_state:
                recalled.append(after_of_state[node])

        # Of the step before, only its saved values are available, not its charge or earlier states.
        return {charge, *after_of_state}.isdisjoint(needed_values(recalled, saved))

    return is_enough


def _recall_cost(step: Step, wanted: list[int], saved: Iterable[int]) -> int:
    """The cost of computing `wanted` in backward from `saved`, recalled states included."""
    graph = step.graph
    saved = frozenset(saved)
    needed = graph.needed_for(wanted, saved)
    recalled = [
        node_after
        for state, node_after in zip(step.states, step.after, strict=True)
        if step.input(state) in needed
    ]
    return _cost(graph, needed) + sum(
        _cost(graph, graph.needed_for([node_after], saved)) for node_after in recalled
    )


def _cost(graph: Graph, nodes: Iterable[int]) -> int:
    return sum(
        OPERATIONS[graph.nodes[node].op].cost for node in nodes if not graph.is_constant(node)
    )


# The step under autograd


def guarded_results(step: Step) -> list[int]:
    """The results of a step in a form for which autograd computes the gradients of the adjoint.

    If a branch is not taken, autograd multiplies its gradient 0 by partial derivatives, and an
    infinite derivative gives NaN. So an unbounded operation that is used only in branches gets the
    input 1 wherever none of these branches is taken: `where(u > 0, log(u), 0)` becomes
    `where(u > 0, log(where(u > 0, u, 1)), 0)`. Conditions have no gradient and do not change.
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

        new_inputs = [guarded[i] for i in inputs]
        choices = [choice for choice in uses.get(node, ()) if choice is not None]
        if choices and None not in uses[node] and _is_unbounded(graph, node):
            position = OPERATIONS[op].unbounded_in
            assert position is not None
            choice = _joined(graph, "or", choices)
            new_inputs[position] = _where(graph, choice, new_inputs[position], graph.number(1))

        guarded[node] = graph.add(op, *new_inputs, value=value)
    return [guarded[node] for node in step.results]


def _choices_of_uses(step: Step, order: list[int]) -> dict[int, set[Choice]]:
    """For each node, the choices under which its gradient may differ from 0.

    The choice None means always.
    """
    graph = step.graph
    uses: dict[int, set[Choice]] = {node: {None} for node in step.results}

    # In reversed order, all users of a node are before the node.
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


# Program texts


def unused_name(name: str, taken: Collection[str]) -> str:
    """The name, followed by as many underscores as make it different from all taken names."""
    while name in taken:
        name += "_"
    return name


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

    It is Python. Its open names are `m` for the maths, `spike`, `surrogate` and, with `keep_held`,
    `held`.

    Args:
        graph: The graph.
        name: Name of the function.
        arguments: Names of its arguments, by their nodes.
        results: Nodes that it returns; None is written as 0.
        names: Names of nodes in the user's source; other nodes are called `t` and their index.
        keep_held: Whether to call `held`, which changes nothing but gradients under autograd.
    """
    wanted = list(results)
    nodes = graph.needed_for([node for node in wanted if node is not None], frozenset(arguments))

    # The text of a node in later lines: its name, or a number itself.
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
