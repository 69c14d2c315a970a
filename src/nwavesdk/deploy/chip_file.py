"""The chip file: integer weights, time constants, placement and profile of a net, in one file.

It is a safetensors file. Its header has JSON under `chip`: the version of the format, the profile,
the modules in order with their sizes, the placement, and data from the caller. Its tensors are, by
module: `<name>.weight` and `<name>.recurrent_weights` as int8, and `<name>.log_taus` in the dtype
of the net.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nwavesdk.chip import Profile, Quantizer
from nwavesdk.deploy.limits import find_violations
from nwavesdk.deploy.placement import place_layers
from nwavesdk.deploy.stages import Stage, stages_and_profile, weight_bits
from nwavesdk.internal.files import write_atomically
from nwavesdk.internal.imports import require
from nwavesdk.layers import SpikingSequential, family_of

__all__ = ["export", "load_export", "read_header"]

VERSION = 1


def export(
    model: nn.Module,
    path: str | Path,
    profile: Profile | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write the chip file of a net.

    Weights are stored as integers with the `quantization_bits` of their module, or with the bits of
    the chip if the module has none.

    Args:
        model: A net of chip modules that violates no limit; see `find_violations`.
        path: The file to write. An existing file is replaced.
        profile: The chip. [the one that the net was built for]
        about: Data for the header that JSON can represent, such as the gain of the front end.

    Returns:
        The header.

    Raises:
        TypeError: If the model is not a net of chip modules.
        ValueError: If the net violates a limit of the chip. The message names the first violations,
            and nothing is written.
    """
    stages, chip = stages_and_profile(model, profile, "export")
    _require_no_violations(model, chip)
    bits = chip.count("weight_bits")
    header = {
        "version": VERSION,
        "profile": json.loads(chip.to_json()),
        "modules": [module for stage in stages for module in _describe_modules(stage, bits)],
        "placement": [vars(piece) for piece in place_layers(model, chip).pieces],
        "about": dict(about or {}),
    }
    tensors: dict[str, Tensor] = {}
    for stage in stages:
        for edge in stage.edges:
            quantizer = Quantizer(weight_bits(edge) or bits, chip.number("weight_limit"))
            tensors[edge.name] = quantizer.integers(edge.weight.detach()).cpu().contiguous()
        tensors[f"{stage.name}.log_taus"] = stage.layer.log_taus.detach().cpu().contiguous()
    safetensors = require("safetensors.torch", "train")
    write_atomically(Path(path), safetensors.save(tensors, {"chip": json.dumps(header)}))
    return header


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the header of a chip file.

    Raises:
        ValueError: If it is not a chip file, or damaged.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} does not exist: write a chip file with `nwave export`.")
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["chip"])
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise ValueError(
            f"{path} is not a file of `nwave export`, or it is damaged: {error!r}"
        ) from None
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path} has version {header.get('version')}, this nwavesdk reads version {VERSION}: "
            "export the net again."
        )
    return dict(header)


def load_export(path: str | Path) -> SpikingSequential:
    """Read the net of a chip file.

    Its spikes equal those of the exported net bit by bit, and it has the same dtype. If the
    exported net did not quantize, they equal those of its weights rounded to the bits of the chip.
    Mismatch is off, and module names count from 0.

    Raises:
        ValueError: If it is not a chip file, or damaged.

    Example:
        >>> import tempfile, torch
        >>> from nwavesdk.layers import H1v2Frontend, H1v2Layer, prepare_net
        >>> net = SpikingSequential(H1v2Frontend(16, 5), H1v2Layer(16, 20e-3))
        >>> path = Path(tempfile.mkdtemp(), "chip.safetensors")
        >>> _ = export(net, path)
        >>> copy = load_export(path)
        >>> x = torch.rand(2, 50, 16)
        >>> for each in (net, copy):
        ...     prepare_net(each)
        >>> torch.equal(net(x)[1], copy(x)[1])
        True
    """
    header = read_header(path)
    tensors = require("safetensors.torch", "train").load_file(path)
    try:
        return _build_net(header, tensors)
    except (KeyError, TypeError, RuntimeError, StopIteration) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None


def _require_no_violations(model: nn.Module, chip: Profile) -> None:
    violations = find_violations(model, chip)
    if violations:
        first = "; ".join(str(violation).rstrip(".") for violation in violations[:3])
        more = f" and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ValueError(
            f"the net violates limits of {chip.name}: {first}{more}: train it for the chip, or "
            "call nwavesdk.deploy.project(model) and test it again."
        )


def _describe_modules(stage: Stage, bits: int) -> list[dict[str, Any]]:
    """The header's entries for the two modules of a stage; `bits` are those of the chip."""
    synapse = {
        "kind": "frontend" if stage.is_frontend else "synapse",
        "name": stage.synapse_name,
        "size": [stage.n_inputs] if stage.is_frontend else [stage.n_inputs, stage.n_neurons],
        "bits": stage.synapse.quantization_bits or bits,
    }
    layer = {
        "kind": "layer",
        "name": stage.name,
        "size": [stage.n_neurons],
        "dt": stage.layer.dt,
    }
    if stage.is_recurrent:
        layer |= {"topology": "RC", "bits": stage.layer.quantization_bits or bits}
    return [synapse, layer]


def _build_net(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SpikingSequential:
    profile = Profile.from_json(json.dumps(header["profile"]))
    family = family_of(profile)
    dtype = next(tensor.dtype for name, tensor in tensors.items() if name.endswith("log_taus"))
    modules: list[nn.Module] = []
    for entry in header["modules"]:
        name = entry["name"]
        bits = entry.get("bits")
        options = {"quantization_bits": bits, "profile": profile}
        if entry["kind"] == "layer":
            log_taus = tensors[f"{name}.log_taus"]
            options["layer_topology"] = entry.get("topology", "FF")
            module = family.layer(*entry["size"], log_taus.exp(), entry["dt"], **options).to(dtype)
            module.log_taus.copy_(log_taus)
            key = "recurrent_weights"
        else:
            kind = family.frontend if entry["kind"] == "frontend" else family.synapse
            module = kind(*entry["size"], **options).to(dtype)
            key = "weight"
        modules.append(module)
        if bits is not None:  # A layer without recurrence has no weights.
            step = Quantizer(bits, profile.number("weight_limit")).step
            getattr(module, key).data.copy_(tensors[f"{name}.{key}"].to(dtype) * step)
    return SpikingSequential(*modules)
