"""Listings of data folders, and the faults that they raise or skip."""

import os
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from data.conftest import write
from nwavesdk.data import RecordingError
from nwavesdk.data.folder import Faults, check_parts, list_classes, list_targets
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import Item


def misname(root: Path, folder: str) -> None:
    """Write a sound into a folder or a class whose name is not UTF-8."""
    path = write(root / folder / "0.wav").parent
    path.rename(os.fsdecode(os.fsencode(path.parent) + b"/\xff"))


def fill(root: Path, name: str) -> None:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_text("1,2\n")


def test_links_hide_no_empty_class_and_no_set_twice(tmp_path: Path) -> None:
    for name in ("classes/a/1.csv", "classes/b/1.csv", "sets/train/a/1.csv", "sets/test/a/1.csv"):
        fill(tmp_path, name)
    (tmp_path / "empty").mkdir()
    for link, target, fault in (
        ("sets/val", "sets/test", "at the top, all different"),
        ("classes/c", "empty", r"has class folders without a .* \(c\)"),
    ):
        root = (tmp_path / link).parent
        (tmp_path / link).symlink_to(tmp_path / target)
        with pytest.raises(ValueError, match=fault):
            open_source(root, Faults(root, "raise"))


SOUNDS = (".wav", ".flac", ".ogg")
OTHERS = (".csv", ".npy", ".mp3")
NO_FILE = r"is not a \.wav or \.flac or \.ogg file with a name in UTF-8"
NO_FOLDER = "is listed already, or holds the data"

FAULTS: list[tuple[str, Callable[[Path], object], str]] = [
    ("yes/x.mp3", lambda root: fill(root, "yes/x.mp3"), NO_FILE),
    ("x.mp3", lambda root: fill(root, "x.mp3"), NO_FILE),
    ("no/deep/x.csv", lambda root: fill(root, "no/deep/x.csv"), NO_FILE),
    ("maybe", lambda root: os.mkfifo(root / "maybe"), NO_FILE),
    ("gone", lambda root: (root / "gone").symlink_to(root / "nowhere"), NO_FILE),
    ("yes/\\udcff/0.wav", lambda root: misname(root, "yes/deep"), NO_FILE),
    ("x.wav", lambda root: fill(root, "x.wav"), "is not in a class folder"),
    ("yes2", lambda root: (root / "yes2").symlink_to(root / "yes"), NO_FOLDER),
    ("yes/far", lambda root: (root / "yes/far").symlink_to(root.parent), NO_FOLDER),
    ("far", lambda root: (root / "far").symlink_to("/"), NO_FOLDER),
    ("yes/loop", lambda root: (root / "yes/loop").symlink_to(root / "yes"), NO_FOLDER),
]


def classes_in(root: Path, faults: Faults | None = None) -> list[Item]:
    return list_classes(root, faults or Faults(root, "raise"), SOUNDS, OTHERS)


@pytest.mark.parametrize(("name", "spoil", "message"), FAULTS, ids=[name for name, *_ in FAULTS])
def test_a_fault_is_raised_or_skipped_and_counted(
    words: Path, name: str, spoil: Callable[[Path], object], message: str
) -> None:
    before = classes_in(words)
    spoil(words)
    with pytest.raises(
        RecordingError,
        match=rf"{message}.*; on_error=\"skip\" skips it",
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
        (3, "; at least 2 more cannot be used: 2.wav is empty; 3.wav is empty"),
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

    words = rf"1.wav is empty: repair it; on_error=\"skip\" skips it{others}\.$"
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
    (tmp_path / "link").symlink_to(words)
    keys = {item.key for item in classes_in(tmp_path / "link")}
    assert {"maybe/1.wav", "no/more/1.wav", "yes/inside.wav", "yes/outside.wav"} < keys
    assert len(keys) == 16


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


def test_an_empty_class_folder_is_an_error(tmp_path: Path) -> None:
    for name in ("no/0.wav", "yes/0.wav", "maybe/notes.txt"):
        fill(tmp_path, name)
    with pytest.raises(ValueError, match=r"has class folders .* \(maybe\): add"):
        classes_in(tmp_path, Faults(tmp_path, "skip"))


def test_a_target_without_its_recording_is_raised_or_skipped(curves: Path) -> None:
    (curves / "target" / "3.pt").rename(curves / "target" / "8.pt")
    (curves / "wavs" / "6.mp3").touch()
    faults = Faults(curves, "skip")
    listed = list_targets(curves, faults, SOUNDS, OTHERS)
    assert [item.key for item in listed] == [f"wavs/{index}.wav" for index in range(5)]
    # A missing target is a fault of its recording, as soon as it is read.
    assert listed[3].target == curves / "target" / "3.pt"
    assert [name for name, _ in faults.skipped] == ["wavs/6.mp3", "target/8.pt"]
    assert "is a target without its sound" in dict(faults.skipped)["target/8.pt"]


def test_classes_may_have_the_name_of_one_set(tmp_path: Path) -> None:
    for folder in ("train/deep", "car/deep", "bus/train"):
        (tmp_path / folder).mkdir(parents=True)
    check_parts(tmp_path)
