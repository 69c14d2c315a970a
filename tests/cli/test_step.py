"""`nwave export --torch` and `--onnx`."""

import json
import re
import runpy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from cli.command import json_object, nwave, rejected
from nwavesdk.cli.step import _about, write_export
from nwavesdk.data.features import ChipFeatures, EventFeatures, ImageFeatures, NoiseFeatures
from nwavesdk.data.source import Item, Sample
from nwavesdk.interop.step import StepCheck
from nwavesdk.interop.step_files import read_torch
from nwavesdk.train import load
from nwavesdk.train.apply.batches import batch_of
from nwavesdk.train.apply.recordings import FramedRecording
from tolerances import GRADIENT, assert_close
from train.runs import Choices, chip_choices, write_untrained

PAGE = Path(__file__).parents[2] / "docs" / "export.md"
PROGRAM = Path(__file__).parents[2] / "examples" / "onnx_sound.py"


@pytest.fixture
def run(choices: Choices, tmp_path: Path) -> Path:
    write_untrained(tmp_path / "run", choices)
    return tmp_path / "run"


@pytest.mark.slow
def test_export_writes_one_step_of_a_run(run: Path, tmp_path: Path) -> None:
    path = tmp_path / "new" / "net.pt2"
    result = json_object(nwave("export", run, "--torch", path, "--json"))
    assert result["path"] == str(path)
    assert result["bytes"] == path.stat().st_size
    assert result["check"]["equal"]
    assert result["check"]["spikes"] > 0

    function, about = read_torch(path.read_bytes())
    trained = load(run)
    assert about["mean"] == list(map(float, trained.input.standard.mean))
    assert about["classes"] == list(trained.classes)
    assert about["dt"] == trained.config.net.dt

    outputs, states = function(
        torch.zeros(7, *about["input"]),
        [torch.zeros(7, *state["shape"]) for state in about["states"]],
    )
    assert [tensor.shape[0] for tensor in (*outputs, *states)] == [7] * 4


def test_the_look_ahead_of_a_run_is_told(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trained = load(run)
    assert _about(trained)["look_ahead"] == 0
    late = replace(trained, input=replace(trained.input, look_ahead=4))
    assert _about(late)["look_ahead"] == 4
    equal = SimpleNamespace(is_equal=True)
    for exported, is_late in ((trained, False), (late, True)):
        write_export(tmp_path / "net", b"", equal, exported, {}, [], False)
        output = capsys.readouterr().out
        assert ("the output of a step is the class of 4 steps before" in output) == is_late


@pytest.mark.interop
@pytest.mark.parametrize(
    "data",
    [
        {"center": True, "standardize": True, "bands": 40},  # of the default net
        {"level": "as_is", "hold": 2, "padding": "zeros", "sample_rate": 8000, "hop": 0.015},
        {"level": "running"},
    ],
)
def test_the_example_computes_input_and_class_from_the_file_and_a_sound(
    choices: Choices,
    tones: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data: Choices,
) -> None:
    soundfile = pytest.importorskip("soundfile")
    choices["data"] |= data
    write_untrained(tmp_path / "run", choices)
    assert nwave("export", tmp_path / "run", "--onnx", tmp_path / "net.onnx").exit_code == 0
    monkeypatch.chdir(tmp_path)
    run = load(tmp_path / "run")
    tone = 0.5 * soundfile.read(tones / "low" / "3.wav", dtype="float32")[0]
    for samples in (tone, np.full(4000, 0.25)):  # the second one is steady, see `least_change`
        soundfile.write("a.wav", samples, 8000, "PCM_16")
        names = runpy.run_path(str(PROGRAM))

        sound = soundfile.read("a.wav", dtype="float32")
        frames = run.features(Item("a", Path("a.wav")), Sample(sound)).frames
        x = batch_of([FramedRecording("a", frames)], run.input).x
        assert_close(torch.from_numpy(names["x"]), x, GRADIENT, "input of the example")
        (prediction,) = run.predict("a.wav")
        assert capsys.readouterr().out == f"{prediction.class_name}\n"


def test_the_description_has_the_settings_of_each_kind(tones: Path, tmp_path: Path) -> None:
    write_untrained(tmp_path / "run", chip_choices(tones))
    run = load(tmp_path / "run")
    assert isinstance(run.features, ChipFeatures)
    settings = _about(run)["features"]
    assert settings.items() >= {"front_end": "filter_bank", "count": 16, "level": "peak"}.items()
    assert settings["steps"] == run.features.config.T

    others = {
        ImageFeatures((3, 4)): {"shape": (3, 4)},
        EventFeatures((2, 5, 6), 1e-3): {"shape": (2, 5, 6), "bin": 1e-3},
        NoiseFeatures(3, 100): {"seed": 3, "channels": 100, "rate": 0.05},
    }
    for features, expected in others.items():
        about = _about(replace(run, features=features))
        assert about["features"] == expected
        assert json.loads(json.dumps(about))["features"].keys() == expected.keys()


def test_a_step_that_differs_is_not_written(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = StepCheck(steps=100, different=90, first=3, spikes=5, silent=(), error=0.0)
    monkeypatch.setattr("nwavesdk.interop.step.compare_steps", lambda *_, **__: check)
    monkeypatch.setattr("nwavesdk.interop.step_files.torch_bytes", lambda *_: b"")
    monkeypatch.setattr("nwavesdk.interop.step_files.read_torch", lambda _: (None, {}))
    result = nwave("export", run, "--torch", tmp_path / "net.pt2")
    assert isinstance(result.exception, RuntimeError)
    assert re.search("net.pt2 is not written: .*10 of 100 steps equal", str(result.exception))
    assert not (tmp_path / "net.pt2").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--torch", "a", "--onnx", "b"], "--onnx: has no effect with --torch: remove it"),
        (["--torch", "a", "--nir", "b"], "--torch: has no effect with --nir: remove it"),
        (["--onnx", "a", "--chip", "h1v1"], "--chip: has no effect with --onnx: remove it"),
        (["--onnx", "a", "--allow", "soft-reset"], "--allow: has no effect without --nir"),
        (["--torch", "a", "--static"], "--static: has no effect without --onnx"),
        (["--opset", "17"], "--opset: has no effect without --onnx"),
        (["--torch", "no-run/config.json"], "--torch: no-run/config.json belongs to the run"),
    ],
)
def test_options_that_do_not_go_together_are_rejected(words: list[str], message: str) -> None:
    assert message in rejected("export", "no-run", *words)


@pytest.mark.interop
def test_the_page_compares_a_static_graph_with_its_examples(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "net.onnx"
    result = json_object(nwave("export", run, "--onnx", path, "--static", "--opset", 18, "--json"))
    assert result["batch"] == 1
    with np.load(result["examples"]) as content:
        samples = dict(content)
    assert samples["x"].shape == (100, 1, *result["input"])
    assert {name for name in samples if name.endswith(".next")}

    monkeypatch.chdir(tmp_path)
    (code,) = re.findall(r"<!-- static -->\n```python\n(.*?)^```$", PAGE.read_text(), re.S | re.M)
    exec(compile(code, str(PAGE), "exec"), {})
    assert float(capsys.readouterr().out.split()[-1]) < 1e-5


@pytest.mark.slow
@pytest.mark.interop
def test_export_writes_onnx_of_the_default_net_for_sound(tones: Path, tmp_path: Path) -> None:
    write_untrained(tmp_path / "run", {"data": {"source": str(tones)}})
    path = tmp_path / "net.onnx"
    result = json_object(nwave("export", tmp_path / "run", "--onnx", path, "--json"))
    assert result["check"]["different"] == 0
    assert result["check"]["spikes"] > 1000
    assert result["outputs"] == ["out"]
