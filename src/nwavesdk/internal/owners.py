"""Ownership of files: whether another user of the machine can change the content of a folder.

The rules are the StrictModes of sshd, but sticky folders and groups of one user are allowed.
Access lists (ACLs) count only as far as the permissions of the group show them.
"""

import os
import shlex
import stat
from contextlib import suppress
from pathlib import Path

from nwavesdk.internal.files import FileError, printable

__all__ = ["check_private", "check_writers"]


def check_private(folder: Path, remedy: str) -> None:
    """Reject a folder whose content anyone but the user can change.

    Args:
        folder: The folder, in a path without links.
        remedy: The remedy for a folder that others own, for errors.

    Raises:
        FileError: If it belongs to another user, if a folder above it belongs to anyone but the
            user and root, or if others can write one of them. In a sticky folder, such as /tmp,
            others cannot replace files of the user.
    """
    for path in (folder, *folder.parents):
        if not stat.S_ISDIR(os.lstat(path).st_mode):
            raise FileError(path, "is not a folder", remedy)
        check_writers(path, remedy, is_above=path != folder)


def check_writers(path: Path, remedy: str, *, is_above: bool = False) -> None:
    """Reject a file or a folder that others own or can write; a link is not followed.

    Args:
        path: The file or the folder.
        remedy: The remedy for a file or a folder that others own, for errors.
        is_above: Whether it is a parent of the checked folder: root may own it, too, and others may
            write it if it is sticky.

    Raises:
        FileError: If others own it or can write it.
    """
    if os.name != "posix":
        return

    status = os.lstat(path)
    unmapped = _unmapped_owner()
    is_own = status.st_uid == os.geteuid() and status.st_uid != unmapped
    if not is_own and not (is_above and status.st_uid in (0, unmapped)):
        raise FileError(path, f"belongs to the user {status.st_uid}", remedy)

    writers = status.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
    if writers == stat.S_IWGRP and _is_private_group(status.st_gid, status.st_uid):
        return
    if writers and not (is_above and status.st_mode & stat.S_ISVTX):
        fault = f"can be written by others (mode {stat.S_IMODE(status.st_mode):04o})"
        command = f"chmod go-w {printable(shlex.quote(str(path)))}"
        raise FileError(path, fault, f"run `{command}`, or {remedy}")


def _is_private_group(group: int, user: int) -> bool:
    """Whether a user is the only member of a group, such as the group with the name of the user."""
    import grp
    import pwd

    # A server may not list its users, so a list without this user proves nothing.
    members = {entry.pw_name for entry in pwd.getpwall() if entry.pw_gid == group}
    with suppress(KeyError):
        members.update(grp.getgrgid(group).gr_mem)
        return members == {pwd.getpwuid(user).pw_name}
    return False


def _unmapped_owner() -> int | None:
    """The owner that a container reports for users that it does not map, such as root of its host.

    None if all users are mapped.
    """
    # A container that maps all users has a range of 2^32 - 1 of them.
    with suppress(OSError, ValueError):
        if "4294967295" not in Path("/proc/self/uid_map").read_text().split()[2::3]:
            return int(Path("/proc/sys/kernel/overflowuid").read_text())
    return None
