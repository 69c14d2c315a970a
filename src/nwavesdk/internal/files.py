"""Files: how all of them are written, and how files that nobody has checked are read.

Design requirements:

- A file is complete or absent, even if the process or the machine dies during a write.
- A write changes nothing except the named file: it follows no link, and replaces no device.
- A read ends: it never waits for a pipe, and never takes more memory than its limit. What is wrong
  becomes one line that names the file and the remedy.
"""

import os
import re
import secrets
import shutil
import stat
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

__all__ = [
    "FileError",
    "FileWriteError",
    "check_folder",
    "check_target",
    "draft_of",
    "is_draft",
    "kind_of",
    "make_private_folder",
    "one_line",
    "printable",
    "read_bytes",
    "reason_of",
    "remove_drafts",
    "shown_path",
    "write_atomically",
]

# Limit of a file of text. Our own files have a few kilobytes.
MOST_TEXT_BYTES = 16 * 2**20

_DRAFT_NAME = re.compile(r"\..+\.\d+\.[0-9a-f]{8}(\.draft)?")
_KINDS: tuple[tuple[Callable[[int], bool], str], ...] = (
    (stat.S_ISREG, "a file"),
    (stat.S_ISLNK, "a link"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileError(ValueError):
    """A file cannot be used; the text names the file, what is wrong, and the remedy.

    Args:
        path: The file.
        what: What is wrong with it, such as "is empty".
        remedy: What to do about it.
    """

    def __init__(self, path: object, what: str, remedy: str = "repair or remove it") -> None:
        super().__init__(path, what, remedy)
        self.path = path
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{shown_path(self.path)} {printable(self.what)}: {self.remedy}."


class FileWriteError(OSError):
    """A file cannot be written; what was in its place is unchanged."""

    def __str__(self) -> str:
        path = printable(os.fsdecode(self.filename))
        return (
            f"{path} cannot be written ({self.strerror}): free or change the disk or its "
            "permissions, or choose another place."
        )


def printable(text: object) -> str:
    r"""Text for one line of a terminal or a log.

    Control characters, line ends, invisible characters and bytes that are not UTF-8 are escaped, so
    that a name from a file cannot move the cursor or hide a part of the line.

    Example:
        >>> printable("loud\x1b[31m\n")
        'loud\\x1b[31m\\n'
    """
    escaped = (
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
        for letter in str(text)
    )
    return "".join(escaped)


def shown_path(path: object) -> str:
    """A path for a message: without the middle where it is long, so that the remedy is in sight.

    Example:
        >>> shown_path("data/" + 60 * "folder/" + "loud.wav")[-23:]
        '/folder/folder/loud.wav'
    """
    text = printable(path)
    # A name has at most 255 bytes.
    return text if len(text) <= 360 else f"{text[:100]}…{text[-256:]}"


def reason_of(error: Exception) -> str:
    """Why a file cannot be used, from the error of its use; without the name of the file."""
    return printable(getattr(error, "strerror", None) or error)


def one_line(error: Exception) -> str:
    """The text of an error, or its kind if it has none, shortened to a part of one line."""
    return printable(" ".join(str(error).split()) or type(error).__name__)[:200]


# Writing


def check_target(path: Path, make_folders: bool = False) -> None:
    """Reject a file that `write_atomically` could not write, before the work for its content.

    Args:
        path: The file.
        make_folders: Whether `write_atomically` makes the folder if it is missing.

    Raises:
        FileError: If there is something other than a regular file, such as a device or a link, if
            no file can have this name, or if its folder is missing or cannot be written.
    """
    _check_replaceable(path)
    _check_replaceable(path, draft_of(path))  # Its name is longer.
    _check_parent(path, make_folders)


def _check_parent(path: Path, make_folders: bool) -> None:
    parents = path.absolute().parents
    folder = next(parent for parent in parents if os.path.lexists(parent) or not make_folders)
    if not folder.is_dir():
        raise FileError(path, "cannot be written (its folder does not exist)", "make the folder")
    if not os.access(folder, os.W_OK | os.X_OK):
        what = "cannot be written (its folder is read-only)"
        raise FileError(path, what, "change its permissions, or choose another place")


def _check_replaceable(path: Path, place: Path | None = None) -> None:
    """Reject what a write to `path` cannot replace; `place` is its draft, or None for `path`."""
    try:
        mode = os.lstat(place or path).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long, or has a null character
        what = f"cannot be written ({reason_of(error)})"
        raise FileError(path, what, "change the name") from None
    if not stat.S_ISREG(mode):
        remedy = "name the file that it leads to" if stat.S_ISLNK(mode) else "choose another name"
        raise FileError(path, f"is {kind_of(mode)}, expected a file", remedy)


def check_folder(path: Path) -> None:
    """Reject the name of a folder that neither exists nor can be made.

    Raises:
        FileError: If there is something else, if no folder can have this name, or if the folder
            around it cannot be written.
    """
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if path.is_symlink():
            raise FileError(path, "is a link to nothing", "remove it") from None
        _check_parent(path, make_folders=True)
        return
    except (OSError, ValueError) as error:
        raise FileError(path, f"cannot be a folder ({reason_of(error)})", "change it") from None
    if not stat.S_ISDIR(mode):
        raise FileError(path, f"is {kind_of(mode)}, expected a folder", "choose another name")


def make_private_folder(folder: Path) -> None:
    """Make a folder, and those around it, for this user only; those that exist are unchanged.

    Raises:
        OSError: If it cannot be made.
    """
    # Whatever the umask, and also around it: `mkdir(parents=True)` gives its mode to the last only.
    for path in reversed((folder, *folder.absolute().parents)):
        if not path.exists():
            path.mkdir(0o700, exist_ok=True)


def write_atomically(
    path: Path,
    content: bytes,
    *,
    replace: bool = True,
    flush: bool = True,
    mode: int = 0o666,
    make_folders: bool = False,
) -> None:
    """Write a draft next to `path`, flush it to disk, and rename it to `path`.

    Args:
        path: The file; its folder exists, unless `make_folders`.
        content: All of its content.
        replace: Whether an older file is replaced.
        flush: Whether to wait until the disk has the content. Without it, the file is still
            complete or absent if the process dies, but it may be damaged after a power failure.
            Use False only for files that have their own checksum.
        mode: Permissions of the file, without those that the umask takes away.
        make_folders: Whether to make the folder if it is missing, for files that the user names.

    Raises:
        FileError: If `path` is a link, a folder, a device or anything else but a file.
        FileExistsError: If `replace` is False and the file exists, even if it was created just now.
        FileWriteError: If the disk is full or the folder cannot be written.
    """
    _check_replaceable(path)
    draft = draft_of(path)
    try:
        if make_folders:
            path.parent.mkdir(parents=True, exist_ok=True)
        # "x" creates the draft: it opens no file or link that is there already.
        with open(draft, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(content)
            if flush:
                file.flush()
                os.fsync(file.fileno())
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
    except OSError as error:
        if isinstance(error, FileExistsError) and not replace:
            raise
        raise FileWriteError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """A new name for the draft of a file, in its folder."""
    # A process number alone is not unique: containers that share a folder have the same numbers,
    # and so have threads.
    return path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.draft")


def is_draft(path: Path) -> bool:
    """Whether a file is the draft of a write that has not ended, or of one that was killed."""
    return _DRAFT_NAME.fullmatch(path.name) is not None


def remove_drafts(folder: Path, older_than: float = 0) -> None:
    """Remove the drafts of killed writes: files and folders.

    Args:
        folder: The folder, which the caller owns.
        older_than: Age of the drafts to remove [s]; 0 removes all. Where several processes write, a
            young draft may belong to a write that has not ended.
    """
    for path in folder.iterdir():
        if is_draft(path):
            with suppress(OSError):
                if not older_than or path.stat().st_mtime < time.time() - older_than:
                    if path.is_dir():
                        shutil.rmtree(path)
                    else:
                        path.unlink()


# Reading


def read_bytes(
    path: Path, most: int = MOST_TEXT_BYTES, remedy: str = "check that it is the right file"
) -> bytes:
    """The content of a file; a link to a file is followed.

    Args:
        path: The file.
        most: Largest allowed size [bytes].
        remedy: What to do about a larger file, which is not read.

    Raises:
        FileError: If it does not exist, is not a regular file, cannot be read, or is larger.
    """
    try:
        mode = os.stat(path).st_mode
        if not stat.S_ISREG(mode):
            raise FileError(path, f"is {kind_of(mode)}, expected a file", "name another one")
        with open(path, "rb", opener=_open_without_waiting) as file:
            size = os.fstat(file.fileno()).st_size
            content = file.read() if size <= most else b""
    except FileNotFoundError:
        raise FileError(path, "does not exist", "check the name") from None
    except FileError:
        raise
    except (OSError, ValueError) as error:
        what = f"cannot be read ({reason_of(error)})"
        raise FileError(path, what, "change its permissions or its name") from None

    size = max(size, len(content))  # it may have grown
    if size > most:
        what = f"is too large ({size:,} bytes, expected at most {most:,})"
        raise FileError(path, what, remedy)
    return content


def kind_of(mode: int) -> str:
    """What has this mode, such as "a pipe"."""
    return next((name for test, name in _KINDS if test(mode)), "neither a file nor a folder")


def _open_without_waiting(path: str, flags: int) -> int:
    # The file may have become a pipe since it was looked at.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
