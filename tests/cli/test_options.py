"""Options generated from the config of a run."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from cli.command import nwave
from nwavesdk.cli.options import (
    DATA_FIELDS,
    OPTION_NAMES,
    _run_option,
    _value_type,
    add_run_choices,
)
from nwavesdk.data.source import Task
from nwavesdk.train import BrokenRunError, RunConfig
from nwavesdk.train.config.recipes import DataKind, complete_config, complete_schedule


def test_options_have_type_default_and_help_of_their_fields() -> None:
    text = " ".join(nwave("train", "--help").stdout.split())
    for option in (
        "--seed <int> Seed of weights, order, dropout and mismatch. [0]",
        "--data digits|PATH Spoken digits, or a folder or file with recordings; docs/data.md lists "
        "the formats. [digits]",
        "--epochs <int> Passes over the training set. [chosen by data and net; lif: 20; chip: 40]",
        "--warmup <float> Fraction of the run in which the learning rate rises. [chosen by data "
        "and net; lif, chip: 0.3]",
        "--hidden N,N,… Hidden layer sizes. [256,256; chip: 50]",
        "--neuron-options NAME=VALUE,… Constants of that neuron, and those to train, as in "
        "tau_w=0.1,learn=(a,b). [its own]",
        "--tau <float> Membrane time constant [s]. [0.01; chip: 0.05]",
        "--learning-rate <float> Highest learning rate of the cycle. [chosen by data and net; "
        "lif: 0.008; chip: 0.03]",
        "--precision 32-true|64-true|bf16-mixed|16-mixed Precision of the numbers. [32-true]",
        "--bits <int> Bits of a weight on the chip. [the profile's]",
        "noise=10, or none; docs/augmentation.md lists them. [chosen by the data]",
    ):
        assert option in text


@pytest.mark.parametrize("kind", get_args(DataKind))
@pytest.mark.parametrize("task", ["classification", "labels"])
def test_the_help_shows_no_default_that_a_recipe_replaces(kind: DataKind, task: Task) -> None:
    config, _ = complete_config(RunConfig.of({}), kind, task)
    config = complete_schedule(config, kind, task, n_train=1_000)
    for section in ("data", "net", "learning"):
        values = getattr(config, section)
        for name, info in type(values).model_fields.items():
            field = f"{section}.{name}"
            if getattr(values, name) != info.default and field not in WITHOUT_OPTION:
                assert "[chosen by " in _run_option(field).help


def test_train_has_the_options_that_it_always_had() -> None:
    text = nwave("train", "--help").stdout
    options = {line.split()[0] for line in text.splitlines() if line.startswith("  --")}
    assert options == {
        "--out", "--seed", "--data", "--epochs", "--resume", "--hidden", "--chip", "--training",
        "--bits", "--duration", "--population", "--tau", "--surrogate", "--surrogate-schedule",
        "--dropout", "--learning-rate", "--batch-size", "--keep", "--patience", "--limit",
        "--split",
        "--length", "--hold", "--bands", "--sample-rate", "--level", "--accelerator", "--devices",
        "--nodes",
        "--precision", "--on-error", "--max-seconds", "--neuron", "--neuron-options",
        "--charge-gain", "--json", "--help", "--task", "--recurrent", "--class-weights",
        "--speaker-pattern", "--folds", "--leave-one-out", "--no-test", "--padding", "--steps",
        "--encoder", "--bin", "--events", "--workers", "--jobs", "--dt", "--gain", "--net",
        "--threshold", "--reset", "--weight-decay", "--warmup", "--sharpness", "--window", "--hop",
        "--threads", "--first-weights", "--clip", "--label-smoothing", "--most-spikes",
        "--val-share", "--test-share",
        "--spike-cost", "--augment", "--center", "--standardize", "--look-ahead",
            "--add-standardized", "--columns", "--missing",
    }  # fmt: skip


# Fields of the config that have no option, and why.
WITHOUT_OPTION = {
    "arithmetic.crossovers": "recorded; nwave tune-kernels writes the table",
    "net.preset": "--net chooses it",
    "data.fold": "a run of one fold belongs to a study, which --folds begins",
}


def test_each_choice_of_the_config_is_an_option() -> None:
    text = nwave("train", "--help").stdout
    options = {line.split()[0] for line in text.splitlines() if line.startswith("  --")}
    missing = set()
    for section, info in RunConfig.model_fields.items():
        model = _value_type(info.annotation)
        if section == "facts":  # what the data were, not a choice
            continue
        names = getattr(model, "model_fields", None) if section != "net_file" else None
        fields = [f"{section}.{name}" for name in names] if names else [section]
        missing |= {field for field in fields if _typed(field) not in options}
    assert missing == WITHOUT_OPTION.keys()


def _typed(field: str) -> str:
    name = OPTION_NAMES.get(field, field.rpartition(".")[2])
    return f"--{name.replace('_', '-')}"


def test_the_help_lists_options_by_section() -> None:
    lines = nwave("train", "--help").stdout.splitlines()
    titles = [line for line in lines if line.endswith(":") and not line.startswith(" ")]
    assert titles == ["Options:", "Data:", "Net:", "Learning:", "Chip:", "Machine:"]
    section_of = {}
    title = ""
    for line in lines:
        title = line if line in titles else title
        if line.startswith("  --"):
            section_of[line.split()[0]] = title
    assert section_of["--resume"] == "Options:"
    assert section_of["--data"] == section_of["--hop"] == "Data:"
    assert section_of["--net"] == section_of["--tau"] == "Net:"
    assert section_of["--warmup"] == "Learning:"
    assert section_of["--chip"] == "Chip:"
    assert section_of["--threads"] == "Machine:"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--duration", "-1", "--chip", "h1v1"], "--duration: expected at least 0.001"),
        (["--duration", "1"], "--chip: missing, although other options of a chip are given"),
        (["--bin", "nan"], "--bin: "),
        (["--sample-rate", "0"], "--sample-rate: "),
        (["--task", "sorting"], "--task: expected 'auto', 'classification'"),
        (["--on-error", "stop"], "--on-error: expected 'raise' or 'skip'"),
        (["--fold", "1"], "--fold: has no effect without folds or --leave-one-out, got 1: leave"),
        (["--folds", "2", "--fold", "3"], "--fold: expected at most 2, the folds, got 3"),
        (
            ["--folds", "2", "--leave-one-out", "group"],
            "--folds: has no effect with --leave-one-out, got 2: leave",
        ),
    ],
)
def test_errors_of_data_name_the_option(words: list[str], message: str, tmp_path: Path) -> None:
    result = nwave("data", tmp_path, "--no-plot", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not re.search("NWave|on_error|sample_rate|data\\.|{", result.stderr)


def options_of(command: str) -> set[str]:
    lines = nwave(command, "--help").stdout.splitlines()
    return {line.split()[0] for line in lines if line.startswith("  --")}


def test_data_has_the_options_of_train_that_decide_the_data() -> None:
    options = options_of("data")
    assert options - {"--plot", "--no-plot", "--fold"} < options_of("train")
    assert {f"--{field.partition('.')[2].replace('_', '-')}" for field in DATA_FIELDS} < options


def test_compare_has_the_options_of_train_except_for_what_it_varies() -> None:
    of_study = {"--surrogates", "--seeds", "--ray", "--threads", "--jobs"}
    of_run = {"--seed", "--surrogate", "--surrogate-schedule", "--folds", "--leave-one-out"}
    of_run |= {"--no-test", "--resume"}
    of_machine = {"--accelerator", "--devices", "--nodes", "--workers", "--precision"}
    expected = options_of("train") - of_run - of_machine
    assert options_of("compare") == expected | of_study


def test_errors_of_the_runs_of_a_study_name_the_option() -> None:
    @add_run_choices("data.on_error")
    def compare(choices: dict[str, Any]) -> None:
        raise BrokenRunError(f'fold 2: {choices}; on_error="skip" leaves it out')

    with pytest.raises(ValueError, match=r"^fold 2: \{\}; --on-error skip leaves it out$"):
        compare(on_error=None)
