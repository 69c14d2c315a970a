"""The step of a neuron as a C function, written from the graph of its page.

The function computes in float32, operation by operation, as the serial solver does, so that it has
the solver's bits. A compiler must not fuse a product and a sum: the runtime header prevents it.
"""

from nwavesdk.dynamics import Neuron
from nwavesdk.dynamics.derivation import unused_name
from nwavesdk.dynamics.graph import Node
from nwavesdk.interop.c.tables import c_float

__all__ = ["step_function"]

# The operations of pages in C. `nw_exp` is in the runtime header: the solver has its own, too.
_C_TEXTS = {
    "spike": "{} > 0.0f ? 1.0f : 0.0f",
    "held": "{}",
    "neg": "-{}",
    "+": "{} + {}",
    "-": "{} - {}",
    "*": "{} * {}",
    "/": "{} / {}",
    "**": "powf({}, {})",
    "abs": "fabsf({})",
    "exp": "nw_exp({})",
    "log": "logf({})",
    "sqrt": "sqrtf({})",
    "tanh": "tanhf({})",
    "sin": "sinf({})",
    "cos": "cosf({})",
    "where": "{} ? {} : {}",
    "<": "{} < {}",
    "<=": "{} <= {}",
    ">": "{} > {}",
    ">=": "{} >= {}",
    "==": "{} == {}",
    "!=": "{} != {}",
    "and": "{} && {}",
    "or": "{} || {}",
    "not": "!{}",
}

# Names that a page may use and C may not.
_C_WORDS = frozenset(
    [
        "auto",
        "break",
        "case",
        "char",
        "const",
        "continue",
        "default",
        "do",
        "double",
        "else",
        "enum",
        "extern",
        "float",
        "for",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "register",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "typedef",
        "union",
        "unsigned",
        "void",
        "volatile",
        "while",
        "I",
        "NULL",
    ]
)


def step_function(neuron: Neuron, name: str) -> str:
    """The C function of a step: `float NAME(float charge, float *state..., float constant...)`.

    It returns the spike, or the first state of a read-out, and changes the states.

    Args:
        neuron: The neuron.
        name: Name of the function.

    Example:
        >>> from nwavesdk.dynamics import LIF_PAGES
        >>> print(step_function(LIF_PAGES["subtraction"].neuron, "neuron1"))
        NW_INLINE float neuron1(float x, float *v_, float decay_tau, float threshold)
        {
            const float v = *v_;
            const float t5 = decay_tau * v;
            const float u = t5 + x;
            const float t7 = u - threshold;
            const float s = t7 > 0.0f ? 1.0f : 0.0f;
            const float t10 = threshold * s;
            const float t11 = u - t10;
            *v_ = t11;
            return s;
        }
        <BLANKLINE>
    """
    step = neuron.step
    graph = step.graph
    taken = set(_C_WORDS) | {f"{state}_" for state in neuron.states}

    def new_name(wanted: str) -> str:
        name = unused_name(wanted, taken)
        taken.add(name)
        return name

    charge = new_name(step.charge)
    states = [new_name(state) for state in neuron.states]
    constants = [new_name(constant) for constant in neuron.constants]
    text_of = {step.input(step.charge): charge}
    text_of |= {step.input(key): state for key, state in zip(neuron.states, states, strict=True)}
    text_of |= dict(zip(neuron.constant_nodes, constants, strict=True))

    lines = [f"const float {state} = *{state}_;" for state in states]
    arguments = frozenset(text_of)
    for node in graph.needed_for([*step.results], arguments):
        expression = _expression(graph.nodes[node], [text_of[i] for i in graph.nodes[node].inputs])
        if graph.nodes[node].op in ("number", "held"):
            text_of[node] = expression
            continue

        text_of[node] = new_name(step.names.get(node, f"t{node}"))
        kind = "int" if graph.is_condition(node) else "float"
        lines.append(f"const {kind} {text_of[node]} = {expression};")

    lines += [f"*{s}_ = {text_of[n]};" for s, n in zip(states, step.after, strict=True)]
    lines.append(f"return {text_of[step.results[0]]};")

    parameters = [f"float {charge}", *(f"float *{state}_" for state in states)]
    parameters += [f"float {constant}" for constant in constants]
    body = "".join(f"    {line}\n" for line in lines)
    return f"NW_INLINE float {name}({', '.join(parameters)})\n{{\n{body}}}\n"


def _expression(node: Node, inputs: list[str]) -> str:
    if node.op == "number":
        assert isinstance(node.value, float)
        return c_float(node.value)
    return _C_TEXTS[node.op].format(*inputs)
