"""`nwave net`: pages to copy, layers with their parameters, and errors of one line."""

import pytest

from cli.command import json_object, nwave
from nwavesdk.presets import NAMES, page_path
from nwavesdk.train.config.run_config import UNIONS


def test_the_list_has_a_line_and_the_options_of_each_preset() -> None:
    result = nwave("net")
    assert result.exit_code == 0
    heads = [line.split()[0] for line in result.stdout.splitlines() if line[:1].isalpha()]
    assert heads[:-1] == [*NAMES]
    facts = json_object(nwave("net", "--json"))["presets"]
    _, models = UNIONS["net"]
    for preset in facts:
        assert {*preset["options"], "name"} == models[preset["preset"]].model_fields.keys()


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_printed_as_it_is(name: str) -> None:
    text = page_path(name).read_text()
    assert nwave("net", name).stdout == text
    assert json_object(nwave("net", name, "--json"))["text"] == text


def test_layers_have_shapes_and_parameters() -> None:
    report = json_object(nwave("net", "lif", "--inputs", "40", "--classes", "3", "--json"))
    first, spiking, *_ = report["layers"]
    assert (first["kind"], first["output"], first["parameters"]) == ("LIFSynapse", [256], 10_240)
    assert spiking["spikes"]
    assert report["parameters"] == 40 * 256 + 256 * 256 + 256 * 30
    lines = nwave("net", "lif", "--inputs", "8,5").stdout.splitlines()
    assert lines[0].split() == ["name", "module", "output", "of", "a", "step", "parameters"]
    assert lines[1].split() == ["0", "Flatten", "[40]", "0"]
    assert lines[2].split() == ["1", "LIFSynapse", "[256]", "10,240"]
    assert lines[-1] == "101,376 parameters, 612 neurons that spike"


@pytest.mark.parametrize(
    ("words", "n_layers"),
    [
        (("40",), 4),
        (("6", "--kind", "series"), 3),
        (("28,28",), 4),
        (("2,34,34",), 3),  # events
        (("2,34,34", "--kind", "image"), 4),
    ],
)
def test_layers_are_those_for_the_kind(words: tuple[str, ...], n_layers: int) -> None:
    report = json_object(nwave("net", "conv", "--json", "--inputs", *words))
    assert sum(layer["spikes"] for layer in report["layers"]) == n_layers


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("conf",), "PRESET: 'conf' is not one of 'lif', "),
        (("conv", "--inputs", "4,x"), "--inputs: got '4,x', expected up to 4 sizes from 1 with "),
        (("conv", "--inputs", "9,9,9,9,9"), "--inputs: got '9,9,9,9,9', expected up to 4 sizes "),
        (("conv", "--inputs", "9999999"), "--inputs: got '9999999', expected up to 4 sizes "),
        (("conv", "--classes", "4"), "--classes: has no effect without --inputs: remove it."),
        (("conv", "--kind", "image"), "--kind: has no effect without --inputs: remove it."),
        (("conv", "--inputs", "4", "--kind", "sounds"), "--kind: 'sounds' is not one of '"),
        (("--inputs", "4"), "--inputs: has no effect without PRESET: remove it."),
    ],
)
def test_errors_are_one_line(words: tuple[str, ...], line: str) -> None:
    result = nwave("net", *words)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"nwave: {line}")
    assert len(result.stderr.splitlines()) == 1
