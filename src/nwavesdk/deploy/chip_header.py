"""The schema of a chip file: its header, and dtype, shape and range of each tensor.

Nothing in a file is trusted. A new field is declared here and written in `chip_file`; raise
`VERSION` with it.

Every error is a ValueError that names the field, the module or the tensor.
"""

import json
import math
from collections.abc import Collection, Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import torch
from pydantic import Field, JsonValue, model_validator
from torch import Tensor

from nwavesdk.chip import TAU_RANGE, Profile
from nwavesdk.deploy.placement import Name, Piece, Size
from nwavesdk.internal.checks import shown
from nwavesdk.internal.model import FrozenModel
from nwavesdk.internal.tensors import FLOATING

__all__ = ["VERSION", "Header", "StoredLayer", "check_placement", "check_tensors"]

VERSION = 1

Bits = Annotated[int, Field(strict=True, ge=2, le=8)]
# From a nanosecond to a step as long as slow membranes.
Step = Annotated[float, Field(strict=True, ge=1e-9, le=10, allow_inf_nan=False)]

# The logarithm of a time constant in half precision is off by less than this.
_TAU_MARGIN = 1.01


class StoredTensor(NamedTuple):
    """The dtypes, the shapes and the range that a tensor of the file may have."""

    dtypes: Collection[torch.dtype]
    shapes: Collection[tuple[int, ...]]
    minimum: float
    maximum: float

    @classmethod
    def of_integers(cls, shape: tuple[int, ...], bits: int) -> "StoredTensor":
        """Weights of so many bits."""
        maximum = 2 ** (bits - 1) - 1
        return cls([torch.int8], [shape], -maximum, maximum)

    def check(self, name: str, tensor: Tensor) -> None:
        """Raise a ValueError if the tensor is something else."""
        if tensor.dtype not in self.dtypes or tuple(tensor.shape) not in self.shapes:
            dtypes = "floating numbers" if len(self.dtypes) > 1 else str(*self.dtypes)
            shapes = " or ".join(str(list(shape)) for shape in self.shapes)
            raise ValueError(
                f"tensor {shown(name)} is {tensor.dtype} {list(tensor.shape)}, expected {dtypes} "
                f"{shapes}"
            )

        for value in (bound.item() for bound in torch.aminmax(tensor)):
            if not self.minimum <= value <= self.maximum:
                raise ValueError(
                    f"tensor {shown(name)} holds {value:g}, expected from {self.minimum:g} to "
                    f"{self.maximum:g}"
                )


class _StoredWeights(FrozenModel):
    weight_name: ClassVar = "weight"
    name: Name
    size: tuple[Size, ...]
    bits: Bits

    def tensors(self) -> dict[str, StoredTensor]:
        """The tensors of the module by name."""
        return {f"{self.name}.weight": StoredTensor.of_integers(self.size, self.bits)}


class StoredFrontend(_StoredWeights):
    """A front end: one weight per channel."""

    kind: Literal["frontend"]
    size: tuple[Size]


class StoredSynapse(_StoredWeights):
    """A dense synapse, [N_in, N_out]."""

    kind: Literal["synapse"]
    size: tuple[Size, Size]


class StoredLayer(FrozenModel):
    """A neuron layer. Recurrent weights have `bits`; `dt` is in seconds."""

    weight_name: ClassVar = "recurrent_weights"
    kind: Literal["layer"]
    name: Name
    size: tuple[Size]
    dt: Step
    topology: Literal["FF", "RC"] = "FF"
    bits: Bits | None = None

    def tensors(self) -> dict[str, StoredTensor]:
        """The tensors of the layer by name; `taus` only in a net of float64."""
        shapes = [(), self.size]  # one time constant for all neurons, or one per neuron
        shortest, longest = TAU_RANGE[0] / _TAU_MARGIN, TAU_RANGE[1] * _TAU_MARGIN

        tensors = {
            f"{self.name}.log_taus": StoredTensor(
                FLOATING, shapes, math.log(shortest), math.log(longest)
            ),
            f"{self.name}.taus": StoredTensor([torch.float64], shapes, shortest, longest),
        }

        if self.bits is not None:
            recurrent = StoredTensor.of_integers(self.size * 2, self.bits)
            tensors[f"{self.name}.recurrent_weights"] = recurrent
        return tensors


StoredModule = Annotated[StoredFrontend | StoredSynapse | StoredLayer, Field(discriminator="kind")]


class Header(FrozenModel):
    """Everything in a chip file except for the tensors."""

    version: Annotated[int, Field(strict=True, ge=VERSION, le=VERSION)]
    profile: dict[str, Any]
    modules: Annotated[tuple[StoredModule, ...], Field(max_length=1000)]
    placement: Annotated[tuple[Piece, ...], Field(max_length=4096)]
    about: dict[str, JsonValue]  # of limited depth

    @cached_property
    def chip(self) -> Profile:
        """The chip of the profile."""
        return Profile.from_json(json.dumps(self.profile))

    @property
    def layers(self) -> dict[str, StoredLayer]:
        """The neuron layers by name."""
        return {module.name: module for module in self.modules if isinstance(module, StoredLayer)}

    @model_validator(mode="after")
    def _check_modules(self) -> Self:
        """Weights and layers alternate, names are unique, and sizes match."""
        are_layers = [isinstance(module, StoredLayer) for module in self.modules]
        if not are_layers or are_layers != [False, True] * (len(are_layers) // 2):
            raise ValueError("modules: expected weights and layers to alternate, a layer last")

        names: set[str] = set()
        width = self.modules[0].size[0]
        for module in self.modules:
            label = f"module {shown(module.name)} ({module.kind})"
            if module.name in names:
                raise ValueError(f"{label}: an earlier module has the same name")
            if module.kind == "frontend" and names:
                raise ValueError(f"{label}: expected a front end only as the first module")
            if module.size[0] != width:
                raise ValueError(f"{label}: takes {module.size[0]} inputs, expected {width}")
            if module.kind == "layer" and (module.bits is None) != (module.topology == "FF"):
                raise ValueError(f"{label}: expected bits if and only if it is recurrent (RC)")

            names.add(module.name)
            width = module.size[-1]
        return self


def check_placement(header: Header) -> None:
    """Check that each neuron has one position, and that all positions are on the cores of the chip.

    Raises:
        ValueError: If a piece is outside of its layer or core, or neurons are missing or overlap.
    """
    layers, cores = header.layers, dict(enumerate(header.chip.cores))
    for piece in header.placement:
        if piece.layer not in layers or piece.start + piece.size > cores.get(piece.core, 0):
            raise ValueError(
                f"placement: layer {shown(piece.layer)} on core {piece.core} from {piece.start} to "
                f"{piece.start + piece.size - 1}, expected a layer of the net, within cores of "
                f"{header.chip.cores} neurons"
            )

    # In the order of positions, each piece must end before the following piece starts.
    by_core = sorted(header.placement, key=lambda piece: (piece.core, piece.start))
    for piece, following in pairwise(by_core):
        if piece.core == following.core and piece.start + piece.size > following.start:
            raise ValueError(
                f"placement: layers {shown(piece.layer)} and {shown(following.layer)} overlap on "
                f"core {piece.core}"
            )

    for name, layer in layers.items():
        pieces = [piece for piece in header.placement if piece.layer == name]
        pieces.sort(key=lambda piece: piece.first)

        # Without gap or overlap, each piece begins where the sizes before it add up to, and all
        # sizes add up to the layer.
        bounds = [*accumulate((piece.size for piece in pieces), initial=0)]
        if [*(piece.first for piece in pieces), layer.size[0]] != bounds:
            raise ValueError(
                f"placement: expected each of the {layer.size[0]} neurons of layer {shown(name)} "
                "once"
            )

        if layer.topology == "RC" and len(pieces) > 1:
            raise ValueError(f"placement: expected the recurrent layer {shown(name)} on one core")


def check_tensors(header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Check that each module has its tensors, with values that the chip can hold.

    Raises:
        ValueError: If a tensor is missing or unknown, or has another dtype, shape or value.
    """
    expected = {
        name: tensor for module in header.modules for name, tensor in module.tensors().items()
    }
    # The exact time constants of a net of float64, which other nets do not store.
    exact = {f"{name}.taus": f"{name}.log_taus" for name in header.layers}

    if missing := expected.keys() - tensors.keys() - exact.keys():
        raise ValueError(f"tensor {shown(min(missing))} is missing")
    if unknown := tensors.keys() - expected.keys():
        raise ValueError(f"tensor {shown(min(unknown))} belongs to no module")

    for name, tensor in tensors.items():
        expected[name].check(name, tensor)

    dtypes = {str(tensor.dtype) for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) > 1:
        raise ValueError(f"time constants have the dtypes {sorted(dtypes)}, expected one")

    for name in exact.keys() & tensors.keys():
        taus, log_taus = tensors[name], tensors[exact[name]]
        if taus.shape != log_taus.shape or not torch.allclose(taus.log(), log_taus, 0, 1e-5):
            raise ValueError(f"tensor {shown(name)} does not agree with {shown(exact[name])}")
