"""A file that is there whole or not at all, even if the process or the machine dies while it is written."""

import os
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Write beside `path`, flush to disk, then take its place in one step.

    Args:
        path: The file; its folder is there.
        content: All of it.
        replace: Whether an older file gives way.

    Raises:
        FileExistsError: `replace` is False and the file is there already, also when it appeared just now.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(draft, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
