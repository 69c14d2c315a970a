"""A file that is there whole or not at all, even if the process or the machine dies while it is written."""

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(
    path: Path, content: bytes, *, replace: bool = True, flush: bool = True
) -> None:
    """Write beside `path`, flush to disk, then take its place in one step.

    Args:
        path: The file; its folder is there.
        content: All of it.
        replace: Whether an older file gives way.
        flush: Whether to wait until the disk has it. Without, a file is still whole or absent when the process dies;
            after a power cut it may be there and damaged, so only a file that carries its own checksum may go without.

    Raises:
        FileExistsError: `replace` is False and the file is there already, also when it appeared just now.
    """
    # A process number alone is not unique: containers that share a folder number theirs alike, and so do threads.
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
