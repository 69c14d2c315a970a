"""Archives of numpy whose claims are false."""

import zlib
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np

SAVES = {"stored": np.savez, "deflated": np.savez_compressed}


def write_zip(path: Path, members: Mapping[str, bytes], *, deflate: bool = False) -> Path:
    """A zip with these contents, by the names of their files."""
    with ZipFile(path, "w", ZIP_DEFLATED if deflate else ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def replace_content(path: Path, name: str, content: bytes, size: int, crc: int) -> None:
    """Give a deflated member other packed content; the zip promises `size` bytes of it."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    packed = packer.compress(content) + packer.flush()
    with ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    stream = BytesIO()
    with ZipFile(stream, "w", ZIP_STORED) as archive:
        for each, old in members.items():
            archive.writestr(each, packed if each == name else old)
        entry = archive.getinfo(name)
        entry.compress_type = ZIP_DEFLATED
        entry.compress_size = len(packed)
        entry.file_size = size
        entry.CRC = crc
    path.write_bytes(stream.getvalue())


def array_bytes(array: Any) -> bytes:
    """The file of an array."""
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()
