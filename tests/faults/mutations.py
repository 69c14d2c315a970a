"""Damage to the content of a file: bytes, values of JSON, TOML and CSV, tensors, sound.

Each generator yields labels and the damaged content, or a function that makes it. A label is the
same in each run with the same seed.
"""

import copy
import io
import json
import os
import pickle
import random
import re
import struct
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from faults.outcome import EXECUTED
from nwavesdk.internal.formats import UNSEALED, seal

__all__ = [
    "byte_damage",
    "csv_damage",
    "damage_of",
    "json_damage",
    "nir_damage",
    "pickle_damage",
    "safetensors_damage",
    "toml_damage",
    "value_damage",
    "wav_damage",
]

Damage = Iterator[tuple[str, bytes | Callable[[], bytes]]]

# What a value of JSON is replaced by.
VALUES: dict[str, Any] = {
    "null": None,
    "true": True,
    "zero": 0,
    "minus-one": -1,
    "half": 0.5,
    "huge": 2**70,
    "large": 2**31,
    "1e308": 1e308,
    "1e-308": 1e-308,
    "nan": float("nan"),
    "infinity": float("inf"),
    "empty-text": "",
    "text": "x",
    "escape": "\x1b[31mred\r\n",
    "surrogate": "\ud800",
    "math": "$x_{$",
    "long-text": "x" * 10**5,
    "empty-list": [],
    "empty-object": {},
    "list": [1, "x", None],
    "long-list": [0] * 10**4,
    "object": {"x": 1},
}
# Beginnings of other formats.
MAGIC = {
    "png": b"\x89PNG\r\n\x1a\n",
    "elf": b"\x7fELF\x02\x01\x01",
    "gzip": b"\x1f\x8b\x08\x00",
    "zip": b"PK\x03\x04",
    "riff": b"RIFF\xff\xff\xff\xffWAVEfmt ",
    "json": b'{"a": 1}',
    "utf16": b"\xff\xfe{\x00}\x00",
    "script": b"#!/bin/sh\necho\n",
}


class Executable:
    """An object whose pickle makes a file when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, (EXECUTED,)


# Bytes


def byte_damage(content: bytes, seed: str, n_places: int = 24) -> Damage:
    """Cut, flipped, doubled, emptied, overwritten content, and that of other formats."""
    choice = random.Random(seed)
    size = len(content)
    cuts = {0, 1, 4, 8, 9, 64, size // 2, size - 1} | {
        choice.randrange(max(size, 1)) for _ in range(n_places)
    }
    for place in sorted(cut for cut in cuts if 0 <= cut < size):
        yield f"cut-at-{place}", content[:place]
    for place in sorted({choice.randrange(8 * size) for _ in range(n_places)} if size else ()):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        yield f"flip-bit-{place}", bytes(flipped)
    yield "doubled", content * 2
    yield "zeros", bytes(size)
    yield "noise", choice.randbytes(max(size, 100))
    yield "one-byte-more", content + b"\x00"
    yield "text-behind", content + b"\nx"
    yield "mark-before", b"\xef\xbb\xbf" + content
    yield "pickle", pickle.dumps(Executable())
    for name, magic in MAGIC.items():
        yield f"magic-{name}", magic
        yield f"magic-{name}-before", magic + content[len(magic) :]
    yield "brackets", b"[" * 200_000
    yield "braces", b'{"a":' * 200_000


# Values


def value_damage(
    value: Any, seed: str, n_leaves: int = 40
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Functions that make a nested value with one place replaced, removed or added to."""
    choice = random.Random(seed)
    places = list(_places(value))
    for place in places if len(places) <= n_leaves else choice.sample(places, n_leaves):
        name = ".".join(map(str, place)) or "all"
        for label, other in VALUES.items():
            yield f"{name}:{label}", partial(_with, value, place, other)
        if place:
            yield f"{name}:missing", partial(_without, value, place)
        inner = _at(value, place)
        if isinstance(inner, dict):
            yield f"{name}:extra", partial(_with, value, place, {**inner, "\x1b[31mextra": 1})
        if isinstance(inner, list) and inner:
            yield f"{name}:longer", partial(_with, value, place, [*inner, inner[-1]])
            yield f"{name}:shorter", partial(_with, value, place, inner[:-1])


def json_damage(content: bytes, seed: str) -> Damage:
    """Damaged values in an object of JSON, with the seal of the damaged content."""
    value = json.loads(content)

    def written(damaged: Callable[[], Any]) -> bytes:
        return reseal(content, json.dumps(damaged(), indent=2).encode())

    for label, damaged in value_damage(value, seed):
        yield label, partial(written, damaged)
    yield "deep", json.dumps({"x": _nested(60)}).encode()
    yield "deeper", json.dumps({"x": _nested(500)}).encode()
    yield "twice", content.replace(b"{", b'{"seed": 1, "seed": 2,', 1)
    yield "comment", b"// comment\n" + content


def toml_damage(content: bytes, seed: str, n_lines: int = 30) -> Damage:
    """Lines of TOML with another value, without a line, or with a line twice."""
    del seed
    values = ('""', '"x"', "nan", "inf", "-1", "0", "1e308", "1e-308", "[]", "{}", "true")
    more = ("1979-05-27", str(2**70), '"\\u001b[31m"', "[[1], [2, 3]]", '"$x_{$"')
    lines = content.decode().splitlines()
    found = [place for place, line in enumerate(lines) if re.match(r"\s*[\w.\"]+\s*=", line)]
    step = max(1, len(found) // n_lines)
    for place in found[::step]:
        key = lines[place].split("=", 1)[0]
        for value in (*values, *more):
            changed = [*lines[:place], f"{key}= {value}", *lines[place + 1 :]]
            yield f"line-{place}:{value}", "\n".join(changed).encode()
        yield f"line-{place}:missing", "\n".join(lines[:place] + lines[place + 1 :]).encode()
        yield f"line-{place}:twice", "\n".join(lines[:place] + lines[place - 1 :]).encode()
    yield "extra", content + b"\nextra = 1\n"
    yield "extra-table", content + b"\n[extra]\nx = 1\n"
    yield "dotted", b"x" + b".x" * 5000 + b" = 1\n" + content


def csv_damage(content: bytes, seed: str) -> Damage:
    """Cells of a table with another content; rows and columns that are missing or too many."""
    del seed
    rows = [line.split(",") for line in content.decode().splitlines()]
    for column in range(len(rows[0])):
        for row in {0, len(rows) - 1}:
            for value in ("", "x", "nan", "inf", "-1", "1e308", str(2**70), "\x1b[31m", '"'):
                changed = copy.deepcopy(rows)
                changed[row][column] = value
                yield f"{row}-{column}:{value!r}", _csv_text(changed)
        yield f"{column}:missing", _csv_text([r[:column] + r[column + 1 :] for r in rows])
    yield "row-missing", _csv_text(rows[:-1])
    yield "head-missing", _csv_text(rows[1:])
    yield "row-twice", _csv_text([*rows, rows[-1]])
    yield "row-short", _csv_text([*rows[:-1], rows[-1][:2]])


def _csv_text(rows: list[list[str]]) -> bytes:
    return ("\n".join(",".join(row) for row in rows) + "\n").encode()


def _places(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield place
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _places(inner, (*place, key))
    elif isinstance(value, list):
        for index in sorted({0, len(value) - 1} if value else ()):
            yield from _places(value[index], (*place, index))


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _with(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    if not place:
        return other
    changed = copy.copy(value)
    changed[place[0]] = _with(value[place[0]], place[1:], other)
    return changed


def _without(value: Any, place: tuple[Any, ...]) -> Any:
    parent = copy.copy(_at(value, place[:-1]))
    del parent[place[-1]]
    return _with(value, place[:-1], parent)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def reseal(content: bytes, damaged: bytes) -> bytes:
    """Damaged content with a seal that fits, if the content had one that still occurs in it."""
    from hashlib import sha256

    for checksum in set(re.findall(rb"[0-9a-f]{64}", content)):
        unsealed = content.replace(checksum, UNSEALED.encode())
        if sha256(unsealed).hexdigest().encode() == checksum and damaged.count(checksum) == 1:
            return seal(damaged.replace(checksum, UNSEALED.encode()))
    return damaged


# Tensors


def tensor_damage(tensor: Any) -> Iterator[tuple[str, Any]]:
    """Other dtypes, shapes and values of a tensor."""
    import torch

    for dtype in (
        torch.float64,
        torch.float16,
        torch.bfloat16,
        torch.int64,
        torch.int8,
        torch.bool,
    ):
        if tensor.dtype != dtype:
            yield f"{dtype}".removeprefix("torch."), tensor.to(dtype)
    yield "transposed", tensor.mT.contiguous() if tensor.ndim > 1 else tensor[None]
    yield "flat", tensor.flatten() if tensor.ndim != 1 else tensor[:, None]
    yield "longer", torch.cat([tensor.flatten(), tensor.flatten()])
    yield "nothing", tensor.flatten()[:0]
    yield "scalar", torch.zeros((), dtype=tensor.dtype)
    for label, value in (("zeros", 0), ("ones", 1), ("minus", -1), ("hundred", 100)):
        yield label, torch.full_like(tensor, value)
    if tensor.is_floating_point():
        for label, number in (("nan", float("nan")), ("inf", float("inf")), ("huge", 1e30)):
            damaged = tensor.clone()
            damaged.view(-1)[-1:] = number
            yield label, damaged
            yield f"all-{label}", torch.full_like(tensor, number)


def safetensors_damage(content: bytes, seed: str) -> Damage:
    """Damaged tensors and damaged texts of the header, with the seal of the damaged content."""
    from safetensors.torch import load, save

    tensors = load(content)
    head = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    texts = head.get("__metadata__")

    def written(changed: dict[str, Any], metadata: Any = texts) -> bytes:
        return reseal(content, save(changed, metadata))

    for name, tensor in tensors.items():
        for label, damaged in tensor_damage(tensor):
            yield f"{name}:{label}", partial(written, {**tensors, name: damaged})
        yield f"{name}:missing", written({n: t for n, t in tensors.items() if n != name})
        renamed = {(f"{n}\x1b[31m" if n == name else n): t for n, t in tensors.items()}
        yield f"{name}:renamed", written(renamed)
    first = next(iter(tensors.values())).clone()
    yield "extra", written({**tensors, "net.9.weight": first})
    yield "no-tensors", written({})
    yield "no-texts", written(tensors, None)
    for name, text in (texts or {}).items():
        for other in ("", "x", "[]", "null", "{}", "\x1b[31m", "[" * 10**5):
            yield f"texts.{name}:{other[:9]!r}", written(tensors, {**texts, name: other})
        try:
            value = json.loads(text)
        except ValueError:
            continue

        def written_with(name: str, damaged: Callable[[], Any]) -> bytes:
            return written(tensors, {**texts, name: json.dumps(damaged())})

        for label, damaged in value_damage(value, seed):
            yield f"texts.{name}.{label}", partial(written_with, name, damaged)
    yield from _safetensors_heads(content, head)


def _safetensors_heads(content: bytes, head: dict[str, Any]) -> Damage:
    data = content[8 + struct.unpack("<Q", content[:8])[0] :]
    for size in (0, 2**20, 2**40, 2**64 - 1):
        yield f"head-of-{size}", struct.pack("<Q", size) + content[8:]
    name = next(key for key in head if key != "__metadata__")
    for label, entry in (
        ("offsets", {**head[name], "data_offsets": [0, 2**40]}),
        ("backwards", {**head[name], "data_offsets": [8, 0]}),
        ("shape", {**head[name], "shape": [2**40]}),
        ("dtype", {**head[name], "dtype": "F128"}),
    ):
        text = json.dumps({**head, name: entry}).encode()
        yield f"head-{label}", struct.pack("<Q", len(text)) + text + data


def pickle_damage(content: bytes, seed: str, n_leaves: int = 60) -> Damage:
    """Damaged values and tensors of a file of `torch.save`."""
    import torch

    value = torch.load(io.BytesIO(content), weights_only=False)
    choice = random.Random(seed)
    places = [place for place in _places(value) if place]
    for place in places if len(places) <= n_leaves else choice.sample(places, n_leaves):
        inner = _at(value, place)
        name = ".".join(map(str, place))
        if isinstance(inner, torch.Tensor):
            for label, damaged in tensor_damage(inner):
                yield f"{name}:tensor-{label}", partial(_saved_with, value, place, damaged)
        for label in ("null", "minus-one", "huge", "text", "empty-list", "empty-object", "nan"):
            if not (label == "nan" and isinstance(inner, torch.Tensor)):
                yield f"{name}:{label}", partial(_saved_with, value, place, VALUES[label])
        yield f"{name}:missing", partial(_saved_without, value, place)
    for label, whole in whole_values().items():
        yield f"all:{label}", partial(_saved, whole)
    yield "all:code", _saved({"state_dict": Executable()})
    yield "all:old-format", partial(_saved, value, _use_new_zipfile_serialization=False)


def whole_values() -> dict[str, Any]:
    """Contents of a `.pt` file that are not an ordinary tensor."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # quantized and sparse tensors have their own
        return _whole_values(torch)


def _whole_values(torch: Any) -> dict[str, Any]:
    return {
        "none": None,
        "text": "x",
        "list": [1.0, 2.0],
        "object": {"x": torch.zeros(2)},
        "meta": torch.zeros(2, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        "sparse": torch.sparse_coo_tensor([[0]], [1.0], (2**40,)),
        "csr": torch.eye(3).to_sparse_csr(),
        "complex": torch.zeros(3, dtype=torch.complex64),
        "bool": torch.zeros(3, dtype=torch.bool),
        "int8": torch.zeros(3, dtype=torch.int8),
        "half": torch.zeros(3, dtype=torch.float16),
        "empty": torch.zeros(0),
        "expanded": torch.zeros(1).expand(2**40),
        "nan": torch.full((1,), float("nan")),
        "inf": torch.full((1,), float("inf")),
        "scalar": torch.zeros(()),
        "matrix": torch.zeros(3, 4),
        "many-dimensions": torch.zeros((1,) * 40),
        "parameter": torch.nn.Parameter(torch.zeros(1)),
        "gradient": torch.zeros(1, requires_grad=True),
    }


def _saved_with(value: Any, place: tuple[Any, ...], other: Any) -> bytes:
    return _saved(_with(value, place, other))


def _saved_without(value: Any, place: tuple[Any, ...]) -> bytes:
    return _saved(_without(value, place))


def _saved(value: Any, **options: Any) -> bytes:
    import torch

    buffer = io.BytesIO()
    torch.save(value, buffer, **options)
    return buffer.getvalue()


# Sound


def wav_damage(content: bytes, seed: str) -> Damage:
    """Wrong fields in the header of a wav, odd sound, and other formats under the same name."""
    del seed
    for label, place, form, numbers in (
        ("size", 4, "<I", (0, 2**30, 2**32 - 1)),
        ("format-size", 16, "<I", (0, 2, 2**31, 2**32 - 1)),
        ("format", 20, "<H", (0, 2, 3, 17, 0xFFFE, 0xFFFF)),
        ("channels", 22, "<H", (0, 2, 255, 65535)),
        ("rate", 24, "<I", (0, 1, 999, 2 * 10**9, 2**32 - 1)),
        ("byte-rate", 28, "<I", (0, 2**32 - 1)),
        ("block", 32, "<H", (0, 1, 65535)),
        ("bits", 34, "<H", (0, 1, 8, 12, 64, 65535)),
        ("data-size", 40, "<I", (0, 1, 10**9, 2**32 - 1)),
    ):
        for number in numbers:
            changed = bytearray(content)
            struct.pack_into(form, changed, place, number)
            yield f"{label}-{number}", bytes(changed)
    yield "no-frames", content[:44]
    yield "one-frame", _wav(content, content[44:46])
    yield "silence", _wav(content, bytes(3200))
    yield "loudest", _wav(content, b"\xff\x7f\x00\x80" * 800)
    yield "long", _wav(content, content[44:] * 400)
    yield "chunks", content[:36] + b"LIST\xff\xff\xff\x7f" + content[36:]
    yield from _other_sound()


def _wav(content: bytes, data: bytes) -> bytes:
    sizes = struct.pack("<I", 36 + len(data)), struct.pack("<I", len(data))
    return content[:4] + sizes[0] + content[8:40] + sizes[1] + data


def _other_sound() -> Damage:
    import numpy as np
    import soundfile

    sound = 0.1 * np.sin(np.arange(1600) / 5)
    bad = sound.copy()
    bad[3] = np.nan
    for label, values, form, kind in (
        ("flac", sound, "FLAC", "PCM_16"),
        ("ogg", sound, "OGG", "VORBIS"),
        ("aiff", sound, "AIFF", "PCM_16"),
        ("float-nan", bad, "WAV", "FLOAT"),
        ("float-huge", sound * 1e30, "WAV", "FLOAT"),
        ("double", sound, "WAV", "DOUBLE"),
        ("u-law", sound, "WAV", "ULAW"),
        ("stereo", np.stack([sound, sound], 1), "WAV", "PCM_24"),
    ):
        buffer = io.BytesIO()
        soundfile.write(buffer, values, 8000, format=form, subtype=kind)
        yield label, buffer.getvalue()


def nir_damage(content: bytes, seed: str) -> Damage:
    """Each dataset of an HDF5 file without its value, or with one of another kind."""
    del seed
    import h5py
    import numpy as np

    names: list[str] = []

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            names.append(name)

    with h5py.File(io.BytesIO(content), "r") as file:
        file.visititems(visit)
    others = {
        "missing": None,
        "nan": np.nan,
        "inf": np.full(5, np.inf),
        "negative": -1.0,
        "text": "Resonator",
        "bytes": np.bytes_(b"\xff\x1b[31m"),
        "longer": np.ones((3, 7)),
        "nothing": np.zeros(0),
        "complex": np.ones(5) * 1j,
    }
    for name in names:
        for label, value in others.items():
            buffer = io.BytesIO(content)
            with h5py.File(buffer, "r+") as file:
                del file[name]
                if value is not None:
                    file[name] = value
            yield f"{name.replace('/', '.')}:{label}", buffer.getvalue()
    buffer = io.BytesIO(content)
    with h5py.File(buffer, "r+") as file:
        file["node/nodes/lif_1/far"] = h5py.ExternalLink("/etc/passwd", "/")
    yield "external-link", buffer.getvalue()


def damage_of(path: Path, content: bytes, seed: str) -> Damage:
    """The damage that fits the format of a file, besides that of bytes."""
    kinds = {
        ".json": json_damage,
        ".toml": toml_damage,
        ".csv": csv_damage,
        ".safetensors": safetensors_damage,
        ".ckpt": pickle_damage,
        ".pt": pickle_damage,
        ".nir": nir_damage,
        ".wav": wav_damage,
    }
    kind = kinds.get(path.suffix)
    if kind is not None:
        yield from kind(content, seed)
