"""`--net FILE.py:build` on the command line: commands take it again, and errors are one line."""

import re
from pathlib import Path

import pytest

from cli.command import json_object, nwave, rejected, succeeded
from nwavesdk.presets import page_path
from nwavesdk.train import RunFolder
from train.runs import difference, no_pictures

pytest.importorskip("lightning")

TEXT = """
from torch import nn
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential


def build(inputs, classes, config):
    return SpikingSequential(
        LIFSynapse(inputs[0], 12), nn.Unflatten(1, (3, 4)), LIFLayer((3, 4), 10e-3), nn.Flatten(),
        LIFSynapse(12, classes), LILayer(classes, tau=10e-3),
    )
"""


@pytest.fixture(scope="module")
@no_pictures()
def file_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and the file of its net."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "net.py").write_text(TEXT)
    net = f"{folder / 'net.py'}:build"
    options = ["--bands", 12, "--hold", 1, "--epochs", 1, "--batch-size", 8, "--net", net]
    succeeded("train", "--out", folder / "run", "--data", tones, *options)
    return folder / "run", net


def test_commands_take_the_file_again(
    file_run: tuple[Path, str], tones: Path, tmp_path: Path
) -> None:
    run, net = file_run
    wav = tones / "low" / "0.wav"
    assert nwave("eval", run, "--net", net).exit_code == 0
    assert nwave("predict", run, wav, "--net", net).exit_code == 0
    assert nwave("train", "--out", run, "--resume", "--net", net).exit_code == 0
    (layer,) = json_object(nwave("diagnose", run, "--net", net, "--json"))["layers"]
    assert 0 <= layer["rate"] <= 1
    page = tmp_path / "slopes.html"
    words = ["--surrogates", "atan", "--plot", tmp_path / "a.png", "--page", page]
    succeeded("slopes", run, "--net", net, *words)
    assert page.is_file()


@pytest.mark.parametrize("command", ["eval", "predict", "diagnose", "slopes", "check", "export"])
def test_commands_without_the_file_say_which_one(file_run: tuple[Path, str], command: str) -> None:
    result = nwave(command, file_run[0])
    assert result.exit_code == 2
    words = r"nwave: --net: missing, .* expected --net net\.py:build \(net=\), with the SHA-256 "
    assert re.match(words, result.stderr)
    assert len(result.stderr.splitlines()) == 1


def test_a_run_is_resumed_with_its_own_file_only(
    file_run: tuple[Path, str], tmp_path: Path
) -> None:
    (tmp_path / "other.py").write_text(TEXT.replace("12", "13"))
    error = rejected("train", "--out", file_run[0], "--resume", "--net", tmp_path / "other.py")
    assert re.match(r"nwave: --net: .* began with net\.py:build, SHA-256 .*, got o", error)
    result = nwave("train", "--out", file_run[0], "--resume")
    assert result.stderr.startswith("nwave: --net: missing, ")


@pytest.fixture(scope="module")
@no_pictures()
def of_preset(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of `--net conv`."""
    run = tmp_path_factory.mktemp("preset") / "run"
    options = ["--net", "conv", "--epochs", 1, "--batch-size", 16, "--bands", 16]
    result = succeeded("train", "--out", run, "--data", tones, *options)
    assert re.search(r"net conv for sound, [\d,]+ parameters; 1 epoch in batches of", result.stderr)
    return run


def test_commands_need_no_file_for_a_preset(of_preset: Path, tones: Path) -> None:
    assert (of_preset / "net.py").read_bytes() == page_path("conv").read_bytes()
    report = (of_preset / "report.html").read_text()
    assert re.search(r"<td>conv, [\d,]+ weights</td>", report)
    for words in (
        ("eval", of_preset),
        ("eval", of_preset, "--net", "conv"),
        ("eval", of_preset, "--net", f"{of_preset / 'net.py'}:build"),
        ("predict", of_preset, tones / "low" / "0.wav"),
        ("diagnose", of_preset),
        ("train", "--out", of_preset, "--resume"),
        ("train", "--out", of_preset, "--resume", "--net", "conv"),
    ):
        succeeded(*words)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("eval", "--net", "lif"), r"--net: .* began with conv\.py:build, .* got lif\.py:build"),
        (
            ("eval", "--net", "cnv"),
            r"--net: got 'cnv', expected one of lif, .*, or a Python file .*, did you mean 'conv'",
        ),
        (("export",), r".* was not trained for a chip"),
        (("map",), r".* was not trained for a chip"),
        (("chips",), r".* was not trained for a chip"),
    ],
)
def test_what_a_preset_cannot_do_is_one_line(
    of_preset: Path, words: tuple[str, ...], line: str
) -> None:
    command, *options = words
    assert re.match(rf"nwave: {line}", rejected(command, of_preset, *options))


def test_a_run_of_layers_takes_no_file(run: Path, file_run: tuple[Path, str]) -> None:
    error = rejected("eval", run, "--net", file_run[1])
    assert re.match(r"nwave: --net: .* began with lif\.py:build, SHA-256 .*, got net\.py", error)


def test_another_run_of_a_file_needs_the_file(file_run: tuple[Path, str], tmp_path: Path) -> None:
    options = ("--out", tmp_path / "run", "--config", file_run[0] / "config.json")
    error = rejected("train", *options)
    assert error.startswith("nwave: --net: missing, the recorded net is from a file: pass")
    assert nwave("train", *options, "--net", file_run[1]).exit_code == 0
    recorded, again = (RunFolder(path).read_config() for path in (file_run[0], tmp_path / "run"))
    assert difference(again, recorded) is None


def test_a_file_that_is_missing_or_wrong_is_one_line(tmp_path: Path) -> None:
    missing = nwave("train", "--out", tmp_path / "run", "--net", tmp_path / "no.py")
    assert re.match(r"nwave: --net: .*no\.py does not exist: check the name", missing.stderr)
    other = nwave("train", "--out", tmp_path / "run", "--net", "net.txt")
    assert re.match(r"nwave: --net: got 'net\.txt', expected one of lif, ", other.stderr)
    (tmp_path / "net.py").write_text("def build():\n    return 3\n")
    wrong = nwave("train", "--out", tmp_path / "run", "--net", tmp_path / "net.py")
    assert re.match(
        r"nwave: .*net\.py:build: build\(.*, config\) failed \(TypeError: ", wrong.stderr
    )


def test_a_net_that_is_not_of_a_chip_is_not_exported(tones: Path, tmp_path: Path) -> None:
    from nwavesdk.deploy import ChipRun
    from train.runs import chip_choices, write_untrained

    (tmp_path / "net.py").write_text(TEXT)
    net = f"{tmp_path / 'net.py'}:build"
    choices = chip_choices(tones, training="plain")
    choices["net"] = {"page": net, "dt": 5e-3}
    write_untrained(tmp_path / "run", choices)
    with pytest.raises(ValueError, match=r"the file: module 0 \(LIFSynapse\) is not a module of"):
        ChipRun.open(tmp_path / "run", net=net)
