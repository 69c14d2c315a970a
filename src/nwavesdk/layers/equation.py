"""`neuron`: from the equation of a neuron to its layer, a class like any other."""

import ast
import inspect
import textwrap
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from nwavesdk.dynamics import Page, PageError, read_page
from nwavesdk.internal.checks import choice, close_name, shown, switch
from nwavesdk.layers.checks import accept_other_spelling
from nwavesdk.layers.constants import learned_names, stored_constants
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.stored_delays import DelayOptions

__all__ = ["EquationLayer", "equation_lines", "neuron"]

Value = float | Sequence[float] | Tensor

_ARGUMENTS = """\
    n_neurons: N, or a shape such as (C, H, W).
    constants: The constants of the equation: a number, one per neuron, or one per channel
        [C, 1, 1].
    learn: Names of the constants to train, one or several. A number is one shared parameter.
    dt: Length of a step [s].
    spike_grad, layer_topology, device, detach_reset, solver, compasso_spike_grad, saved_dtype,
        recurrent_delays: See `LIFLayer`. Where comPaSSo is not exact for the neuron, "gpu" is the
        serial solver.
"""


# The remedy for an argument that only LIF and chip layers have.
_NOT_BOUNDED = (
    ": remove it; only LIF and chip layers bound the gradient through recurrent weights. The "
    "gradient of this layer is exact, as with None there."
)

# Arguments that a read-out does not have.
_OF_SPIKES = ("spike_grad", "detach_reset", "recurrent_delays")


class EquationLayer(NeuronLayer):
    """Base of the layers that `neuron` makes.

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        learn: Names of the constants to train, one or several. A number is one shared parameter.
        dt: Length of a step [s].
        spike_grad: See `LIFLayer`; read-outs have none.
        layer_topology: See `LIFLayer`; read-outs are `"FF"`.
        device: See `LIFLayer`. Where comPaSSo is not exact for the neuron, `"gpu"` is the serial
            solver.
        detach_reset: Whether no gradient flows through `held`; None is True. Read-outs have none,
            and a page without `held` takes no False.
        solver: See `LIFLayer`.
        compasso_spike_grad: See `LIFLayer`.
        saved_dtype: See `LIFLayer`.
        recurrent_delays: See `LIFLayer`.
        constants: The constants of the page, each a number, one per neuron, or one per channel
            [C, 1, 1] of neurons [C, H, W]. [the defaults of the page]

    Raises:
        TypeError: If a constant is unknown or missing.
        ValueError: If an argument is out of its range, or does not suit the page.
    """

    @accept_other_spelling
    def __init__(
        self,
        /,
        n_neurons: int | Sequence[int],
        *,
        learn: str | Sequence[str] = (),
        dt: float = 1e-3,
        spike_grad: Any = None,
        layer_topology: str = "FF",
        device: str = "cpu",
        detach_reset: bool | None = None,
        solver: str = "auto",
        compasso_spike_grad: str = "fixed",
        saved_dtype: str | None = None,
        recurrent_delays: int | DelayOptions | None = None,
        **constants: Value,
    ) -> None:
        owner = type(self).__name__
        step = self.neuron.step

        # Surrogates, resets and recurrent weights act on spikes, which a read-out does not have.
        if self.neuron.is_readout:
            topology = choice(owner, "layer_topology", layer_topology, ["FF", "RC"])
            given = {"spike_grad": spike_grad, "detach_reset": detach_reset}
            given["layer_topology"] = None if topology == "FF" else topology
            given["recurrent_delays"] = recurrent_delays
            for name, value in given.items():
                if value is not None:
                    raise ValueError(
                        f"{owner} is a read-out, without spikes, and takes no {name}, got "
                        f"{shown(value)}: remove it."
                    )

        # By default it is detached.
        detach_reset = detach_reset is None or switch(owner, "detach_reset", detach_reset)
        if not (detach_reset or step.uses_held):
            raise ValueError(
                f"{owner}: detach_reset=False needs held(...) in the page, which marks the "
                "detached values, got a page without it: remove detach_reset=False, or use held in "
                "the page."
            )

        values = self._values_of(constants)
        learned = learned_names(owner, learn, values)
        super().__init__(
            n_neurons,
            values,
            learned=learned,
            dt=dt,
            spike_grad=spike_grad,
            layer_topology=layer_topology,
            device=device,
            detach_reset=detach_reset,
            solver=solver,
            compasso_spike_grad=compasso_spike_grad,
            saved_dtype=saved_dtype,
            recurrent_delays=recurrent_delays,
        )

    def _values_of(self, given: dict[str, Value]) -> dict[str, Value]:
        """The given constants, and the defaults of the others."""
        owner = type(self).__name__
        known = self.page.constants

        for name in given:
            if name not in known:
                names = [*inspect.signature(type(self)).parameters]
                remedy = _NOT_BOUNDED if name == "max_loop_gain" else close_name(name, names)
                raise TypeError(
                    f"{owner} has the constants {', '.join(known) or 'none'}, got an "
                    f"argument {name!r}{remedy or '.'}"
                )

        defaults = {n: c.default for n, c in known.items() if c.default is not None}
        values = {**defaults, **given}
        for name in known:
            if name not in values:
                raise TypeError(
                    f"{owner}: the constant {name} has no default: pass it, as in "
                    f"{owner}(n_neurons, {name}=...)."
                )

        return {name: values[name] for name in known}

    def extra_repr(self) -> str:
        return "\n".join([super().extra_repr(), *equation_lines(self.page)])


def neuron(function: Callable[..., Any]) -> type[EquationLayer]:
    """Make the layer of a neuron from its equation, as a class with the name of the function.

    Args:
        function: The page: one step of the neuron. Its first argument is the charge, then come the
            states (which start at their defaults, or 0), then the constants, which are keyword-only
            and have a kind: `TimeConstant`, `Positive`, `Real` or `Annotated[float, Bounded(low,
            high)]`. A keyword-only `dt` without a default receives the length of a step. It returns
            the spike and the states; without a spike, it is a read-out and returns the states.

    Returns:
        A subclass of `EquationLayer`. It is called with `n_neurons`, the constants as keywords,
        and the keywords of `EquationLayer`: `learn`, `dt`, `spike_grad`, `layer_topology`,
        `device`, `detach_reset`, `solver`, `compasso_spike_grad`, `saved_dtype` and
        `recurrent_delays`. It has no `max_loop_gain` and no `reset_mechanism`.

    Raises:
        PageError: If the function is not such an equation; the text names line and reason.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import Positive, TimeConstant, decay, held, spike
        >>> @neuron
        ... def SoftResetLayer(x, v, *, tau: TimeConstant = 20e-3, threshold: Positive = 1.0):
        ...     u = decay(tau) * v + x
        ...     s = spike(u - threshold)
        ...     return s, u - 0.5 * threshold * held(s)
        >>> layer = SoftResetLayer(3, tau=10e-3, learn="tau", solver="reference")
        >>> spk, mem = layer(torch.ones(2, 5, 3))
        >>> spk.shape, [name for name, _ in layer.named_parameters()]
        (torch.Size([2, 5, 3]), ['log_tau'])
    """
    page = read_page(function)
    _check_names(page)
    name = function.__name__

    # A constant that is stored as a logarithm or logit is read by its name, too.
    properties = {
        constant.name: _reader(constant.name)
        for constant in stored_constants(page)
        if constant.key != constant.name
    }

    attributes = {
        "__doc__": _documentation(page),
        "__module__": function.__module__,
        "__qualname__": function.__qualname__,
        "__signature__": _signature(function, page),
        "page": page,
        "stored_constants": stored_constants(page),
    }
    return type(name, (EquationLayer,), properties | attributes)


def _reader(name: str) -> property:
    """A property that reads a constant which is not stored under its name."""
    return property(lambda layer: layer.constant(name))


def _check_names(page: Page) -> None:
    """Reject constants that would hide an argument or an attribute of the layer."""
    taken = {"self", *inspect.signature(EquationLayer).parameters, *dir(EquationLayer)}
    for base in EquationLayer.__mro__:
        taken |= {*vars(base).get("__annotations__", {})}

    stored = stored_constants(page)
    for constant in stored:
        name, key = constant.name, constant.key
        owner = f"{page.neuron.name}: the constant {name}"
        if {name, key} & taken or name.startswith("_"):
            raise PageError(
                f"{owner} has a name that is an argument or an attribute of every layer, or starts "
                "with an underscore: rename it."
            )
        if key != name and key in page.constants:
            raise PageError(f"{owner} is stored as {key}, which is another constant: rename one.")


def _signature(function: Callable[..., Any], page: Page) -> inspect.Signature:
    """The arguments of the layer: constants come first among the keywords."""
    arguments = {**inspect.signature(EquationLayer).parameters}
    arguments["detach_reset"] = arguments["detach_reset"].replace(default=True, annotation=bool)
    if page.neuron.is_readout:
        arguments = {n: p for n, p in arguments.items() if n not in _OF_SPIKES}

    parameters = inspect.signature(function).parameters
    constants = [parameters[name].replace(annotation=Value) for name in page.constants]
    # The last argument is `**constants`; the constants of the page replace it.
    first, *keywords, _ = arguments.values()
    return inspect.Signature([first, *constants, *keywords])


def _lines_of(page: Page) -> tuple[list[str], list[str]]:
    """The source of a page without its docstring: its head, and its statements."""
    (function,) = ast.parse(page.source).body
    assert isinstance(function, ast.FunctionDef)
    lines = page.source.splitlines()

    # Line numbers start at 1: the lines before a statement end at its number less 1.
    first = function.body[0]
    end_of_head = end_of_doc = first.lineno - 1
    if ast.get_docstring(function) is not None:
        end_of_doc = first.end_lineno or first.lineno
    return lines[:end_of_head], lines[end_of_doc:]


def equation_lines(page: Page) -> list[str]:
    """The statements of a page, without its docstring."""
    return textwrap.dedent("\n".join(_lines_of(page)[1])).splitlines()


def _documentation(page: Page) -> str:
    """The docstring of the layer: the page's docstring, the equation, and the keywords."""
    head, statements = _lines_of(page)
    equation = textwrap.indent("\n".join(head + statements), "    ")
    text = f"{page.doc}\n\n" if page.doc else ""
    return f"{text}Equation:\n{equation}\n\nArgs of the layer:\n{_ARGUMENTS}"
