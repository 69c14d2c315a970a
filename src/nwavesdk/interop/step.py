"""One step of a net as a function of its input and its states, for other programs.

Design requirements:

- The function is plain torch: neurons run as the reference solver runs them, products are dense.
- The function has no memory: all states are inputs and outputs.
- Values that do not change from step to step, such as effective weights, are computed once.
- A function that was written to a file is compared with the net that it came from, step by step.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import shown
from nwavesdk.layers import DenseSynapse, NeuronLayer, prepare_net
from nwavesdk.layers.past import PastSynapse
from nwavesdk.layers.prepare import Prepared
from nwavesdk.net.container import Container
from nwavesdk.net.preparation import prepared
from nwavesdk.net.wiring import watch_calls

__all__ = ["State", "StepCheck", "StepFunction", "StepNet", "compare_steps", "step_samples"]

StepFunction = Callable[[Tensor, list[Tensor]], tuple[list[Tensor], list[Tensor]]]
"""A step as a function of the input and the states before: `outputs, states = run(x, states)`."""

# Largest difference from the order of sums, relative to the largest value or to 1.
TOLERANCE = 1e-4

# Rounding may move a membrane across its threshold. This fraction of all steps may differ for this
# reason; a wrong function differs in nearly all steps.
MAX_DIFFERENT = 0.01

# The random input of a comparison: the steps that a value lasts, and its largest factor.
STEPS_HELD = 10
MAX_GROWTH = 8.0


@dataclass(frozen=True, kw_only=True)
class State:
    """A tensor that a step takes from the step before, such as the membranes of a layer.

    Attributes:
        name: Path of the module in the net, and the name of the state.
        shape: Its shape, without the batch.
        initial: Its value before the first step.
        dtype: Its dtype, such as `"float32"`.
        has_batch: Whether each recording has its own value; a counter of steps has only one.

    Example:
        >>> state = State(name="1.v", shape=(2,), initial=0.0, dtype="float32", has_batch=True)
        >>> state.first(batch=3).shape
        torch.Size([3, 2])
    """

    name: str
    shape: tuple[int, ...]
    initial: float
    dtype: str
    has_batch: bool

    def first(self, batch: int) -> Tensor:
        """The state before the first step."""
        shape = (batch, *self.shape) if self.has_batch else self.shape
        return torch.full(shape, self.initial, dtype=getattr(torch, self.dtype))


class StepNet(nn.Module):
    """One step of a net: `*outputs, *states = step(x, states)`.

    Args:
        net: A net of containers of this library; it does not change.
        input_shape: Shape of one step of the input, without the batch.

    Attributes:
        input_shape: The argument, as a tuple.
        states: The descriptions of the states, in their order.
        outputs: Names of the outputs: `spk` and `mem`, or `out` for a net that ends in a module
            with one output.

    Raises:
        ValueError: If the net cannot run step by step.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> step = StepNet(SpikingSequential(LIFLayer(2, 20e-3)), input_shape=(2,))
        >>> step.outputs, [state.name for state in step.states]
        (('spk', 'mem'), ['0.v'])
        >>> spk, mem, v = step(torch.full((1, 2), 0.5), step.first_states(batch=1))
        >>> mem.tolist()
        [[0.5, 0.5]]
    """

    def __init__(self, net: nn.Module, input_shape: Sequence[int]) -> None:
        super().__init__()
        if not isinstance(net, Container):
            raise ValueError(
                f"step: got a net of type {shown(type(net).__name__)}, which has no step(x), "
                "expected SpikingSequential or another container of nwavesdk: build it of these."
            )

        self.input_shape = tuple(input_shape)
        self.net: Container = copy.deepcopy(net).eval().requires_grad_(False)
        _freeze_constants(self.net)

        # A step of zeros shows the outputs and the states.
        x = torch.zeros(1, *self.input_shape)
        with torch.no_grad():
            spk, mem = self.net.step(x)
        self.outputs = ("out",) if spk is mem else ("spk", "mem")
        self.states = tuple(_states(self.net))
        self._counts = [len(module.state_tensors()) for module in _prepared(self.net)]

        prepare_net(self.net)
        self.eval()

    def first_states(self, batch: int) -> list[Tensor]:
        """The states before the first step."""
        return [state.first(batch) for state in self.states]

    def forward(self, x: Tensor, states: list[Tensor]) -> tuple[Tensor, ...]:
        """The outputs and the states after the step, in one tuple."""
        remaining = iter(states)
        modules = _prepared(self.net)
        for module, count in zip(modules, self._counts, strict=True):
            if count:
                module.load_state_tensors([next(remaining) for _ in range(count)])

        spk, mem = self.net.step(x)
        after = read_states(self.net)
        for module in modules:
            module.forget_state()
        return *((spk,) if spk is mem else (spk, mem)), *after


def _prepared(net: nn.Module) -> list[Prepared]:
    return [module for module in net.modules() if isinstance(module, Prepared)]


def read_states(net: nn.Module) -> list[Tensor]:
    """All states of a net that has run, in the order of its modules."""
    return [tensor for module in _prepared(net) for tensor in module.state_tensors()]


def _freeze_constants(net: nn.Module) -> None:
    """Prepare a net, and let its modules return effective weights without computing them again."""
    prepare_net(net)
    for module in net.modules():
        if isinstance(module, DenseSynapse):
            module.product = "dense"
        if hasattr(module, "effective_weight"):  # synapses, and the front ends of chips
            _freeze_result(module, "effective_weight")
        if isinstance(module, NeuronLayer):
            module.solver = "reference"
            _freeze_result(module, "effective_recurrent_weights")


@torch.no_grad()
def _freeze_result(module: Any, method: str) -> None:
    """Replace a method of a module by a function that returns its present value."""
    value = getattr(module, method)()
    setattr(module, method, lambda: value)


def _states(net: nn.Module) -> Iterator[State]:
    """The states of a net that has made a step."""
    for path, module in net.named_modules():
        tensors = module.state_tensors() if isinstance(module, Prepared) else []
        initial: Sequence[float] = ()
        names = ["past" if isinstance(module, PastSynapse) else "state"]
        if isinstance(module, NeuronLayer):
            initial = module.neuron.step.initial
            names = [*module.neuron.states, "spikes"]
        elif len(tensors) > 1:
            names = [f"{names[0]}{i}" for i in range(len(tensors))]

        # States begin at 0, except for the states of neurons.
        values = [*initial, *[0.0] * len(tensors)]
        for name, tensor, value in zip(names, tensors, values, strict=False):
            shape, dtype = tuple(tensor.shape[1:]), str(tensor.dtype).removeprefix("torch.")
            full_name = f"{path}.{name}" if path else name
            yield State(
                name=full_name,
                shape=shape,
                initial=float(value),
                dtype=dtype,
                has_batch=tensor.ndim > 0,
            )


@dataclass(frozen=True, kw_only=True)
class StepCheck:
    """The result of a comparison of a function with its net.

    Attributes:
        steps: Number of steps of single recordings that were compared.
        different: How many of them differ.
        first: The first step in which a recording differs, from 0; None if all are equal.
        spikes: Spikes of all layers of the net.
        silent: Names of the layers that never fired, whose resets were therefore not compared.
        error: Largest difference of a value in a step that is equal, relative to the largest value.

    Example:
        >>> print(StepCheck(steps=400, different=0, first=None, spikes=1200, silent=(), error=0.0))
        400 of 400 steps equal the steps of the net (1,200 spikes, values within 0)
    """

    steps: int
    different: int
    first: int | None
    spikes: int
    silent: tuple[str, ...]
    error: float

    @property
    def is_equal(self) -> bool:
        """Whether the function equals the net, up to the rounding of sums."""
        return self.different <= MAX_DIFFERENT * self.steps

    def __str__(self) -> str:
        text = f"{self.steps - self.different:,} of {self.steps:,} steps equal the steps of the net"
        if self.first is not None:
            text += f", the first difference is in step {self.first}"
        text += f" ({self.spikes:,} spikes, values within {self.error:.1g})"
        return text + (f"; no spikes in {', '.join(self.silent)}" if self.silent else "")


@torch.no_grad()
def compare_steps(
    net: Container, step: StepNet, run: StepFunction, *, batch: int = 4, steps: int = 100
) -> StepCheck:
    """Compare a function with its net, which runs on its own solvers.

    Each step of the function begins with the states of the net, so that a difference counts once.

    Args:
        net: The net.
        step: The step of the net.
        run: The function, which was read from a file, for example.
        batch: Recordings of the input, which is random; see `_random_input`.
        steps: Steps of each recording.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(LIFLayer(2, 20e-3))
        >>> step = StepNet(net, input_shape=(2,))
        >>> def run(x, states):
        ...     spk, mem, *after = step(x, states)
        ...     return [spk, mem], after
        >>> compare_steps(net, step, run, batch=1, steps=40).is_equal
        True
    """
    net = copy.deepcopy(net).eval()
    spikes = {
        module: 0
        for module in net.modules()
        if isinstance(module, NeuronLayer) and not module.neuron.is_readout
    }

    def count(layer: NeuronLayer, _: Tensor, fired: Tensor) -> None:
        """Count the spikes of a call."""
        if layer in spikes:
            spikes[layer] += int((fired > 0).sum())

    x = _random_input(steps, (batch, *step.input_shape))
    is_different = torch.zeros(steps, batch, dtype=torch.bool)
    error = 0.0
    with prepared(net), watch_calls(net, lambda *_: None, count):
        for t, (before, expected, after) in enumerate(_true_steps(net, step, x)):
            outputs, states = run(x[t], before)

            pairs = zip([*outputs, *states], [*expected, *after], strict=True)
            distances = torch.stack([_distance(*pair).expand(batch) for pair in pairs])
            is_different[t] = (distances > TOLERANCE).any(0)
            error = max(error, *distances[:, ~is_different[t]].flatten().tolist(), 0.0)

    wrong_steps = is_different.any(1).nonzero().flatten().tolist()
    return StepCheck(
        steps=is_different.numel(),
        different=int(is_different.sum()),
        first=next(iter(wrong_steps), None),
        spikes=sum(spikes.values()),
        silent=tuple(name for name, module in net.named_modules() if not spikes.get(module, 1)),
        error=error,
    )


@torch.no_grad()
def step_samples(net: Container, step: StepNet, steps: int = 100) -> dict[str, Tensor]:
    """Inputs and outputs of the steps of a net, which runs on its own solvers.

    The input is random, one recording; see `_random_input`. Each step is an example without the
    others: its states before and after are in it.

    Args:
        net: The net.
        step: The step of the net.
        steps: Number of steps.

    Returns:
        Tensors by the names of the graph of ONNX, `x`, outputs, states and `NAME.next`, with a row
        for each step, [steps, 1, *shape].

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(LIFLayer(2, 20e-3))
        >>> samples = step_samples(net, StepNet(net, input_shape=(2,)))
        >>> {name: list(tensor.shape) for name, tensor in samples.items()}["0.v.next"]
        [100, 1, 2]
        >>> bool((samples["0.v"][1:] == samples["0.v.next"][:-1]).all())
        True
    """
    net = copy.deepcopy(net).eval()
    x = _random_input(steps, (1, *step.input_shape))
    names = [state.name for state in step.states]
    names += [*step.outputs, *(f"{name}.next" for name in names)]
    with prepared(net):
        rows = [[*before, *outputs, *after] for before, outputs, after in _true_steps(net, step, x)]
    columns = (torch.stack(column) for column in zip(*rows, strict=True))
    return {"x": x, **dict(zip(names, columns, strict=True))}


def _true_steps(
    net: Container, step: StepNet, x: Tensor
) -> Iterator[tuple[list[Tensor], list[Tensor], list[Tensor]]]:
    """For each step of x [steps, B, *features]: states before it, outputs, and states after it."""
    before = step.first_states(x.shape[1])
    for value in x:
        outputs = net.step(value)[: len(step.outputs)]
        after = read_states(net)
        yield before, [*outputs], after
        before = after


def _random_input(steps: int, shape: tuple[int, ...]) -> Tensor:
    """Input [steps, B, *features] that makes most nets fire: constant for some steps, and growing.

    The values of these steps are in turn zeros and ones, and normal.
    """
    draw = torch.Generator().manual_seed(0)

    x = torch.randn(-(-steps // STEPS_HELD), *shape, generator=draw)
    x[::2] = (x[::2] > 0.5).float()
    growth = torch.linspace(1, MAX_GROWTH, steps).reshape(-1, *[1] * len(shape))
    return x.repeat_interleave(STEPS_HELD, 0)[:steps] * growth


def _distance(got: Tensor, expected: Tensor) -> Tensor:
    """Largest difference of each recording, relative to the largest expected value or to 1, [B].

    For a value that all recordings share, a scalar.
    """
    wide = expected.double()
    scale = max(float(wide.abs().max()), 1.0) if wide.numel() else 1.0
    distance = (got.double() - wide).abs() / scale
    return distance.flatten(1).amax(1) if distance.ndim > 1 else distance
