"""The file of a search: every mistake is one line that names the field."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.study import TuneConfig
from nwavesdk.analysis.study.search_file import (
    FIXED_FIELDS,
    distribution_of,
    flat_settings,
    nested,
    samples_of,
)
from nwavesdk.internal.files import FileError
from nwavesdk.train.config import fields_of
from train.runs import Choices

pytestmark = pytest.mark.hpo

RATE = {"low": 1e-3, "high": 1e-1, "log": True}
BATCH = {"low": 16, "high": 64, "step": 16}
SPACE = '[space]\n"learning.rate" = { low = 1e-3, high = 1e-1 }\n'


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({}, "expected either choices, or a low and a high end"),
        ({"low": 1}, "argument: 'high'.*, expected either choices"),
        ({"choices": []}, "contain one or more elements"),
        ({"choices": 3}, "not iterable"),
        ({"choices": [1, 2], "low": 1}, "expected either choices"),
        ({"choices": [1, 2], "log": True}, "expected either choices"),
        ({"choices": [object()]}, "not JSON serializable"),
        ({"low": 3, "high": 1}, "low <= high"),
        ({"low": 0.0, "high": 3.0, "log": True}, "must hold for `log=True`"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, "step"),
        ({"low": "1", "high": 9}, "expected either choices"),
        ({"low": 1, "high": 9, "log": "no"}, "expected either choices"),
        ({"low": 1, "high": 2, "lg": True}, "argument 'lg'"),
    ],
)
def test_values_that_cannot_be_searched_are_one_line(content: Choices, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        distribution_of("net.tau", content)
    assert str(caught.value).startswith("space.net.tau: got ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "samples"),
    [
        (RATE, [1e-3, 0.1, pytest.approx(0.0388, abs=1e-3)]),
        (BATCH, [16, 64]),
        ({"choices": [[128], None, "a", 2.5]}, [[128], None, "a", 2.5]),
    ],
)
def test_the_samples_are_all_choices_or_ends(content: Choices, samples: list[Any]) -> None:
    found = samples_of(distribution_of("net.tau", content))
    assert found == samples
    assert [*map(type, found)] == [type(getattr(value, "expected", value)) for value in samples]


def test_dots_in_names_may_nest_or_not() -> None:
    values = {"learning": {"rate": RATE, "batch_size": BATCH}, "net.tau": {"choices": [1]}}
    assert flat_settings(values) == {
        "learning.rate": RATE,
        "learning.batch_size": BATCH,
        "net.tau": {"choices": [1]},
    }
    assert nested({"net.tau": 1, "seed": 2}) == {"net": {"tau": 1}, "seed": {"": 2}}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "space: missing"),
        ("[space]", "space: "),
        ("[spce]\n", "spce: expected no entry of this name"),
        ("space = 3", "space: expected a valid dictionary|space: expected a dict"),
        ("[space", "is not TOML"),
        (f"[search]\ntrials = 0\n{SPACE}", r"search\.trials: expected at least 1 \(got 0\)"),
        (f'[search]\nscheduler = "x"\n{SPACE}', r"search\.scheduler: expected 'asha' or 'none'"),
        ('[space]\n"learning.rates" = { choices = [1] }', "learning.rates: there is no such field"),
        ('[space]\n"learning" = { choices = [1] }', "learning.: there is no such field"),
        ('[space]\n"data.source" = { choices = ["a"] }', "data.source cannot vary, because scores"),
        ('[space]\n"machine.threads" = { choices = [1] }', "machine.threads cannot vary"),
        ('[space]\n"seed" = { low = 0, high = 9 }', "seed cannot vary"),
        (f"[run]\nlearning.rate = 0.1\n{SPACE}", r"is also in \[run\], got 0.1 there"),
        (f"[run]\nlearning.epoch = 3\n{SPACE}", "learning.epoch: there is no such field"),
        (f"[run]\nmachine.threads = 2\n{SPACE}", "run.machine.threads: .* on search.threads"),
        (f"[run]\ndata.folds = 5\n{SPACE}", "run.data.folds: a trial is a single run"),
        ('[space]\n"learning.rate" = { low = -1.0, high = 0.1 }', "learning.rate: expected at "),
        ('[space]\n"learning.epochs" = { low = 1.0, high = 8.0 }', "learning.epochs: .*whole"),
        (
            '[space]\n"learning.epochs" = { low = 1, high = 8, step = 0.5 }',
            "learning.epochs: .*whole",
        ),
        ('[space]\n"net.surrogate" = { choices = ["atan", "attan"] }', "net.surrogate: .*attan"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_field(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "tune.toml"
    file.write_text(text)
    with pytest.raises(FileError, match=words) as caught:
        TuneConfig.read(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_paths_are_absolute_and_defaults_are_those_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("def build(inputs, classes, config): ...")
    np.savez("sounds.npz", x=np.ones((4, 3, 2)), y=[0, 0, 1, 1])
    Path("tune.toml").write_text(f'[run]\ndata.source = "sounds.npz"\nnet.page = "net.py"\n{SPACE}')
    config = TuneConfig.read(Path("tune.toml"))
    assert config.run["data"]["source"] == str(tmp_path / "sounds.npz")
    assert config.run["net"]["page"]["file"] == str(tmp_path / "net.py")
    assert (config.search.trials, config.search.scheduler, config.search.threads) == (20, "asha", 1)
    assert TuneConfig.of(config.model_dump(mode="json")).completed() == config


def test_the_example_is_a_search() -> None:
    config = TuneConfig.read(Path(__file__).parents[3] / "examples" / "tune.toml")
    assert {"learning.rate", "net.surrogate"} <= set(config.space)


def test_fixed_fields_exist() -> None:
    for name in FIXED_FIELDS - {"seed"}:
        section, _, field = name.partition(".")
        assert field in fields_of(section)
