"""Placement: which neurons of a net go on which core of a chip."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, combinations, count
from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field, StringConstraints
from torch import nn

from nwavesdk.chip import Profile
from nwavesdk.deploy.stages import Stage, stages_and_profile
from nwavesdk.net.layer_names import module_layer_names

__all__ = ["Name", "Piece", "Placement", "Size", "place_layers", "place_stages"]

# Fields of the chip file. The largest chip of a profile has 64 cores of 1,024 neurons.
Size = Annotated[int, Field(strict=True, ge=1, le=65536)]
Index = Annotated[int, Field(strict=True, ge=0, lt=65536)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]

# A search ends after so many tries, which take some seconds. 20,000 random nets of up to seven
# layers on three to seven cores needed at most 9,476.
MAX_TRIES = 300_000


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
    search = _Search([stage.n_neurons for stage in stages], chip.cores, chip.count("sign_block"))

    # The fewest splits first: no layer, then each layer alone, then each pair, and so on.
    splittable = [layer for layer, stage in enumerate(stages) if not stage.is_recurrent]
    for n_split in range(len(splittable) + 1):
        for split in combinations(splittable, n_split):
            shares = search.shares(split)
            if shares is not None:
                pieces = _pieces(stages, shares, chip.cores)

                modules = [stage.name for stage in stages]
                has_front_end = any(stage.is_frontend for stage in stages)
                titles = module_layer_names(modules, has_front_end=has_front_end)
                return Placement(chip.name, chip.cores, pieces, titles)

    sizes = ", ".join(
        f"{stage.name}: {stage.n_neurons}{' recurrent' if stage.is_recurrent else ''}"
        for stage in stages
    )
    raise ValueError(
        f"the net does not fit on {chip.name} with cores of {_sum_text(chip.cores)} neurons: "
        f"recurrent layers must be on one core and other layers are split at multiples of "
        f"{search.block}, which is not possible for its layers ({sizes}): make a layer smaller."
    )


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


class _Share(NamedTuple):
    """Neurons of one layer on one core, as a `Piece` whose position on the core is not known yet.

    Attributes:
        layer: Index of the layer.
        first: Index in the layer of the first neuron.
        size: Number of neurons.
        core: Index of the core.
    """

    layer: int
    first: int
    size: int
    core: int


@dataclass(frozen=True)
class _Search:
    """A search for the cores of all layers, with a given choice of the layers to split.

    Attributes:
        sizes: Number of neurons of each layer.
        cores: Number of neurons of each core.
        block: Layers are split at multiples of this number.
        tries: Counts the partial packings that were tried, over all choices.
    """

    sizes: Sequence[int]
    cores: tuple[int, ...]
    block: int
    tries: Iterator[int] = field(default_factory=count)

    def shares(self, split: tuple[int, ...]) -> list[_Share] | None:
        """All neurons on cores, with the layers in `split` split, or None if they do not fit."""
        whole = [layer for layer in range(len(self.sizes)) if layer not in split]

        # First try a simple rule for the split layers. If the cores are nearly full, it may fail
        # although a placement exists.
        for chosen, free in self._packings([self.sizes[layer] for layer in whole]):
            shares = self._fill_largest_first(split, free)
            if shares is not None:
                return self._whole_shares(whole, chosen) + shares

        return self._fill_exactly(whole, split)

    def _whole_shares(self, layers: Sequence[int], cores: Sequence[int]) -> list[_Share]:
        """The shares of layers that are not split, each on its core."""
        pairs = zip(layers, cores, strict=True)
        return [_Share(layer, 0, self.sizes[layer], core) for layer, core in pairs]

    def _packings(self, sizes: Sequence[int]) -> Iterator[tuple[list[int], list[int]]]:
        """All ways to put parts of these sizes on cores: (core of each, free neurons by core).

        Of all packings that leave the same free sizes, in any order, only the first is returned.
        """
        seen: set[tuple[int, tuple[int, ...]]] = set()

        # A stack of unfinished packings: (core of each size so far, free neurons by core).
        packings: list[tuple[list[int], list[int]]] = [([], list(self.cores))]
        while packings:
            chosen, free = packings.pop()
            state = (len(chosen), tuple(sorted(free)))
            if state in seen:
                continue
            seen.add(state)

            if next(self.tries) >= MAX_TRIES:
                raise ValueError(
                    f"no placement of {len(self.sizes)} layers on {len(self.cores)} cores was "
                    f"found in {MAX_TRIES:,} tries: make layers smaller or fewer."
                )

            if len(chosen) == len(sizes):
                yield chosen, free
                continue

            # In reverse, because the last entry of the stack comes next: the first core. Of cores
            # with equally many free neurons, the first is enough.
            size = sizes[len(chosen)]
            for core in reversed(range(len(free))):
                if free[core] >= size and free[core] not in free[:core]:
                    remaining = [*free[:core], free[core] - size, *free[core + 1 :]]
                    packings.append(([*chosen, core], remaining))

    def _fill_largest_first(self, split: tuple[int, ...], free: list[int]) -> list[_Share] | None:
        """Put each split layer on the core with the most free neurons, piece by piece."""
        shares = []
        for layer in split:
            first = 0
            while remaining := self.sizes[layer] - first:
                core = free.index(max(free))

                # All neurons that remain, if they fit; otherwise as many whole blocks as fit.
                blocks = free[core] // self.block * self.block
                size = remaining if free[core] >= remaining else blocks
                if not size:
                    return None

                shares.append(_Share(layer, first, size, core))
                free[core] -= size
                first += size
        return shares

    def _fill_exactly(self, whole: Sequence[int], split: tuple[int, ...]) -> list[_Share] | None:
        """Find a placement if one exists, also if the cores are nearly full.

        A split layer consists of blocks, which fit on any core with enough free neurons, and of a
        rest smaller than a block. So only the cores of the rests and of the unsplit layers are
        searched.
        """
        rests = {layer: rest for layer in split if (rest := self.sizes[layer] % self.block)}
        n_blocks = sum(self.sizes[layer] // self.block for layer in split)
        sizes = [*(self.sizes[layer] for layer in whole), *rests.values()]

        # Every packing with enough free blocks is a solution.
        for chosen, free in self._packings(sizes):
            if sum(size // self.block for size in free) >= n_blocks:
                shares = self._whole_shares(whole, chosen[: len(whole)])
                rest_cores = dict(zip(rests, chosen[len(whole) :], strict=True))
                for layer in split:
                    shares += self._split_layer(layer, free, rest_cores.get(layer))
                return shares
        return None

    def _split_layer(self, layer: int, free: list[int], rest_core: int | None) -> list[_Share]:
        """The shares of one layer: blocks on the cores with the most free neurons, then its rest.

        Args:
            layer: Index of the layer.
            free: Free neurons by core, from which the blocks are subtracted. The rest has been
                subtracted before.
            rest_core: The core of the rest; None if the layer has none.
        """
        blocks, rest = divmod(self.sizes[layer], self.block)

        size_on: dict[int, int] = {}
        while blocks:
            core = free.index(max(free))
            placed = min(blocks, free[core] // self.block)
            size_on[core] = placed * self.block
            free[core] -= placed * self.block
            blocks -= placed

        # The rest is the end of the layer, so its core must be the last in the dictionary.
        if rest_core is not None:
            size_on[rest_core] = size_on.pop(rest_core, 0) + rest

        firsts = accumulate(size_on.values(), initial=0)
        return [
            _Share(layer, first, size, core)
            for first, (core, size) in zip(firsts, size_on.items(), strict=False)
        ]


def _pieces(
    stages: Sequence[Stage], shares: Sequence[_Share], cores: tuple[int, ...]
) -> tuple[Piece, ...]:
    """The shares as pieces in the order of the layers, each behind the earlier ones on its core."""
    pieces = []
    start = [0] * len(cores)

    for layer, first, size, core in sorted(shares):
        pieces.append(
            Piece(layer=stages[layer].name, first=first, size=size, core=core, start=start[core])
        )
        start[core] += size
    return tuple(pieces)


def _sum_text(sizes: tuple[int, ...]) -> str:
    return " + ".join(str(size) for size in sizes)
