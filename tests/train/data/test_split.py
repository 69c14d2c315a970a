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
from nwavesdk.train import RunConfig
from nwavesdk.train.config.used_fields import check_shares_used
from nwavesdk.train.data.load import load_run_data


def test_a_speaker_is_in_one_set(spoken: Path) -> None:
    choices = {"data": {"source": str(spoken), "bands": 4}}
    config, data = load_run_data(RunConfig.of(choices))
    assert config.facts is not None
    assert config.facts.split_by == "speaker"
    recordings = load_wav_folder(spoken, bands=4)
    chosen = choose_split(
        recordings.keys, recordings.labels, recordings.classes, choice=SplitChoice("speaker")
    )
    split = chosen.indices.map(recordings.take)
    assert np.array_equal(split.test.labels, data.test.recordings.labels)
    speakers = [set(speakers_of(part.keys)) for part in split]
    assert sum(map(len, speakers)) == len(set.union(*speakers)) == 8
    by_recording, others = load_run_data(
        RunConfig.of({"data": {**choices["data"], "split": "recording"}})
    )
    assert by_recording.facts is not None
    assert by_recording.facts.split_by == "recording"
    assert not np.array_equal(data.standard.mean, others.standard.mean)


def test_a_run_from_before_the_option_split_keeps_its_sets(spoken: Path) -> None:
    """Only the facts of such a config record what the sets were split by."""
    old, before = load_run_data(
        RunConfig.of({"data": {"source": str(spoken), "bands": 4, "split": "recording"}})
    )
    content = old.model_dump()
    del content["data"]["split"]
    config, after = load_run_data(RunConfig.of(content))
    assert config == old
    assert torch.equal(before.test.whole().x, after.test.whole().x)
    del content["facts"]["split_by"]  # from before splits by speaker
    assert load_run_data(RunConfig.of(content))[0] == old


def test_a_run_for_a_chip_from_before_the_option_split_keeps_its_sets(spoken: Path) -> None:
    choices = {"data": {"source": str(spoken), "split": "recording", "sample_rate": 8000}}
    old, before = load_run_data(
        RunConfig.of({**choices, "chip": {"profile": "h1v2", "duration": 0.2}})
    )
    assert old.facts is not None
    assert old.facts.split_by == "recording"
    content = old.model_dump()
    del content["data"]["split"]
    config, after = load_run_data(RunConfig.of(content))
    assert config == old
    assert torch.equal(before.train.whole().x, after.train.whole().x)


def test_a_resumed_run_accepts_its_split_by_name(spoken: Path) -> None:
    config, _ = load_run_data(RunConfig.of({"data": {"source": str(spoken), "bands": 4}}))
    config.check_same({"data": {"split": "speaker"}})
    config.check_same({"data": {"split": "auto"}})
    with pytest.raises(
        ValueError, match=r"data\.split: a resumed run keeps its own choices, got 'recording'"
    ):
        config.check_same({"data": {"split": "recording"}})


def test_digits_have_no_speakers() -> None:
    with pytest.raises(
        ValueError, match="the spoken digits do not name their speakers: leave --split out"
    ):
        load_run_data(RunConfig.of({"data": {"split": "speaker"}}))


def test_the_name_of_a_table_may_end_in_capitals(spoken: Path, tmp_path: Path) -> None:
    table = tmp_path / "TABLE.CSV"
    files = sorted(file.relative_to(spoken) for file in spoken.glob("*/*.wav"))
    rows = [f"{file.as_posix()},{'train' if n % 3 else 'test'}" for n, file in enumerate(files)]
    table.write_text("\n".join(["file,part", *rows]))
    config, _ = load_run_data(RunConfig.of({"data": {"source": str(spoken), "split": str(table)}}))
    assert config.facts is not None
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
    choices = {"data": {"source": str(tmp_path), "split": str(table)}}
    _, data = load_run_data(RunConfig.of(choices))
    assert len(data.train) + len(data.val) + len(data.test) == 12
    choices["data"]["split"] = "recording"
    with pytest.raises(ValueError, match=r"split\.csv is not in a class folder: move"):
        load_run_data(RunConfig.of(choices))


@pytest.mark.parametrize("make", [small_data.make_parts, small_data.make_npy])
def test_a_test_set_that_is_not_wanted_is_not_read(
    make: Callable[[Path], Path], tmp_path: Path
) -> None:
    path = make(tmp_path / "data")
    with_test, all_sets = load_run_data(RunConfig.of({"data": {"source": str(path)}}))
    choices = {"data": {"source": str(path), "test": False, "limit": None}}
    before, data = load_run_data(RunConfig.of(choices))
    assert before.facts is not None
    assert with_test.facts is not None
    assert before.facts.recordings == with_test.facts.recordings
    assert data.train.recordings.keys == all_sets.train.recordings.keys
    assert torch.equal(data.val.whole().x, all_sets.val.whole().x)
    assert not len(data.test)
    config, whole = load_run_data(before, reads_test=True)
    assert config == before
    assert whole.test.recordings.keys == all_sets.test.recordings.keys
    assert torch.equal(whole.test.whole().x, all_sets.test.whole().x)
    # A file of the test set is no file of the run until the test set is read.
    spoiled = path / all_sets.test.recordings.keys[0]
    spoiled.write_bytes(b"not an array")
    assert load_run_data(RunConfig.of(choices))[0] == before
    assert load_run_data(before)[0] == before
    with pytest.raises(ValueError, match=spoiled.name):
        load_run_data(before, reads_test=True)
    (path / all_sets.train.recordings.keys[0]).write_bytes(b"not an array")
    with pytest.raises(ValueError, match="cannot be read as a .npy file"):
        load_run_data(before)


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    x = np.zeros((6, 5, 2), np.float32)
    np.savez(tmp_path / "one.npz", x=x, y=np.array(["a"] * 6))
    with pytest.raises(ValueError, match=r"one\.npz has only one class \('a'\), expected at least"):
        load_run_data(RunConfig.of({"data": {"source": str(tmp_path / "one.npz")}}))


def test_shares_decide_how_many_recordings_a_set_has() -> None:
    _, data = load_run_data(RunConfig.of({"data": {"val_share": 0.02, "test_share": 0.3}}))
    n = len(data.train) + len(data.val) + len(data.test)
    assert len(data.val) / n == pytest.approx(0.02, abs=0.005)
    assert len(data.test) / n == pytest.approx(0.3, abs=0.005)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"val_share": 0.5, "test_share": 0.5}, "must be positive and sum below 1, got 0.5 and"),
        (
            {"folds": 3, "fold": 1, "test_share": 0.2},
            "data.test_share: folds decide the test set, got 0.2: leave the option out",
        ),
    ],
)
def test_shares_that_cannot_be_had_are_rejected(choices: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_run_data(RunConfig.of({"data": choices}))


@pytest.mark.parametrize(("name", "part"), [("val_share", "val"), ("test_share", "test")])
def test_the_share_of_a_set_that_is_given_is_rejected(name: str, part: str) -> None:
    config = RunConfig.of({"data": {name: 0.1}})
    check_shares_used(config, ("train", "train"))
    with pytest.raises(ValueError, match=rf"data\.{name}: the data have a .* set, got 0\.1: leave"):
        check_shares_used(config, ("train", part))
    # A split by recording mixes the parts.
    check_shares_used(RunConfig.of({"data": {name: 0.1, "split": "recording"}}), ("train", part))
