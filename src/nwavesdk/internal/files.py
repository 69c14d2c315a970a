"""Files: how all of them are written, and how files that nobody has checked are read.

Design requirements:

- A file is complete or absent, even if the process or the machine dies during a write.
- A write changes nothing except the named file: it follows no link, and replaces no device.
- A read ends: it never waits for a pipe, and never takes more memory than its limit. A
  fault becomes one line that names the file and the remedy.
"""

import os
import secrets
import shutil
import stat
import time
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
MAX_TEXT_BYTES = 16 * 2**20

_KINDS = {
    stat.S_IFREG: "a file",
    stat.S_IFLNK: "a link",
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


class FileError(ValueError):
    """A file cannot be used; the text names the file, its fault, and the remedy.

    Args:
        path: The file.
        fault: Its fault as the predicate of a sentence, such as "is empty".
        remedy: The remedy as a command, such as "repair it".
    """

    def __init__(self, path: object, fault: str, remedy: str = "repair or remove it") -> None:
        super().__init__(path, fault, remedy)
        self.path = path
        self.fault = fault
        self.remedy = remedy

    def __str__(self) -> str:
        return f"{shown_path(self.path)} {printable(self.fault)}: {self.remedy}."


class FileWriteError(OSError):
    """A file cannot be written; an older file of this name is unchanged."""

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


def check_target(path: Path) -> None:
    """Reject a file that `write_atomically` could not write, before the work for its content.

    Args:
        path: The file. Folders above it that are missing count as writable where they can be made.

    Raises:
        FileError: If there is something other than a regular file, such as a device or a link, if
            no file can have this name, or if its folder cannot be written.
    """
    _check_kind(path, stat.S_IFREG)
    _check_writable(path, path.absolute().parent)


def check_folder(path: Path) -> None:
    """Reject the name of a folder that neither exists nor can be made; links are followed.

    Raises:
        FileError: If there is something else, if no folder can have this name, or if files cannot
            be written in it.
    """
    _check_kind(path, stat.S_IFDIR)
    _check_writable(path, path.absolute())


def _check_kind(path: Path, expected: int) -> None:
    """Reject anything that exists and is not of the expected kind; links to files are rejected."""
    try:
        mode = os.stat(path, follow_symlinks=expected == stat.S_IFDIR).st_mode
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:  # a name that is too long, or has a null character
        fault = f"cannot be written ({reason_of(error)})"
        raise FileError(path, fault, "change the name") from None

    if stat.S_IFMT(mode) != expected:
        fault = f"is {kind_of(mode)}, expected {kind_of(expected)}"
        raise FileError(path, fault, "choose another name")


def _check_writable(path: Path, folder: Path) -> None:
    """Reject a path if its folder, or the nearest one above that exists, cannot be written."""
    nearest = next(above for above in (folder, *folder.parents) if os.path.lexists(above))
    if not os.access(nearest, os.W_OK | os.X_OK):
        fault = f"cannot be written ({shown_path(nearest)} is not a folder that you can write)"
        raise FileError(path, fault, "change its permissions, or choose another place")


def make_private_folder(folder: Path) -> None:
    """Make a folder and its missing parents for this user only; existing folders are unchanged.

    Raises:
        OSError: If it cannot be made.
    """
    # One by one, because `mkdir(parents=True)` applies its mode to the last folder only.
    for path in reversed((folder, *folder.absolute().parents)):
        if not path.exists():
            path.mkdir(0o700, exist_ok=True)


def write_atomically(
    path: Path, content: bytes, *, replace: bool = True, mode: int = 0o666
) -> None:
    """Write a draft next to `path`, flush it to disk, and rename it to `path`.

    Args:
        path: The file; its folder is made if it is missing.
        content: All of its content.
        replace: Whether an older file is replaced.
        mode: Permissions of the file, before the umask removes some.

    Raises:
        FileError: If `path` is a link, a folder, a device or anything else but a file.
        FileExistsError: If `replace` is False and the file exists, even if it was created just now.
        FileWriteError: If the disk is full or the folder cannot be written.
    """
    _check_kind(path, stat.S_IFREG)
    draft = draft_of(path)

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # "x" creates the draft: it opens no file or link that is there already.
        with open(draft, "xb", opener=partial(os.open, mode=mode)) as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

        # Unlike a rename, a link fails if the name exists, which two processes cannot both pass.
        publish = os.replace if replace else os.link
        publish(draft, path)
    except OSError as error:
        if isinstance(error, FileExistsError) and not replace:
            raise
        raise FileWriteError(error.errno, error.strerror or str(error), str(path)) from error
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """A new name for the draft of a file, in its folder."""
    # The draft does not repeat the name of the file, which may have the full length of a name. Its
    # number is random, because containers that share a folder have equal process numbers.
    return path.with_name(f".{secrets.token_hex(8)}.draft")


def is_draft(path: Path) -> bool:
    """Whether a file is the draft of a write that has not ended, or of one that was killed."""
    return path.name.startswith(".") and path.suffix == ".draft"


def remove_drafts(folder: Path, older_than: float = 0) -> None:
    """Remove the drafts of killed writes: files and folders.

    Args:
        folder: The folder, which the caller owns.
        older_than: Age of the drafts to remove [s]; 0 removes all. Where several processes write, a
            young draft may belong to a write that has not ended.
    """
    for path in filter(is_draft, folder.iterdir()):
        with suppress(OSError):
            if not older_than or path.stat().st_mtime < time.time() - older_than:
                remove = shutil.rmtree if path.is_dir() else os.unlink
                remove(path)


# Reading


def read_bytes(
    path: Path, most: int = MAX_TEXT_BYTES, remedy: str = "check that it is the right file"
) -> bytes:
    """The content of a file; a link to a file is followed.

    Args:
        path: The file.
        most: Largest allowed size [bytes].
        remedy: The remedy for a larger file, which is not read.

    Raises:
        FileError: If it does not exist, is not a regular file, cannot be read, or is larger.
    """
    try:
        status = os.stat(path)
        is_file = stat.S_ISREG(status.st_mode)
        content = path.read_bytes() if is_file and status.st_size <= most else b""
    except FileNotFoundError:
        raise FileError(path, "does not exist", "check the name") from None
    except (OSError, ValueError) as error:
        fault = f"cannot be read ({reason_of(error)})"
        raise FileError(path, fault, "change its permissions or its name") from None

    if not is_file:
        raise FileError(
            path, f"is {kind_of(status.st_mode)}, expected a file", "pass the path of a file"
        )
    if status.st_size > most:
        fault = f"is too large ({status.st_size:,} bytes, expected at most {most:,})"
        raise FileError(path, fault, remedy)
    return content


def kind_of(mode: int) -> str:
    """The kind of file of a mode, with its article, such as "a pipe"."""
    return _KINDS.get(stat.S_IFMT(mode), "neither a file nor a folder")
