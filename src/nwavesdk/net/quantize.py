"""`quantize`: a net with rounded inputs and weights, whose charges are exact in float32.

An input is a whole number of a step, a spike is 0 or 1, and a weight is a whole number of the step
of its output channel. All steps are powers of two. A charge is then a whole number of a unit, the
smallest product of a step of a weight and a step of its input. As long as the sum of all magnitudes
stays below 2^24 units, float32 adds the terms without rounding, in any order.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.tensors import require_floating
from nwavesdk.layers.masks import copy_module, is_pruned
from nwavesdk.layers.stored_delays import StoredDelays
from nwavesdk.net.charges import Charge, NotRoundableError, Term, find_sums
from nwavesdk.net.edges import Edge
from nwavesdk.net.fold import fold
from nwavesdk.net.preparation import prepare_net
from nwavesdk.net.rounded_input import RoundedInput, best_steps, largest_integer, round_to_grid
from nwavesdk.net.sequential import SpikingSequential
from nwavesdk.net.wiring import module_title

__all__ = ["finish_rounding", "quantize"]

MIN_BITS, MAX_BITS = 4, 8

# Float32 adds whole numbers exactly while their sum is below this bound.
EXACT = 2.0**24

# Steps that are doubled so often leave no weight.
MAX_DOUBLINGS = 200

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
       times a step. Each output channel has its own step, a power of two with the smallest squared
       error. Where charges add up in a neuron, as with recurrent weights or behind `Residual`,
       their weights have the same step.
    4. A bias is a whole number of its synapse's unit: the step of the weights times the step of the
       inputs, which is 1 for spikes.
    5. Delays are rounded to whole steps, as in `eval()`.

    Each charge, and each partial sum of it, is a whole number below 2^24 of its unit, whatever the
    input is; a channel whose sum could be larger gets a larger step. So `net(x)` has the same
    charges in float32 and in float64, in any order of sums, for any batch and number of threads.
    The neurons are unchanged.

    Args:
        net: A trained net of modules that `fold`, `find_edges` and this function know.
        inputs: Inputs of the net [B, T, *features] from the training set, to choose the step.
        step: The step of the inputs, a power of two, in place of `inputs`.
        weight_bits: Number of bits of a weight, from 4 to 8.
        trains: Whether the weights can be trained: they are rounded in each call, with a gradient
            of 1, until `finish_rounding` is called. The steps of all channels stay, and delays are
            not trained.

    Returns:
        The copy. Its modules have the names that they have in `net`; the first is `"rounded"`, and
        `nn.Identity` replaces folded norms. Call `prepare_net` on it.

    Raises:
        TypeError: If `net` is not a `SpikingSequential`, or `inputs` is not a floating tensor.
        ValueError: If an argument is out of its range, or the net has a module whose charges are on
            no grid: a norm that `fold` keeps, a synapse of a chip, an average pool of a width that
            is not a power of two, `Feedback`, a synapse without neurons before it, a weight that is
            pruned or parametrized, or a module of an unknown class with values of its own.

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
    rounded = RoundedInput(_input_step(inputs) if step is None else step)

    work = _folded(net)
    _put_first(work, rounded)
    for module in work.modules():
        if isinstance(module, StoredDelays):
            module.fix_delays()

    sums = find_sums(work)
    if inputs is not None:
        _check_selections(work, sums.unknown, inputs)
    for charge in sums.charges:
        _ChargeGrid(charge, largest_integer(bits)).attach()
    return work if trains else finish_rounding(work)


def finish_rounding(net: SpikingSequential) -> SpikingSequential:
    """Make the weights of a net from `quantize(net, trains=True)` plain parameters, in place.

    A channel whose sum is not exact any more, because its weights have grown, gets a larger step.

    Args:
        net: The net.

    Returns:
        The same net, as `quantize` returns it without `trains`.

    Raises:
        ValueError: If a weight of the net is not rounded.
    """
    for charge in find_sums(net).charges:
        largest = max(_grid_of(term.edge).largest for term in charge.terms if term.edge)
        _ChargeGrid(charge, largest).finish()
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


class _ChargeGrid:
    """The weights whose charges add up in the same neurons, and their grid.

    Args:
        charge: The charge of these neurons.
        largest: The largest integer of a weight.
    """

    def __init__(self, charge: Charge, largest: float) -> None:
        self.charge = charge
        self.largest = largest
        self.weights = [(term, term.edge) for term in charge.terms if term.edge is not None]

        # Where channels do not meet one to one, as with recurrent weights of a convolutional
        # layer, all of them have the same step.
        counts = {_columns(edge).shape[1] for _, edge in self.weights}
        self.is_by_channel = len(self.weights) == 1 or (charge.has_channels and len(counts) == 1)

    @torch.no_grad()
    def attach(self) -> None:
        """Choose the steps, and round weights and biases in each call."""
        columns = [_columns(edge) for _, edge in self.weights]
        if not self.is_by_channel:
            columns = [weights.reshape(-1, 1) for weights in columns]
        steps = self._exact(best_steps(torch.cat(columns), int(self.largest)))

        for term, edge in self.weights:
            _require_plain(edge)
            weights = _columns(edge)
            grid = edge.from_columns(steps.expand_as(weights)).to(edge.weight)
            _parametrize(edge.module, edge.key, OnGrid(grid, self.largest))
            if _has_bias(edge):
                units = (steps * term.values.unit).expand(weights.shape[1])
                _parametrize(edge.module, "bias", OnGrid(units.to(edge.weight), torch.inf))

    @torch.no_grad()
    def finish(self) -> None:
        """Write the rounded weights and biases to plain parameters."""
        steps = _steps_of(self.weights[0][1])
        steps = self._exact(steps if self.is_by_channel else steps[:1])

        for term, edge in self.weights:
            weights, bias = self._round(term, edge, steps)
            parametrize.remove_parametrizations(edge.module, edge.key)
            edge.set_weight(edge.from_columns(weights))
            if bias is not None:
                parametrize.remove_parametrizations(edge.module, "bias")
                edge.module.bias.copy_(bias)  # type: ignore[operator]  # a parameter

    def _exact(self, steps: Tensor) -> Tensor:
        """The steps, doubled where a sum could reach 2^24 units."""
        for _ in range(MAX_DOUBLINGS):
            is_inexact = self._largest_sum(steps) >= EXACT
            if not bool(is_inexact.any()):
                return steps
            steps = torch.where(is_inexact, 2 * steps, steps)

        edge = self.weights[0][1]
        raise NotRoundableError(
            f"{module_title(edge.module_name, edge.module)} adds to values that are too large for "
            "exact sums: pass a larger step of the inputs."
        )

    def _largest_sum(self, steps: Tensor) -> Tensor:
        """The largest sum of magnitudes for any input, in the finest unit: float64 [C] or [1]."""
        total = torch.zeros_like(steps)
        unit = torch.full_like(steps, torch.inf)
        for term in self.charge.terms:
            values = term.values
            largest = values.unit * values.largest
            if term.edge is None:
                total += largest
                unit = unit.clamp(max=values.unit)
                continue

            weights, bias = self._round(term, term.edge, steps)
            magnitude = largest * weights.abs().sum(0)
            if bias is not None:
                magnitude += bias.abs()
            total += magnitude if self.is_by_channel else magnitude.max()
            unit = torch.minimum(unit, steps * values.unit)
        return total / unit

    def _round(self, term: Term, edge: Edge, steps: Tensor) -> tuple[Tensor, Tensor | None]:
        """Rounded weights as columns, and the rounded bias, float64."""
        weights = round_to_grid(_columns(edge), steps, self.largest)
        if not _has_bias(edge):
            return weights, None
        bias: Any = edge.module.bias
        return weights, round_to_grid(bias.detach().double(), steps * term.values.unit, torch.inf)


def _columns(edge: Edge) -> Tensor:
    """The weights of an edge, float64 [inputs of a target, channels]."""
    return edge.to_columns(edge.weight.detach()).double()


def _has_bias(edge: Edge) -> bool:
    return not edge.is_recurrent and edge.module.bias is not None


def _grid_of(edge: Edge) -> OnGrid:
    """The parametrization of a weight that is rounded.

    Raises:
        NotRoundableError: If it is not rounded.
    """
    if parametrize.is_parametrized(edge.module, edge.key):
        grid = edge.module.parametrizations[edge.key][0]  # type: ignore[index]  # torch's modules
        if isinstance(grid, OnGrid):
            return grid
    raise NotRoundableError(
        f"finish_rounding: {edge.name} is not rounded: pass the net that quantize(trains=True) "
        "returned."
    )


def _steps_of(edge: Edge) -> Tensor:
    """The steps of the channels of a weight that is rounded, float64 [C]."""
    return edge.to_columns(_grid_of(edge).steps)[0].double()


def _parametrize(module: nn.Module, key: str, grid: OnGrid) -> None:
    parametrize.register_parametrization(module, key, grid)


def _require_plain(edge: Edge) -> None:
    """Reject weights that something else computes."""
    for key in (edge.key, "bias"):
        state, remedy = "", ""
        if is_pruned(edge.module, key):
            state, remedy = "pruned", "prune.remove"
        elif parametrize.is_parametrized(edge.module, key):
            state, remedy = "parametrized", "remove_parametrizations"
        if state:
            title = module_title(edge.module_name, edge.module)
            raise NotRoundableError(f"the {key} of {title} is {state}: call {remedy} first.")


def _input_step(inputs: Tensor | None) -> float:
    """The step of inputs."""
    require_floating("quantize", inputs)
    assert inputs is not None
    if not inputs.numel() or not bool(torch.isfinite(inputs).all()):
        raise ValueError(
            "quantize: inputs must be finite values, at least one, got "
            f"{'others' if inputs.numel() else 'none'}: pass inputs of the training set."
        )
    return float(best_steps(inputs.reshape(-1, 1), largest_integer(8)))


def _folded(net: SpikingSequential) -> SpikingSequential:
    """A copy of the net in `eval()` without norms."""
    result = fold(copy_module(net).eval(), into_next=True)
    for name, reason in result.kept.items():
        title = module_title(name, net.get_submodule(name))
        raise NotRoundableError(f"{title} cannot be folded into a weight: {reason}.")
    assert isinstance(result.net, SpikingSequential)
    return result.net


def _put_first(net: SpikingSequential, module: nn.Module) -> None:
    """Put a module in front; the names of the others stay."""
    others = dict(net._modules)
    if INPUT_NAME in others:
        raise NotRoundableError(
            f"the net has a module {INPUT_NAME!r}: pass the net before `quantize`, or rename it."
        )
    net._modules.clear()
    net._modules.update({INPUT_NAME: module, **others})


@torch.no_grad()
def _check_selections(
    net: SpikingSequential, modules: dict[str, nn.Module], inputs: Tensor
) -> None:
    """Run the net on inputs, and check that modules return some of the values that they get.

    Raises:
        NotRoundableError: If a module returns other values.
    """
    trial = copy_module(net)

    def check(module: nn.Module, args: tuple[Any, ...], y: Any) -> None:
        allowed = torch.cat([args[0].unique(), args[0].new_zeros(1)])
        if not isinstance(y, Tensor) or not bool(torch.isin(y, allowed).all()):
            title = module_title(names[module], module)
            raise NotRoundableError(
                f"{title} computes other values than it gets, which are on no grid: use modules of "
                "nwavesdk and torch."
            )

    names = {trial.get_submodule(name): name for name in modules}
    for module in names:
        module.register_forward_hook(check)
    if names:
        prepare_net(trial)
        trial(inputs)
