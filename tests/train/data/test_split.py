"""The recordings of a run and their sets: by speaker, by recording, as given, or by a table."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from examples import small_data
from nwavesdk.data import SplitChoice, choose_split, load_wav_folder, speakers_of
from nwavesdk.train import CompletedConfig, RunConfig
from nwavesdk.train.data.load import RunData, complete_data, load_run_data


def data_of(source: Path | str, **data: Any) -> tuple[CompletedConfig, RunData]:
    return complete_data(RunConfig.of({"data": {"source": str(source), **data}}))


def test_a_speaker_is_in_one_set(spoken: Path) -> None:
    config, data = data_of(spoken, bands=4)
    assert config.facts.split_by == "speaker"
    recordings = load_wav_folder(spoken, bands=4)
    chosen = choose_split(
        recordings.keys, recordings.labels, recordings.classes, choice=SplitChoice("speaker")
    )
    split = chosen.indices.map(recordings.take)
    assert np.array_equal(split.test.labels, data.test.recordings.labels)
    speakers = [set(speakers_of(part.keys)) for part in split]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 8
    by_recording, others = data_of(spoken, bands=4, split="recording")
    assert by_recording.facts.split_by == "recording"
    assert not np.array_equal(data.standard.mean, others.standard.mean)


def test_the_name_of_a_table_may_end_in_capitals(spoken: Path, tmp_path: Path) -> None:
    table = tmp_path / "TABLE.CSV"
    files = sorted(file.relative_to(spoken) for file in spoken.glob("*/*.wav"))
    rows = [f"{file.as_posix()},{'train' if n % 3 else 'test'}" for n, file in enumerate(files)]
    table.write_text("\n".join(["file,part", *rows]))
    config, _ = data_of(spoken, split=str(table))
    assert (config.facts.split_by, config.data.split) == ("file", str(table))


def test_a_table_in_a_folder_of_tables_is_not_a_recording(tmp_path: Path) -> None:
    table = tmp_path / "split.csv"
    rows = []
    for n in range(12):
        file = tmp_path / "ab"[n % 2] / f"{n}.csv"
        file.parent.mkdir(exist_ok=True)
        np.savetxt(file, np.eye(5), delimiter=",")
        rows.append(f"{file.relative_to(tmp_path).as_posix()},{'train' if n < 8 else 'test'}")
    table.write_text("\n".join(["file,part", *rows]))
    _, data = data_of(tmp_path, split=str(table))
    assert sum(map(len, data)) == 12
    with pytest.raises(ValueError, match=r"split\.csv is not in a class folder: move"):
        data_of(tmp_path, split="recording")


@pytest.mark.parametrize(
    ("make", "options"),
    [(small_data.make_parts, {}), (small_data.make_npy, {}), (small_data.make_npy, {"limit": 12})],
)
def test_a_test_set_that_is_not_wanted_is_not_read(
    make: Callable[[Path], Path], options: dict[str, int], tmp_path: Path
) -> None:
    path = make(tmp_path / "data")
    with_test, all_sets = data_of(path, **options)
    before, data = data_of(path, test=False, **options)
    assert before.facts.recordings == with_test.facts.recordings
    assert data.train.recordings.keys == all_sets.train.recordings.keys
    assert torch.equal(data.val.whole().x, all_sets.val.whole().x)
    assert not len(data.test)
    whole = load_run_data(before, reads_test=True)
    assert whole.test.recordings.keys == all_sets.test.recordings.keys
    assert torch.equal(whole.test.whole().x, all_sets.test.whole().x)
    # A file of the test set is no file of the run until the test set is read.
    spoiled = path / all_sets.test.recordings.keys[0]
    spoiled.write_bytes(b"not an array")
    assert data_of(path, test=False, **options)[0] == before
    load_run_data(before)
    with pytest.raises(ValueError, match=spoiled.name):
        load_run_data(before, reads_test=True)
    (path / all_sets.train.recordings.keys[0]).write_bytes(b"not an array")
    with pytest.raises(ValueError, match="cannot be read as a .npy file"):
        load_run_data(before)


def test_folds_without_a_test_set_share_the_frames_of_all_recordings(tmp_path: Path) -> None:
    path = small_data.make_npy(tmp_path / "data")
    for number in (1, 2):
        _, with_test = data_of(path, folds=2, fold=number)
        config, data = data_of(path, folds=2, fold=number, test=False)
        assert data.is_cached
        assert data.train.recordings.keys == with_test.train.recordings.keys
        assert (len(data.test), config.facts.recordings[2]) == (0, len(with_test.test))

        read = load_run_data(config, reads_test=True)
        assert read.test.recordings.keys == with_test.test.recordings.keys


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", x=np.zeros((6, 5, 2), np.float32), y=np.array(["a"] * 6))
    with pytest.raises(ValueError, match=r"one\.npz has only one class \('a'\), expected at least"):
        data_of(tmp_path / "one.npz")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "sound"}, r"data\.kind: got 'sound', but .* holds series for classification: re"),
        ({"task": "labels"}, r"task\.name: got 'labels', but .* holds series for classification"),
    ],
)
def test_files_that_hold_something_else_are_rejected(
    data: dict[str, str], words: str, tmp_path: Path
) -> None:
    path = small_data.make_npy(tmp_path / "data")
    kind, task = data.get("kind", "series"), data.get("task", "classification")
    choices = {"data": {"source": str(path), "kind": kind}, "task": {"name": task}}
    with pytest.raises(ValueError, match=words):
        complete_data(RunConfig.of(choices))


def test_shares_decide_how_many_recordings_a_set_has() -> None:
    config, data = data_of("digits", val_share=0.02, test_share=0.3)
    n = sum(map(len, data))
    assert "speaker" not in config.facts.split_reason
    assert len(data.val) / n == pytest.approx(0.02, abs=0.005)
    assert len(data.test) / n == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize(
    ("data", "is_official", "message"),
    [
        ({"val_share": 0.5, "test_share": 0.5}, False, "must be positive and sum below 1, got 0.5"),
        ({"leave_one_out": "speaker"}, False, "data.leave_one_out: has no effect here: remove it"),
        ({"folds": 3, "fold": 1, "test_share": 0.2}, False, "data.test_share: the data or the f"),
        ({"val_share": 0.1}, True, r"data\.val_share: .* decide this set, got 0\.1: remove it"),
        ({"test_share": 0.1}, True, r"data\.test_share: .* decide this set, got 0\.1: remove it"),
        # A split by recording mixes the parts.
        ({"test_share": 0.1, "split": "recording"}, True, None),
    ],
)
def test_shares_that_cannot_be_had_are_rejected(
    data: dict[str, Any], is_official: bool, message: str | None, tmp_path: Path
) -> None:
    source = small_data.make_parts(tmp_path / "data") if is_official else "digits"
    if message is None:
        data_of(source, **data)
        return
    with pytest.raises(ValueError, match=message):
        data_of(source, **data)
