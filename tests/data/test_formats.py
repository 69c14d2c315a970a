"""Every format of a data set, from its files to the frames of a net, and its faults."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from examples import small_data as small
from nwavesdk.data.features import FeatureOptions, Features
from nwavesdk.data.folder import Faults
from nwavesdk.data.formats import open_source
from nwavesdk.data.loading import LoadedRecordings, load_recordings
from nwavesdk.data.readers.series import SeriesOptions

for package in ("soundfile", "soxr", "scipy.io", "PIL"):
    pytest.importorskip(package)

Make = Callable[[Path], Path]


def load(path: Path, on_error: str = "raise", **options: Any) -> LoadedRecordings:
    faults = Faults(path if path.is_dir() else path.parent, on_error)  # type: ignore[arg-type]
    return load_recordings(open_source(path, faults), faults, FeatureOptions(**options))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Make], Path]:
    """The path of a data set, which is made once."""
    paths: dict[Make, Path] = {}

    def get(make: Make) -> Path:
        if make not in paths:
            paths[make] = make(tmp_path_factory.mktemp("data") / make.__name__)
        return paths[make]

    return get


# Maker, kind, features of a step, recordings, and the parts of an official split.
CLASSIFIED = [
    (small.make_sounds, "sound", 32, 16, ()),
    (small.make_flac, "sound", 32, 16, ()),
    (small.make_ogg, "sound", 32, 16, ()),
    (small.make_npy, "series", 2, 16, ()),
    (small.make_csv, "series", 2, 16, ()),
    (small.make_parts, "series", 2, 16, ("test", "train", "val")),
    (small.make_png, "image", 20, 16, ()),
    (small.make_idx, "image", 20, 32, ("test", "train")),
    (small.make_ts, "series", 2, 32, ("test", "train")),
    (small.make_npz, "series", 2, 16, ()),
    (small.make_structured, "events", 24, 16, ()),
    pytest.param(*(small.make_bin, "events", 2 * 34 * 34, 16, ()), marks=pytest.mark.events),
    pytest.param(*(small.make_shd, "events", 700, 32, ("test", "train")), marks=pytest.mark.events),
]


@pytest.mark.parametrize(("make", "kind", "n_features", "count", "parts"), CLASSIFIED)
def test_recordings_with_classes(
    made: Callable[[Make], Path],
    make: Make,
    kind: str,
    n_features: int,
    count: int,
    parts: tuple[str, ...],
) -> None:
    path = made(make)
    source = open_source(path, Faults(path, "raise"))
    assert (source.kind, source.task) == (kind, "classification")
    recordings = load(path).recordings
    assert len(recordings) == count
    assert recordings.n_features == n_features
    assert len(recordings.classes) == 2
    assert np.bincount(recordings.labels).tolist() == [count // 2] * 2
    assert tuple(sorted(set(recordings.parts))) == parts
    assert len(set(recordings.keys)) == count
    assert all(np.isfinite(frames).all() for frames in recordings.frames)


def test_the_target_of_a_sound_is_interpolated_at_its_frames(
    made: Callable[[Make], Path],
) -> None:
    recordings = load(made(small.make_targets)).recordings
    assert (recordings.task, len(recordings)) == ("regression", 8)
    target = recordings.targets[3]
    # A line from 3 to 4 over 0.15 s, at the middles of frames of 25 ms every 10 ms. Its 15 steps
    # have their middles every 10 ms.
    middles = 12.5e-3 + 10e-3 * np.arange(len(target))
    expected = 3 + (middles - 5e-3) / (14 * 10e-3)
    np.testing.assert_allclose(target[:, 0], expected, rtol=1e-5)


def save_parts(root: Path, **ys: Any) -> Path:
    for part, y in ys.items():
        (root / part).mkdir(parents=True)
        np.savez(root / part / "set.npz", x=np.ones((3, 4, 2)), y=y)
    return root


def test_an_official_split_holds_any_format(tmp_path: Path) -> None:
    recordings = load(save_parts(tmp_path, train=["a", "b", "a"], test=["b", "c", "c"])).recordings
    assert recordings.parts == ("train",) * 3 + ("test",) * 3
    assert recordings.keys[3] == "test/set.npz/0"
    # Classes that only the test set has keep their names.
    assert recordings.classes == ("a", "b", "c")
    assert recordings.labels.tolist() == [0, 1, 0, 1, 2, 2]


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (
            [[0, 2, 2, 0]] * 3,
            "test holds series for labels .* labels 0, 2, expected .* as in train",
        ),
        ([0, 1, 0], "test holds series for classification .*, expected series for labels"),
    ],
)
def test_parts_of_different_kinds_are_rejected(tmp_path: Path, y: Any, words: str) -> None:
    path = save_parts(tmp_path, train=[[0, 1, 1, 0]] * 3, test=y)
    with pytest.raises(ValueError, match=words):
        load(path)


@pytest.mark.parametrize(
    "folders",
    ["Test Train", "test val", "noise test train", "train validation", "no/test no/train"],
)
def test_sets_in_other_words_or_places_are_not_classes(tmp_path: Path, folders: str) -> None:
    for folder in folders.split():
        small.make_npy(tmp_path / folder)
    words = folders.replace("no/", "").replace(" ", ", ")
    with pytest.raises(ValueError, match=f"has the folders .*{words}, which are not classes"):
        open_source(tmp_path, Faults(tmp_path, "raise"))
    source = open_source(tmp_path, Faults(tmp_path, "raise"), has_table=True)
    assert source.items[0].key == f"{folders.split()[0]}/high/0.npy"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", r"has only one class \('a'\), expected at least two"),
        ("a", r"has no recordings, expected a folder .*\.npz file"),
        ("a/b", "has no classes, expected at least two"),
        ("a/notes.txt", "has no recordings, expected a folder"),
        ("none", "does not exist, expected a folder"),
    ],
)
def test_what_is_no_data_set_is_one_line(tmp_path: Path, name: str, words: str) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "notes.txt").touch()
    if name != "a":
        np.save(tmp_path / "a" / "b" / "0.npy", np.zeros((5, 2)))
    with pytest.raises(ValueError, match=words):
        open_source(tmp_path / name, Faults(tmp_path / name, "skip"))


def test_several_data_sets_in_one_folder_are_named(made: Callable[[Make], Path]) -> None:
    folder = small.make_ts(made(small.make_npz).parent / "two").parent
    for part in ("TRAIN", "TEST"):
        (folder / f"Other_{part}.ts").write_bytes((folder / f"Small_{part}.ts").read_bytes())
    with pytest.raises(
        ValueError, match=r"several data sets, such as Other_TEST\.ts and .* or put each"
    ):
        open_source(folder, Faults(folder, "raise"))
    source = open_source(folder / "Small", Faults(folder, "raise"))
    assert source.items[0].key == "Small_TRAIN.ts/0"


def test_a_series_of_another_width_is_a_fault(tmp_path: Path) -> None:
    path = small.make_npy(tmp_path / "data")
    np.save(path / "low" / "3.npy", np.zeros((5, 3), np.float32))
    words = r"low/3\.npy has 3 features in a step, expected 2 like high/0\.npy"
    with pytest.raises(ValueError, match=words):
        load(path, add_standardized=True)
    assert load(path, "skip").recordings.skipped[0][0] == "low/3.npy"


def write_csvs(folder: Path, headers: list[str]) -> Path:
    for index, header in enumerate(headers):
        file = folder / ("low" if index % 2 else "high") / f"{index}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(header + f"{index + 5},1,2\n3,4,5\n")
    return folder


def test_columns_in_another_order_are_a_fault(tmp_path: Path) -> None:
    # A file without names may have any.
    path = write_csvs(tmp_path / "data", ["", "x,z,y\n", "x, y, z\n", "x,y,z\n"])
    words = (
        r"low/1\.csv has the name 'z' in column 2, expected 'y' like high/2\.csv: "
        r"put the columns into the same order, or remove the names; "
    )
    with pytest.raises(ValueError, match=words):
        load(path)
    assert [name for name, _ in load(path, "skip").recordings.skipped] == ["low/1.csv"]


def test_names_of_columns_are_stored_with_the_frames(tmp_path: Path) -> None:
    # Names that no other table has are accepted.
    headers = ["Höhe,b,c\n", "ho\u0308he,b1,c1\n", "x,y,z\n", "HÖHE,x,y\n"]
    path = write_csvs(tmp_path / "data", headers)
    for is_cached in (False, True):
        loaded = load_cached(path, tmp_path, FeatureOptions())
        assert loaded.is_cached is is_cached
        assert loaded.recordings.feature_names == ("Höhe", "b", "c")


def test_columns_and_missing_values_decide_the_frames_of_the_cache(tmp_path: Path) -> None:
    path = write_csvs(tmp_path / "data", ["x,y,z\n"] * 4)
    fingerprints = set()
    for options in (
        SeriesOptions(("z", "x")),
        SeriesOptions(("x", "z")),
        SeriesOptions((), "interpolate"),
    ):
        faults = Faults(path, "raise")
        source = open_source(path, faults, series=options)
        loaded = load_recordings(source, faults, FeatureOptions())
        assert loaded.recordings.feature_names == (options.columns or ("x", "y", "z"))
        fingerprints.add(loaded.recordings.fingerprint)
    assert len(fingerprints) == 3


def test_columns_of_other_formats_are_an_error(tmp_path: Path) -> None:
    path = small.make_npz(tmp_path / "data")
    with pytest.raises(ValueError, match=r"not a folder of \.csv or \.npy files: remove --columns"):
        open_source(path, Faults(path, "raise"), series=SeriesOptions(("1",)))


@pytest.mark.parametrize("part", ["", "test/"])
def test_a_class_or_a_set_that_would_be_skipped_is_an_error(tmp_path: Path, part: str) -> None:
    path = tmp_path / "data"
    for index, folder in enumerate(["train/a", "train/b", "test/a", "test/b"] * 3):
        file = path / (folder if part else folder[6:]) / f"{index}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        is_odd = folder.startswith("test") if part else folder.endswith("b")
        np.save(file, np.zeros((5, 2 + is_odd), np.float32))
    noun, name, file_name = ("set", "test", "test/a/10.npy") if part else ("class", "b", "b/1.npy")
    words = (
        rf"of the {noun} '{name}' would be skipped, such as {file_name}, which has 3 features in"
    )
    with pytest.raises(ValueError, match=words):
        load(path, "skip")


def test_an_image_of_another_size_is_a_fault(tmp_path: Path) -> None:
    from PIL import Image

    path = small.make_png(tmp_path / "data")
    Image.new("L", (7, 4)).save(path / "low" / "3.png")
    with pytest.raises(
        ValueError, match=r"low/3\.png is an image of the shape \(4, 7\), expected \(4, 5\)"
    ):
        load(path)


@pytest.mark.parametrize("colored", ["high/0.png", "low/0.png", "low/3.png"])
def test_a_gray_image_among_colored_ones_gets_their_channels(tmp_path: Path, colored: str) -> None:
    from PIL import Image

    path = small.make_png(tmp_path / "data")
    gray = load(path).recordings
    Image.new("RGB", (5, 4), (255, 0, 51)).save(path / colored)
    recordings = load(path).recordings
    assert recordings.feature_shape == (4, 5, 3)
    for key, frames in zip(recordings.keys, recordings.frames, strict=True):
        pixels = frames.reshape(4, 5, 3)
        if key == colored:
            np.testing.assert_allclose(pixels[0, 0], [1, 0, 0.2])
        else:
            alone = gray.frames[gray.keys.index(key)].reshape(4, 5, 1)
            np.testing.assert_array_equal(pixels, np.repeat(alone, 3, axis=2))


# The cache


def load_cached(path: Path, cache: Path, features: Features | FeatureOptions) -> LoadedRecordings:
    faults = Faults(path, "raise")
    return load_recordings(open_source(path, faults), faults, features, cache=cache)


def contents(loaded: LoadedRecordings) -> list[Any]:
    recordings = loaded.recordings
    values = [array.tolist() for array in (*recordings.frames, *recordings.targets)]
    return [recordings.keys, recordings.fingerprint, recordings.classes, recordings.task, values]


@pytest.mark.parametrize(
    "make",
    [small.make_sounds, small.make_structured, small.make_npz_labels, small.make_targets],
)
def test_frames_from_the_cache_are_the_same(
    made: Callable[[Make], Path], make: Make, tmp_path: Path
) -> None:
    path = made(make)
    first = load_cached(path, tmp_path, FeatureOptions())
    # What was found in the recordings is a choice of a run that continues.
    for features in (FeatureOptions(), first.features):
        loaded = load_cached(path, tmp_path, features)
        assert (first.is_cached, loaded.is_cached) == (False, True)
        assert contents(loaded) == contents(first)


def test_faults_are_stored_with_the_frames(tmp_path: Path) -> None:
    path = small.make_npy(tmp_path / "data")
    (path / "low" / "3.npy").write_bytes(b"")
    for is_cached in (False, True):
        faults = Faults(path, "skip")
        source = open_source(path, faults)
        loaded = load_recordings(source, faults, FeatureOptions(), cache=tmp_path / "cache")
        assert loaded.is_cached is is_cached
        assert [name for name, _ in loaded.recordings.skipped] == ["low/3.npy"]
    # The cache of a data set with faults is of no use to a reader that accepts none.
    with pytest.raises(ValueError, match=r"low/3\.npy is empty \(0 bytes\)"):
        load_cached(path, tmp_path / "cache", FeatureOptions())


def test_the_fingerprint_covers_what_a_table_says_of_a_recording(tmp_path: Path) -> None:
    path = small.make_npy(tmp_path / "data")
    faults = Faults(path, "raise")
    source = open_source(path, faults)
    fingerprints = set()
    for change in ({}, {"part": "test"}, {"group": "ann"}, {"class_name": "other"}):
        items = (replace(source.items[0], **change), *source.items[1:])
        loaded = load_recordings(replace(source, items=items), faults, FeatureOptions())
        fingerprints.add(loaded.recordings.fingerprint)
    assert len(fingerprints) == 4


def test_a_fault_in_the_file_beside_the_named_one_is_skipped(tmp_path: Path) -> None:
    folder = small.make_ts(tmp_path / "ts").parent
    file = folder / "Small_TEST.ts"
    file.write_text(file.read_text().replace("0.", "x", 1))
    recordings = load(folder / "Small_TRAIN.ts", "skip").recordings
    assert [name for name, _ in recordings.skipped] == ["Small_TEST.ts/0"]
