"""The schema of a chip file: its header, and dtype, shape and range of each tensor.

Nothing in a file is trusted. The placement has only the types and ranges of its entries checked,
because nothing is computed from it. A new field is declared here and written in `chip_file`; raise
`VERSION` with it.

Every error is a ValueError that names the field, the module or the tensor.
"""

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field, JsonValue, model_validator
from torch import Tensor

from nwavesdk.chip import Profile
from nwavesdk.deploy.placement import Name, Piece, Size
from nwavesdk.internal.checks import shown
from nwavesdk.internal.model import FrozenModel
from nwavesdk.internal.tensors import FLOATING

__all__ = ["VERSION", "Header", "StoredLayer", "check_tensors"]

VERSION = 1

Bits = Annotated[int, Field(strict=True, ge=2, le=8)]
# From a nanosecond to a step as long as slow membranes.
Step = Annotated[float, Field(strict=True, ge=1e-9, le=10, allow_inf_nan=False)]


class _StoredWeights(FrozenModel):
    weight_name: ClassVar = "weight"
    name: Name
    size: tuple[Size, ...]
    bits: Bits


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


def check_tensors(header: Header, tensors: Mapping[str, Tensor]) -> None:
    """Check that each module has its tensors, with values that the chip can hold.

    Raises:
        ValueError: If a tensor is missing or unknown, or has another dtype, shape or value.
    """
    # The shape and the bits of weights; recurrent ones have as many rows as columns.
    weights = {
        f"{module.name}.{module.weight_name}": (
            module.size * (2 if module.kind == "layer" else 1),
            module.bits,
        )
        for module in header.modules
        if module.bits is not None
    }
    # A net of float64 also stores its exact time constants.
    logarithms = {f"{name}.log_taus" for name in header.layers}
    exact = {f"{name}.taus" for name in header.layers}

    if missing := (weights.keys() | logarithms) - tensors.keys():
        raise ValueError(f"tensor {shown(min(missing))} is missing")
    if unknown := tensors.keys() - weights.keys() - logarithms - exact:
        raise ValueError(f"tensor {shown(min(unknown))} belongs to no module")

    for name, (shape, bits) in weights.items():
        tensor, maximum = tensors[name], 2 ** (bits - 1) - 1
        is_int8 = tensor.dtype == torch.int8
        if not is_int8 or tuple(tensor.shape) != shape or int(tensor.short().abs().max()) > maximum:
            raise ValueError(
                f"tensor {shown(name)} is {tensor.dtype} {list(tensor.shape)}, expected torch.int8 "
                f"{list(shape)} from {-maximum} to {maximum}"
            )

    dtypes = {str(tensor.dtype) for tensor in tensors.values() if tensor.is_floating_point()}
    if len(dtypes) > 1:
        raise ValueError(f"time constants have the dtypes {sorted(dtypes)}, expected one")

    # The range of time constants is a limit of the chip, which is checked in the net.
    for name, layer in header.layers.items():
        log_taus = tensors[f"{name}.log_taus"]
        if log_taus.dtype not in FLOATING or tuple(log_taus.shape) not in ((), layer.size):
            raise ValueError(
                f"tensor {shown(f'{name}.log_taus')} is {log_taus.dtype} {list(log_taus.shape)}, "
                f"expected floating numbers [] or {list(layer.size)}"
            )

        taus = tensors.get(f"{name}.taus", log_taus.double().exp())
        agrees = taus.dtype == torch.float64 and taus.shape == log_taus.shape
        # NaN is not close to itself.
        if not agrees or not torch.allclose(taus.log(), log_taus.double(), 0, 1e-5):
            raise ValueError(
                f"tensor {shown(f'{name}.log_taus')} has values that are not logarithms of time "
                f"constants, or {shown(f'{name}.taus')} does not agree with it"
            )
