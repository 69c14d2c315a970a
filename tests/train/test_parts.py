from pathlib import Path

import numpy as np
import pytest

from nwavesdk.data import load_wav_folder, speakers_of, split_recordings
from nwavesdk.train import RunConfig
from nwavesdk.train.run_data import load_run_data


def test_the_scale_comes_from_the_training_part_alone(tones: Path) -> None:
    _, parts = load_run_data(RunConfig.of({"data": {"source": str(tones), "bands": 12}}))
    recordings = load_wav_folder(tones, bands=12)
    mean = np.concatenate(split_recordings(recordings, "recording")[0].train.frames).mean(0)
    np.testing.assert_allclose(parts.standard.mean, mean, rtol=1e-4)
    assert np.abs(np.concatenate(recordings.frames).mean(0) - mean).max() > 1e-3


@pytest.fixture
def spoken(tmp_path: Path) -> Path:
    """Noise by eight people whose names stand in the names of the files."""
    soundfile = pytest.importorskip("soundfile")
    draw = np.random.default_rng(0)
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        for speaker in range(8):
            for take in range(2):
                file = tmp_path / name / f"0{speaker}ab_nohash_{take}.wav"
                soundfile.write(file, 0.1 * draw.standard_normal(2000), 8000)
    return tmp_path


def test_who_is_heard_in_one_part_is_in_no_other(spoken: Path) -> None:
    choices = {"data": {"source": str(spoken), "bands": 4}}
    config, parts = load_run_data(RunConfig.of(choices))
    assert config.facts is not None
    assert config.facts.split_by == "speaker"
    split, _ = split_recordings(load_wav_folder(spoken, bands=4), "speaker")
    assert np.array_equal(split.test.labels, parts.test.labels)
    heard = [set(speakers_of(part.keys)) for part in split]
    assert sum(map(len, heard)) == len(set.union(*heard)) == 8
    by_recording, others = load_run_data(
        RunConfig.of({"data": {**choices["data"], "split": "recording"}})
    )
    assert by_recording.facts is not None
    assert by_recording.facts.split_by == "recording"
    assert not np.array_equal(parts.standard.mean, others.standard.mean)


def test_a_run_from_before_there_was_a_choice_keeps_its_parts(spoken: Path) -> None:
    """Such a config says what its parts were made by, in its facts alone."""
    old, before = load_run_data(
        RunConfig.of({"data": {"source": str(spoken), "bands": 4, "split": "recording"}})
    )
    content = old.model_dump()
    del content["data"]["split"]
    config, after = load_run_data(RunConfig.of(content))
    assert config == old
    assert np.array_equal(before.test.x, after.test.x)
    del content["facts"]["split_by"]  # from before parts by speaker
    assert load_run_data(RunConfig.of(content))[0] == old


def test_so_does_one_for_a_chip(spoken: Path) -> None:
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
    assert np.array_equal(before.train.x, after.train.x)


def test_a_resumed_run_takes_the_parts_that_it_has_by_name(spoken: Path) -> None:
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
