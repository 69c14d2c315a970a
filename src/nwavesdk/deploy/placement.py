"""Where each neuron of a net goes on a chip: layers on cores."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.deploy.stages import Stage, chip_profile, chip_stages

__all__ = ["Piece", "Placement", "place_layers"]


@dataclass(frozen=True)
class Piece:
    """Neurons of one layer that lie side by side on one core.

    Attributes:
        layer: name of the layer in the net.
        first: index in the layer of the first neuron.
        size: neurons.
        core: index of the core.
        start: place of the first neuron on the core.
    """

    layer: str
    first: int
    size: int
    core: int
    start: int


@dataclass(frozen=True)
class Placement:
    """Which neuron lies where.

    Attributes:
        chip: name of the profile.
        cores: neurons of each core.
        pieces: in the order of layers, and of neurons within a layer.
    """

    chip: str
    cores: tuple[int, ...]
    pieces: tuple[Piece, ...]

    def used(self, core: int) -> int:
        """Neurons in use on a core."""
        return sum(piece.size for piece in self.pieces if piece.core == core)

    def __str__(self) -> str:
        """One line for each core."""
        lines = []
        for core, size in enumerate(self.cores):
            parts = [
                f"layer {p.layer} [{p.first}…{p.first + p.size - 1}] at {p.start}"
                for p in sorted(self.pieces, key=lambda p: p.start)
                if p.core == core
            ]
            lines.append(f"core {core}: {self.used(core)}/{size}  {', '.join(parts) or 'empty'}")
        return "\n".join(lines)


def place_layers(model: nn.Module, profile: Profile | None = None) -> Placement:
    """Put the layers of a net on the cores of a chip, with as few layers split as can be.

    A recurrent layer lies on one core, as recurrence does not leave a core. A layer that is split is cut at multiples
    of the sign block, so that no block lies on two cores (our assumption, as the axis of the blocks is one). Of equally
    good placements, the one that fills cores in the order of the layers is taken.

    Args:
        model: A net of the chip's modules.
        profile: The chip. [the one that the net was built for]

    Raises:
        TypeError: The model is no chip's net.
        ValueError: It does not fit; the text says why.

    Example:
        >>> from nwavesdk.layers import H1v2Frontend, H1v2Layer, H1v2Synapse, SpikingSequential
        >>> net = SpikingSequential(H1v2Frontend(16), H1v2Layer(16, 20e-3), H1v2Synapse(16, 90), H1v2Layer(90, 20e-3))
        >>> print(place_layers(net))
        core 0: 16/50  layer 1 [0…15] at 0
        core 1: 0/50  empty
        core 2: 90/100  layer 3 [0…89] at 0
    """
    rows = chip_stages(model, "place_layers")
    chip = chip_profile(model, "place_layers") if profile is None else profile
    cores, block = chip.cores, chip.count("sign_block")
    _check(rows, chip)
    for count in range(len(rows) + 1):
        for split in combinations(range(len(rows)), count):
            if any(rows[i].recurrent for i in split):
                continue
            whole = [i for i in range(len(rows)) if i not in split]
            for homes in _packings([rows[i].n_neurons for i in whole], cores):
                pieces = _pieces(rows, dict(zip(whole, homes, strict=True)), split, cores, block)
                if pieces is not None:
                    return Placement(chip.name, cores, pieces)
            pieces = _tight(rows, whole, split, cores, block)
            if pieces is not None:
                return Placement(chip.name, cores, pieces)
    sizes = ", ".join(
        f"{row.name}: {row.n_neurons}{' recurrent' if row.recurrent else ''}" for row in rows
    )
    raise ValueError(
        f"the net does not fit on {chip.name} with cores of {_told(cores)} neurons: its layers ({sizes}) leave no way "
        f"to keep recurrent layers on one core and to cut the others at multiples of {block}: make a layer smaller."
    )


def _check(rows: Sequence[Stage], chip: Profile) -> None:
    """Raise a ValueError for what no placement can mend."""
    cores, total = chip.cores, sum(row.n_neurons for row in rows)
    if total > sum(cores):
        raise ValueError(
            f"the net does not fit on {chip.name}: it has {total} neurons, the chip {sum(cores)} "
            f"(cores of {_told(cores)}): make layers smaller."
        )
    for row in rows:
        if row.recurrent and row.n_neurons > max(cores):
            raise ValueError(
                f"layer {row.name} does not fit on {chip.name}: recurrence stays within a core, it has {row.n_neurons} "
                f"neurons and the largest core {max(cores)}: make it smaller, or feed-forward."
            )
        heard = row.n_neurons if row.recurrent else 0
        lines = (1 if row.diagonal else row.n_inputs) + heard
        if lines > chip.number("fan_in"):
            raise ValueError(
                f"layer {row.name} does not fit on {chip.name}: each of its neurons hears {lines} lines"
                f"{f', {heard} of them recurrent' if heard else ''}, expected at most {chip.count('fan_in')}."
            )


def _packings(sizes: Sequence[int], cores: Sequence[int]) -> list[list[int]]:
    """Ways to put things of `sizes` whole on cores: which core for each; one for every room that can be left over."""
    states: dict[tuple[int, ...], tuple[list[int], list[int]]] = {
        tuple(sorted(cores)): (list(cores), [])
    }
    for size in sizes:
        grown: dict[tuple[int, ...], tuple[list[int], list[int]]] = {}
        for free, homes in states.values():
            for core, room in enumerate(free):
                if room >= size:
                    left = [*free[:core], room - size, *free[core + 1 :]]
                    grown.setdefault(tuple(sorted(left)), (left, [*homes, core]))
        states = grown
    return [homes for _, homes in states.values()]


def _pieces(
    rows: Sequence[Stage],
    homes: dict[int, int],
    split: tuple[int, ...],
    cores: tuple[int, ...],
    block: int,
) -> tuple[Piece, ...] | None:
    """Pieces with whole layers at `homes` and the others cut into what room is left; None where that is not enough."""
    room = list(cores)
    for i, core in homes.items():
        room[core] -= rows[i].n_neurons
    pieces: list[tuple[int, int, int, int]] = [
        (i, 0, rows[i].n_neurons, core) for i, core in homes.items()
    ]
    for i in split:
        first = 0
        while left := rows[i].n_neurons - first:
            core = max(range(len(room)), key=lambda c: room[c])
            size = left if room[core] >= left else room[core] // block * block
            if not size:
                return None
            pieces.append((i, first, size, core))
            room[core] -= size
            first += size
    return _placed(rows, pieces, cores)


def _tight(
    rows: Sequence[Stage],
    whole: Sequence[int],
    split: tuple[int, ...],
    cores: tuple[int, ...],
    block: int,
) -> tuple[Piece, ...] | None:
    """The same where room is scarce: a cut layer is blocks, which fit anywhere, and a rest, whose places are tried."""
    rests = [i for i in split if rows[i].n_neurons % block]
    wanted = sum(rows[i].n_neurons // block for i in split)
    for homes in _packings(
        [*(rows[i].n_neurons for i in whole), *(rows[i].n_neurons % block for i in rests)], cores
    ):
        room = list(cores)
        pieces = [(i, 0, rows[i].n_neurons, core) for i, core in zip(whole, homes, strict=False)]
        ends = dict(zip(rests, homes[len(whole) :], strict=True))
        for _, _, size, core in pieces:
            room[core] -= size
        for i, core in ends.items():
            room[core] -= rows[i].n_neurons % block
        if sum(left // block for left in room) < wanted:
            continue
        for i in split:
            first, last = 0, ends.get(i)
            blocks, rest = divmod(rows[i].n_neurons, block)
            shares = []
            while blocks:
                core = max(range(len(room)), key=lambda c: room[c])
                share = min(blocks, room[core] // block)
                shares.append((core, share * block))
                room[core] -= share * block
                blocks -= share
            if (
                last is not None
            ):  # the rest ends the layer, behind what blocks of it lie on the same core
                with_rest = sum(size for core, size in shares if core == last)
                shares = [
                    *((core, size) for core, size in shares if core != last),
                    (last, with_rest + rest),
                ]
            for core, size in shares:
                pieces.append((i, first, size, core))
                first += size
        return _placed(rows, pieces, cores)
    return None


def _placed(
    rows: Sequence[Stage], pieces: Sequence[tuple[int, int, int, int]], cores: tuple[int, ...]
) -> tuple[Piece, ...]:
    """Pieces in the order of layers, one behind the other on their cores."""
    placed, filled = [], [0] * len(cores)
    for i, first, size, core in sorted(pieces):
        placed.append(Piece(rows[i].name, first, size, core, filled[core]))
        filled[core] += size
    return tuple(placed)


def _told(sizes: tuple[int, ...]) -> str:
    return " + ".join(str(size) for size in sizes)
