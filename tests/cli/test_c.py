"""`nwave export --c`."""

import dataclasses
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from cli.command import json_object, nwave, rejected, succeeded
from nwavesdk.train import Run, load
from nwavesdk.train.fit.network import rounded_network
from train.runs import Choices, write_untrained


def test_export_writes_a_folder_of_c(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "firmware"
    result = json_object(nwave("export", run, "--c", folder, "--json"))
    assert sorted(result["files"]) == sorted(path.name for path in folder.iterdir())
    assert [layer["neurons"] for layer in result["layers"]] == [16, 8, 6]
    assert {"float", "rounded"} <= result.keys()
    readme = (folder / "README.md").read_text()
    assert "as exported" in readme
    assert "frames are prepared before" in readme

    if shutil.which("gcc") is not None:
        command = "gcc -std=c99 -O1 -I. net.c selftest.c -lm -o selftest && ./selftest"
        subprocess.run(command, cwd=folder, shell=True, check=True)


def test_the_report_of_a_run_has_the_costs_of_its_export(run: Path, tmp_path: Path) -> None:
    exported = json_object(nwave("export", run, "--c", tmp_path / "firmware", "--json"))
    page = (run / "report.html").read_text()
    assert f"{exported['flash']:,} bytes of tables in flash" in page
    assert f"{exported['ram']:,} bytes of state" in page
    for layer in exported["layers"]:
        assert f"<td>{layer['name']}</td>" in page
        assert f">{layer['flash']:,}</td>" in page


def test_the_report_of_a_net_without_a_form_in_c_has_no_costs(chip_run: Path) -> None:
    assert "microcontroller" not in (chip_run / "report.html").read_text()


def test_an_export_of_a_net_without_a_form_in_c_says_why(chip_run: Path, tmp_path: Path) -> None:
    result = nwave("export", chip_run, "--c", tmp_path / "firmware")
    assert result.exit_code == 2
    assert f"--c {tmp_path / 'firmware'}: H1v1Frontend '0' is of a chip" in result.output


def test_a_run_on_live_sound_has_a_program_from_samples_to_outputs(
    tones: Path, tmp_path: Path
) -> None:
    sizes = ["--net", "lif", "--hidden", 8, "--population", 2, "--bands", 12, "--hold", 2]
    options = ["--level", "running", "--epochs", 1, "--batch-size", 8]
    succeeded("train", "--out", tmp_path / "run", "--data", tones, *sizes, *options)

    folder = tmp_path / "firmware"
    result = json_object(nwave("export", tmp_path / "run", "--c", folder, "--json"))
    assert {"listen.c", "log_mel_rt.h", "net_front_end.c", "net_front_end.h"} <= {*result["files"]}
    command = re.search("`(cc .* -o listen)`", (folder / "README.md").read_text())[1]
    if shutil.which("cc") is not None:
        subprocess.run(command, cwd=folder, shell=True, check=True)
        silence = bytes(2 * 8000)
        output = subprocess.run([folder / "listen"], input=silence, capture_output=True).stdout
        assert len(output.splitlines()) == 2 * 98  # frames of a second, held for two steps


DIGITS = {"data": {"limit": 30}, "net": {"name": "lif", "hidden": [8]}}


def export(folder: Path, choices: Choices) -> tuple[Run, Path]:
    """A run with initial weights, and its folder of C."""
    write_untrained(folder / "run", choices)
    succeeded("export", folder / "run", "--c", folder / "c")
    return Run.open(folder / "run"), folder / "c"


def test_a_run_on_series_takes_the_values_of_its_recordings(tmp_path: Path) -> None:
    run, folder = export(tmp_path, DIGITS)
    recording = run.data.val.recordings.frames[0]
    np.testing.assert_array_equal(np.loadtxt(folder / "frames.txt", np.float32), recording)
    readme = (folder / "README.md").read_text()
    assert "values of a row are made of series as in the run" in readme
    assert "prepared before" not in readme

    if shutil.which("cc") is not None:
        command = "cc -std=c99 -I. net.c example.c -lm -o example && ./example < frames.txt"
        output = subprocess.run(command, cwd=folder, shell=True, check=True, capture_output=True)
        rounded = rounded_network(run.trained().net, 8, run.data.train.example_inputs())
        trained = dataclasses.replace(load(tmp_path / "run"), net=rounded)
        (prediction,) = trained.predict(recording)
        assert output.stdout.decode().splitlines()[-1] == f"class: {prediction.class_name}"


def data_folder(folder: Path, kind: str) -> str:
    """Twenty series or images of two classes."""
    draw = np.random.default_rng(0)
    for number in range(20):
        path = folder / "data" / str(number % 2) / f"{number}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if kind == "series":
            np.save(path, draw.random((7, 2), np.float32))
        else:
            image = pytest.importorskip("PIL.Image")
            image.fromarray(draw.integers(0, 255, (3, 4), np.uint8)).save(path.with_suffix(".png"))
    return str(folder / "data")


@pytest.mark.parametrize("scale", ["center", "add_standardized"])
def test_a_scale_of_the_whole_recording_needs_prepared_frames(scale: str, tmp_path: Path) -> None:
    data = {"limit": 30, "center": True}
    if scale == "add_standardized":
        data = {"source": data_folder(tmp_path, "series"), scale: True}
    run, folder = export(tmp_path, {**DIGITS, "data": data})
    readme = (folder / "README.md").read_text()
    assert "the scale of a frame depends on the whole recording, so frames are prepared" in readme
    assert "already on the scale of the run" in readme
    first = run.data.val.input_of(0)[0]
    frames = np.loadtxt(folder / "frames.txt", np.float32)
    np.testing.assert_array_equal(frames[0], first)


@pytest.mark.parametrize(("encoder", "steps"), [("current", 300), ("latency", 5)])
def test_an_encoder_has_a_frame_for_each_step(encoder: str, steps: int, tmp_path: Path) -> None:
    data = {"source": data_folder(tmp_path, "images"), "steps": steps, "encoder": encoder}
    _, folder = export(tmp_path, {**DIGITS, "data": data})
    readme = (folder / "README.md").read_text()
    is_held = encoder == "current"
    frames = np.loadtxt(folder / "frames.txt", ndmin=2)
    assert len(frames) == (1 if is_held else steps)
    assert ("an encoder makes the frames" in readme) != is_held


def test_export_for_c_goes_with_no_other_format() -> None:
    error = rejected("export", "no-run", "--c", "a", "--chip", "h1v1")
    assert "--chip: has no effect with --c: remove it" in error
