"""Files that are complete or absent, even if the process or the machine dies during a write."""

import os
import secrets
from pathlib import Path

__all__ = ["write_atomically"]


def write_atomically(
    path: Path, content: bytes, *, replace: bool = True, flush: bool = True
) -> None:
    """Write a draft next to `path`, flush it to disk, and rename it to `path`.

    Args:
        path: The file; its folder exists.
        content: All of its content.
        replace: Whether an older file is replaced.
        flush: Whether to wait until the disk has the content. Without it, the file is still
            complete or absent if the process dies, but it may be damaged after a power failure.
            Use False only for files that have their own checksum.

    Raises:
        FileExistsError: If `replace` is False and the file exists, even if it was created just now.
    """
    # A process number alone is not unique: containers that share a folder have the same numbers,
    # and so have threads.
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
