"""The formats of files that nobody has checked: JSON, TOML, safetensors, and seals.

Design requirements:

- Parsing ends. A fault is one line that names the file and the remedy.
- A file may carry its own checksum, a *seal*, by which any damaged bit is detected.
"""

import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydantic_core import to_jsonable_python

from nwavesdk.internal.files import FileError, one_line, read_bytes, write_atomically
from nwavesdk.internal.imports import require

__all__ = [
    "UNSEALED",
    "check_seal",
    "json_text",
    "parse_json",
    "parse_toml",
    "read_sealed",
    "read_tensors",
    "seal",
    "write_sealed",
]

# The placeholder for the seal in a content that is not sealed yet.
UNSEALED = "unsealed" * 8

# The seal in JSON, also in the JSON of a safetensors header. The first match is the entry: within a
# text, JSON writes quotes with backslashes.
_SEAL = re.compile(rb'("sha256": ?")\w{64}(?=")')


def parse_json(content: bytes, path: object) -> dict[str, Any]:
    """The object in a JSON text.

    Args:
        content: The text in UTF-8.
        path: Name of its file, for errors.

    Raises:
        FileError: If it is empty, damaged, nested too deeply, or not an object.
    """

    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not a number of JSON")

    with _parsing("JSON", path):
        value = json.loads(content.decode(), parse_constant=reject)

    if not isinstance(value, dict):
        fault = f"holds a JSON {type(value).__name__}, expected an object in braces"
        raise FileError(path, fault, "restore it")
    return value


def json_text(content: object, *, indent: int | None = None) -> str:
    """The JSON of a content, in which numbers that are not finite are null and paths are texts.

    Args:
        content: Values that JSON has, paths and dataclasses.
        indent: Number of blanks before each level; None for a single line.

    Example:
        >>> json_text({"file": Path("a.wav"), "score": float("nan")})
        '{"file": "a.wav", "score": null}'
    """
    return json.dumps(to_jsonable_python(content, inf_nan_mode="null"), indent=indent)


def parse_toml(content: bytes, path: object) -> dict[str, Any]:
    """The content of a TOML text; see `parse_json`.

    Raises:
        FileError: If it is damaged or nested too deeply.
    """
    with _parsing("TOML", path):
        return tomllib.loads(content.decode())


@contextmanager
def _parsing(form: str, path: object) -> Iterator[None]:
    try:
        yield
    except (ValueError, RecursionError) as error:
        fault = f"is not {form} ({one_line(error)})"
        raise FileError(path, fault, "restore or remove it") from None


def read_tensors(content: bytes, path: object) -> tuple[dict[str, Any], dict[str, str]]:
    """The tensors of a safetensors file by name, and the texts in its header, which may have none.

    Args:
        content: The whole file.
        path: Name of the file, for errors.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
        FileError: If it is damaged.
    """
    load = require("safetensors.torch", "train").load
    try:
        tensors = load(content)
    except Exception as error:  # a damaged file can raise anything
        fault = f"has no tensors that can be read ({one_line(error)})"
        raise FileError(path, fault, "restore it") from None

    # A file begins with the length of its header in 8 bytes. The header is JSON, which `load` has
    # checked: the texts are texts.
    end = 8 + int.from_bytes(content[:8], "little")
    return tensors, parse_json(content[8:end], path).get("__metadata__") or {}


# Seals


def seal(content: bytes, owner: str = "") -> bytes:
    """Replace `UNSEALED` in a content by the checksum of the whole content.

    Args:
        content: The content, in JSON or safetensors, with `UNSEALED` as its entry `sha256`.
        owner: Text that identifies the owner of the file; the checksum covers it, too.
    """
    return _replace_seal(content, sha256(content + owner.encode()).hexdigest())


def check_seal(content: bytes, path: object, owner: str = "") -> None:
    """Compare a sealed content with its seal.

    Args:
        content: The whole file.
        path: Name of the file, for errors.
        owner: As in `seal`.

    Raises:
        FileError: If it has no seal, or if any bit or the owner has changed.
    """
    unsealed = _replace_seal(content, UNSEALED)
    if unsealed == content or seal(unsealed, owner) != content:
        other = " or belongs to another run than config.json describes" if owner else ""
        fault = f"is damaged{other} (its checksum is wrong)"
        raise FileError(path, fault, "restore it or write it again")


def write_sealed(path: Path, values: Mapping[str, Any], owner: str = "") -> None:
    """Write values as JSON with a seal.

    Raises:
        FileWriteError: If the disk is full or the folder cannot be written.
    """
    content = json.dumps({**values, "sha256": UNSEALED}, indent=2) + "\n"
    write_atomically(path, seal(content.encode(), owner))


def read_sealed(path: Path, owner: str = "") -> dict[str, Any]:
    """The values that `write_sealed` has written.

    Raises:
        FileError: If the file is missing, damaged, or belongs to another owner.
    """
    content = read_bytes(path)
    check_seal(content, path, owner)
    values = parse_json(content, path)
    values.pop("sha256", None)
    return values


def _replace_seal(content: bytes, text: str) -> bytes:
    return _SEAL.sub(rb"\g<1>" + text.encode(), content, count=1)
