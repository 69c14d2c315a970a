"""Containers that are not a plain sequence: `Residual`, `Branches`, `Repeat` and `Feedback`.

`follow` is the walk through containers of all tools that trace signals. A new container that is not
a `Joined` needs a case there, and a method in `_CONTAINERS` of `interop/nir/export.py`.
"""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nwavesdk.internal.checks import choice, shown, whole_number
from nwavesdk.layers.prepare import Prepared, as_trainable
from nwavesdk.net.calls import Outputs
from nwavesdk.net.container import Container, Pass, run_module
from nwavesdk.net.sequential import SpikingSequential

__all__ = ["Branches", "Feedback", "Joined", "Memory", "Repeat", "Residual", "follow", "run_steps"]

Signal = TypeVar("Signal")


class Joined(Container):
    """Base of modules side by side that all get the input; their outputs are concatenated or added.

    Its modules are the branches. None in place of a module passes on the input.

    Attributes:
        join: `"concatenate"` or `"add"`.
    """

    join = "add"

    def _run_inside(self, x: Tensor, run: Pass) -> Outputs:
        outputs = [
            x if module is None else run_module(module, x, run, is_last=False)[0]
            for module in self._modules.values()
        ]

        axis = 2 if run.is_sequence(x) else 1
        shapes = [list(y.shape) for y in outputs]
        is_sum = self.join == "add"
        # The channels of outputs that are concatenated may differ.
        fixed = shapes if is_sum else [shape[:axis] + shape[axis + 1 :] for shape in shapes]
        if any(sizes != fixed[0] for sizes in fixed):
            equal = "outputs" if is_sum else "all dimensions but the channels"
            raise ValueError(
                f"{type(self).__name__}: the outputs of {', '.join(self._modules)} have the "
                f"shapes {shapes}, expected equal {equal}: change the sizes, or put a synapse "
                "into the shortcut or the branch that differs."
            )

        y = sum(outputs[1:], outputs[0]) if is_sum else torch.cat(outputs, axis)
        return y, y


class Residual(Joined):
    """Modules in order, and a shortcut past them: `y = body(x) + shortcut(x)`.

    Spikes of the body and of the input add up, to 0, 1 or 2. A gradient through the shortcut passes
    no surrogate, and does not vanish in deep nets.

    Args:
        modules: The body; it runs as a `SpikingSequential`.
        shortcut: A module that brings the input to the shape of the body's output. If None, the
            input is added unchanged.

    Shape:
        `x` as `SpikingSequential`. Returns the sum twice: it has no membrane.

    Raises:
        ValueError: If the outputs of body and shortcut have different shapes.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> block = Residual(LIFSynapse(8, 8), LIFLayer(8, taus=10e-3))
        >>> block(torch.zeros(2, 50, 8))[0].shape
        torch.Size([2, 50, 8])

    References:
        W. Fang, Z. Yu, Y. Chen, T. Huang, T. Masquelier and Y. Tian, "Deep residual learning in
        spiking neural networks", 2021, doi:10.48550/arXiv.2102.04159, section 3.2 (ADD).
    """

    shortcut: nn.Module | None

    def __init__(self, *modules: nn.Module, shortcut: nn.Module | None = None) -> None:
        super().__init__()
        self.body = SpikingSequential(*modules)
        self.register_module("shortcut", shortcut)


class Branches(Joined):
    """Modules side by side that all get the input; their outputs are concatenated or added.

    Args:
        modules: The branches; each may be a `SpikingSequential`.
        join: `"concatenate"` joins the outputs along the channels, their first feature dimension;
            `"add"` adds them.

    Shape:
        `x` as `SpikingSequential`. Returns the joined outputs twice: they have no membrane.

    Raises:
        ValueError: If there is no branch, `join` is unknown, or the outputs do not fit.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> fast = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=5e-3))
        >>> slow = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=50e-3))
        >>> Branches(fast, slow)(torch.zeros(2, 50, 3))[0].shape
        torch.Size([2, 50, 16])
    """

    def __init__(self, *modules: nn.Module, join: str = "concatenate") -> None:
        super().__init__()
        if not modules:
            raise ValueError("Branches takes at least one module, got none.")

        self.join = choice("Branches", "join", join, ("concatenate", "add"))
        for i, module in enumerate(modules):
            self.add_module(str(i), module)

    def _first_module(self) -> nn.Module | None:
        """A convolution that gets the input, because it determines the dimensions."""
        for branch in self._modules.values():
            first = branch._first_module() if isinstance(branch, Container) else branch
            if isinstance(first, _ConvNd):
                return first

        return None

    def extra_repr(self) -> str:
        return f"join={self.join!r}"


class Repeat(SpikingSequential):
    """A block several times in a row, each time with its own weights and state.

    Args:
        times: Number of blocks.
        build: A function without arguments that makes a block.
        checkpoint: See `SpikingSequential`.

    Raises:
        TypeError: If `build` is not a function that returns a torch module, or returns the
            same module twice.
        ValueError: If `times` is not a whole number above 0.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> net = Repeat(3, lambda: Residual(LIFSynapse(8, 8), LIFLayer(8, taus=10e-3)))
        >>> len(net)
        3
    """

    def __init__(
        self, times: int, build: Callable[[], nn.Module], checkpoint: int | None = None
    ) -> None:
        times = whole_number("Repeat", "times", times)
        if isinstance(build, nn.Module) or not callable(build):
            raise TypeError(
                f"Repeat takes a function that makes a block, got {shown(build)}: pass "
                "lambda: SpikingSequential(...), so that each block has its own weights."
            )

        blocks = [build() for _ in range(times)]
        if len({id(block) for block in blocks}) < times:
            raise TypeError(
                "Repeat: build() returned the same module twice, expected a new one each time: "
                "make the block within the function."
            )

        super().__init__(*blocks, checkpoint=checkpoint)


class Memory(Prepared):
    """Tensors from the last step for the next step, such as the output of `Feedback`."""

    _state_attributes = ("tensors",)
    tensors: tuple[Tensor, ...] | None = None

    def read(self, owner: str, batch: int) -> tuple[Tensor, ...]:
        """The tensors [batch, ...]; none before the first step.

        Raises:
            RuntimeError: If the tensors have another batch size.
        """
        if self.tensors is None:
            return ()
        self._require_own_state()
        if len(self.tensors[0]) != batch:
            raise RuntimeError(
                f"{owner} has state for a batch of {len(self.tensors[0])}, the input has {batch}: "
                "call prepare_net(model) before a new batch."
            )
        return tuple(as_trainable(tensor) for tensor in self.tensors)

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        self._set_state(tuple(tensors) or None)


class Feedback(Container):
    """A net whose output comes back to its input one step later: recurrence over several layers.

        y[t] = body(x[t] + feedback(y[t-1])),  y[-1] = 0

    It is a loop of Python: a layer with `layer_topology="RC"` is much faster where one layer drives
    only itself.

    Args:
        modules: The body; it runs as a `SpikingSequential`.
        feedback: The module from the output of the body to its input, such as a synapse; None adds
            the output itself.

    Shape:
        `x` as `SpikingSequential`. Returns the body's outputs.

    Raises:
        ValueError: If the feedback's output has another shape than the input.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> layers = LIFSynapse(3, 8), LIFLayer(8, 10e-3), LIFSynapse(8, 5), LIFLayer(5, 10e-3)
        >>> net = Feedback(*layers, feedback=LIFSynapse(5, 3))
        >>> net(torch.zeros(2, 50, 3))[0].shape
        torch.Size([2, 50, 5])
    """

    feedback: nn.Module | None

    def __init__(self, *modules: nn.Module, feedback: nn.Module | None = None) -> None:
        super().__init__()
        self.body = SpikingSequential(*modules)
        self.register_module("feedback", feedback)
        self.memory = Memory()

    def _run_inside(self, x: Tensor, run: Pass) -> Outputs:
        return run_steps("Feedback", self.memory, self._run_step, x, run)

    def _run_step(self, x: Tensor, run: Pass) -> Outputs:
        # Before the first step, the memory has no output.
        charge = x
        for y in self.memory.read("Feedback", len(x)):
            if self.feedback is not None:
                y, _ = run_module(self.feedback, y, run, is_last=False)
            if y.shape != x.shape:
                raise ValueError(
                    f"Feedback: the output of the feedback has the shape {list(y.shape)}, the "
                    f"input of a step {list(x.shape)}, expected equal shapes: change the feedback."
                )
            charge = x + y

        spk, mem = run_module(self.body, charge, run, is_last=True)
        self.memory.load_state_tensors([spk])
        return spk, mem


def run_steps(
    owner: str,
    memory: Prepared,
    run_step: Callable[[Tensor, Pass], Outputs],
    x: Tensor,
    run: Pass,
) -> Outputs:
    """Run a container one step at a time, because each step needs outputs of the step before.

    Args:
        owner: Name of the container, for errors.
        memory: The outputs of the step before; they are restored if the call fails.
        run_step: Runs one step, [B, ...].
        x: The input, [B, T, ...] or [B, ...].
        run: The data that the modules of the call share.

    Returns:
        Spikes and membranes, or twice the output of modules without a membrane.

    Raises:
        ValueError: If a sequence has no step.
    """
    run.restorers.append(memory.state_restorer())
    one_step = Pass(None, True, run.restorers)
    if not run.is_sequence(x):
        return run_step(x, one_step)

    outputs = [run_step(x[:, t], one_step) for t in range(x.shape[1])]
    if not outputs:
        raise ValueError(f"{owner} takes sequences of at least one step, got none.")

    # An output without a membrane is one tensor, returned twice.
    spk = torch.stack([s for s, _ in outputs], 1)
    if all(s is m for s, m in outputs):
        return spk, spk
    return spk, torch.stack([m for _, m in outputs], 1)


def follow(
    module: nn.Module,
    name: str,
    given: Signal,
    leaf: Callable[[nn.Module, str, Signal], Signal],
    join: Callable[[Joined, str, list[Signal]], Signal],
) -> Signal:
    """Follow a signal through a module, in the order of execution.

    Args:
        module: The module.
        name: Its name.
        given: What a tool knows about its input.
        leaf: From a module that is neither a `SpikingSequential` nor a `Joined`, its name and its
            input to its output.
        join: From a `Joined`, its name and the outputs of its branches to its output.

    Returns:
        What the tool knows about the output.
    """
    prefix = f"{name}." if name else ""
    children = {prefix + key: child for key, child in module._modules.items()}
    if isinstance(module, SpikingSequential):
        for key, child in children.items():
            if child is not None:
                given = follow(child, key, given, leaf, join)
        return given

    if isinstance(module, Joined):
        outputs = [
            given if child is None else follow(child, key, given, leaf, join)
            for key, child in children.items()
        ]
        return join(module, name, outputs)
    return leaf(module, name, given)
