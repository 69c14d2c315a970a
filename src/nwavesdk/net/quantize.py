"""`quantize`: a net with rounded inputs and weights, whose charges are exact in float32.

An input is a whole number of a step, a spike is 0 or 1, and a weight is a whole number of the step
of its output channel. All steps are powers of two. A charge is then a whole number of a unit, the
smallest product of a step of a weight and a step of its input. As long as the sum of all magnitudes
stays below 2^24 units, float32 adds the terms without rounding, in any order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.masks import copy_module, is_pruned
from nwavesdk.layers.stored_delays import StoredDelays
from nwavesdk.net.charges import Term, find_sums
from nwavesdk.net.edges import Edge
from nwavesdk.net.fold import fold
from nwavesdk.net.preparation import prepared
from nwavesdk.net.rounded_input import RoundedInput, best_steps, largest_integer, round_to_grid
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.wiring import module_title, watch_calls

__all__ = ["finish_rounding", "quantize"]

MIN_BITS, MAX_BITS = 4, 8

# Float32 adds whole numbers exactly while their sum is below this bound.
EXACT = 2.0**24

# Name of the first module of a quantized net; all other modules keep their names.
INPUT_NAME = "rounded"


def quantize(
    net: SpikingSequential,
    inputs: Tensor | None = None,
    *,
    step: float | None = None,
    weight_bits: int = 8,
    trains: bool = False,
) -> SpikingSequential:
    """A copy of a net in `eval()` whose charges are exact in float32, as integers add up.

    1. Norms are folded, see `fold`, also into the dense synapse after them.
    2. `RoundedInput` with 8 bits becomes the first module. The step is the power of two with the
       smallest squared error for `inputs`.
    3. Each weight becomes a whole number from -(2^(weight_bits - 1) - 1) to 2^(weight_bits - 1) - 1
       times a step. Each output channel has its own step, the power of two with the smallest
       squared error of the charge on `inputs`. Weights whose charges add up in a neuron have the
       same step.
    4. A bias is a whole number times the steps of weights and inputs.
    5. Delays are rounded to whole steps, as in `eval()`.
    6. Decays of neurons become multiples of 2^-8, or of 2^-16 if the leak, 1 minus the decay, of a
       neuron of the layer would change by more than 5 %.

    Each charge is a whole number below 2^24 of its unit: a channel whose sum could be larger gets a
    larger step. So `net(x)` has the same charges in float32 and in float64, in any order of sums.
    All else of the neurons is unchanged.

    Args:
        net: A trained net of modules that `fold`, `find_edges` and this function know.
        inputs: Inputs of the net [B, T, *features] from the training set, to choose all steps.
        step: In place of `inputs`, the step of the inputs, a power of two. All weights of a channel
            then count equally.
        weight_bits: Number of bits of a weight, from 4 to 8.
        trains: Whether the copy is in `train()` and its weights can be trained: they are rounded in
            each call, with a gradient of 1, until `finish_rounding` is called.

    Returns:
        The copy, with the names of `net`; the first module is `"rounded"`. Call `prepare_net` on
        it.

    Raises:
        TypeError: If `net` is not a `SpikingSequential`, or `inputs` is not a floating tensor.
        ValueError: If an argument is out of its range, or the charges of a module are on no grid: a
            norm that `fold` keeps, a synapse of a chip, an average pool over a number of values
            that is not a power of two, `Feedback`, two synapses without neurons between them, a
            pruned or parametrized weight, or an unknown module.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, TimeBatchNorm
        >>> net = SpikingSequential(LIFSynapse(3, 8), TimeBatchNorm(8), LIFLayer(8, taus=10e-3))
        >>> x = torch.randn(4, 50, 3)
        >>> quantized = quantize(net, x)
        >>> quantized.rounded
        RoundedInput(step=0.03125, bits=8)
        >>> charge = quantized.record(x, charges=True).layers["2"].cur
        >>> exact = quantized.double().record(x.double(), charges=True).layers["2"].cur
        >>> bool((charge == exact).all())
        True
    """
    if not isinstance(net, SpikingSequential):
        raise TypeError(
            f"quantize takes a SpikingSequential, got {type(net).__name__}: the order of its "
            "modules must be known."
        )
    bits = whole_number("quantize", "weight_bits", weight_bits, least=MIN_BITS, most=MAX_BITS)
    rounded = RoundedInput(_step_of(inputs) if step is None else step)

    result = fold(copy_module(net).eval(), into_next=True)
    for name, reason in result.kept.items():
        title = module_title(name, net.get_submodule(name))
        raise ValueError(f"{title} cannot be folded into weights: {reason}.")
    work: Any = result.net
    _put_first(work, rounded)
    for module in work.modules():
        if isinstance(module, StoredDelays):
            module.fix_delays()
        if isinstance(module, NeuronLayer):
            module.rounds_decays = True

    sums, unknown = find_sums(work)
    powers = {} if inputs is None else _input_powers(work, unknown, inputs)
    for terms in sums:
        _Grid(terms, largest_integer(bits)).attach(powers)
    return work.train() if trains else finish_rounding(work)


def finish_rounding(net: SpikingSequential) -> SpikingSequential:
    """Make the weights of a net from `quantize(net, trains=True)` plain parameters, in place.

    A channel whose sum is not exact any more gets a larger step.

    Args:
        net: The net.

    Returns:
        The same net, as `quantize` returns it without `trains`.

    Raises:
        ValueError: If a weight of the net is not rounded.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> net = SpikingSequential(LIFSynapse(3, 8), LIFLayer(8, taus=10e-3))
        >>> rounded = quantize(net, torch.randn(4, 50, 3), trains=True)
        >>> spikes, _ = rounded(torch.randn(4, 50, 3))  # train it
        >>> [name for name, _ in finish_rounding(rounded).named_parameters()]
        ['0.weight']
    """
    for terms in find_sums(net)[0]:
        largest = min(_on_grid(term.edge).largest for term in terms if term.edge is not None)
        _Grid(terms, largest).finish()
    return net


class OnGrid(nn.Module):
    """A parametrization that rounds a weight or a bias, with a gradient of 1.

    Args:
        steps: The step of each value, a power of two, in the shape of the parameter.
        largest: The largest integer.
    """

    steps: Tensor

    def __init__(self, steps: Tensor, largest: float) -> None:
        super().__init__()
        self.register_buffer("steps", steps.contiguous())
        self.largest = largest

    def forward(self, values: Tensor) -> Tensor:
        """The rounded values."""
        return round_to_grid(values, self.steps, self.largest)


def _on_grid(edge: Edge) -> OnGrid:
    """The parametrization of a weight that is rounded in each call."""
    module: Any = edge.module
    if not parametrize.is_parametrized(module, edge.key):
        raise ValueError(
            f"finish_rounding: {edge.name} is not rounded: pass the net that "
            "quantize(trains=True) returned."
        )
    grid: OnGrid = module.parametrizations[edge.key][0]
    return grid


class _Grid:
    """The grid of the weights whose charges add up in the same neurons.

    Args:
        terms: The terms of the charge.
        largest: The largest integer of a weight.

    Raises:
        ValueError: If their numbers of channels differ.
    """

    def __init__(self, terms: tuple[Term, ...], largest: float) -> None:
        self.terms = terms
        self.largest = largest
        self.weights = [(term, term.edge) for term in terms if term.edge is not None]

        counts = {edge.name: _columns(edge).shape[1] for _, edge in self.weights}
        if len(set(counts.values())) > 1:
            raise ValueError(
                f"the charges of {', '.join(counts)} add up, and their numbers of channels differ, "
                f"got {', '.join(map(str, counts.values()))}: expected equal numbers."
            )

    @torch.no_grad()
    def attach(self, powers: Mapping[nn.Module, Tensor]) -> None:
        """Choose the step of each channel, and round weights and biases in each call.

        Args:
            powers: See `_input_powers`.
        """
        columns = torch.cat([_columns(edge) for _, edge in self.weights])
        power = torch.cat([_row_powers(edge, powers) for _, edge in self.weights])
        # Inputs that were always 0 count a little, so that their weights are not lost.
        power += 1e-6 * power.max() + torch.finfo(power.dtype).tiny
        steps = self._exact(best_steps(columns, self.largest, power))

        for term, edge in self.weights:
            grid = edge.from_columns(steps.expand_as(_columns(edge))).to(edge.weight)
            _parametrize(edge, edge.key, OnGrid(grid, self.largest))
            if _bias_of(edge) is not None:
                unit = (steps * term.unit).to(edge.weight)
                _parametrize(edge, "bias", OnGrid(unit, torch.inf))

    @torch.no_grad()
    def finish(self) -> None:
        """Write rounded weights and biases to plain parameters."""
        first = self.weights[0][1]
        steps = self._exact(first.to_columns(_on_grid(first).steps)[0].double())

        for term, edge in self.weights:
            weights, bias = self._rounded(term, edge, steps)
            parametrize.remove_parametrizations(edge.module, edge.key)
            edge.set_weight(edge.from_columns(weights))
            if bias is not None:
                parametrize.remove_parametrizations(edge.module, "bias")
                edge.module.get_parameter("bias").copy_(bias)

    def _exact(self, steps: Tensor) -> Tensor:
        """The steps [C], doubled until no sum can reach 2^24 units."""
        is_large = self._largest_sums(steps) >= EXACT
        while bool(is_large.any()):
            steps = torch.where(is_large, 2 * steps, steps)
            is_large = self._largest_sums(steps) >= EXACT

        if not bool(torch.isfinite(steps).all()):
            raise ValueError(
                f"the values that add to {self.weights[0][1].name} are too large for their unit: "
                "pass a larger step of the inputs."
            )
        return steps

    def _largest_sums(self, steps: Tensor) -> Tensor:
        """The largest sum of magnitudes for any input, in the finest unit: float64 [C]."""
        total = torch.zeros_like(steps)
        for term in self.terms:
            largest = term.unit * term.largest
            if term.edge is None:
                total += largest
                continue
            weights, bias = self._rounded(term, term.edge, steps)
            total += largest * weights.abs().sum(0)
            total += 0 if bias is None else bias.abs()

        finest = steps * min(term.unit for term, _ in self.weights)
        values = [term.unit for term in self.terms if term.edge is None]
        return total / finest.clamp(max=min(values, default=torch.inf))

    def _rounded(self, term: Term, edge: Edge, steps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rounded weights as columns and the rounded bias, float64."""
        weights, bias = round_to_grid(_columns(edge), steps, self.largest), _bias_of(edge)
        return weights, None if bias is None else round_to_grid(bias, steps * term.unit, torch.inf)


def _row_powers(edge: Edge, powers: Mapping[nn.Module, Tensor]) -> Tensor:
    """The mean square of the input of each row of `_columns`, float64 [n]; 1 if it is unknown."""
    power = powers.get(edge.module, torch.ones(1)).double()
    taps, rest = divmod(len(_columns(edge)), len(power))
    return torch.ones(len(_columns(edge))).double() if rest else power.repeat_interleave(taps)


def _columns(edge: Edge) -> Tensor:
    """The weights of an edge, float64 [inputs of a target, C]."""
    return edge.to_columns(edge.weight.detach()).double()


def _bias_of(edge: Edge) -> Tensor | None:
    """The bias of an edge, float64 [C], or None."""
    bias = None if edge.is_recurrent else edge.module.bias
    return bias.detach().double() if isinstance(bias, Tensor) else None


def _parametrize(edge: Edge, key: str, grid: OnGrid) -> None:
    """Round a parameter in each call."""
    if is_pruned(edge.module, key) or parametrize.is_parametrized(edge.module, key):
        raise ValueError(
            f"the {key} of {module_title(edge.module_name, edge.module)} is pruned or "
            "parametrized: call prune.remove or remove_parametrizations first."
        )
    parametrize.register_parametrization(edge.module, key, grid)


def _step_of(inputs: Tensor | None) -> float:
    """The step of inputs."""
    require_floating("quantize", inputs)
    assert inputs is not None
    if not inputs.numel() or not bool(torch.isfinite(inputs).all()):
        raise ValueError(
            f"quantize: inputs must be finite, got {list(inputs.shape)} values, some of them not "
            "finite or none at all: pass inputs of the training set."
        )
    return float(best_steps(inputs.reshape(-1, 1), largest_integer(8)))


def _put_first(net: nn.Module, module: nn.Module) -> None:
    """Put a module in front; the others keep their names."""
    others = dict(net._modules)
    if INPUT_NAME in others:
        raise ValueError("the net is quantized already: pass the net before.")
    net._modules.clear()
    net._modules.update({INPUT_NAME: module, **others})


@torch.no_grad()
def _input_powers(
    net: SpikingSequential, unknown: Sequence[nn.Module], inputs: Tensor
) -> dict[nn.Module, Tensor]:
    """Run the net on inputs: the mean square of the inputs of each weight, [C_in], by its module.

    Raises:
        ValueError: If an unknown module returns other values than it gets.
    """
    powers: dict[nn.Module, Tensor] = {}

    def on_synapse(module: nn.Module, received: Tensor, charge: Tensor) -> None:  # noqa: ARG001
        kernel: Any = getattr(module, "kernel", getattr(module, "kernel_size", ()))
        by_channel = received.square().movedim(received.ndim - 1 - len(kernel), -1)
        powers[module] = by_channel.flatten(0, -2).mean(0)

    def on_layer(layer: nn.Module, charge: Tensor, fired: Tensor) -> None:  # noqa: ARG001
        powers[layer] = fired.flatten(0, -2).mean(0)

    def check(module: nn.Module, args: tuple[Tensor, ...], y: Tensor) -> None:
        allowed = torch.cat([args[0].flatten(), args[0].new_zeros(1)])
        if not bool(torch.isin(y, allowed).all()):
            raise ValueError(
                f"{type(module).__name__} returns other values than it gets, which are on no grid: "
                "use modules of nwavesdk and torch."
            )

    handles = [module.register_forward_hook(check) for module in unknown]
    with prepared(net), watch_calls(net, on_synapse, on_layer):
        net(inputs)
    for handle in handles:
        handle.remove()
    return powers
