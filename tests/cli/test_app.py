"""Help, version, and errors that the user can fix."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from cli.command import json_object, nwave, rejected
from nwavesdk import __version__
from nwavesdk.cli import app
from nwavesdk.cli.errors import checked_words


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_is_fast_and_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, time\nfrom nwavesdk.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'numpy', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time(), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert "Usage: " in result.stdout
    assert float(result.stderr) < 0.5  # seconds of the processor, whatever else it is doing


def test_the_help_has_each_command_once_in_groups_and_begins_with_train() -> None:
    lines = nwave("--help").stdout.split("Options:")[1].splitlines()
    titles = [line.rstrip(":") for line in lines if line.endswith(":")]
    assert titles == ["Train", "Use", "Look into", "Chip", "Exchange", "This machine"]
    commands = [line.split()[0] for line in lines if re.match("  [a-z]", line)]
    assert commands[0] == "train"
    assert sorted(commands) == sorted(command.name for command in app.registered_commands)
    assert not any("..." in line for line in lines)


def test_version() -> None:
    assert nwave("--version").stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("train", "--out", "{}/run", "--resume"), "(no config.json): pass the folder of"),
        (("eval", "{}/run"), "holds no run (no config.json)"),
        (("train", "--out", "{}/run", "--data", "{}/none"), "does not exist, expected a folder"),
        (
            ("train", "--out", "{}/run", "--epochs", "0"),
            "--epochs: expected at least 1",
        ),
        (("train", "--out", "{}/run", "--surrogate", "tan"), "unknown surrogate 'tan'"),
        (
            ("train", "--out", "{}/run", "--split", "speaker"),
            "--split: expected 'auto' or 'recording' (got 'speaker')",
        ),
        (
            ("compare", "--out", "{}/run", "--split", "some"),
            "--split: expected 'auto' or 'recording' (got 'some')",
        ),
        (
            ("map", "x", "--plot", "{}/x.svg"),
            "x.svg', expected a name that ends in .png",
        ),
        (
            ("compare", "--out", "{}/run", "--hold", "0"),
            "--hold: expected at least 1",
        ),
        (
            ("train", "--out", "{}/run", "--net", "lif", "--hidden", "a,b"),
            "--hidden: expected a whole number",
        ),
        (
            ("compare", "--out", "{}/run", "--hidden", "8,b"),
            "--hidden: expected a whole number",
        ),
        (
            ("train", "--out", "{}/run", "--net", "lif", "--hidden", "١٢"),
            "--hidden: expected a whole number",
        ),
        (
            ("train", "--out", "{}/run", "--accelerator", "cpu", "--devices", "1000"),
            "got 'cpu' with 1000 device(s), which this machine does not have",
        ),
    ],
)
def test_an_error_of_the_user_is_one_line_and_exit_code_2(
    words: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    result = nwave(*(word.format(tmp_path) for word in words), "--json")
    assert result.exit_code == 2
    assert result.stderr.startswith("nwave: ")
    assert result.stderr.count("\n") == 1
    assert message in result.stderr
    assert message in json_object(result)["error"]
    assert list(tmp_path.iterdir()) == []


def test_an_error_without_json_leaves_standard_output_empty(tmp_path: Path) -> None:
    result = nwave("eval", tmp_path)
    assert result.exit_code == 2
    assert result.stdout == ""


def test_any_other_error_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.analysis.catalogue_shapes", lambda: 1 / 0)
    result = nwave("surrogates")
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_missing_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str) -> object:
        return None if name == "lightning" else find_spec(name)

    monkeypatch.setattr("nwavesdk.train.find_spec", find)
    error = rejected("train", "--out", tmp_path / "run")
    assert (
        error == "nwave: lightning is not installed: pip install '.[train]' in a clone of nwavesdk "
        "installs it.\n"
    )


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--ray"], ["--ray=local"]),
        (["--ray", "--json"], ["--ray=local", "--json"]),
        (["--ray", "auto", "x"], ["--ray", "auto", "x"]),
        (["--ray", "head:6379"], ["--ray", "head:6379"]),
        (["--ray=head:6379"], ["--ray=head:6379"]),
        (["--ray", "runs/chip"], ["--ray=local", "runs/chip"]),
    ],
)
def test_an_address_is_taken_only_if_it_is_one(words: list[str], expected: list[str]) -> None:
    assert checked_words(words) == expected


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("compare", "--out", "x", "--ray=nowhere"), "--ray: got 'nowhere', expected local"),
        (("compare", "--out", "x", "--ray", "--jobs", "2"), "--jobs: has no effect with --ray"),
        (("chips", "x", "--ray=a b:3"), "--ray: got 'a b:3', expected local"),
    ],
)
def test_a_bad_address_is_one_line(words: tuple[str, ...], line: str) -> None:
    assert line in rejected(*words)
