"""The header of a chip file, and what its tensors must be; nothing in a file is trusted.

Every error is a ValueError that names the field, the module or the tensor.
"""

import math
from collections.abc import Mapping
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

import torch
from pydantic import Field, JsonValue, StringConstraints, model_validator
from torch import Tensor

from nwavesdk.chip import TAU_RANGE, Profile
from nwavesdk.internal.checks import shown
from nwavesdk.internal.model import FrozenModel
from nwavesdk.internal.tensors import FLOATING

__all__ = ["VERSION", "Header", "StoredLayer", "check_placement", "check_tensors"]

VERSION = 1

# The largest chip of a profile has 64 cores of 1,024 neurons.
Count = Annotated[int, Field(strict=True, ge=1, le=65536)]
Index = Annotated[int, Field(strict=True, ge=0, lt=65536)]
Bits = Annotated[int, Field(strict=True, ge=2, le=8)]
Name = Annotated[str, StringConstraints(strict=True, min_length=1, max_length=200)]
# From a nanosecond to a step as long as slow membranes.
Step = Annotated[float, Field(strict=True, ge=1e-9, le=10, allow_inf_nan=False)]

# The logarithm of a time constant in half precision is off by less than this.
_TAU_MARGIN = 1.01


class StoredFrontend(FrozenModel):
    """A front end: one weight per channel."""

    kind: Literal["frontend"]
    name: Name
    size: tuple[Count]
    bits: Bits


class StoredSynapse(FrozenModel):
    """A dense synapse, [N_in, N_out]."""

    kind: Literal["synapse"]
    name: Name
    size: tuple[Count, Count]
    bits: Bits


class StoredLayer(FrozenModel):
    """A neuron layer; `bits` are those of its recurrent weights, and `dt` is in seconds."""

    kind: Literal["layer"]
    name: Name
    size: tuple[Count]
    dt: Step
    topology: Literal["FF", "RC"] = "FF"
    bits: Bits | None = None


StoredModule = Annotated[StoredFrontend | StoredSynapse | StoredLayer, Field(discriminator="kind")]


class StoredPiece(FrozenModel):
    """Consecutive neurons of a layer on a core; see `Piece`."""

    layer: Name
    first: Index
    size: Count
    core: Index
    start: Index


class Header(FrozenModel):
    """All that a chip file holds besides tensors."""

    version: Annotated[int, Field(strict=True, ge=VERSION, le=VERSION)]
    profile: dict[str, Any]
    modules: Annotated[tuple[StoredModule, ...], Field(max_length=1000)]
    placement: Annotated[tuple[StoredPiece, ...], Field(max_length=4096)]
    about: dict[str, JsonValue]  # of limited depth

    @model_validator(mode="after")
    def _check_modules(self) -> Self:
        """Weights and layers alternate, names are unique, and sizes match."""
        if not self.modules:
            raise ValueError("modules: got an empty list, expected weights and layers")
        names: set[str] = set()
        width = self.modules[0].size[0]
        for position, module in enumerate(self.modules):
            what = f"module {shown(module.name)} ({module.kind})"
            if module.name in names:
                raise ValueError(f"{what}: an earlier module has the same name")
            names.add(module.name)
            if isinstance(module, StoredLayer) != bool(position % 2):
                raise ValueError(f"{what}: expected weights and layers to alternate")
            if module.kind == "frontend" and position:
                raise ValueError(f"{what}: expected a front end only as the first module")
            if module.size[0] != width:
                raise ValueError(f"{what}: takes {module.size[0]} inputs, expected {width}")
            width = module.size[-1]
            has_bits = module.bits is not None
            if isinstance(module, StoredLayer) and has_bits != (module.topology == "RC"):
                raise ValueError(f"{what}: expected bits if and only if it is recurrent (RC)")
        if len(self.modules) % 2:
            raise ValueError(f"{what}: expected a layer after it")
        return self


def check_placement(header: Header, chip: Profile) -> None:
    """Check that each neuron has one place, and that no core holds more than it has.

    Raises:
        ValueError: If a piece is outside of its layer or core, or neurons are missing or overlap.
    """
    cores = chip.cores
    layers = {module.name: module for module in header.modules if isinstance(module, StoredLayer)}
    for piece in header.placement:
        where = f"placement: layer {shown(piece.layer)} on core {piece.core}"
        if piece.layer not in layers:
            raise ValueError(f"{where}: there is no such layer")
        if piece.core >= len(cores):
            raise ValueError(f"{where}: the chip has {len(cores)} cores")
        if piece.start + piece.size > cores[piece.core]:
            raise ValueError(f"{where}: the core has {cores[piece.core]} neurons")
    by_core = sorted(header.placement, key=lambda piece: (piece.core, piece.start))
    for piece, following in pairwise(by_core):
        if piece.core == following.core and piece.start + piece.size > following.start:
            raise ValueError(
                f"placement: layers {shown(piece.layer)} and {shown(following.layer)} overlap on "
                f"core {piece.core}"
            )
    for layer in layers.values():
        _check_placed_once(header, layer)


def _check_placed_once(header: Header, layer: StoredLayer) -> None:
    """Check that the pieces of a layer are its neurons, and one piece if it is recurrent."""
    pieces = [piece for piece in header.placement if piece.layer == layer.name]
    pieces.sort(key=lambda piece: piece.first)
    n_placed = 0
    for piece in pieces:
        if piece.first == n_placed:
            n_placed += piece.size
    name = shown(layer.name)
    if n_placed != layer.size[0] or n_placed != sum(piece.size for piece in pieces):
        raise ValueError(
            f"placement: expected each of the {layer.size[0]} neurons of layer {name} once"
        )
    if layer.topology == "RC" and len(pieces) > 1:
        raise ValueError(f"placement: expected the recurrent layer {name} on one core")


def check_tensors(header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Check that the tensors are those of the modules, with values that the chip can hold.

    Raises:
        ValueError: If a tensor is missing or unknown, or has another dtype, shape or value.
    """
    weights: dict[str, tuple[tuple[int, ...], int]] = {}
    taus: dict[str, int] = {}
    for module in header.modules:
        if isinstance(module, StoredLayer):
            taus[f"{module.name}.log_taus"] = module.size[0]
            if module.bits is not None:
                n_neurons = module.size[0]
                shape = (n_neurons, n_neurons)
                weights[f"{module.name}.recurrent_weights"] = (shape, module.bits)
        else:
            weights[f"{module.name}.weight"] = (module.size, module.bits)
    expected = weights.keys() | taus.keys()
    exact_taus = {name.removesuffix("log_taus") + "taus" for name in taus}
    if missing := expected - tensors.keys():
        raise ValueError(f"tensor {shown(min(missing))} is missing")
    if unknown := tensors.keys() - expected - exact_taus:
        raise ValueError(f"tensor {shown(min(unknown))} belongs to no module")
    for name, expectation in weights.items():
        _check_weight(name, tensors[name], *expectation)
    for name, count in taus.items():
        _check_taus(name, tensors[name], count)
    for name in exact_taus & tensors.keys():
        _check_exact_taus(name, tensors[name], tensors[f"{name.removesuffix('taus')}log_taus"])
    dtypes = sorted({str(tensors[name].dtype) for name in taus})
    if len(dtypes) > 1:
        raise ValueError(f"log_taus have several dtypes ({', '.join(dtypes)}), expected one")


def _check_weight(name: str, weight: Tensor, shape: tuple[int, ...], bits: int) -> None:
    if weight.dtype != torch.int8 or tuple(weight.shape) != shape:
        raise ValueError(
            f"tensor {shown(name)} is {weight.dtype} {list(weight.shape)}, expected torch.int8 "
            f"{list(shape)}"
        )
    most = 2 ** (bits - 1) - 1
    for value in (bound.item() for bound in torch.aminmax(weight)):
        if abs(value) > most:
            raise ValueError(
                f"tensor {shown(name)} holds the weight {value}, expected {bits} bits, from "
                f"-{most} to {most}"
            )


def _check_taus(name: str, log_taus: Tensor, n_neurons: int) -> None:
    shape = tuple(log_taus.shape)
    if log_taus.dtype not in FLOATING or shape not in ((), (n_neurons,)):
        raise ValueError(
            f"tensor {shown(name)} is {log_taus.dtype} {list(shape)}, expected floating numbers of "
            f"the shape [] or [{n_neurons}]"
        )
    shortest, longest = TAU_RANGE
    for value in (bound.item() for bound in torch.aminmax(log_taus)):
        # Compared as logarithms, because the exponential of a large number is an error.
        low, high = math.log(shortest / _TAU_MARGIN), math.log(longest * _TAU_MARGIN)
        if not low <= value <= high:
            raise ValueError(
                f"tensor {shown(name)} holds {value:g}, expected logarithms of time constants "
                f"from {shortest:g} to {longest:g} s"
            )


def _check_exact_taus(name: str, taus: Tensor, log_taus: Tensor) -> None:
    """Check that the time constants of a net of float64 are those that `log_taus` rounds."""
    is_like = taus.dtype == log_taus.dtype == torch.float64 and taus.shape == log_taus.shape
    if not is_like or not bool(((taus.log() - log_taus).abs() <= 1e-5).all()):
        raise ValueError(
            f"tensor {shown(name)} does not agree with the logarithms of time constants, expected "
            "torch.float64 and the same numbers"
        )
