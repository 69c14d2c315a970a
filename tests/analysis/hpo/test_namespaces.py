"""The flat config of `HPOWrapper`: every key that no trial reads is one line."""

from typing import get_args

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.hpo.namespaces import LOSSES, LossName, read_trial_config
from train.runs import Choices

REGRESSION = {"loss.name": "mse", "data.task": "regression"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modle.hidden": 3}, "modle: expected no entry of this name"),
        ({"hidden": 3}, "hidden: expected no entry of this name"),
        ({3: 1}, "3: expected no entry of this name"),
        ({"data": {"batch_size": 8}}, "data: expected no entry of this name"),
        ({"optim.rate": 3}, "optim.rate: expected no entry of this name"),
        ({"data.batchsize": 3}, "data.batchsize: expected no entry of this name"),
        ({"data.batch_size": 0}, "data.batch_size: expected at least 1"),
        ({"data.sim_time_s": 1.0}, "sim_time_s: expected at least a sample"),
        ({"optim.lr": 0.0}, "optim.lr: expected at least 1e-12"),
        ({"optim.name": "rmsprop"}, "optim.name: expected 'adamw', 'adam' or 'sgd'"),
        ({"trainer.epochs": 1.5}, "trainer.epochs: expected a whole number"),
        ({"loss.name": "cross_entrpy"}, "loss.name: expected 'cross_entropy', "),
        ({"loss.mse_share": 0.1}, "loss.mse_share: has no effect on the loss cross_entropy"),
        ({"metric.name": "r2"}, "got 'cross_entropy', 'r2' and 'classification', expected them"),
        ({"loss.name": "mse"}, "got 'mse', 'r2' and 'classification', expected them for one task"),
    ],
)
def test_a_mistake_is_one_line(config: Choices, changes: Choices, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_trial_config({**config, **changes})
    assert str(caught.value).startswith("HPOWrapper: config: ")
    assert "\n" not in str(caught.value)


def test_data_are_asked_for() -> None:
    with pytest.raises(ValueError, match="HPOWrapper: config: data: missing"):
        read_trial_config({"model.hidden": 8})


def test_the_metric_is_that_of_the_task(config: Choices) -> None:
    assert read_trial_config(config).metric_name == "accuracy"
    assert read_trial_config({**config, **REGRESSION}).metric_name == "r2"


@pytest.mark.parametrize("name", get_args(LossName))
def test_every_loss_takes_its_options(config: Choices, name: LossName) -> None:
    task = REGRESSION if name == "mse" else {"loss.name": name}
    computed = {"spk", "mem", "targets", "num_classes", "lengths"}
    loss = read_trial_config({**config, **task, "loss.topology": 0.1}).loss
    options = {f"loss.{option}": 1.0 for option in loss.parameters - computed}
    assert read_trial_config({**config, **task, **options}).loss.name == name
    assert [*LOSSES] == [*get_args(LossName)]
