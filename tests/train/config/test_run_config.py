"""The config of a run: validation, its file, and what a resumed run may not change."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from nwavesdk.train import RunConfig
from nwavesdk.train.config import absolute_choice


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        ({"learning": {"epochs": 0}}, r"learning\.epochs: .*at least 1 \(got 0\)"),
        ({"learning": {"rate": float("nan")}}, r"learning\.rate: .*finite.*\(got nan\)"),
        ({"learning": {"epoch": 3}}, r"learning\.epoch: .*no entry of this name \(got 3\)"),
        ({"net": {"dropout": 1.0}}, r"net\.dropout: .*less than 1 \(got 1\.0\)"),
        ({"net": {"tau": 0}}, r"net\.tau: .*at least 1e-06"),
        ({"net": {"hidden": ["many"]}}, r"net\.hidden\.0: .*whole number.*\(got 'many'\)"),
        (
            {"net": {"surrogate": "tan"}},
            r"net\.surrogate: unknown surrogate 'tan'.*: expected a name",
        ),
        (
            {"learning": {"surrogate_schedule": "slope"}},
            r"surrogate_schedule: expected a form with parameter",
        ),
        (
            {"learning": {"surrogate_schedule": "quick(slope, 1, 2)"}},
            r"surrogate_schedule\.form: .*'linear'",
        ),
        (
            {"learning": {"surrogate_schedule": "linear(alpha, 1, 2)"}},
            r"surrogate_schedule: .*no parameter 'alpha'",
        ),
        (
            {"learning": {"surrogate_schedule": "linear(slope, 0, 2)"}},
            r"surrogate_schedule: .*slope must be a finite",
        ),
        (
            {"machine": {"accelerator": "abacus"}},
            r"machine\.accelerator: .*'cpu'.*\(got 'abacus'\)",
        ),
        ({"seed": -1}, r"seed: .*at least 0 \(got -1\)"),
        ({"data": {"source": "f", "window": 25}}, r"data\.window: .*at most 1 \(got 25\)"),
        ({"net": {"hidden": [2**70]}}, r"net\.hidden\.0: .*at most 100000"),
        ({"net": {"hidden": [1e300]}}, r"net\.hidden\.0: .*\(got 1e\+300\)"),
        ({"net": {"hidden": [4, ""]}}, r"net\.hidden\.1: .*\(got ''\)"),
        ({"net": {"hidden": [1] * 1001}}, r"net\.hidden: .*at most 1000 items"),
        ({"net": {"population": 10**6}}, r"net\.population: .*at most 100000"),
        ({"net": {"tau": 1e300}}, r"net\.tau: .*at most 10000"),
        ({"net": {"tau": 1e-300}}, r"net\.tau: .*at least 1e-06"),
        ({"net": {"tau": 1e-3, "dt": 1}}, r"^net\.tau: .* got 1 s / 0\.001 s = 1e\+03$"),
        (
            {"net": {"tau": 20}},
            r"^net\.tau: time constants are in seconds, got 20 s, .*for 20 ms, use 0\.02$",
        ),
        ({"net": {"tau": 1e3, "dt": 1e-5}}, r"^net\.tau: .* got 1e-05 s / 1000 s = 1e-08$"),
        ({"net": {"tau": True}}, r"net\.tau: expected a number, not a bool \(got True\)"),
        (
            {"net": {"dt": 0.5, "tau": 1}, "chip": {"profile": "h1v1", "duration": 0.2}},
            r"^chip\.duration: 0\.2 s hold no time step of net\.dt \(got 0\.5 s\): raise it",
        ),
        (
            {"net": {"dt": 1e-5}, "chip": {"profile": "h1v1"}},
            r"^net\.dt: a time step of 1e-05 s holds no sample at 16000 Hz: raise it",
        ),
        ({"net": {"threshold": 1e38}}, r"net\.threshold: .*at most 1000000"),
        ({"net": {"surrogate": "x" * 501}}, r"net\.surrogate: .*at most 500 characters"),
        ({"net": {"surrogate": "-" * 499 + "1"}}, r"net\.surrogate: "),
        ({"learning": {"epochs": 10**9}}, r"learning\.epochs: .*at most 100000"),
        ({"learning": {"batch_size": 10**9}}, r"learning\.batch_size: .*at most 1000000"),
        ({"learning": {"rate": 1e300}}, r"learning\.rate: .*at most 1000"),
        ({"learning": {"weight_decay": 1e300}}, r"weight_decay: .*at most 1000"),
        ({"learning": {"surrogate_schedule": "linear(slope,1,1e9)"}}, r"schedule\.end: .*1000000"),
        *(
            ({"learning": {"surrogate_schedule": text}}, "surrogate_schedule: expected a form with")
            for text in (
                "(" * 199,
                "linear(slope, " + "-" * 450 + "1, 2)",
                "linear(slope, 1, 2)" * 100,
                "linear(slope, 1, 2, start=3)",
                "\0",
            )
        ),
        ({"machine": {"devices": 10**6}}, r"machine\.devices: .*at most 1024"),
    ],
)
def test_a_bad_choice_is_one_line_that_names_it(choices: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        RunConfig.of(choices)
    assert "\n" not in str(caught.value)


def test_the_file_gives_the_config_back(tmp_path: Path) -> None:
    config = RunConfig.of({"seed": 7, "net": {"hidden": [5], "surrogate": "atan(3)"}})
    (tmp_path / "config.json").write_text(config.json_text())
    assert RunConfig.read(tmp_path / "config.json") == config


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run"):
        RunConfig.read(tmp_path / "config.json")
    (tmp_path / "config.json").write_text('{"seed": 1, "colour": "red"}')
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run: colour"):
        RunConfig.read(tmp_path / "config.json")


def test_a_surrogate_is_written_in_full_and_can_be_read_again() -> None:
    config = RunConfig.of({"net": {"surrogate": "fast_sigmoid"}})
    assert config.net.surrogate == "fast_sigmoid(slope=25.0)"
    assert RunConfig.of({"net": {"surrogate": config.net.surrogate}}) == config


def test_a_schedule_is_read_from_text_and_from_the_file(tmp_path: Path) -> None:
    text = "plateau(slope, 5, 25, patience=2)"
    config = RunConfig.of({"learning": {"surrogate_schedule": text}})
    assert config.learning.surrogate_schedule is not None
    assert config.learning.surrogate_schedule.model_dump() == {
        "form": "plateau",
        "parameter": "slope",
        "start": 5.0,
        "end": 25.0,
        "patience": 2,
        "stages": 5,
    }
    (tmp_path / "config.json").write_text(config.json_text())
    assert RunConfig.read(tmp_path / "config.json") == config
    config.check_same({"learning": {"surrogate_schedule": text}})
    with pytest.raises(ValueError, match="a resumed run keeps"):
        config.check_same({"learning": {"surrogate_schedule": "plateau(slope, 5, 26)"}})


def test_a_resumed_run_keeps_its_choices() -> None:
    config = RunConfig.of({"seed": 1, "learning": {"epochs": 5}})
    config.check_same({})
    config.check_same({"seed": 1, "learning": {"epochs": 5}, "net": {"surrogate": "fast_sigmoid"}})
    with pytest.raises(
        ValueError, match=r"learning\.epochs: a resumed run keeps.*got 6, expected 5"
    ):
        config.check_same({"learning": {"epochs": 6}})
    with pytest.raises(ValueError, match=r"seed: a resumed run keeps.*got 2, expected 1"):
        config.check_same({"seed": 2})
    with pytest.raises(ValueError, match=r"learning\.epochs: .*at least 1"):
        config.check_same({"learning": {"epochs": 0}})


@pytest.mark.parametrize(
    ("chip", "message"),
    [
        ({"profile": "h1v2", "training": "some"}, "chip.training"),
        ({"profile": "h1v2", "bits": 9}, "chip.bits"),
        (
            {"training": "plain"},
            r"^chip.profile: missing, .* expected h1v1, h1v2 or a file\.$",
        ),
    ],
)
def test_a_wrong_choice_of_a_chip_is_named(chip: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RunConfig.of({"chip": chip})


def test_given_choices_replace_the_defaults_of_a_chip() -> None:
    config = RunConfig.of({"chip": {"profile": "h1v2"}, "net": {"hidden": [7]}})
    assert config.net.hidden == (7,)
    assert config.net.tau != RunConfig().net.tau
    assert RunConfig.of({}).net == RunConfig().net


def test_a_damaged_profile_is_named(tmp_path: Path) -> None:
    facts = {"classes": ["a"], "n_features": 1, "fingerprint": "", "recordings": [1, 1, 1]}
    content = {"facts": {**facts, "profile": '{"name": "h1v2"}'}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    message = "config.json is not the config of a run: facts.profile: expected a profile"
    with pytest.raises(ValueError, match=message):
        RunConfig.read(tmp_path / "config.json")


def test_the_config_loads_neither_torch_nor_numba() -> None:
    code = "import sys, nwavesdk.train.config; assert not {'torch', 'numba'} & {*sys.modules}"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_name_of_a_chip_may_have_capitals() -> None:
    assert absolute_choice("chip.profile", "H1v2") == "h1v2"
