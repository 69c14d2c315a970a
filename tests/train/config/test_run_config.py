"""The config of a run: which fields belong together, its file, and what a resumed run keeps."""

import json
import subprocess
import sys
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.presets import NAMES, PresetName
from nwavesdk.train import RunConfig, RunFolder
from nwavesdk.train.config import CompletedConfig, fields_of, merge_choices
from nwavesdk.train.config.run_config import UNIONS
from nwavesdk.train.fit.network import sample_config
from train.runs import Choices, difference

CLASSES = [(section, name) for section, (_, models) in UNIONS.items() for name in models]


def choices_with(section: str, name: str) -> Choices:
    """Choices whose section has this class."""
    tag, _ = UNIONS[section]
    choices: dict[str, Choices] = {
        "data": {"kind": "series", "source": "recordings"},
        "task": {"name": "classification"},
        "net": {"name": "conv"},
    }
    choices[section][tag] = name
    if name in ("filtered", "channels", "chip"):
        choices |= {"chip": {"profile": "h1v2"}, "net": {"name": "chip"}}
    elif name == "file":
        choices["net"]["page"] = {"file": "net.py", "sha256": "0" * 64}
    elif name == "features":
        choices["data"]["source"] = "digits"
    elif name == "pattern":
        choices["task"]["name"] = "pattern"
    elif name == "detect":
        choices["data"]["kind"] = "sound"
    return choices


def nested(field: str, value: Any) -> Choices:
    """Choices with one field, named with dots."""
    for name in reversed(field.split(".")):
        value = {name: value}
    return dict(value)


def with_field(content: Choices, field: str, value: Any) -> Choices:
    """A copy of a nested mapping with one field, named with dots."""
    copy = deepcopy(content)
    *sections, name = field.split(".")
    reduce(getitem, sections, copy)[name] = value
    return copy


@pytest.mark.parametrize(("section", "name"), CLASSES)
def test_fields_of_other_classes_are_rejected_by_one_line_with_their_owners(
    section: str, name: str
) -> None:
    choices = choices_with(section, name)
    config = RunConfig.of(choices)
    tag, models = UNIONS[section]
    assert getattr(getattr(config, section), tag) == name
    for field in fields_of(section).keys() - models[name].model_fields.keys():
        owners = ", ".join(owner for owner, model in models.items() if field in model.model_fields)
        with pytest.raises(
            ValueError, match=rf"^{section}\.{field}: has no effect on the {section} {name}, "
        ) as caught:
            RunConfig.of(merge_choices(choices, nested(f"{section}.{field}", 1)))
        assert str(caught.value).endswith(f", got 1: remove it; it is for {owners}")


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"learning": {"epochs": 0}}, r"learning\.epochs: .*at least 1 \(got 0\)"),
        ({"learning": {"rate": float("nan")}}, r"learning\.rate: .*finite.*\(got nan\)"),
        ({"learning": {"epoch": 3}}, "learning.epoch: there is no .*, did you mean 'epochs'"),
        ({"learning": {"class_weights": True}}, "class_weights: .* use task.class_weights"),
        ({"colour": 3}, r"^colour: .*no entry of this name \(got 3\)"),
        ({"machine": {"accelerator": "abacus"}}, r"machine\.accelerator: .*'cpu'.*'abacus'\)"),
        ({"machine": {"devices": 10**6}}, r"machine\.devices: .*at most 1024"),
        ({"learning": {"epochs": 10**9}}, r"learning\.epochs: .*at most 100000"),
        ({"learning": {"batch_size": 10**9}}, r"learning\.batch_size: .*at most 1000000"),
        ({"learning": {"rate": 1e300}}, r"learning\.rate: .*at most 1000"),
        ({"learning": {"weight_decay": 1e300}}, r"weight_decay: .*at most 1000"),
        ({"seed": -1}, r"seed: .*at least 0 \(got -1\)"),
        (
            {"net": {"name": "cnv"}},
            r"^net\.name: got 'cnv', expected one of conv, .* mean 'conv'\?$",
        ),
        ({"data": {"kind": ["sound"]}}, r"^data\.kind: got \['sound'\], expected one of "),
        ({"task": {"name": "sorting"}}, r"^task\.name: got 'sorting', expected one of "),
        ({"net": [1]}, r"^net: expected a dictionary"),
        ({"task": {"name": "labels"}}, r"^task\.name: the spoken digits have a class per rec"),
        (choices_with("data", "series") | {"task": {"name": "pattern"}, "chip": {}}, "^chip.prof"),
        ({"data": {"kind": "filtered"}}, r"^data\.kind: a chip filters .* without a chip: remove"),
        ({"data": {"kind": "pattern"}}, r"^data\.kind: a pattern is a series for the task"),
        ({"net": {"name": "chip"}}, r"^net\.name: the net of a chip needs one, got none: add"),
        ({"chip": {"profile": "h1v2"}}, r"^chip\.profile: a chip takes sound, .* got features: r"),
        (
            choices_with("net", "chip") | {"net": {"name": "lif"}},
            r"^chip\.profile: the net lif is not for a chip: remove one of them$",
        ),
        (
            choices_with("net", "chip") | {"chip": {"profile": "h1v2", "training": "some"}},
            r"^chip\.training: ",
        ),
        (choices_with("net", "chip") | {"chip": {"bits": 9}}, r"^chip\.profile: missing; chip\.bi"),
        (
            choices_with("data", "events") | {"data": {"kind": "events", "events": "lists"}},
            r"^data\.events: the net conv gets frames, got 'lists': remove it, or use net lif$",
        ),
        (
            choices_with("task", "labels") | {"net": {"name": "lif", "population": 4}},
            r"^net\.population: each output is the membrane of one neuron, got 4: remove it$",
        ),
        (
            {"net": {"name": "lif", "neuron": "adlif", "first_weights": "driven"}},
            r"^net\.first_weights: .* neurons other than LIF cannot drive weights.*: remove it$",
        ),
    ],
)
def test_a_bad_choice_is_one_line_that_names_it(choices: Choices, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig.of(choices)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("preset", NAMES)
def test_the_file_gives_the_config_back(preset: PresetName, tmp_path: Path) -> None:
    config = sample_config(preset, (16,), 2)
    folder = RunFolder(tmp_path)
    folder.begin(config)
    again = folder.read_config()
    assert again == config
    assert again.identity() == config.identity()
    assert difference(again, config) is None
    # Its choices begin the same run again.
    assert RunConfig.of(again.choices()).model_dump() == config.choices()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("colour", "red", r"colour: expected no entry of this name \(got 'red'\)"),
        ("data.hold", None, r"data\.hold: missing"),
        ("chip.gain", None, r"chip\.gain: missing"),
        ("learning.epochs", None, r"learning\.epochs: expected a whole number"),
        ("facts", None, r"facts: expected a dictionary"),
        ("machine.threads", 0, r"machine\.threads: expected at least 1"),
        ("net", [], r"net: expected a dictionary"),
    ],
)
def test_a_config_with_a_damaged_field_is_one_line(
    field: str, value: Any, words: str, tmp_path: Path
) -> None:
    preset: PresetName = "chip" if field.startswith("chip") else "lif"
    content = sample_config(preset, (16,), 2).model_dump(mode="json")
    (tmp_path / "config.json").write_text(json.dumps(with_field(content, field, value)))
    match = rf"config\.json is not the config of a run: {words}[^\n]*$"
    with pytest.raises(ValueError, match=match):
        CompletedConfig.read(tmp_path / "config.json")


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run: it "):
        CompletedConfig.read(tmp_path / "config.json")


def test_only_fields_that_may_move_leave_the_identity_unchanged() -> None:
    page = {"file": "/net.py", "function": "build", "sha256": "0" * 64}
    content = sample_config("lif", (16,), 2).model_dump(mode="json")
    content |= {"net": {"name": "file", "page": page}, "page": dict(page)}
    identity = CompletedConfig.of(content).identity()
    moved = {
        "data.source": "/elsewhere",
        "learning.finetune": "/elsewhere",
        "net.page.file": "/other.py",
        "page.file": "/other.py",
        "machine.accelerator": "cpu",
        "machine.workers": 2,
        "facts.split_reason": "by chance",
        "facts.begun_with": content["facts"]["begun_with"] | {"torch": "9.0"},
    }
    changed = {"seed": 1, "net.tau": 0.02, "facts.fingerprint": "f", "page.sha256": "1" * 64}
    for field, value in (moved | changed).items():
        config = CompletedConfig.of(with_field(content, field, value))
        expected = None if field in moved else field
        assert difference(config, CompletedConfig.of(content), moved) == expected
        assert (config.identity() == identity) == (field in moved)


def test_a_resumed_run_keeps_its_choices() -> None:
    config = sample_config("lif", (16,), 2, neuron="adlif", constants="tau_w=0.2", learn="a")
    same = {"neuron": "AdLIFLayer", "constants": "tau_w=0.2,a=0.02", "learn": ["a"], "dt": 1e-3}
    for choices in ({}, {"seed": 0, "net": same}, {"net": {"surrogate": "fast_sigmoid(25)"}}):
        config.check_same(choices)
    for field, value in {
        "seed": 2,
        "learning.epochs": 6,
        "learning.patience": 0,
        "task.name": "regression",
        "net.constants.tau_w": 0.3,
        "net.learn": ("b",),
        "net.neuron": "lif",
        "net.tau": 0.02,
    }.items():
        words = rf"^{field}: a resumed run keeps its choices, got .*, expected .*: remove"
        with pytest.raises(ValueError, match=words):
            config.check_same(nested(field, value))


@pytest.mark.parametrize(
    ("choices", "seconds"),
    [
        (choices_with("data", "features"), None),
        (choices_with("data", "series"), None),
        ({"data": {"kind": "sound", "source": "x", "hop": 0.02, "hold": 4}}, 0.005),
        ({"data": {"kind": "events", "source": "x", "bin": 0.002}}, 0.002),
        ({"data": {"kind": "channels", "source": "x"}, "chip": {"profile": "h1v2"}}, 0.001),
        (
            {"data": {"kind": "pattern", "source": "x", "hold": 3}, "task": {"name": "pattern"}},
            0.001,
        ),
    ],
)
def test_the_length_of_a_step_follows_from_the_recording_or_from_the_neurons(
    choices: Choices, seconds: float | None
) -> None:
    choices = {"task": {"name": "classification"}, **choices}
    assert RunConfig.of(choices).step_seconds == seconds


def test_the_config_loads_neither_torch_nor_numba() -> None:
    code = "import sys, nwavesdk.train.config; assert not {'torch', 'numba'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)
