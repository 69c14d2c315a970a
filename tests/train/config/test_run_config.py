"""The config of a run: which fields belong together, its file, and what a resumed run keeps."""

import subprocess
import sys
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.train import RunConfig
from nwavesdk.train.config import fields_of, merge_choices
from nwavesdk.train.config.run_config import UNIONS
from train.runs import Choices

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
