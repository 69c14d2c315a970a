"""Listings of data folders, and the faults that they raise or skip."""

import os
import socket
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from data.conftest import write
from nwavesdk.data import RecordingError
from nwavesdk.data.folder import Faults, check_parts, list_classes, list_targets
from nwavesdk.data.source import Item

Spoil = Callable[[Path], None]


def link(path: Path, to: Path) -> None:
    path.symlink_to(to)


def misname(root: Path) -> None:
    write(root / "y.wav").rename(os.fsdecode(os.fsencode(root) + b"/yes/\xff.wav"))


def misname_class(root: Path) -> None:
    (root / "z").mkdir()
    write(root / "z" / "0.wav")
    (root / "z").rename(os.fsdecode(os.fsencode(root) + b"/\xff"))


def nest(root: Path) -> None:
    write(root / "no" / Path(*"d" * 32) / "0.wav")


def make_socket(path: Path) -> None:
    # The name of a socket is limited to about 100 bytes.
    folder = os.getcwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(folder)


def write_csv(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("1,2\n")


SOUNDS = (".wav", ".flac", ".ogg")
OTHERS = (".csv", ".npy", ".mp3")

FAULTS: list[tuple[str, Spoil, str]] = [
    ("yes/x.wav", lambda root: (root / "yes/x.wav").mkdir(), "is a folder, expected a file"),
    ("yes/x.mp3", lambda root: (root / "yes/x.mp3").touch(), r"is not a \.wav, \.flac or \.ogg"),
    ("no/deep/x.csv", lambda root: write_csv(root / "no/deep/x.csv"), r"is not a \.wav, \.flac"),
    ("x.wav", lambda root: (root / "x.wav").touch(), "is not in a class folder"),
    ("yes2", lambda root: link(root / "yes2", root / "yes"), "a folder that is listed already"),
    ("yes/x.wav", lambda root: link(root / "yes/x.wav", Path("/dev/zero")), "is a device"),
    ("maybe", lambda root: os.mkfifo(root / "maybe"), "is a pipe"),
    ("yes/far", lambda root: link(root / "yes/far", root.parent), "or that it lies in"),
    ("far", lambda root: link(root / "far", Path("/")), "or that it lies in"),
    ("yes/loop", lambda root: link(root / "yes/loop", root / "yes"), "or that it lies in"),
    ("yes/x.wav", lambda root: link(root / "yes/x.wav", root / "gone"), "link that leads nowhere"),
    ("yes/x.wav", lambda root: link(root / "yes/x.wav", root / "yes/x.wav"), "leads nowhere"),
    ("gone", lambda root: link(root / "gone", root / "nowhere"), "is a link that leads nowhere"),
    ("yes/x.wav", lambda root: os.mkfifo(root / "yes/x.wav"), "is a pipe, expected a file"),
    ("yes/x.wav", lambda root: make_socket(root / "yes/x.wav"), "is a socket, expected a file"),
    ("yes/\\udcff.wav", misname, "not UTF-8"),
    ("\\udcff", misname_class, "not UTF-8"),
    ("no/" + "d/" * 31 + "d", nest, "is nested deeper than 32 folders"),
]


def classes_in(root: Path, faults: Faults | None = None) -> list[Item]:
    return list_classes(root, faults or Faults(root, "raise"), SOUNDS, OTHERS)


@pytest.mark.parametrize(
    ("name", "spoil", "message"), FAULTS, ids=[f"{name}-{message}" for name, _, message in FAULTS]
)
def test_a_fault_is_raised_or_skipped_and_counted(
    words: Path, name: str, spoil: Spoil, message: str
) -> None:
    before = classes_in(words)
    spoil(words)
    with pytest.raises(
        RecordingError,
        match=rf"{message}.*; on_error=\"skip\" leaves it out",
    ) as error:
        classes_in(words)
    assert name.rpartition("/")[2] in str(error.value)
    str(error.value).encode()
    faults = Faults(words, "skip")
    assert classes_in(words, faults) == before
    assert [path for path, _ in faults.skipped] == [name]


@pytest.mark.parametrize(
    ("n_bad", "others"),
    [
        (1, ""),
        (3, "; 2 more cannot be used: 2.wav is empty; 3.wav is empty"),
        (8, "; at least 4 more cannot be used: 2.wav is empty; .*; 5.wav is empty"),
    ],
)
def test_the_error_of_a_recording_names_others(tmp_path: Path, n_bad: int, others: str) -> None:
    items = [Item(f"{index}.wav", tmp_path / f"{index}.wav") for index in range(12)]
    is_read = []

    def read(item: Item) -> str:
        is_read.append(item.key)
        if items[1:][:n_bad].count(item):
            raise RecordingError(item.path, "is empty", "repair it")
        return item.key

    words = rf"1.wav is empty: repair it; on_error=\"skip\" leaves it out{others}\.$"
    with pytest.raises(RecordingError, match=words):
        list(Faults(tmp_path, "raise").collect(items, read))
    assert len(is_read) == (6 if n_bad == 8 else 12)
    faults = Faults(tmp_path, "skip")
    assert len(list(faults.collect(items, read))) == 12 - n_bad
    assert len(faults.skipped) == n_bad


def test_classes_labels_and_keys_of_a_folder(words: Path) -> None:
    write(words / "yes" / "deep" / "9.WAV")
    (words / "yes" / "notes.txt").touch()
    (words / "README").touch()
    for hidden in (
        words / ".git" / "9.wav",
        words / "yes" / ".trash" / "9.wav",
        words / "yes" / "._0.wav",
    ):
        write(hidden)
    listed = classes_in(words)
    assert [one.class_name for one in listed] == ["no"] * 6 + ["yes"] * 7
    assert [one.key for one in listed][-2:] == ["yes/00000005_nohash_0.wav", "yes/deep/9.WAV"]
    assert all(one.path == words / one.key for one in listed)


def test_links_to_files_and_folders_are_followed(words: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    (words / "yes" / "inside.wav").symlink_to(write(words / ".store" / "1.wav"))
    (words / "yes" / "outside.wav").symlink_to(write(elsewhere / "1.wav"))
    (words / "maybe").symlink_to(write(elsewhere / "maybe" / "1.wav").parent)
    (words / "no" / "more").symlink_to(write(elsewhere / "more" / "1.wav").parent)
    listed = classes_in(words)
    assert {one.class_name for one in listed} == {"maybe", "no", "yes"}
    linked = {"maybe/1.wav", "no/more/1.wav", "yes/inside.wav", "yes/outside.wav"}
    assert linked < {one.key for one in listed}
    assert len(listed) == 12 + len(linked)


def test_recordings_may_be_links_to_a_store_next_to_them(curves: Path) -> None:
    (curves / "wavs").rename(curves / "store")
    (curves / "wavs").mkdir()
    for path in (curves / "store").iterdir():
        (curves / "wavs" / path.name).symlink_to(path)
    assert len(list_targets(curves, Faults(curves, "raise"), SOUNDS)) == 5


def test_many_links_to_one_folder_are_listed_fast(words: Path) -> None:
    """Two links to the next of 30 folders would lead to 2^30 files."""
    folders = [words / ".store" / f"{index}" for index in range(30)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder, inner in pairwise(folders):
        (folder / "a").symlink_to(inner)
        (folder / "b").symlink_to(inner)
    (words / "yes" / "first").symlink_to(folders[0])
    faults = Faults(words, "skip")
    assert len(classes_in(words, faults)) == 12
    assert len(faults.skipped) == 29


def test_recordings_may_share_a_target(curves: Path) -> None:
    (curves / "target" / "4.pt").unlink()
    (curves / "target" / "4.pt").symlink_to(curves / "target" / "3.pt")
    assert len(list_targets(curves, Faults(curves, "raise"), SOUNDS)) == 5


def test_the_data_folder_itself_may_be_a_link(words: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(words)
    assert len(classes_in(tmp_path / "link")) == 12


def test_folders_without_classes_or_recordings_are_rejected(words: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no class folders, expected at least two"):
        classes_in(tmp_path / "empty", Faults(tmp_path, "skip"))
    write(tmp_path / "single" / "yes" / "0.wav")
    with pytest.raises(ValueError, match=r"only one class \('yes'\)"):
        classes_in(tmp_path / "single", Faults(tmp_path, "skip"))
    (words / "maybe").mkdir()
    with pytest.raises(ValueError, match=r"maybe has no \.wav, \.flac or \.ogg file"):
        classes_in(words, Faults(words, "skip"))


@pytest.mark.parametrize("folders", [("no", "yes", "yes "), ("train/no", "train/yes", "val/ yes")])
def test_classes_that_differ_in_spaces_are_an_error(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    for name in folders:
        write(tmp_path / name / "0.wav")
    with pytest.raises(ValueError, match="' ?yes' and 'yes ?', whose names differ in spaces"):
        classes_in(tmp_path)


def test_a_recording_or_target_without_the_other_is_raised_or_skipped(curves: Path) -> None:
    (curves / "target" / "3.pt").rename(curves / "target" / "8.pt")
    (curves / "target" / "7.pt").mkdir()
    (curves / "wavs" / "6.mp3").touch()
    faults = Faults(curves, "skip")
    listed = list_targets(curves, faults, SOUNDS, OTHERS)
    assert [item.key for item in listed] == [f"wavs/{index}.wav" for index in (0, 1, 2, 4)]
    assert listed[0].target == curves / "target" / "0.pt"
    reasons = dict(faults.skipped)
    assert set(reasons) == {"wavs/3.wav", "target/8.pt", "target/7.pt", "wavs/6.mp3"}
    assert "has no target" in reasons["wavs/3.wav"]
    assert "is a target without its sound" in reasons["target/8.pt"]
    (curves / "wavs" / "6.mp3").unlink()
    with pytest.raises(RecordingError, match=r"7\.pt is a folder"):
        list_targets(curves, Faults(curves, "raise"), SOUNDS)


def test_a_folder_without_targets_of_its_sounds_is_rejected(curves: Path) -> None:
    for path in (curves / "wavs").iterdir():
        path.unlink()
    with pytest.raises(ValueError, match="has no recording with its target"):
        list_targets(curves, Faults(curves, "skip"), SOUNDS)


def test_the_folder_of_one_class_is_not_a_data_folder(words):
    root = words / "yes"
    with pytest.raises(ValueError, match="class folder: move it .*, or name the folder above"):
        classes_in(root)


def test_classes_may_have_the_name_of_one_set(tmp_path: Path) -> None:
    for folder in ("train/deep", "car/deep", "bus/train"):
        (tmp_path / folder).mkdir(parents=True)
    check_parts(tmp_path)
