"""Placement: which neurons of a net go on which core of a chip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, Field, StringConstraints
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.deploy.stages import Stage, stages_and_profile
from nwavesdk.internal.imports import require
from nwavesdk.net.layer_names import module_layer_names

__all__ = ["Name", "Piece", "Placement", "Size", "place_layers", "place_stages"]

# Fields of the chip file. The largest chip of a profile has 64 cores of 1,024 neurons.
Size = Annotated[int, Field(strict=True, ge=1, le=65536)]
Index = Annotated[int, Field(strict=True, ge=0, lt=65536)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]

# The costs of a split layer and of a piece are as 1,000 to 1, so a solution within 1 / 100 of the
# best has the fewest split layers, if they are fewer than 100.
SPLIT_COST, MAX_SPLITS = 1000.0, 100
# 20 layers on 64 cores, the most that a chip has, take 0.2 to 20 s.
MAX_SECONDS = 60


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Consecutive neurons of one layer on one core.

    Attributes:
        layer: Name of the layer in the net.
        first: Index in the layer of the first neuron.
        size: Number of neurons.
        core: Index of the core.
        start: Position of the first neuron on the core.

    Example:
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential
        >>> net = SpikingSequential(H1v2Synapse(16, 60), H1v2Layer(60, 20e-3))
        >>> place_layers(net).pieces
        (Piece(layer='1', first=0, size=60, core=2, start=0),)
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    layer: Name
    first: Index
    size: Size
    core: Index
    start: Index


@dataclass(frozen=True)
class Placement:
    """The position of every neuron of a net.

    Attributes:
        chip: Name of the profile.
        cores: Number of neurons of each core.
        pieces: All pieces, in the order of the layers and of the neurons within a layer.
        titles: The title of each layer in texts, by its name.

    Example:
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential
        >>> net = SpikingSequential(H1v2Synapse(16, 60), H1v2Layer(60, 20e-3))
        >>> placement = place_layers(net)
        >>> placement.cores, [placement.used(core) for core in range(3)]
        ((50, 50, 100), [0, 0, 60])
    """

    chip: str
    cores: tuple[int, ...]
    pieces: tuple[Piece, ...]
    titles: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)

    def used(self, core: int) -> int:
        """Number of neurons in use on a core."""
        return sum(piece.size for piece in self.pieces if piece.core == core)

    def __str__(self) -> str:
        """One line for each core."""
        lines = []
        for core, size in enumerate(self.cores):
            texts = [
                f"{self.titles.get(piece.layer, f'layer {piece.layer}')} "
                f"[{piece.first}…{piece.first + piece.size - 1}] at {piece.start}"
                for piece in sorted(self.pieces, key=lambda piece: piece.start)
                if piece.core == core
            ]

            lines.append(f"core {core}: {self.used(core)}/{size}  {', '.join(texts) or 'empty'}")
        return "\n".join(lines)


def place_layers(model: nn.Module, profile: Profile | None = None) -> Placement:
    """Place the layers of a net on the cores of a chip, and split as few layers as possible.

    A recurrent layer is placed on one core, because recurrence does not leave a core. Other layers
    are split only at multiples of the sign block (an assumption).

    Args:
        model: A net of chip modules.
        profile: The chip. [the chip that the net was built for]

    Raises:
        TypeError: If the model is not a net of chip modules.
        ValueError: If the net does not fit.

    Example:
        >>> from nwavesdk.layers import H1v2Frontend, H1v2Layer, H1v2Synapse, SpikingSequential
        >>> net = SpikingSequential(
        ...     H1v2Frontend(16), H1v2Layer(16, 20e-3), H1v2Synapse(16, 90), H1v2Layer(90, 20e-3)
        ... )
        >>> print(place_layers(net))
        core 0: 16/50  front end (1) [0…15] at 0
        core 1: 0/50  empty
        core 2: 90/100  output (3) [0…89] at 0
    """
    stages, chip = stages_and_profile(model, profile, "place_layers")
    return place_stages(stages, chip)


def place_stages(stages: Sequence[Stage], chip: Profile) -> Placement:
    """Place the layers of stages; see `place_layers`."""
    _check_capacity(stages, chip)
    block = chip.count("sign_block")
    placed = _neurons_on_cores(stages, chip.cores, block)
    if placed is None:
        sizes = ", ".join(
            f"{stage.name}: {stage.n_neurons}{' recurrent' if stage.is_recurrent else ''}"
            for stage in stages
        )
        raise ValueError(
            f"the net does not fit on {chip.name} with cores of {_sum_text(chip.cores)} neurons: "
            f"recurrent layers must be on one core and other layers are split at multiples of "
            f"{block}, and no placement of its layers was found ({sizes}): make a layer smaller."
        )

    pieces = []
    start = [0] * len(chip.cores)
    for stage, sizes_on in zip(stages, placed.tolist(), strict=True):
        first = 0
        cores = [core for core, size in enumerate(sizes_on) if size]
        # The end of a layer may be smaller than a block, so its core comes last.
        for core in sorted(cores, key=lambda core: sizes_on[core] % block > 0):
            size = sizes_on[core]
            pieces.append(
                Piece(layer=stage.name, first=first, size=size, core=core, start=start[core])
            )
            first += size
            start[core] += size

    has_front_end = any(stage.is_frontend for stage in stages)
    titles = module_layer_names([stage.name for stage in stages], has_front_end=has_front_end)
    return Placement(chip.name, chip.cores, tuple(pieces), titles)


def _check_capacity(stages: Sequence[Stage], chip: Profile) -> None:
    """Reject a net without a search, if its size or a single layer is too large for any placement.

    Raises:
        ValueError: With the reason.
    """
    total = sum(stage.n_neurons for stage in stages)
    if total > sum(chip.cores):
        raise ValueError(
            f"the net does not fit on {chip.name}: it has {total} neurons, the chip has "
            f"{sum(chip.cores)} (cores of {_sum_text(chip.cores)}): make layers smaller."
        )

    for stage in stages:
        if stage.is_recurrent and stage.n_neurons > max(chip.cores):
            raise ValueError(
                f"layer {stage.name} does not fit on {chip.name}: a recurrent layer must be on one "
                f"core, it has {stage.n_neurons} neurons and the largest core has "
                f"{max(chip.cores)}: make it smaller or feed-forward."
            )

        recurrent = stage.n_neurons if stage.is_recurrent else 0
        fan_in = (1 if stage.is_frontend else stage.n_inputs) + recurrent
        if fan_in > chip.count("fan_in"):
            raise ValueError(
                f"layer {stage.name} does not fit on {chip.name}: each of its neurons has {fan_in} "
                f"inputs{f', {recurrent} of them recurrent' if recurrent else ''}, "
                f"expected at most {chip.count('fan_in')}."
            )


def _neurons_on_cores(
    stages: Sequence[Stage], core_sizes: Sequence[int], block: int
) -> NDArray[np.int64] | None:
    """The number of neurons of each layer on each core, [L, C]; None if there is no placement.

    A mixed-integer linear program finds the fewest split layers, and few pieces. Its variables are
    the number of blocks of each layer on each core, whether the rest of the layer, which is smaller
    than a block, is there, and whether any of it is there, all [L, C]; and whether the layer is
    split, [L].
    """
    optimize = require("scipy.optimize", "train")
    cores = np.array(core_sizes)
    layers = np.array([stage.n_neurons for stage in stages])
    L, C = len(layers), len(cores)
    n_blocks, rests = np.divmod(layers, block)

    # A layer that is larger than all cores is split.
    lower = np.zeros(3 * L * C + L)
    lower[-L:] = layers > cores.max()
    upper = np.repeat([n_blocks, rests > 0, np.ones(L)], C)
    upper = np.append(upper, [not stage.is_recurrent for stage in stages])

    # A piece on an earlier core costs a little less.
    costs = np.full(len(lower), SPLIT_COST)
    costs[: 2 * L * C] = 0
    costs[2 * L * C : -L] = np.tile(np.linspace(1, 1.1, C), L)
    result = optimize.milp(
        costs,
        integrality=1,
        bounds=optimize.Bounds(lower, upper),
        constraints=_constraints(layers, cores, block),
        options={"mip_rel_gap": 1 / MAX_SPLITS, "time_limit": MAX_SECONDS},
    )
    if result.x is None:
        return None

    numbers = np.rint(result.x[: 2 * L * C]).astype(np.int64)
    blocks, has_rest = numbers.reshape(2, L, C)
    placed: NDArray[np.int64] = block * blocks + rests[:, None] * has_rest

    # Cores of one size may be exchanged: the first has the most neurons of the first layer.
    order = sorted(range(C), key=lambda core: (cores[core], *-placed[:, core]))
    placed[:, np.argsort(cores, kind="stable")] = placed[:, order]
    return placed


def _constraints(layers: NDArray[Any], cores: NDArray[Any], block: int) -> list[Any]:
    """The constraints of the linear program."""
    sparse = require("scipy.sparse", "train")
    constraint = require("scipy.optimize", "train").LinearConstraint
    L, C = len(layers), len(cores)
    n_blocks, rests = np.divmod(layers, block)

    # The rows of a unit matrix select variables, and products of matrices add them up.
    units = sparse.csr_array(sparse.eye(3 * L * C + L))
    blocks, has_rest, is_used, is_split = (units[i * L * C :][: L * C] for i in range(4))
    neurons = block * blocks + has_rest.multiply(np.repeat(rests, C)[:, None])
    by_layer = sparse.kron(sparse.eye(L), np.ones((1, C)))
    by_core = sparse.kron(np.ones((1, L)), sparse.eye(C))
    n_pieces = by_layer @ is_used

    return [
        constraint(by_layer @ blocks, n_blocks, n_blocks),
        constraint(by_layer @ has_rest, rests > 0, rests > 0),
        constraint(by_core @ neurons, ub=cores),
        # A core with neurons of a layer is used by it.
        constraint(neurons - is_used.multiply(np.repeat(layers, C)[:, None]), ub=0),
        # The solver finds the same without this bound, but proves it later.
        constraint(n_pieces, lb=-(-layers // cores.max())),
        constraint(n_pieces - (C - 1) * is_split, ub=1),
    ]


def _sum_text(sizes: tuple[int, ...]) -> str:
    return " + ".join(str(size) for size in sizes)
