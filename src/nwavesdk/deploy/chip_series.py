"""A net on many drawn chips: the accuracy of each, its quantiles, and the yield.

A tile of recordings and chips is computed at a time. Everything that the chips of a tile share is
computed once: all stages before the first module with mismatch, and the constants that do not
differ. From there on, the chips of a tile are put side by side along the axis of the neurons, so
that one kernel call runs all of them. This matters when the work per chip is small, because a loop
over chips would then spend its time in Python. When the work is large, one chip at a time is
fastest. Smaller tiles of recordings, which would fit in a cache, were tried: the additional calls
cost more than the cache saves.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.deploy.stages import Stage, check_finite, chip_stages
from nwavesdk.internal.checks import finite_number, shown, whole_number
from nwavesdk.layers import ChipInstance, SpikingSequential
from nwavesdk.layers.lengths import check_lengths
from nwavesdk.layers.noise import Noise
from nwavesdk.layers.prepare import prepare_modules, prepared_modules
from nwavesdk.metrics import population_counts
from nwavesdk.net.preparation import prepared
from nwavesdk.solvers import Problem, Spec, has_serial_kernel, solve
from nwavesdk.surrogate import FastSigmoid
from nwavesdk.train.fit.seeds import chip_seed

__all__ = ["ChipSeries", "RightCounter", "Tile", "count_right", "draw_series", "tile_for"]

# Values of the widest layer up to which chips are put side by side, measured by
# `python -m benchmarks.chips`.
SIDE_BY_SIDE = 1 << 21

# Largest number of values of the widest layer in a tile: a quarter of a gigabyte.
MAX_TILE = 1 << 26

# Largest number of weights of the chips that are drawn at a time: a quarter of a gigabyte.
MAX_DRAWN = 1 << 26

# More chips would change no quantile by a visible amount, and would take minutes or hours.
MAX_CHIPS = 100_000


@dataclass(frozen=True, kw_only=True)
class ChipSeries:
    """Accuracies of drawn chips.

    Attributes:
        accuracy: Accuracy of each chip, in the order of drawing.
        designed: Accuracy of the chip as designed, without mismatch.
        wanted: Accuracy from which on a chip counts as good.
        seed: Seed of the drawing.
        seconds: Duration of the computation [s].
        recordings: Number of recordings that each chip classified; None if it is not known.

    Example:
        >>> accuracy = (0.91, 0.88, 0.93, 0.95)
        >>> series = ChipSeries(accuracy=accuracy, designed=0.94, wanted=0.9, seed=0, seconds=0.1)
        >>> series.quantile(0.5), series.share
        (0.92, 0.75)
    """

    accuracy: tuple[float, ...]
    designed: float
    wanted: float
    seed: int
    seconds: float
    recordings: int | None = None

    def quantile(self, share: float) -> float:
        """The accuracy below which this share of the chips lies, interpolated between chips."""
        return float(np.quantile(self.accuracy, share))

    @property
    def share(self) -> float:
        """The yield: the share of chips with the wanted accuracy or more."""
        return sum(accuracy >= self.wanted for accuracy in self.accuracy) / len(self.accuracy)

    @property
    def fields(self) -> dict[str, Any]:
        """The numbers of the series for JSON."""
        quantiles = {f"q{percent:02}": self.quantile(percent / 100) for percent in (5, 50, 95)}
        return {**vars(self), **quantiles}

    def __str__(self) -> str:
        """Quantiles, the effect of mismatch, and yield, in three lines."""
        median, worst = (100 * (self.quantile(share) - self.designed) for share in (0.5, 0.05))
        change = (
            f"mismatch changes the median by {median:+.1f} points, the 5 % quantile by {worst:+.1f}"
        )
        if self.recordings is not None:
            point = 100 / self.recordings
            change += f" (one of {self.recordings:,} recordings is {point:.2g} points)"

        return (
            f"{len(self.accuracy)} chips in {self.seconds:.1f} s: median accuracy "
            f"{self.quantile(0.5):.4f}, {self.quantile(0.05):.4f} to {self.quantile(0.95):.4f} "
            f"(5 % to 95 %); as designed {self.designed:.4f}\n"
            f"{change.replace('-', '−')}\n"
            f"yield {self.share:.1%}: chips with an accuracy of {self.wanted:g} or more"
        )


def draw_series(
    model: SpikingSequential | nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    n: int = 200,
    seed: int = 0,
    wanted: float = 0.9,
    lengths: Tensor | None = None,
    count: "RightCounter | None" = None,
) -> ChipSeries:
    """Test a net on many chips, in the fastest way that its sizes allow.

    None of the chips was seen in training by `nwave train`. The same seed gives the same chips.

    Args:
        model: A net of chip modules, built with mismatch.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Number of populations of the output layer.
        n: Number of chips, from 1 to 100,000.
        seed: Selects the chips, from 0 to 2^32 - 1.
        wanted: Accuracy from which on a chip counts as good, from 0 to 1.
        lengths: Steps of each recording, int64 [B]; None for all.
        count: A function that counts as `count_right` does; None for this process.

    Raises:
        TypeError: If the model is not a net of chip modules, or `lengths` is not an int64 tensor.
        ValueError: If an argument is out of its range, or a number in the net is not finite.

    Example:
        >>> from nwavesdk.layers import H1v1Layer, H1v1Synapse
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(H1v1Synapse(2, 4, stddev=0.1), H1v1Layer(4, 20e-3))
        >>> x, labels = torch.rand(8, 20, 2), torch.arange(8) % 2
        >>> series = draw_series(net, x, labels, n_classes=2, n=5)
        >>> len(series.accuracy), series.quantile(0.0) <= series.quantile(1.0)
        (5, True)
    """
    n_classes = whole_number("draw_series", "n_classes", n_classes)
    if isinstance(labels, Tensor) and not labels.numel():
        raise ValueError("draw_series: got 0 recordings, expected at least 1.")
    n = whole_number("draw_series", "n", n, most=MAX_CHIPS)
    seed = whole_number("draw_series", "seed", seed, least=0, most=2**32 - 1)
    wanted = finite_number("draw_series", "wanted", wanted, least=0, most=1)

    was_training = model.training
    start = time.perf_counter()
    seeds = [chip_seed(seed, "chips", i, drawn=True) for i in range(n)]
    model.eval()
    try:
        if count is None:
            right = count_right(model, x, labels, n_classes, seeds, lengths=lengths)
        else:
            right = count(seeds, tile_for(model, len(x), x.shape[1], n))

        with torch.no_grad(), ChipInstance(None).on(model), prepared(model):
            predicted = population_counts(model(x)[0], n_classes, lengths).argmax(1)
    finally:
        model.train(was_training)

    designed = (predicted == labels).double().mean().item()
    accuracy = tuple((right.double() / len(labels)).tolist())
    seconds = time.perf_counter() - start
    return ChipSeries(
        accuracy=accuracy,
        designed=designed,
        wanted=wanted,
        seed=seed,
        seconds=seconds,
        recordings=len(labels),
    )


class Tile(NamedTuple):
    """How many recordings and how many chips are computed at a time."""

    recordings: int
    chips: int


# Number of recordings that the chips of some seeds classify correctly, computed in these tiles.
RightCounter = Callable[[Sequence[int], Tile], Tensor]


def tile_for(model: nn.Module, recordings: int, steps: int, chips: int) -> Tile:
    """The tile for a net, `recordings` of `steps` steps, and `chips`.

    It depends on sizes alone, so that results can be repeated.
    """
    stages = chip_stages(model, "tile_for")
    values = steps * max(stage.n_neurons for stage in stages)
    n_together = max(1, min(recordings, MAX_TILE // values))

    # Recurrent weights side by side would be a block-diagonal matrix, which is mostly zeros.
    if any(stage.is_recurrent for stage in stages):
        return Tile(n_together, 1)

    return Tile(n_together, max(1, min(chips, round(SIDE_BY_SIDE / (values * n_together)))))


@torch.no_grad()
def count_right(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    seeds: Sequence[int],
    tile: Tile | None = None,
    lengths: Tensor | None = None,
) -> Tensor:
    """Number of recordings that each chip classifies correctly.

    Args:
        model: A net of chip modules, built with mismatch, in eval mode.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Number of populations of the output layer.
        seeds: The seed of each chip, which is the chip that `prepare_net(model, seed)` draws.
        tile: How many recordings and chips are computed at a time. [`tile_for`]
        lengths: Steps of each recording, int64 [B]; None for all.

    Returns:
        Counts, int64 [chips].

    Raises:
        TypeError: If the model is not a net of chip modules, or `lengths` is not an int64 tensor.
        ValueError: If there is no chip, if x or labels have another shape or type, if the net has
            a number that is not finite, if a tile of a recurrent net has more than one chip, or if
            a length is not from 1 to T.
    """
    stages = chip_stages(model, "count_right")
    check_finite(stages, "count_right")
    _check_recordings(stages, x, labels, n_classes, seeds)

    steps = torch.full((len(x),), x.shape[1], device=x.device)
    if lengths is not None:
        steps = check_lengths("count_right", lengths, x)

    tile = tile or tile_for(model, len(x), x.shape[1], len(seeds))
    if tile.chips > 1 and any(stage.is_recurrent for stage in stages):
        raise ValueError(
            f"count_right: got a tile of {tile.chips} chips, expected 1 for a recurrent net."
        )

    # Chips are drawn in blocks of whole tiles, because the weights of a block must fit in memory.
    n_weights = sum(edge.weight.numel() for stage in stages for edge in stage.edges)
    block = max(1, MAX_DRAWN // (n_weights * tile.chips)) * tile.chips

    counts = []
    for first in range(0, len(seeds), block):
        chips = _draw_chips(model, stages, seeds[first : first + block], x)
        right = torch.zeros(len(chips), dtype=torch.int64)

        tiles = (torch.split(values, tile.recordings) for values in (x, steps, labels))
        for x_tile, step_tile, label_tile in zip(*tiles, strict=True):
            predicted = _predict(stages, chips, x_tile, step_tile, n_classes, tile.chips)
            right += (predicted == label_tile[:, None]).sum(0).cpu()

        counts.append(right)
    return torch.cat(counts)


def _check_recordings(
    stages: Sequence[Stage], x: Tensor, labels: Tensor, n_classes: int, seeds: Sequence[int]
) -> None:
    for name, tensor in (("x", x), ("labels", labels)):
        if not isinstance(tensor, Tensor) or tensor.layout != torch.strided:
            raise TypeError(f"count_right: {name} must be a dense tensor, got {shown(tensor)}.")
    if not len(seeds) or len(labels) != len(x):
        raise ValueError(
            f"count_right: got {len(seeds)} chips, {len(x)} recordings and {len(labels)} labels, "
            "expected at least 1 chip, and a label for each recording."
        )

    n_inputs = stages[0].n_inputs
    dtype = stages[0].synapse.weight.dtype
    if x.dtype != dtype or x.ndim != 3 or x.shape[2] != n_inputs or not x.shape[1]:
        raise ValueError(
            f"count_right: x is {x.dtype} {list(x.shape)}, expected {dtype} [B, T, {n_inputs}] "
            "with at least 1 step."
        )
    if not bool(x.isfinite().all()):
        raise ValueError("count_right: x holds NaN or infinity, expected finite numbers.")

    is_whole = not labels.is_floating_point() and not labels.is_complex()
    if not is_whole or labels.ndim != 1 or not bool(((labels >= 0) & (labels < n_classes)).all()):
        raise ValueError(
            f"count_right: labels are {shown(labels)}, expected whole numbers [B] from 0 to "
            f"{n_classes - 1}."
        )


class _DrawnStage(NamedTuple):
    """The effective weights and the constants of one stage on one chip.

    `constants` are one value per neuron, [N] each. `recurrent` is None without recurrence.
    """

    weight: Tensor
    constants: tuple[Tensor, ...]
    recurrent: Tensor | None


# From spikes to charge, or from charge to spikes, of a stage on drawn chips.
_Run = Callable[[Stage, Sequence[_DrawnStage], Tensor], Tensor]


def _draw_chips(
    model: nn.Module, stages: Sequence[Stage], seeds: Sequence[int], x: Tensor
) -> list[list[_DrawnStage]]:
    """The stages of each chip, as `prepare_net(model, seed)` would draw them."""
    # This call computes once the values that do not differ between chips.
    prepare_modules(prepared_modules(model, "count_right"), seed=0)

    # The random stream of a module depends on the seed and on its position in the net.
    position = {id(m): i for i, m in enumerate(prepared_modules(model, "count_right"))}

    chips = []
    for seed in seeds:
        chip = []
        for stage in stages:
            weight = stage.synapse.draw_weight(Noise.of(seed, position[id(stage.synapse)]))

            noise = Noise.of(seed, position[id(stage.layer)])
            constants, recurrent = stage.layer.draw_constants(noise, x.dtype)
            on_device = tuple(constant.to(x.device) for constant in constants)
            chip.append(_DrawnStage(weight, on_device, recurrent))
        chips.append(chip)
    return chips


def _predict(
    stages: Sequence[Stage],
    chips: Sequence[Sequence[_DrawnStage]],
    x: Tensor,
    lengths: Tensor,
    n_classes: int,
    side_by_side: int,
) -> Tensor:
    """The classes [B, chips] of a tile of recordings on chips, some of them side by side."""
    # Index of the stage, function, and whether chips differ in it, in the order of execution.
    runs: list[tuple[int, _Run, bool]] = []
    for i, stage in enumerate(stages):
        neurons_differ = stage.layer.ileak_mismatch or (stage.is_recurrent and stage.layer.stddev)
        runs += [(i, _charge, bool(stage.synapse.stddev)), (i, _spikes, bool(neurons_differ))]

    # Everything before the first difference runs once, on the first chip.
    n_shared = next((k for k, (_, _, differs) in enumerate(runs) if differs), len(runs))
    for i, run, _ in runs[:n_shared]:
        x = run(stages[i], [chips[0][i]], x)

    predicted = []
    for first in range(0, len(chips), side_by_side):
        group = chips[first : first + side_by_side]
        spk = x
        for i, run, _ in runs[n_shared:]:
            spk = run(stages[i], [chip[i] for chip in group], spk)

        # [B, T, chips * N] -> [B * chips, T, N], each chip of each recording as a recording.
        spk = _side_by_side(spk, len(group) * stages[-1].n_neurons)
        by_chip = spk.reshape(*spk.shape[:2], len(group), -1).transpose(1, 2).flatten(0, 1)
        counts = population_counts(by_chip, n_classes, lengths.repeat_interleave(len(group)))
        predicted.append(counts.argmax(1).reshape(-1, len(group)))
    return torch.cat(predicted, 1)


def _side_by_side(values: Tensor, width: int) -> Tensor:
    """Values [B, T, width] of all chips; values [B, T, N] that they share are repeated."""
    copies = width // values.shape[2]
    return values if copies == 1 else values.repeat(1, 1, copies)


def _charge(stage: Stage, drawn: Sequence[_DrawnStage], spk: Tensor) -> Tensor:
    """Charge of the chips, [B, T, chips * N_out], from their spikes [B, T, chips * N_in].

    Spikes that all chips share are [B, T, N_in].
    """
    if stage.is_frontend:
        return _side_by_side(spk, len(drawn) * stage.n_inputs) * torch.cat([w for w, *_ in drawn])

    # Shared spikes: one product with the columns of all chips.
    if spk.shape[2] == stage.n_inputs:
        weight = drawn[0].weight if len(drawn) == 1 else torch.cat([w for w, *_ in drawn], 1)
        return cast("Tensor", stage.synapse.charge(spk, weight))

    # One product for each chip, from its columns of the spikes to its columns of the charge.
    spikes = torch.split(spk.flatten(0, 1), stage.n_inputs, 1)
    charge = spk.new_empty(len(spikes[0]), len(drawn) * stage.n_neurons)
    outputs = torch.split(charge, stage.n_neurons, 1)
    for (weight, *_), chip_spikes, out in zip(drawn, spikes, outputs, strict=True):
        torch.mm(chip_spikes, weight, out=out)
    return charge.reshape(*spk.shape[:2], -1)


def _spikes(stage: Stage, drawn: Sequence[_DrawnStage], charge: Tensor) -> Tensor:
    """Spikes of the chips side by side, [B, T, chips * N], from their charge.

    Charge that all chips share is [B, T, N].
    """
    charge = _side_by_side(charge, len(drawn) * stage.n_neurons)
    B, _, N = charge.shape

    constants = tuple(
        torch.cat(values) for values in zip(*(chip.constants for chip in drawn), strict=True)
    )
    states = tuple(charge.new_zeros(B, N) for _ in stage.layer.neuron.states)

    # Spikes do not depend on the surrogate, so any surrogate works.
    spec = Spec(neuron=stage.layer.neuron, surrogate=FastSigmoid())
    problem = Problem(spec, charge.contiguous(), states, constants)
    if stage.is_recurrent:
        problem = replace(problem, recurrent=drawn[0].recurrent, spikes=charge.new_zeros(B, N))

    solver = "serial" if has_serial_kernel(charge, stage.is_recurrent) else "reference"
    solution = solve(problem, solver, needs_membrane=False, needs_saved=False)

    # The next synapse chooses its product by the number of spikes, as after a neuron layer.
    if isinstance(solution.spike_count, int) and len(drawn) == 1:
        solution.spikes.nonzeros = solution.spike_count  # type: ignore[attr-defined]  # as a layer does
    return solution.spikes
