"""The chip file: integer weights, time constants, placement and profile of a net, in one file.

It is a safetensors file. Its header has JSON under `chip`: the version of the format, the profile,
the modules in order with their sizes, the placement, and data from the caller; and a checksum of
the whole file under `sha256`. Its tensors are, by module: `<name>.weight` and
`<name>.recurrent_weights` as int8, and `<name>.log_taus` in the dtype of the net. A net of float64
also has `<name>.taus`: its layers compute with the time constants that the user passed, which
`log_taus` holds with the precision of float32 only.

A file that is read is not trusted. `deploy/chip_header.py` has the schema.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import Profile, Quantizer
from nwavesdk.deploy.chip_header import VERSION, Header, StoredLayer, check_tensors
from nwavesdk.deploy.limits import find_violations
from nwavesdk.deploy.placement import place_stages
from nwavesdk.deploy.stages import Stage, stages_and_profile, weight_bits
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import FileError, check_target, printable, read_bytes, write_atomically
from nwavesdk.internal.formats import (
    UNSEALED,
    check_seal,
    parse_json,
    read_tensors,
    seal,
)
from nwavesdk.internal.imports import require
from nwavesdk.layers import SpikingSequential, family_of

__all__ = ["export", "load_export", "pack_net", "read_header", "unpack_net"]

# A chip of 4,096 neurons with all-to-all weights has a quarter of this.
MAX_BYTES = 64 * 2**20


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
        path: The file to write. An existing file is replaced, and a missing folder is made.
        profile: The chip. [the chip that the net was built for]
        about: Data for the header that JSON can represent, such as the gain of the front end.

    Returns:
        The header.

    Raises:
        TypeError: If the model is not a net of chip modules, or `about` is not a mapping.
        ValueError: If the net violates a limit of the chip, or the file cannot be written.
        FileWriteError: If the disk is full.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from nwavesdk.deploy import project
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse
        >>> net = SpikingSequential(H1v2Synapse(16, 8), H1v2Layer(8, 20e-3))
        >>> project(net)
        >>> with TemporaryDirectory() as folder:
        ...     header = export(net, Path(folder, "chip.safetensors"), about={"gain": 2.0})
        >>> [module["kind"] for module in header["modules"]], header["placement"][0]["core"]
        (['synapse', 'layer'], 0)
    """
    path = Path(path)
    check_target(path)

    # Read back before it is written, so that a file that cannot be read is never left behind.
    content = pack_net(model, profile, about)
    header, _, _ = _unpack(content, path)

    write_atomically(path, content)
    return header


def pack_net(
    model: nn.Module, profile: Profile | None = None, about: Mapping[str, Any] | None = None
) -> bytes:
    """The content of the chip file of a net; see `export`."""
    stages, chip = stages_and_profile(model, profile, "export")
    remedy = "train it for the chip, or call nwavesdk.deploy.project(model) and test it again"
    _check_limits(model, chip, f": {remedy}.")
    if about is not None and not isinstance(about, Mapping):
        raise TypeError(f"export: about must be a mapping, got {shown(about)}.")

    bits = chip.count("weight_bits")
    header = {
        "version": VERSION,
        "profile": json.loads(chip.to_json()),
        "modules": [module for stage in stages for module in _describe_modules(stage, bits)],
        "placement": [vars(piece) for piece in place_stages(stages, chip).pieces],
        "about": dict(about or {}),
    }

    try:
        text = json.dumps(header, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(
            f"export: about must hold only values that JSON can represent ({error}), got "
            f"{shown(header['about'])}: remove all others."
        ) from None

    # The header is read back by the schema, which has the limits of its fields.
    Header.of(parse_json(text.encode(), "the header of the chip file"), "export")

    on_cpu = {name: tensor.cpu().contiguous() for name, tensor in _tensors_of(stages, chip)}
    saved = require("safetensors.torch", "train").save(on_cpu)
    content = seal(_add_texts(saved, {"chip": text, "sha256": UNSEALED}))

    if len(content) > MAX_BYTES:
        raise ValueError(
            f"the net is too large for a chip file: {len(content):,} bytes, expected at most "
            f"{MAX_BYTES:,}: make layers smaller."
        )
    return content


def _tensors_of(stages: Sequence[Stage], chip: Profile) -> Iterator[tuple[str, Tensor]]:
    """The tensors of a net by name."""
    bits = chip.count("weight_bits")
    for stage in stages:
        for edge in stage.edges:
            quantizer = Quantizer(weight_bits(edge) or bits, chip.number("weight_limit"))
            yield edge.name, quantizer.integers(edge.weight.detach())

        yield f"{stage.name}.log_taus", stage.layer.log_taus.detach()
        if stage.layer.log_taus.dtype == torch.float64:
            yield f"{stage.name}.taus", stage.layer.taus.detach()


def _add_texts(content: bytes, texts: Mapping[str, str]) -> bytes:
    """Add texts to a safetensors file; `save` would write them in random order."""
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps({"__metadata__": texts, **json.loads(content[8:data])}).encode()

    header += b" " * (-len(header) % 8)  # Tensors are aligned.
    return len(header).to_bytes(8, "little") + header + content[data:]


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the header of a chip file.

    Raises:
        ValueError: If it is not a chip file, or damaged.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from nwavesdk.deploy import project
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse
        >>> net = SpikingSequential(H1v2Synapse(16, 8), H1v2Layer(8, 20e-3))
        >>> project(net)
        >>> with TemporaryDirectory() as folder:
        ...     _ = export(net, Path(folder, "chip.safetensors"), about={"gain": 2.0})
        ...     header = read_header(Path(folder, "chip.safetensors"))
        >>> header["profile"]["name"], header["about"]
        ('h1v2', {'gain': 2.0})
    """
    path = Path(path)
    return _unpack(read_bytes(path, MAX_BYTES), path)[0]


def _unpack(content: bytes, path: Path) -> tuple[dict[str, Any], Header, dict[str, Tensor]]:
    """The header, after all checks that need no tensor, and the tensors, which are not checked."""
    try:
        tensors, texts = read_tensors(content, path)
        check_seal(content, path)

        content_header = parse_json(texts.pop("chip", "").encode(), path)
        version = content_header.get("version")
        if version != VERSION:
            raise ValueError(f"version {shown(version)}, expected {VERSION}")

        if unknown := texts.keys() - {"sha256"}:
            raise ValueError(f"unknown {shown(sorted(unknown))} in its header")

        header = Header.of(content_header)
    except ValueError as error:
        raise _damaged(path, error) from None

    return content_header, header, tensors


def _damaged(path: Path, reason: object) -> FileError:
    reason = reason.fault if isinstance(reason, FileError) else reason
    text = printable(reason)[:800].rstrip(".")  # It may repeat a text of the file.
    fault = f"is not a file of `nwave export`, or it is damaged ({text})"
    return FileError(path, fault, "restore it, or export the net again")


def load_export(path: str | Path) -> SpikingSequential:
    """Read the net of a chip file.

    It spikes as the exported net does, bit by bit, with weights rounded to the bits of the chip.
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
        >>> for model in (net, copy):
        ...     prepare_net(model)
        >>> torch.equal(net(x)[1], copy(x)[1])
        True
    """
    path = Path(path)
    return unpack_net(read_bytes(path, MAX_BYTES), path)


def unpack_net(content: bytes, path: Path) -> SpikingSequential:
    """The net in the content of a chip file; see `load_export`.

    Args:
        content: The whole file.
        path: Its name, for errors.

    Raises:
        FileError: If it is not the content of a chip file, or damaged.
    """
    _, header, tensors = _unpack(content, path)
    try:
        check_tensors(header, tensors)
        net = _build_net(header, tensors)
        _check_limits(net, header.chip)
    except ValueError as error:
        raise _damaged(path, error) from None
    return net


def _check_limits(model: nn.Module, chip: Profile, remedy: str = "") -> None:
    violations = find_violations(model, chip)
    if violations:
        # Three are enough for one line; `nwave check` lists all.
        first = "; ".join(str(violation).rstrip(".") for violation in violations[:3])
        more = f" and {len(violations) - 3} more" if len(violations) > 3 else ""
        raise ValueError(f"the net violates limits of {chip.name}: {first}{more}{remedy}")


def _describe_modules(stage: Stage, bits: int) -> list[dict[str, Any]]:
    """The header's entries for the two modules of a stage on a chip with weights of `bits`."""
    synapse = {
        "kind": "frontend" if stage.is_frontend else "synapse",
        "name": stage.synapse_name,
        "size": [stage.n_inputs] if stage.is_frontend else [stage.n_inputs, stage.n_neurons],
        "bits": int(stage.synapse.quantization_bits or bits),
    }

    layer = {
        "kind": "layer",
        "name": stage.name,
        "size": [stage.n_neurons],
        "dt": stage.layer.dt,
    }
    if stage.is_recurrent:
        layer |= {"topology": "RC", "bits": int(stage.layer.quantization_bits or bits)}
    return [synapse, layer]


def _build_net(header: Header, tensors: Mapping[str, Tensor]) -> SpikingSequential:
    """The net of a header whose tensors have been checked."""
    family = family_of(header.chip)
    dtype = next(tensor.dtype for tensor in tensors.values() if tensor.is_floating_point())

    modules: list[nn.Module] = []
    for entry in header.modules:
        options: dict[str, Any] = {"quantization_bits": entry.bits, "profile": header.chip}
        if isinstance(entry, StoredLayer):
            log_taus = tensors[f"{entry.name}.log_taus"]
            options["layer_topology"] = entry.topology

            # The layer computes `log_taus` from `taus`, with a rounding error in its last digit, so
            # the stored one is copied.
            taus = tensors.get(f"{entry.name}.taus", log_taus.exp())
            module = family.layer(*entry.size, taus, entry.dt, **options).to(dtype)
            module.log_taus.copy_(log_taus)
        else:
            kind = family.frontend if entry.kind == "frontend" else family.synapse
            module = kind(*entry.size, **options).to(dtype)
        modules.append(module)

        if entry.bits is not None:  # A layer without recurrence has no weights.
            step = Quantizer(entry.bits, header.chip.number("weight_limit")).step
            weight = getattr(module, entry.weight_name)
            weight.data.copy_(tensors[f"{entry.name}.{entry.weight_name}"].to(dtype) * step)
    return SpikingSequential(*modules)
