"""Folders that others own or can write are rejected, with all folders above them."""

import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from nwavesdk.internal import owners
from nwavesdk.internal.files import FileError
from nwavesdk.internal.owners import check_private

STRANGER = 12345  # the number of another user and another group

pytestmark = pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
root = pytest.mark.skipif(
    os.name != "posix" or os.geteuid() != 0, reason="only root can give files to others"
)


def give(path: Path) -> None:
    os.chown(path, STRANGER, -1)


def give_group(path: Path) -> None:
    os.chown(path, -1, STRANGER)
    path.chmod(0o770)


@pytest.mark.parametrize(
    ("above", "change", "reason"),
    [
        (0, lambda path: path.chmod(0o702), r"can be written by others \(mode 0702\)"),
        (0, lambda path: path.chmod(0o1777), r"can be written by others \(mode 1777\)"),
        (1, lambda path: path.chmod(0o777), r"can be written by others \(mode 0777\)"),
        (2, lambda path: path.chmod(0o757), r"can be written by others \(mode 0757\)"),
        (1, lambda path: path.chmod(0o1777), None),
        (0, lambda path: path.chmod(0o755), None),
        pytest.param(0, give, "belongs to the user 12345", marks=root),
        pytest.param(2, give, "belongs to the user 12345", marks=root),
        pytest.param(0, give_group, r"can be written by others \(mode 0770\)", marks=root),
        pytest.param(1, give_group, r"can be written by others \(mode 0770\)", marks=root),
    ],
)
def test_the_folder_and_those_above_are_checked(
    tmp_path: Path, above: int, change: Callable[[Path], None], reason: str | None
) -> None:
    folder = tmp_path / "a" / "b" / "c"
    folder.mkdir(parents=True)
    check_private(folder, "move it")
    changed = [folder, *folder.parents][above]
    change(changed)
    if reason is None:
        check_private(folder, "move it")
        return
    with pytest.raises(FileError, match=f"^{changed} {reason}: .*move it"):
        check_private(folder, "move it")


@pytest.mark.parametrize(
    ("users", "members", "is_private"),
    [
        ({"me": 100}, [], True),
        ({"me": 100}, ["me"], True),
        ({"me": 200}, ["me"], True),
        ({"me": 100, "you": 100}, [], False),
        ({"me": 100}, ["you"], False),
        ({}, [], False),  # a server that does not list its users
        ({}, None, False),  # a group without a name
    ],
)
def test_a_group_is_private_if_the_user_is_alone_in_it(
    monkeypatch: pytest.MonkeyPatch,
    users: dict[str, int],
    members: list[str] | None,
    is_private: bool,
) -> None:
    import grp
    import pwd

    def find_group(group: int) -> SimpleNamespace:
        if members is None:
            raise KeyError(group)
        return SimpleNamespace(gr_mem=members)

    everybody = [SimpleNamespace(pw_name=name, pw_gid=group) for name, group in users.items()]
    monkeypatch.setattr(pwd, "getpwuid", lambda _: SimpleNamespace(pw_name="me"))
    monkeypatch.setattr(pwd, "getpwall", lambda: everybody)
    monkeypatch.setattr(grp, "getgrgid", find_group)
    assert owners._is_private_group(100, 7) == is_private


@pytest.mark.parametrize(
    ("users", "owner"), [("0 0 4294967295", None), ("1000 1000 1", 65534), (None, None)]
)
def test_a_container_reports_the_root_of_its_host_as_nobody(
    monkeypatch: pytest.MonkeyPatch, users: str | None, owner: int | None
) -> None:
    files = {"/proc/sys/kernel/overflowuid": "65534\n"}

    def read_text(path: Path) -> str:
        if users is None:
            raise FileNotFoundError
        return files.get(str(path), users)

    monkeypatch.setattr(Path, "read_text", read_text)
    assert owners._unmapped_owner() == owner


def test_users_that_a_container_does_not_map_may_own_only_what_is_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "_unmapped_owner", lambda: tmp_path.stat().st_uid)
    with pytest.raises(FileError, match="belongs to the user"):
        check_private(tmp_path, "move it")
    owners.check_writers(tmp_path, "move it", is_above=True)
