"""Damage to the content of a file: its bytes, and the values and tensors in it.

Each generator yields labels with functions that make the damaged content. A label is the same in
each run with the same seed.
"""

import copy
import io
import json
import os
import pickle
import random
import re
import struct
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from faults.outcome import EXECUTED
from nwavesdk.internal.formats import UNSEALED, read_tensors, seal

__all__ = ["VALUES", "byte_damage", "damage_of"]

Damage = Iterator[tuple[str, Callable[[], bytes]]]

# What a value is replaced by.
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
# Damaged values of a file: more would repeat the same checks.
MAX_LEAVES = 60


class Executable:
    """An object whose pickle makes a file when it is loaded."""

    def __reduce__(self) -> Any:
        return os.mkdir, (EXECUTED,)


def byte_damage(content: bytes, seed: str, n_places: int = 24) -> Iterator[tuple[str, bytes]]:
    """Cut, flipped, doubled, emptied, overwritten content, and other formats."""
    choice = random.Random(seed)
    size = len(content)
    if not size:  # such as a lock
        return
    cuts = {
        0,
        1,
        4,
        8,
        9,
        64,
        size // 2,
        size - 1,
        *(choice.randrange(size) for _ in range(n_places)),
    }
    for place in sorted(cut for cut in cuts if 0 <= cut < size):
        yield f"cut-at-{place}", content[:place]
    for place in sorted({choice.randrange(8 * size) for _ in range(n_places)}):
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << place % 8
        yield f"flip-bit-{place}", bytes(flipped)
    for place in sorted({choice.randrange(min(size, 64)) for _ in range(n_places // 6)}):
        yield f"huge-at-{place}", content[:place] + b"\xff\xff\xff\x7f" + content[place + 4 :]
    for name, magic in MAGIC.items():
        yield f"magic-{name}", magic
        yield f"magic-{name}-before", magic + content[len(magic) :]
    third = size // 3
    yield "doubled", content * 2
    yield "zeros", bytes(size)
    yield "zeros-inside", content[:third] + bytes(third) + content[2 * third :]
    yield "noise", choice.randbytes(max(size, 100))
    yield "one-byte-more", content + b"\x00"
    yield "text-behind", content + b"\nx"
    yield "mark-before", b"\xef\xbb\xbf" + content
    yield "pickle", pickle.dumps(Executable())
    yield "brackets", b"[" * 200_000
    yield "braces", b'{"a":' * 200_000


# Values: a file is read as a nested value, of which one place is changed, and written again


def damage_of(path: Path, content: bytes, seed: str) -> Damage:
    """Files of a known format with one value or tensor replaced, removed or added to."""
    if path.suffix == ".wav":
        yield from _wav_damage(content)
    if path.suffix not in FORMATS:
        return
    read, write = FORMATS[path.suffix]
    value = read(content)

    def written(change: Callable[[], Any]) -> bytes:
        return reseal(content, write(change()))

    for label, change in _changes(value, seed):
        yield label, partial(written, change)
    if path.suffix in (".ckpt", ".pt"):
        yield "all:code", partial(write, {"state_dict": Executable()})


def _changes(value: Any, seed: str) -> Iterator[tuple[str, Callable[[], Any]]]:
    places = list(_places(value))
    choice = random.Random(seed)
    for place in places if len(places) <= MAX_LEAVES else choice.sample(places, MAX_LEAVES):
        name = ".".join(map(str, place)) or "all"
        inner = _at(value, place)
        others = VALUES
        if isinstance(inner, torch.Tensor):
            others = {"text": "x", "null": None, **_tensor_damage(inner)}
        if isinstance(inner, dict):
            others = {**others, "extra": {**inner, "\x1b[31mextra": 1}}
        if isinstance(inner, list) and inner:
            others = {**others, "longer": [*inner, inner[-1]], "shorter": inner[:-1]}
        for label, other in others.items():
            yield f"{name}:{label}", partial(_with, value, place, other)
        if place:
            yield f"{name}:missing", partial(_with, value, place, MISSING)


MISSING = object()


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
    """A copy of a nested value with another one, or with nothing, at a place."""
    if not place:
        return other
    changed = copy.copy(value)
    if other is MISSING and len(place) == 1:
        del changed[place[0]]
    else:
        changed[place[0]] = _with(value[place[0]], place[1:], other)
    return changed


def reseal(content: bytes, damaged: bytes) -> bytes:
    """Damaged content with a seal that fits, if the content had one that still occurs in it."""
    for checksum in set(re.findall(rb"[0-9a-f]{64}", content)):
        unsealed = content.replace(checksum, UNSEALED.encode())
        if sha256(unsealed).hexdigest().encode() == checksum and damaged.count(checksum) == 1:
            return seal(damaged.replace(checksum, UNSEALED.encode()))
    return damaged


def _tensor_damage(tensor: torch.Tensor) -> dict[str, torch.Tensor]:
    """Other dtypes, shapes and values of a tensor."""
    dtypes = ("float64", "float16", "bfloat16", "int64", "int8", "bool")
    damaged = {name: tensor.to(getattr(torch, name)) for name in dtypes}
    damaged = {name: other for name, other in damaged.items() if other.dtype != tensor.dtype}
    damaged |= {
        "flat": tensor.flatten() if tensor.ndim != 1 else tensor[:, None],
        "longer": torch.cat([tensor.flatten(), tensor.flatten()]),
        "nothing": tensor.flatten()[:0],
        "scalar": torch.zeros((), dtype=tensor.dtype),
        "zeros": torch.zeros_like(tensor),
        "hundred": torch.full_like(tensor, 100),
    }
    if tensor.is_floating_point():
        for label, number in (("nan", float("nan")), ("inf", float("inf")), ("huge", 1e30)):
            last = tensor.clone()
            last.view(-1)[-1:] = number
            damaged |= {label: last, f"all-{label}": torch.full_like(tensor, number)}
    return damaged


# Formats


def _write_json(value: Any) -> bytes:
    return json.dumps(value, indent=2).encode()


def _write_toml(value: Any) -> bytes:
    if not isinstance(value, dict):
        return _toml(value).encode()
    return "".join(f"{json.dumps(key)} = {_toml(inner)}\n" for key, inner in value.items()).encode()


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        items = (f"{json.dumps(key)} = {_toml(inner)}" for key, inner in value.items())
        return "{" + ", ".join(items) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value) if isinstance(value, str) else str(value).lower()


def _read_safetensors(content: bytes) -> dict[str, Any]:
    tensors, texts = read_tensors(content, "a file")
    values = {name: json.loads(text) if text[0] == "{" else text for name, text in texts.items()}
    # The order of the tensors differs from call to call.
    return {"tensors": dict(sorted(tensors.items())), "texts": values}


def _write_safetensors(value: Any) -> bytes:
    from safetensors.torch import save

    parts = value if isinstance(value, dict) else {"texts": {"x": value}}
    tensors, texts = (
        part if isinstance(part, dict) else {}
        for part in (parts.get("tensors"), parts.get("texts"))
    )
    # A text of another type is written as JSON, which has no surrogates.
    texts = {
        name: text if isinstance(text, str) and text.isascii() else json.dumps(text)
        for name, text in texts.items()
    }
    return save({n: t for n, t in tensors.items() if isinstance(t, torch.Tensor)}, texts)


def _read_torch(content: bytes) -> Any:
    return torch.load(io.BytesIO(content), weights_only=False)


def _write_torch(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


FORMATS: dict[str, tuple[Callable[[bytes], Any], Callable[[Any], bytes]]] = {
    ".json": (json.loads, _write_json),
    ".toml": (lambda content: tomllib.loads(content.decode()), _write_toml),
    ".safetensors": (_read_safetensors, _write_safetensors),
    ".ckpt": (_read_torch, _write_torch),
    ".pt": (_read_torch, _write_torch),
}


def _wav_damage(content: bytes) -> Damage:
    """Wrong fields in the header of a wav, and odd sound."""
    for label, place, form, numbers in (
        ("size", 4, "<I", (0, 2**30, 2**32 - 1)),
        ("format-size", 16, "<I", (0, 2, 2**31)),
        ("format", 20, "<H", (0, 2, 17, 0xFFFE)),
        ("channels", 22, "<H", (0, 2, 255, 65535)),
        ("rate", 24, "<I", (0, 999, 2 * 10**9, 2**32 - 1)),
        ("block", 32, "<H", (0, 65535)),
        ("bits", 34, "<H", (0, 12, 65535)),
        ("data-size", 40, "<I", (0, 1, 10**9, 2**32 - 1)),
    ):
        end = place + struct.calcsize(form)
        for number in numbers:
            changed = content[:place] + struct.pack(form, number) + content[end:]
            yield f"{label}-{number}", partial(bytes, changed)
    yield "no-frames", partial(bytes, content[:44])
    size = 400 * (len(content) - 44)
    long = content[:40] + struct.pack("<I", size) + content[44:] * 400
    yield "long", partial(bytes, long)
