"""Options generated from the config of a run, and their help with defaults."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from cli.command import nwave, rejected, succeeded
from examples import small_data
from nwavesdk.cli.inspect import inspect_data
from nwavesdk.cli.options import (
    DATA_FIELDS,
    OPTION_NAMES,
    add_run_choices,
    default_text,
    runs_of,
)
from nwavesdk.cli.train import compare_run, train_run
from nwavesdk.presets import NAMES
from nwavesdk.train import BrokenRunError, RunConfig
from nwavesdk.train.config import fields_of
from nwavesdk.train.config.recipes import apply_recipe
from nwavesdk.train.config.run_config import UNIONS
from nwavesdk.train.data.load import complete_data
from train.runs import Choices

# Fields of the config that have no option, and why.
WITHOUT_OPTION = {
    "net.page": "--net takes it",
    "data.fold": "a run of one fold belongs to a study, which --folds begins",
}


def fields_with_options(command: Any) -> set[str]:
    return set(command.fields.values())


def test_each_choice_of_the_config_is_an_option() -> None:
    choices = {
        f"{section}.{name}"
        for section in RunConfig.model_fields.keys() - {"seed"}
        for name in fields_of(section)
    }
    assert choices | {"seed"} == fields_with_options(train_run) | WITHOUT_OPTION.keys()


def test_data_and_compare_have_the_options_of_train_that_they_need() -> None:
    of_train = fields_with_options(train_run)
    assert {*DATA_FIELDS} < fields_with_options(inspect_data) - {"data.fold"} < of_train
    varied = {"seed", "net.surrogate", "learning.surrogate_schedule"}
    others = {"data.folds", "data.leave_one_out", "data.test"}
    others |= {"learning.finetune", "learning.weight_bits"}  # they need the choices of a run
    of_machine = {f"machine.{name}" for name in fields_of("machine")}
    assert fields_with_options(compare_run) == of_train - varied - others - of_machine


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--duration", "-1", "--chip", "h1v1"], "--duration: expected at least 0.001"),
        (
            ["--duration", "1"],
            "--duration: has no effect on the data sound, got 1.0: remove it; it is for ",
        ),
        (["--bin", "nan"], "--bin: "),
        (["--sample-rate", "0"], "--sample-rate: "),
        (["--task", "sorting"], "--task: got 'sorting', expected one of classification, "),
        (["--kind", "film"], "--kind: got 'film', expected one of sound, "),
        (["--on-error", "stop"], "--on-error: expected 'raise' or 'skip'"),
        (["--fold", "1"], "--fold: has no effect without folds or --leave-one-out, got 1: remove"),
        (
            ["--folds", "2", "--leave-one-out", "group"],
            "--folds: has no effect with --leave-one-out, got 2: remove",
        ),
    ],
)
def test_errors_of_data_name_the_option(words: list[str], message: str, tones: Path) -> None:
    error = rejected("data", tones, "--no-plot", *words)
    assert message in error
    assert not re.search("NWave|on_error|sample_rate|data\\.|{", error)


def test_errors_of_the_runs_of_a_study_name_the_option() -> None:
    @add_run_choices("data.on_error")
    def compare(choices: Choices) -> None:
        raise BrokenRunError(f'fold 2: {choices}; on_error="skip" skips it')

    with pytest.raises(ValueError, match=r"^fold 2: \{\}; --on-error skip skips it$"):
        compare(on_error=None)


FIELDS: list[str] = list(train_run.fields.values())  # type: ignore[attr-defined]  # of its options

KINDS: dict[str, Callable[[Path], Path]] = {
    "sound": small_data.make_sounds,
    "series": small_data.make_npy,
    "image": small_data.make_png,
    "events": small_data.make_structured,
}
TASKS: dict[str, Callable[[Path], Path]] = {
    "labels": small_data.make_npz_labels,
    "regression": small_data.make_npz_values,
    "pattern": small_data.make_npz_pattern,
}
PLAIN_NETS = [name for name in NAMES if name != "chip"]

# Fields that the runs of these tests choose, or that the help describes in words.
GIVEN = {"data.source", "data.kind", "task.name", "net.name", "chip.profile", "data.augment"}


def typed(field: str) -> str:
    return f"--{OPTION_NAMES.get(field, field.rpartition('.')[2]).replace('_', '-')}"


def options_of(*words: str) -> list[str]:
    result = succeeded("train", *words, "--help")
    return [line.split()[0] for line in result.stdout.splitlines() if line.startswith("  --")]


def test_the_help_has_few_options_by_section() -> None:
    options = options_of()
    assert len(options) == len(set(options)) <= 47

    lines = nwave("train", "--help").stdout.splitlines()
    sections: dict[str, set[str]] = {}
    for line in lines:
        if line.endswith(":") and line[0] != " ":
            title = line.rstrip(":").lower()
        elif line.startswith("  --"):
            sections.setdefault(title, set()).add(line.split()[0])

    assert [*sections] == ["options", "data", "task", "net", "chip", "learning", "machine"]
    for field in FIELDS:
        for section, names in sections.items():
            assert (typed(field) in names) <= (field.startswith(section) or "." not in field)

    text = " ".join(" ".join(lines).split())
    for line in (
        "--seed <int> Seed of weights, order, dropout and mismatch. [0]",
        "--data digits|PATH Spoken digits, or a folder or file with recordings; docs/data.md lists "
        "the formats. [digits]",
        "more spikes per step and neuron cost. [sound, events: 0.04; series: 0.045; image: 0.049]",
        "--precision 32-true|64-true|bf16-mixed|16-mixed Precision of the numbers. [32-true]",
    ):
        assert line in text


@pytest.mark.parametrize(
    ("words", "section", "name"),
    [
        *((("--kind", kind), "data", kind) for kind in (*KINDS, "features")),
        *((("--task", task), "task", task) for task in UNIONS["task"][1]),
        *((("--net", net), "net", net) for net in NAMES),
        (("--net=net.py:build",), "net", "file"),
        (("--chip", "h1v2"), "data", "filtered"),
        (("--chip", "h1v2", "--kind", "series"), "data", "channels"),
        (("--chip", "h1v2"), "net", "chip"),
        (("--task", "pattern"), "data", "pattern"),
    ],
)
def test_the_help_of_a_choice_shows_its_options_and_no_others(
    words: tuple[str, ...], section: str, name: str
) -> None:
    _, models = UNIONS[section]
    options = set(options_of(*words))
    for field in fields_of(section):
        if f"{section}.{field}" in FIELDS:
            is_shown = typed(f"{section}.{field}") in options
            assert is_shown == (field in models[name].model_fields), field
    assert ("--training" in options) == ("h1v2" in words or name == "chip")


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A small data set of each kind and for each task."""
    folder = tmp_path_factory.mktemp("sources")
    return {name: str(make(folder / name)) for name, make in (KINDS | TASKS).items()}


def printed(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


@pytest.mark.parametrize(
    ("source", "net"),
    [
        *((kind, net) for kind in KINDS for net in (None, *PLAIN_NETS)),
        *((task, net) for task in TASKS for net in (None, "conv", "lif")),
        ("sound", "chip"),
        ("pattern", "chip"),
    ],
)
def test_each_default_in_the_help_is_the_one_that_a_run_gets(
    source: str, net: str | None, sources: dict[str, str]
) -> None:
    choices: Choices = {"data": {"source": sources[source]}, "net": {}}
    if net is not None:
        choices["net"]["name"] = net
    if net == "chip":
        choices["chip"] = {"profile": "h1v2"}
    given = RunConfig.of(choices)
    config, _ = complete_data(given)
    recipe = apply_recipe(given)
    task = source if source in TASKS else "classification"
    kind = source if source in KINDS else "pattern" if source == "pattern" else "series"
    options = {"kind": kind, "task": task}
    runs = runs_of(options if net is None else {**options, "net": net})

    for field in set(FIELDS) - GIVEN:
        section, _, name = field.rpartition(".")
        begun, before = (getattr(run, section) if section else run for run in (config, recipe))
        if begun is None or name not in type(before).model_fields:
            continue
        text = default_text(field, runs)
        if text is None:  # not every net has it
            assert net is None
            continue
        value = getattr(before, name)
        info: Any = type(before).model_fields[name]
        if value in (None, (), {}):  # found in the data, or none
            assert text == info.json_schema_extra["default_text"], field
        else:
            assert text == printed(getattr(begun, name)), field
