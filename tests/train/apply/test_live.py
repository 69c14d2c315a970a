"""A trained run on sound in pieces: its input and outputs equal the whole recording's."""

import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

pytest.importorskip("lightning")

from data.conftest import blocks_of
from nwavesdk import train
from nwavesdk.data import FrontEnd, NetInput, NWaveDataloaderConfig, Standard
from nwavesdk.data.decoding import ResamplingStream, resample
from nwavesdk.data.features import ChipFeatures, SeriesFeatures
from nwavesdk.layers import prepare_net
from nwavesdk.net import streaming
from nwavesdk.presets import NAMES
from nwavesdk.train import LiveInput, Run, TrainedRun, load
from nwavesdk.train.fit.evaluation import evaluate_net
from nwavesdk.train.fit.network import FileNet
from train.runs import Choices, chip_choices, small_choices, write_untrained

soundfile = pytest.importorskip("soundfile")

PAGE = Path(__file__).parents[3] / "docs" / "data.md"


@pytest.fixture(scope="module")
def chip_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("live_chip") / "run"
    choices = chip_choices(tones, training="plain")
    choices["data"]["level"] = "as_is"
    write_untrained(folder, choices)
    return folder


@pytest.fixture(scope="module")
def padded_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose recordings are padded with zeros to one length, instead of ending themselves."""
    folder = tmp_path_factory.mktemp("live_padded") / "run"
    choices = small_choices(tones)
    choices["data"] |= {"level": "as_is", "hold": 2, "padding": "zeros"}
    write_untrained(folder, choices)
    return folder


@pytest.fixture(scope="module")
def page_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the default net, whose outputs are scores."""
    folder = tmp_path_factory.mktemp("live_page") / "run"
    write_untrained(folder, {"data": {"source": str(tones), "bands": 12, "level": "running"}})
    return folder


@pytest.fixture(params=["live_run", "padded_run", "chip_run", "page_run"])
def folder(request: pytest.FixtureRequest) -> Path:
    path: Path = request.getfixturevalue(request.param)
    return path


def input_of(run: TrainedRun, blocks: Iterable[np.ndarray], rate: int | None = None) -> Tensor:
    """The input of the net for a sound in blocks, `[steps, 1, F]`."""
    stream = LiveInput(run.front_end, run.input, rate or run.sample_rate)
    return torch.cat([*(stream.push(block) for block in blocks), stream.finish()])


def pads(run: TrainedRun) -> bool:
    """Whether a shorter recording is padded."""
    return run.input.pads_to_length or isinstance(run.features, ChipFeatures)


def steps_of(run: TrainedRun) -> int:
    """Time steps of a recording; of nine in ten, if each has its own length."""
    if isinstance(run.features, ChipFeatures):
        return run.features.config.T
    if run.input.pads_to_length:
        return run.input.length * run.input.hold
    return run.config.facts.typical_steps


def noise(seconds: float, rate: int = 8000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, round(seconds * rate)).astype(np.float32)


def test_input_and_decisions_are_those_of_the_run(folder: Path, tones: Path) -> None:
    run = load(folder)
    trained = Run.open(folder)
    test = trained.data.test
    inputs = {}
    for file in sorted(tones.rglob("*.wav")):
        sound = soundfile.read(file, dtype="float32")[0]
        x = input_of(run, blocks_of(sound, 900))
        # Training cuts what is longer than a padded recording.
        x = x[: steps_of(run)] if pads(run) else x
        inputs[x[:, 0].numpy().tobytes()] = x
    assert len(inputs) == 48
    predicted = []
    for index in range(len(test)):
        whole = test.batch([index]).x[0].numpy()
        scores = torch.zeros(1, len(run.classes))
        with torch.inference_mode(), streaming(run.net):
            for x in inputs[whole.tobytes()]:
                scores += run.task.decoder()(*run.net(x[None]))
        predicted.append(int(scores.argmax()))
    expected = evaluate_net(trained.trained().net, trained.task, test, batch_size=4)
    assert run.classes == trained.classes
    assert predicted == expected.predicted.tolist()
    # The untrained default net has one class for all.
    assert len(set(predicted)) > (0 if isinstance(run.net, FileNet) else 1)


def scores_of(run: TrainedRun, sound: np.ndarray, rate: int, most: int) -> list[np.ndarray]:
    """The outputs for a sound in pieces of up to `most` samples, and their times."""
    stream = run.stream(rate)
    ends = np.random.default_rng(most).integers(1, most + 1, len(sound)).cumsum()
    scores = [stream.push(piece) for piece in np.split(sound, ends[ends < len(sound)])]
    return [np.concatenate(column) for column in zip(*scores, stream.finish(), strict=True)]


@pytest.fixture(scope="module")
def runs(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., TrainedRun]:
    """A function that returns an untrained run of a preset for streams."""
    folder = tmp_path_factory.mktemp("streams")

    def run_of(name: str, **sections: Any) -> TrainedRun:
        choices = chip_choices(tones, training="plain")
        choices["data"]["level"] = "as_is"
        if name != "chip":
            data = {"source": str(tones), "bands": 12, "level": "running"}
            choices = {"data": data, "net": {"name": name}}
        path = folder / f"{name}{len(list(folder.iterdir()))}"
        write_untrained(path, {**choices, **sections})
        return load(path)

    return run_of


@pytest.mark.parametrize("name", NAMES)
def test_outputs_do_not_depend_on_the_pieces_of_a_sound(
    name: str, runs: Callable[..., TrainedRun]
) -> None:
    run = runs(name)
    for rate in (8000, 11025):
        sound = 0.3 * noise(1.27, rate)
        values, times = scores_of(run, sound, rate, len(sound))
        assert values.dtype == np.float32
        assert len(np.unique(values, axis=0)) > 2
        for most in (70, 3000):
            other_values, other_times = scores_of(run, sound, rate, most)
            np.testing.assert_array_equal(other_values, values)
            np.testing.assert_array_equal(other_times, times)

        # Steps of 10 ms or less run in blocks of 100 ms. The last block ends with the sound.
        end = 0.1 if name == "chip" else 9 * 10e-3 + 25e-3
        assert times[0] == pytest.approx(end + ResamplingStream(rate, 8000).delay)
        assert np.diff(times)[np.diff(times) > 0][:-1] == pytest.approx(0.1)
        assert times[-1] == len(sound) / rate


@pytest.mark.parametrize("name", [name for name in NAMES if name != "chip"])
def test_predict_has_the_outputs_of_a_stream(
    name: str, runs: Callable[..., TrainedRun], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = runs(name)
    sound = 0.3 * noise(1.37)
    values, _ = scores_of(run, sound, 8000, 500)

    lengths = []
    forward = type(run.net).forward
    monkeypatch.setattr(
        type(run.net), "forward", lambda *args: lengths.append(args[1].shape[1]) or forward(*args)
    )
    prediction = run.predict(sound)[0]
    assert set(lengths[:-1]) == {run.block_steps}
    expected = run.task.probabilities(torch.from_numpy(values).mean(dim=0))
    np.testing.assert_array_equal(prediction.probabilities, expected)
    assert prediction.steps == len(values)


def test_a_frame_counts_only_for_later_steps(runs: Callable[..., TrainedRun]) -> None:
    run = runs("conv")
    sound = 0.3 * noise(2.0)
    changed = sound.copy()
    changed[8000:] *= 3
    values, times = scores_of(run, sound, 8000, 900)
    others, _ = scores_of(run, changed, 8000, 900)
    is_before = times < 1.0
    assert is_before.sum() == 90
    np.testing.assert_array_equal(others[is_before], values[is_before])
    assert (others[~is_before] != values[~is_before]).any()


def test_the_code_of_the_page_decides_as_predict(
    folder: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = re.search(r"<!-- live -->\n```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    decisions = {}
    for file in (tones / "high" / "0.wav", tones / "middle" / "1.wav"):
        of_file = code.replace("runs/words", str(folder)).replace("FOLDER/yes/1.wav", str(file))
        # Training cuts what is longer than a padded recording.
        exec(compile(of_file.replace("dtype=", "frames=1900, dtype="), PAGE.name, "exec"), {})
        decisions[file] = capsys.readouterr().out.split()
    sounds = [soundfile.read(file, frames=1900, dtype="float32") for file in decisions]
    predicted = [prediction.class_name for prediction in load(folder).predict(sounds)]
    assert [names[-1] for names in decisions.values()] == predicted
    assert len(decisions[file]) > 10


def test_the_net_is_that_of_the_run(folder: Path) -> None:
    trained = Run.open(folder)
    nets = [load(folder).net, trained.trained().net.eval()]
    for net in nets:
        prepare_net(net)
    live, expected = (net(trained.data.test.whole().x)[0] for net in nets)
    assert expected.any()
    assert torch.equal(live, expected)


def test_a_sound_of_another_rate_is_converted(folder: Path) -> None:
    run = load(folder)
    sound = noise(0.25, 11025)
    x = input_of(run, blocks_of(sound, 500), 11025)
    expected = input_of(run, [resample((sound, 11025), 8000)])
    assert torch.equal(x, expected)


@pytest.mark.parametrize("name", ["padded_run", "chip_run"])
def test_a_long_sound_is_several_recordings_and_the_last_one_is_padded(
    name: str, request: pytest.FixtureRequest
) -> None:
    run = load(request.getfixturevalue(name))
    stream = LiveInput(run.front_end, run.input, run.sample_rate)
    x = stream.push(noise(1.0))
    assert len(x) > 2 * steps_of(run)
    rest = stream.finish()
    assert (len(x) + len(rest)) % steps_of(run) == 0
    assert len(rest) < steps_of(run)
    with pytest.raises(ValueError, match="The sound has ended"):
        stream.push(noise(0.1))


def test_recordings_that_end_with_their_sound_are_not_padded(live_run: Path) -> None:
    run = load(live_run)
    trained = Run.open(live_run)
    lengths = trained.data.train.lengths
    assert np.mean(lengths < steps_of(run)) < 0.9 <= np.mean(lengths <= steps_of(run))
    x = input_of(run, [noise(1.0)])
    assert len(x) == 98 * run.input.hold  # 25 ms in 1 s, every 10 ms


@pytest.mark.parametrize("count", [0, 1, 90, 100, 101, 167, 200])
def test_channels_are_padded_with_silence_in_steps_of_unequal_length(count: int) -> None:
    # Steps of 33.5 samples: their edges are 0, 34, 67, 100, 134 and 168.
    config = NWaveDataloaderConfig(
        "x", sample_rate=8000, recording_duration_s=5 * 33.5 / 8000, sim_time_s=33.5 / 8000
    )
    front_end = FrontEnd(config)
    standard = Standard(np.zeros(16, np.float32), np.ones(16, np.float32))
    sound = noise(1.0)[:count]
    stream = LiveInput(front_end, NetInput(standard=standard), 8000)
    x = torch.cat([stream.push(sound), stream.finish()])
    expected = front_end(front_end.prepare((sound, 8000)))
    np.testing.assert_array_equal(x[:, 0], expected)


@pytest.mark.parametrize("seconds", [0.0, 0.01])
def test_a_sound_shorter_than_a_window_is_padded(folder: Path, seconds: float) -> None:
    run = load(folder)
    sound = noise(seconds)
    x = input_of(run, [sound])
    assert x.shape[:2] == (steps_of(run) if pads(run) else run.input.hold, 1)
    padded = input_of(run, [np.pad(sound, (0, 200 - len(sound)))])
    assert torch.equal(x, padded)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            np.zeros(5, np.int16),
            r"is int16 of shape \[5\], expected mono, .* full scale 1: divide integers",
        ),
        (np.zeros((5, 2)), r"float64 of shape \[5, 2\], expected mono, floating samples \[n\]"),
        (np.full(400, np.nan), "not finite or too large to be filtered, expected full"),
        (np.full(400, 3e38), "not finite or too large to be filtered, expected full"),
    ],
)
def test_blocks_that_cannot_be_used_are_errors(
    live_run: Path, block: np.ndarray, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        load(live_run).stream().push(block)


@pytest.mark.parametrize(
    ("choices_of", "level"), [(small_choices, "running"), (chip_choices, "as_is")]
)
def test_a_run_that_scales_each_recording_to_its_peak_cannot_stream(
    tones: Path, tmp_path: Path, choices_of: Callable[[Path], Any], level: str
) -> None:
    write_untrained(tmp_path / "run", choices_of(tones))
    words = rf"run scales each .* \(got level peak, .* `nwave train --level {level}`"
    with pytest.raises(ValueError, match=words):
        load(tmp_path / "run").stream()


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            lambda run: {"input": replace(run.input, center=True)},
            r"scales each rec.* its mean.*\(got level as_is, center True.*--level running`",
        ),
        (
            lambda run: {"input": replace(run.input, standardize=True)},
            r"deviation.*\(got .*standardize True.*",
        ),
        (
            lambda _: {"features": SeriesFeatures()},
            "was trained on .*, expected sound: train with `nwave tr",
        ),
    ],
)
def test_runs_that_cannot_be_applied_to_sound_as_it_comes_are_errors(
    live_run: Path, changed: Callable[[TrainedRun], Choices], words: str
) -> None:
    run = load(live_run)
    with pytest.raises(ValueError, match=words):
        replace(run, **changed(run)).stream()


@pytest.mark.parametrize("does_look_ahead", [False, True])
def test_a_net_from_a_file_streams_if_it_looks_at_no_later_step(
    tones: Path, tmp_path: Path, does_look_ahead: bool
) -> None:
    module = "Reversed()" if does_look_ahead else "nn.Identity()"
    (tmp_path / "net.py").write_text(
        f"""from torch import nn

from nwavesdk.presets import adlif
from nwavesdk.train.fit.network import sample_config

CONFIG = sample_config("adlif", (12,), 3)

class Reversed(nn.Module):
    def forward(self, x):
        return x.flip(1)


def build(inputs, classes, config):
    config = config.model_copy(update={{"net": CONFIG.net}})
    return nn.Sequential({module}, adlif.build(inputs, classes, config))
"""
    )
    choices = {
        "data": {"source": str(tones), "bands": 12, "level": "running"},
        "net": {"page": f"{tmp_path}/net.py:build"},
    }
    write_untrained(tmp_path / "run", choices)
    run = load(tmp_path / "run", f"{tmp_path}/net.py:build")
    sound = 0.3 * noise(0.5)
    prediction = run.predict(sound)[0]
    if does_look_ahead:
        with pytest.raises(ValueError, match=r"file that gives other outputs in blocks than in on"):
            run.stream()
        return
    values, _ = scores_of(run, sound, 8000, 500)
    expected = run.task.probabilities(torch.from_numpy(values).mean(dim=0))
    np.testing.assert_array_equal(prediction.probabilities, expected)


def test_without_safetensors_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.train.find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError, match=r"safetensors is not.*'\.\[train\]'"):
        train.__getattr__("load")


def test_the_rate_of_a_sound_is_one_that_sound_has(live_run: Path) -> None:
    with pytest.raises(ValueError, match="Sample rate should be over 0"):
        load(live_run).stream(0)
