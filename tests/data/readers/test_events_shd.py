"""Files in the format of SHD that are written here, damaged ones, and ones that refer to others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.source import RecordingError, Source

pytestmark = pytest.mark.events

WORDS = np.array([b"null", b"eins"])


def write(path: Path, times: Any, units: Any, labels: Any, kinds: Any = ("f2", "u2"), **extra: Any):
    import h5py

    with h5py.File(path, "w") as file:
        for name, rows, kind in zip(("times", "units"), (times, units), kinds, strict=True):
            data = file.create_dataset(f"spikes/{name}", (len(rows),), h5py.vlen_dtype(kind))
            for index, row in enumerate(rows):
                data[index] = row
        file["labels"] = labels
        for name, values in extra.items():
            file[f"extra/{name}"] = values
    return path


@pytest.fixture
def folder(tmp_path):
    """A training set of three recordings and a test set of one."""
    times = [[0.5, 0.25], [0.0, 0.125, 0.125], [1.0]]
    units = [[3, 699], [0, 2, 1], [5]]
    extra = {"speaker": [4, 7, 4], "keys": WORDS}
    write(tmp_path / "shd_train.h5", times, units, [1, 0, 1], **extra)
    write(tmp_path / "shd_test.h5", [[0.5]], [[9]], [0], speaker=[2], keys=WORDS)
    return tmp_path


def open_shd(path: Path) -> Source:
    return open_source(path, Faults(path, "raise"), has_table=True)


def first_recording(path: Path) -> Any:
    source = open_shd(path)
    return source.read(source.items[0]).values


def fault(path: Path) -> str:
    with pytest.raises(RecordingError) as caught:
        first_recording(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_folder_has_parts_speakers_and_words(folder):
    source = open_shd(folder)
    assert (source.kind, source.task) == ("events", "classification")
    assert source.classes == ("null", "eins")
    assert source.shape == (700,)
    found = [(i.key, i.class_name, i.part, i.group, i.index) for i in source.items]
    assert found == [
        ("shd_train.h5/0", "eins", "train", "4", 0),
        ("shd_train.h5/1", "null", "train", "7", 1),
        ("shd_train.h5/2", "eins", "train", "4", 2),
        ("shd_test.h5/0", "null", "test", "2", 0),
    ]


def test_events_are_sorted_by_time_and_events_of_one_time_keep_their_order(folder):
    source = open_shd(folder)
    first, second = (source.read(item).values for item in source.items[:2])
    assert first.times.tolist() == [0.25, 0.5]
    assert first.places.tolist() == [699, 3]
    assert second.places.tolist() == [0, 2, 1]
    assert (second.shape, second.duration) == ((700,), 0.125)


def test_labels_may_have_no_names(tmp_path):
    path = write(tmp_path / "ssc_valid.h5", [[1000], [5]], [[3], [0]], [10, 9], ("u4", "u2"))
    source = open_shd(path)
    assert source.classes == ("9", "10")
    # A part alone is a data set of its own.
    assert [(i.class_name, i.part, i.group) for i in source.items] == [
        ("10", None, None),
        ("9", None, None),
    ]
    assert first_recording(path).times.tolist() == [1e-3]


def test_digest_changes_with_the_content_of_the_recording_only(folder):
    before = open_shd(folder)
    digests = [before.digest(item) for item in before.items]
    (folder / "shd_test.h5").unlink()
    write(folder / "shd_test.h5", [[0.5]], [[8]], [0], speaker=[2], keys=WORDS)
    after = open_shd(folder)
    changed = [after.digest(i) != d for i, d in zip(after.items, digests, strict=True)]
    assert changed == [False, False, False, True]


def test_which_files_are_such_data(folder):
    (folder / "._shd_train.h5").write_bytes(b"")
    assert {item.path.name for item in open_shd(folder).items} == {"shd_test.h5", "shd_train.h5"}
    (folder / "more.h5").write_bytes(b"")
    with pytest.raises(ValueError, match="expected one, and train, val or test in the names of al"):
        open_shd(folder)


@pytest.mark.parametrize(
    ("times", "units", "labels", "extra", "words"),
    [
        ([[0.5]], [[700]], [0], {}, "invalid entry in coordinates"),
        ([[-0.5]], [[0]], [0], {}, "times from -0.5 to -0.5 s"),
        ([[np.nan]], [[0]], [0], {}, "times from nan to nan s"),
        ([[]], [[]], [0], {}, "0 times of type float64"),
        ([[0.5, 1.0]], [[0]], [0], {}, "all keys need to be the same shape"),
        ([[0.5]], [[0]], [[0]], {}, "cannot be read as HDF5 with labels, spikes/times and spi"),
        ([[0.5]], [[0]], [0.5], {}, "labels of float64 [1], expected a whole number for each"),
        ([[0.5], [0.5]], [[0], [0]], [0], {}, "and as many spikes/times, spikes/units and extra"),
        ([[0.5]], [[0]], [0], {"speaker": [1, 2]}, "and as many spikes/times, spikes/units and ex"),
        ([[0.5]], [[0]], [2], {"keys": WORDS}, "it has the labels [2], expected 0 to 1"),
        ([[0.5]], [[0]], [-1], {}, "labels of int64 [1], expected a whole number for each"),
        ([[0.5]], [[0]], [0], {"keys": [b"a", b"a"]}, "of the classes a, a, each of which occurs"),
        ([[0.5]], [[0]], [0], {"keys": [1, 2]}, "cannot be read as HDF5 with labels"),
    ],
)
def test_unfit_contents(tmp_path, times, units, labels, extra, words):
    path = write(tmp_path / "set.h5", times, units, labels, ("f8", "i4"), **extra)
    assert words in fault(path)


def test_files_that_are_not_hdf5(tmp_path, folder):
    path = tmp_path / "set.h5"
    path.write_bytes(b"not HDF5")
    assert "cannot be read as HDF5" in fault(path)
    whole = (folder / "shd_train.h5").read_bytes()
    for length in (100, 1000, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "set.h5 " in fault(path)


def test_only_what_the_file_itself_contains_is_read(tmp_path):
    import h5py

    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(range(64)))
    path = tmp_path / "set.h5"
    for way in ("external", "link", "virtual", "soft"):
        write(path, [[0.5]], [[1]], [0])
        with h5py.File(path, "a") as file:
            file.move("labels", "moved")
            if way == "external":
                external = [(str(secret), 0, 8)]
                file.create_dataset("labels", (1,), "i8", external=external)
            elif way == "link":
                file["labels"] = h5py.ExternalLink(str(secret), "labels")
            elif way == "soft":
                file["labels"] = h5py.SoftLink("/moved")
            else:
                layout = h5py.VirtualLayout((1,), "i8")
                layout[0] = h5py.VirtualSource(str(secret), "labels", (1,))[0]
                file.create_virtual_dataset("labels", layout)
        assert "labels is in another file or place" in fault(path), way
