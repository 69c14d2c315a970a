"""The formats of files that nobody has checked: JSON, TOML, the texts of safetensors, and seals.

Design requirements:

- Parsing ends, and its result is not nested deeper than a limit. A fault is one line that names
  the file and the remedy.
- A file may carry its own checksum, a *seal*, by which any damaged bit is detected.
"""

import json
import re
import tomllib
from collections.abc import Callable
from hashlib import sha256
from typing import Any

from nwavesdk.internal.files import MOST_TEXT_BYTES, FileError, one_line
from nwavesdk.internal.imports import require

__all__ = [
    "UNSEALED",
    "check_seal",
    "load_tensors",
    "parse_json",
    "parse_toml",
    "safetensors_texts",
    "seal",
]

# Levels of nesting in a file of text. Our own files have five.
MOST_LEVELS = 64

# Stands for the seal in a content that is not sealed yet. Neither tensors nor texts have it by
# chance, as they might have 64 zeros.
UNSEALED = "unsealed" * 8


def parse_json(content: bytes, path: object) -> dict[str, Any]:
    """The object in a JSON text.

    Args:
        content: The text in UTF-8.
        path: Name of its file, for errors.

    Raises:
        FileError: If it is empty, damaged, too large, nested too deeply, or not an object.
    """

    def reject(constant: str) -> None:
        raise ValueError(f"{constant} is not a number of JSON")

    value = _parse(content, path, "JSON", lambda text: json.loads(text, parse_constant=reject))
    if not isinstance(value, dict):
        what = f"holds a JSON {type(value).__name__}, expected an object in braces"
        raise FileError(path, what, "restore it")
    return value


def parse_toml(content: bytes, path: object) -> dict[str, Any]:
    """The content of a TOML text; see `parse_json`.

    Raises:
        FileError: If it is damaged, too large or nested too deeply.
    """
    value: dict[str, Any] = _parse(content, path, "TOML", tomllib.loads)
    return value


def _parse(content: bytes, path: object, form: str, parse: Callable[[str], Any]) -> Any:
    try:
        if len(content) > MOST_TEXT_BYTES:
            raise ValueError(f"{len(content):,} bytes, expected at most {MOST_TEXT_BYTES:,}")
        text = content.decode()
        if form == "JSON" and not text.strip():
            raise ValueError("it is empty")
        value = parse(text)
        _check_levels(value)
    except (ValueError, RecursionError) as error:  # of the decoder, of json and of tomllib
        too_deep = isinstance(error, RecursionError)
        reason = f"nested deeper than {MOST_LEVELS} levels" if too_deep else one_line(error)
        raise FileError(path, f"is not {form} ({reason})", "restore or remove it") from None
    return value


def _check_levels(value: object) -> None:
    """Reject values that are nested so deeply that reading or printing them overflows the stack."""
    values = [value]
    for _ in range(MOST_LEVELS):
        inner: list[object] = []
        for each in values:
            inner += each.values() if isinstance(each, dict) else []
            inner += each if isinstance(each, list) else []
        values = inner
    if values:
        raise RecursionError


def safetensors_texts(content: bytes, path: object) -> dict[str, str]:
    """The texts in the header of a safetensors file, which may have none.

    Args:
        content: The whole file.
        path: Name of the file, for errors.

    Raises:
        FileError: If the header is damaged.
    """
    # A file begins with the length of its header in 8 bytes, then has the header in JSON.
    end = 8 + int.from_bytes(content[:8], "little")
    if end > len(content):
        raise FileError(path, "is cut off", "restore it")
    texts = parse_json(content[8:end], path).get("__metadata__", {})
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise FileError(path, "has damaged texts", "restore it")
    return texts


def load_tensors(content: bytes) -> dict[str, Any]:
    """The tensors of a safetensors file by name.

    Raises:
        ModuleNotFoundError: If safetensors is not installed.
        ValueError: If the content is damaged.
    """
    load = require("safetensors.torch", "train").load
    try:
        tensors: dict[str, Any] = load(content)
    except Exception as error:  # a damaged file can raise anything
        raise ValueError(f"its tensors cannot be read: {one_line(error)}") from None
    return tensors


# Seals


def seal(content: bytes, owner: str = "") -> bytes:
    """Replace `UNSEALED`, which occurs once in a content, by the checksum of the whole content.

    Args:
        content: The content.
        owner: Text that identifies what the file belongs to, which the checksum covers, too.

    Raises:
        ValueError: If it occurs more than once, in a text of the user's.
    """
    placeholder = UNSEALED.encode()
    if content.count(placeholder) != 1:
        raise ValueError(f"a file cannot hold the text {UNSEALED}: change the text.")
    checksum = sha256(content + owner.encode()).hexdigest()
    return content.replace(placeholder, checksum.encode())


def check_seal(content: bytes, checksum: object, path: object, owner: str = "") -> None:
    """Compare a sealed content with the checksum that was read from it.

    Args:
        content: The whole file.
        checksum: The value that the content holds for its seal.
        path: Name of the file, for errors.
        owner: As in `seal`.

    Raises:
        FileError: If any bit differs from what was written, or the owner does.
    """
    text = str(checksum).encode(errors="replace")
    if re.fullmatch(rb"[0-9a-f]{64}", text) and content.count(text) == 1:
        unsealed = content.replace(text, UNSEALED.encode())
        if sha256(unsealed + owner.encode()).hexdigest().encode() == text:
            return
    other = " or belongs to another run than config.json describes" if owner else ""
    what = f"is damaged{other} (its checksum is wrong)"
    raise FileError(path, what, "restore it or write it again")
