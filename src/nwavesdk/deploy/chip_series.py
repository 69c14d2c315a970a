"""A net on many chips of a series: how often each is right, computed for a tile of recordings and chips at a time.

What chips share is computed once for a tile, until the first module whose mismatch is drawn, and so is what of a weight
and of a neuron does not differ. From there on the chips of a tile lie side by side along the neurons, so that one call
of a kernel runs all of them: where there is little to do for one chip, a loop over chips waits for Python. Where there
is much, one chip at a time is fastest; smaller tiles of recordings, which would fit in a cache, were tried and lose
more in calls than they gain.


What a series of chips makes of one net: the accuracy of each, its quantiles, and the yield.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.chip import Noise
from nwavesdk.deploy.stages import Stage, chip_stages
from nwavesdk.layers import ChipInstance, Prepared, SpikingSequential, prepare_net
from nwavesdk.metrics import population_counts
from nwavesdk.solvers import Problem, Spec, has_serial_kernel, solve
from nwavesdk.surrogate import FastSigmoid
from nwavesdk.train.network import chip_seed

__all__ = ["ChipSeries", "Tile", "count_right", "draw_series", "tile_for"]

SIDE_BY_SIDE = 1 << 21
"""Values of the widest layer up to which chips are put side by side; measured by `python -m benchmarks.chips`."""

MOST = 1 << 26
"""Values of the widest layer in a tile: a quarter of a gigabyte."""


class Tile(NamedTuple):
    """How many recordings and how many chips are computed at a time."""

    recordings: int
    chips: int


class _Drawn(NamedTuple):
    """What one chip's stage acts with: weight, decay and threshold of each neuron, recurrent weight or None."""

    weight: Tensor
    decay: Tensor
    threshold: Tensor
    recurrent: Tensor | None


def tile_for(model: nn.Module, recordings: int, steps: int, chips: int) -> Tile:
    """The tile for so many recordings of so many steps: a function of sizes alone, so that results repeat."""
    rows = chip_stages(model, "tile_for")
    values = steps * max(row.n_neurons for row in rows)
    together = max(1, min(recordings, MOST // values))
    if any(row.is_recurrent for row in rows):
        return Tile(together, 1)  # weights side by side would be a matrix of zeros, nearly
    return Tile(together, max(1, min(chips, round(SIDE_BY_SIDE / (values * together)))))


@torch.no_grad()
def count_right(
    model: nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    seeds: Sequence[int],
    tile: Tile | None = None,
) -> Tensor:
    """On how many recordings each chip is right.

    Args:
        model: A net of the chip's modules, built with mismatch; in eval mode.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Populations of the output layer.
        seeds: One for each chip; `prepare_net(model, seed)` is that chip.
        tile: How many of both at a time. [`tile_for`]

    Returns:
        Counts, int64 [chips].

    Raises:
        TypeError: The model is no chip's net.
        ValueError: There is no chip, labels are not those of the recordings, or chips of a recurrent net are to lie
            side by side.
    """
    rows = chip_stages(model, "count_right")
    if not len(seeds) or len(labels) != len(x):
        raise ValueError(
            f"count_right: got {len(seeds)} chips, {len(x)} recordings and {len(labels)} labels, expected at least "
            "1 chip, and a label for each recording."
        )
    tile = tile or tile_for(model, len(x), x.shape[1], len(seeds))
    if tile.chips > 1 and any(row.is_recurrent for row in rows):
        raise ValueError(
            f"count_right: got a tile of {tile.chips} chips, expected 1 for a recurrent net."
        )
    drawn = _draw(model, rows, seeds, x)
    right = torch.zeros(len(seeds), dtype=torch.int64)
    for part, truth in zip(_parts(x, tile), _parts(labels, tile), strict=True):
        begun = _shared(rows, drawn[0], part)
        for first in range(0, len(seeds), tile.chips):
            group = drawn[first : first + tile.chips]
            spk = _apart(_finished(rows, group, begun), len(group))
            counts = population_counts(spk.transpose(1, 2).flatten(0, 1), n_classes)
            predicted = counts.argmax(1).reshape(-1, len(group))
            right[first : first + len(group)] += (predicted == truth[:, None]).sum(0).cpu()
    return right


def _parts(values: Tensor, tile: Tile) -> tuple[Tensor, ...]:
    return torch.split(values, tile.recordings)


def _apart(values: Tensor, chips: int) -> Tensor:
    """[B, T, chips * N] as [B, T, chips, N]."""
    return values.reshape(*values.shape[:2], chips, -1)


class _Begun(NamedTuple):
    """What all chips have in common of a tile: the spikes that reach a stage, or already the charge of its neurons."""

    stage: int
    values: Tensor
    is_charge: bool


def _draw(
    model: nn.Module, rows: Sequence[Stage], seeds: Sequence[int], x: Tensor
) -> list[list[_Drawn]]:
    """What `prepare_net(model, seed)` would draw for each chip; what does not differ is computed once."""
    prepare_net(model, seed=0)
    places = {
        id(module): place for place, module in enumerate(Prepared.within(model, "count_right"))
    }
    chips = []
    for seed in seeds:
        stages_drawn = []
        for row in rows:
            weight = row.synapse.drawn(Noise.of(seed, places[id(row.synapse)]))
            decay, threshold, recurrent = row.layer.drawn(
                Noise.of(seed, places[id(row.layer)]), x.dtype
            )
            stages_drawn.append(
                _Drawn(weight, decay.to(x.device), threshold.to(x.device), recurrent)
            )
        chips.append(stages_drawn)
    return chips


def _shared(rows: Sequence[Stage], drawn: Sequence[_Drawn], x: Tensor) -> _Begun:
    for i, (row, one) in enumerate(zip(rows, drawn, strict=True)):
        if row.synapse.stddev:
            return _Begun(i, x, False)
        charge = x * one.weight if row.is_frontend else row.synapse.charge(x, one.weight)
        if row.layer.ileak_mismatch or (row.is_recurrent and row.layer.stddev):
            return _Begun(i, charge, True)
        x = _spikes(row, charge, [one])
    return _Begun(len(rows), x, False)


def _finished(rows: Sequence[Stage], group: Sequence[Sequence[_Drawn]], begun: _Begun) -> Tensor:
    """Output spikes of all chips of a group side by side, [B, T, chips * N]."""
    k, alike, h = len(group), True, begun.values
    for i in range(begun.stage, len(rows)):
        row, ones = rows[i], [chip[i] for chip in group]
        if not (begun.is_charge and i == begun.stage):
            h = _charge(row, ones, h, alike)
            alike = False
        if alike:
            h, alike = h.repeat(1, 1, k), False
        h = _spikes(row, h, ones)
    return h.repeat(1, 1, k) if alike else h


def _charge(row: Stage, ones: Sequence[_Drawn], h: Tensor, alike: bool) -> Tensor:
    """Charge of all chips, [B, T, chips * N_out], from spikes that are `alike` [B, T, N_in] or [B, T, chips * N_in]."""
    k, same = len(ones), not row.synapse.stddev
    if row.is_frontend:
        return (h.repeat(1, 1, k) if alike else h) * torch.cat([one.weight for one in ones])
    if alike:
        weight = ones[0].weight if same else torch.cat([one.weight for one in ones], 1)
        charge: Tensor = row.synapse.charge(h, weight)
        return charge.repeat(1, 1, k) if same else charge
    if k > 1:
        return _side_by_side(h, ones)
    alone: Tensor = row.synapse.charge(h, ones[0].weight)
    return alone


def _side_by_side(h: Tensor, ones: Sequence[_Drawn]) -> Tensor:
    """The products of each chip, written where its neurons stand."""
    (n_in, n_out), rows = ones[0].weight.shape, h.flatten(0, 1)
    charge = h.new_empty(len(rows), len(ones) * n_out)
    for c, one in enumerate(ones):
        torch.mm(
            rows[:, c * n_in : (c + 1) * n_in],
            one.weight,
            out=charge[:, c * n_out : (c + 1) * n_out],
        )
    return charge.reshape(*h.shape[:2], -1)


def _spikes(row: Stage, charge: Tensor, ones: Sequence[_Drawn]) -> Tensor:
    constants = (torch.cat([one.decay for one in ones]), torch.cat([one.threshold for one in ones]))
    B, _, N = charge.shape
    states = tuple(charge.new_zeros(B, N) for _ in row.layer.neuron.states)
    recurrent = (ones[0].recurrent, charge.new_zeros(B, N)) if row.is_recurrent else ()
    problem = Problem(
        Spec(row.layer.neuron, FastSigmoid()), charge.contiguous(), states, constants, *recurrent
    )
    solver = "serial" if has_serial_kernel(charge, row.is_recurrent) else "reference"
    solution = solve(problem, solver, needs_membrane=False, needs_saved=False)
    spk = solution.spikes
    if isinstance(solution.spike_count, int) and len(ones) == 1:
        spk.nonzeros = solution.spike_count  # type: ignore[attr-defined]  # as a neuron layer hands it on
    return spk


@dataclass(frozen=True)
class ChipSeries:
    """Accuracies over drawn chips.

    Attributes:
        accuracy: of each chip, in the order of drawing.
        designed: of the chip as it was designed, without mismatch.
        wanted: accuracy from which on a chip is good enough.
        seed: of the drawing.
        seconds: that it took.
    """

    accuracy: tuple[float, ...]
    designed: float
    wanted: float
    seed: int
    seconds: float

    def quantile(self, share: float) -> float:
        """The accuracy below which that share of chips lies, interpolated between chips."""
        return float(np.quantile(self.accuracy, share))

    @property
    def q05(self) -> float:
        """5 % quantile."""
        return self.quantile(0.05)

    @property
    def q50(self) -> float:
        """Median."""
        return self.quantile(0.5)

    @property
    def q95(self) -> float:
        """95 % quantile."""
        return self.quantile(0.95)

    @property
    def share(self) -> float:
        """Yield: the share of chips with the wanted accuracy or more."""
        return sum(a >= self.wanted for a in self.accuracy) / len(self.accuracy)

    def __str__(self) -> str:
        """All of it in two lines."""
        return (
            f"{len(self.accuracy)} chips in {self.seconds:.1f} s: accuracy {self.q50:.4f} (median), {self.q05:.4f} to "
            f"{self.q95:.4f} (5 to 95 %); as designed {self.designed:.4f}\n"
            f"yield {self.share:.1%}: chips with {self.wanted:g} or more"
        )


def draw_series(
    model: SpikingSequential | nn.Module,
    x: Tensor,
    labels: Tensor,
    n_classes: int,
    n: int = 200,
    seed: int = 0,
    wanted: float = 0.9,
) -> ChipSeries:
    """Test a net on many chips, by the fastest way that its sizes allow (see `nwavesdk.deploy.chip_series`).

    The chips are drawn by odd seeds; training under `nwave train` draws by even ones, so none is among them. The same
    seed gives the same chips, and on the same machine the same list.

    Args:
        model: A net of the chip's modules, built with mismatch.
        x: Recordings, [B, T, N_in].
        labels: Their classes, [B].
        n_classes: Populations of the output layer.
        n: How many chips.
        seed: Which chips.
        wanted: Accuracy from which on a chip is good enough.

    Raises:
        TypeError: The model is no chip's net.
        ValueError: There are no recordings, not as many labels, or no chips.
    """
    if not len(labels):
        raise ValueError("draw_series: got 0 recordings, expected at least 1.")
    was_training, began = model.training, time.perf_counter()
    model.eval()
    try:
        right = count_right(model, x, labels, n_classes, _seeds(n, seed))
        with torch.no_grad(), ChipInstance(None).on(model):
            prepare_net(model)
            predicted = population_counts(model(x)[0], n_classes).argmax(1)
    finally:
        model.train(was_training)
    designed = (predicted == labels).double().mean().item()
    accuracy = tuple((right.double() / len(labels)).tolist())
    return ChipSeries(accuracy, designed, wanted, seed, time.perf_counter() - began)


def _seeds(n: int, seed: int) -> Sequence[int]:
    return [chip_seed(seed, "chips", i, drawn=True) for i in range(n)]
