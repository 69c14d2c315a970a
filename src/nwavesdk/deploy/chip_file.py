"""The file that a chip is programmed from: integer weights, time constants, placement and profile, and back to a net.

One safetensors file. Its header holds JSON under `chip`: the format's version, the profile, the modules in order with
their sizes, the placement, and what the caller adds. Its tensors are, by module: `<name>.weight` and
`<name>.recurrent_weights` as int8, `<name>.log_taus` as the net has them.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nwavesdk.chip import Profile, Quantizer
from nwavesdk.deploy.limits import find_violations
from nwavesdk.deploy.placement import place_layers
from nwavesdk.deploy.stages import Stage, chip_profile, chip_stages
from nwavesdk.internal.extras import require
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import SpikingSequential, family_of

__all__ = ["export", "load_export", "read_header"]

VERSION = 1


def export(
    model: nn.Module,
    path: str | Path,
    profile: Profile | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Write a net as a chip holds it.

    Weights become the integers of their `quantization_bits`, or of the chip's bits where a module has none.

    Args:
        model: A net of the chip's modules that breaks no limit of it; see `check`.
        path: The file; an older one gives way.
        profile: The chip. [the one that the net was built for]
        about: Anything for the header that JSON can hold, such as the front end's gain.

    Returns:
        The header.

    Raises:
        TypeError: The model is no chip's net.
        ValueError: It breaks a limit of the chip; the text names the first ones. Nothing is written.
    """
    chip = chip_profile(model, "export") if profile is None else profile
    rows = chip_stages(model, "export")
    broken = find_violations(model, chip)
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        first = "; ".join(str(violation).rstrip(".") for violation in broken[:3])
        raise ValueError(
            f"the net cannot go on {chip.name}: {first}{more}: train it for the chip, or move its weights with "
            "nwavesdk.deploy.project(model) and test it again."
        )
    limit, bits = chip.number("weight_limit"), chip.count("weight_bits")
    header = {
        "version": VERSION,
        "profile": json.loads(chip.to_json()),
        "modules": [description for row in rows for description in _describe(row, bits)],
        "placement": [vars(piece) for piece in place_layers(model, chip).pieces],
        "about": dict(about or {}),
    }
    tensors: dict[str, Tensor] = {}
    for row in rows:
        for weight in row.weights():
            quantizer = Quantizer(weight.bits or bits, limit)
            tensors[weight.name] = quantizer.integers(weight.tensor.detach()).cpu().contiguous()
        tensors[f"{row.name}.log_taus"] = row.layer.log_taus.detach().cpu().contiguous()
    write_atomically(
        Path(path),
        require("safetensors.torch", "train").save(tensors, {"chip": json.dumps(header)}),
    )
    return header


def read_header(path: str | Path) -> dict[str, Any]:
    """The header of an exported file.

    Raises:
        ValueError: It is no such file, or damaged.
    """
    if not Path(path).is_file():
        raise ValueError(f"{path} is not there: `nwave export` writes such a file.")
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["chip"])
    except (safetensors.SafetensorError, KeyError, ValueError, OSError) as error:
        raise ValueError(f"{path} is no file of `nwave export`, or damaged: {error!r}") from None
    if header.get("version") != VERSION:
        raise ValueError(
            f"{path} has version {header.get('version')}, this nwavesdk reads {VERSION}: export it again."
        )
    return dict(header)


def load_export(path: str | Path) -> SpikingSequential:
    """The net of an exported file; its spikes are those of the net that was written, to the bit.

    It has the dtype of that net; where that did not quantize, its spikes are those of its weights rounded to the chip's
    bits. Mismatch is off; module names are counted anew from 0.

    Raises:
        ValueError: It is no such file, or damaged.

    Example:
        >>> import tempfile, torch
        >>> from nwavesdk.layers import H1v2Frontend, H1v2Layer, prepare_net
        >>> net = SpikingSequential(H1v2Frontend(16, 5), H1v2Layer(16, 20e-3))
        >>> path = Path(tempfile.mkdtemp(), "chip.safetensors")
        >>> _ = export(net, path)
        >>> copy, x = load_export(path), torch.rand(2, 50, 16)
        >>> for each in (net, copy):
        ...     prepare_net(each)
        >>> torch.equal(net(x)[1], copy(x)[1])
        True
    """
    header = read_header(path)
    tensors = require("safetensors.torch", "train").load_file(path)
    try:
        return _build(header, tensors)
    except (KeyError, TypeError, RuntimeError, StopIteration) as error:
        raise ValueError(f"{path} is damaged: {error!r}") from None


def _describe(row: Stage, bits: int) -> list[dict[str, Any]]:
    kind = "frontend" if row.diagonal else "synapse"
    sizes = [row.n_inputs] if row.diagonal else [row.n_inputs, row.n_neurons]
    layer: dict[str, Any] = {
        "kind": "layer",
        "name": row.name,
        "size": [row.n_neurons],
        "dt": row.layer.dt,
    }
    if row.recurrent:
        layer |= {"topology": "RC", "bits": row.layer.quantization_bits or bits}
    return [
        {
            "kind": kind,
            "name": row.synapse_name,
            "size": sizes,
            "bits": row.synapse.quantization_bits or bits,
        },
        layer,
    ]


def _build(header: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> SpikingSequential:
    profile = Profile.from_json(json.dumps(header["profile"]))
    limit, family = profile.number("weight_limit"), family_of(profile)
    modules: list[Any] = []
    dtype = next(tensor.dtype for name, tensor in tensors.items() if name.endswith("log_taus"))
    for told in header["modules"]:
        name, bits = told["name"], told.get("bits")
        if told["kind"] != "layer":
            module = (family.frontend if told["kind"] == "frontend" else family.synapse)(
                *told["size"], quantization_bits=bits, profile=profile
            )
            weights = {"weight": module.weight}
        else:
            log_taus = tensors[f"{name}.log_taus"]
            module = family.layer(
                told["size"][0], log_taus.exp(), told["dt"], layer_topology=told.get("topology", "FF"),
                quantization_bits=bits, profile=profile,
            )  # fmt: skip
            weights = {"recurrent_weights": module.recurrent_weights} if bits else {}
        module.to(dtype)
        if told["kind"] == "layer":
            module.log_taus.copy_(log_taus)
        for key, weight in weights.items():
            integers = tensors[f"{name}.{key}"]
            weight.data.copy_(integers.to(weight.dtype) * Quantizer(bits, limit).step)
        modules.append(module)
    return SpikingSequential(*modules)
