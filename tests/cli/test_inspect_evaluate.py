"""`nwave eval`."""

import sys
from pathlib import Path
from shutil import copytree

import pytest
from typer.testing import Result

from cli.command import json_object, nwave
from train.runs import chip_choices, small_choices, write_untrained


def test_eval_gives_the_recorded_accuracy(trained: tuple[Path, Result]) -> None:
    report = json_object(nwave("eval", trained[0], "--json"))
    assert (
        report["test_accuracy"]
        == report["recorded_test_accuracy"]
        == json_object(trained[1])["test_accuracy"]
    )
    assert "test accuracy" in nwave("eval", trained[0]).stdout


@pytest.mark.interop
def test_eval_shows_the_numbers_of_neurobench_next_to_ours(tones: Path, tmp_path: Path) -> None:
    write_untrained(tmp_path / "run", small_choices(tones))
    report = json_object(nwave("eval", tmp_path / "run", "--neurobench", "--json"))
    numbers = report["neurobench"]["numbers"]
    assert numbers["SynapticOperations.Dense"]["harness"] > 0
    assert numbers["ClassificationAccuracy"]["ours"] == pytest.approx(report["test_accuracy"])
    assert [name for name, number in numbers.items() if number["differ"]] in (
        [],
        ["MembraneUpdates"],
    )
    lines = nwave("eval", tmp_path / "run", "--neurobench").stdout.splitlines()
    assert lines[0].startswith("test accuracy")
    assert sum(line.endswith("  equal") for line in lines) >= len(numbers) - 1


@pytest.mark.interop
def test_eval_measures_a_net_for_a_chip(tones: Path, tmp_path: Path) -> None:
    write_untrained(tmp_path / "chip", chip_choices(tones))
    report = json_object(nwave("eval", tmp_path / "chip", "--neurobench", "--json"))
    numbers = report["neurobench"]["numbers"]
    assert numbers["ConnectionSparsity"]["harness"] > 0  # 5 bits round some weights to 0
    assert not any(
        number["differ"] for name, number in numbers.items() if name != "MembraneUpdates"
    )


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
