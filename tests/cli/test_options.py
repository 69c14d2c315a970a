"""Options generated from the config of a run."""

import re
from pathlib import Path
from typing import Any

import pytest

from cli.command import nwave
from nwavesdk.cli.inspect import inspect_data
from nwavesdk.cli.options import DATA_FIELDS, add_run_choices
from nwavesdk.cli.train import compare_surrogates, train_run
from nwavesdk.train import BrokenRunError, RunConfig
from nwavesdk.train.config import fields_of

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
    of_machine = {f"machine.{name}" for name in fields_of("machine")}
    assert fields_with_options(compare_surrogates) == of_train - varied - others - of_machine


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--duration", "-1", "--chip", "h1v1"], "--duration: expected at least 0.001"),
        (["--duration", "1"], "--duration: has no effect on sound, got 1.0: remove it; it is for "),
        (["--bin", "nan"], "--bin: "),
        (["--sample-rate", "0"], "--sample-rate: "),
        (["--task", "sorting"], "--task: expected one of classification, "),
        (["--kind", "film"], "--kind: expected one of sound, "),
        (["--on-error", "stop"], "--on-error: expected 'raise' or 'skip'"),
        (["--fold", "1"], "--fold: has no effect without folds or --leave-one-out, got 1: remove"),
        (["--folds", "2", "--fold", "3"], "--fold: expected at most 2, the folds, got 3"),
        (
            ["--folds", "2", "--leave-one-out", "group"],
            "--folds: has no effect with --leave-one-out, got 2: remove",
        ),
    ],
)
def test_errors_of_data_name_the_option(words: list[str], message: str, tones: Path) -> None:
    result = nwave("data", tones, "--no-plot", *words)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not re.search("NWave|on_error|sample_rate|data\\.|{", result.stderr)


def test_errors_of_the_runs_of_a_study_name_the_option() -> None:
    @add_run_choices("data.on_error")
    def compare(choices: dict[str, Any]) -> None:
        raise BrokenRunError(f'fold 2: {choices}; on_error="skip" leaves it out')

    with pytest.raises(ValueError, match=r"^fold 2: \{\}; --on-error skip leaves it out$"):
        compare(on_error=None)
