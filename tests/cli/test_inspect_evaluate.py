"""`nwave eval`."""

import sys
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import Result

from cli.command import json_object, nwave
from train.runs import small_choices, write_untrained


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
    result = nwave("eval", run, "--neurobench")
    assert result.exit_code == 2
    assert "neurobench is not installed: pip install '.[interop]'" in result.stderr


def test_eval_suggests_no_option_that_it_does_not_have(tones: Path, tmp_path: Path) -> None:
    data = copytree(tones, tmp_path / "tones")
    write_untrained(tmp_path / "run", small_choices(data))
    damaged = next(data.rglob("*.wav"))
    damaged.write_bytes(b"")
    result = nwave("eval", tmp_path / "run")
    assert result.exit_code == 2
    assert result.stderr.rstrip().endswith("is empty (0 bytes): repair or remove it.")
