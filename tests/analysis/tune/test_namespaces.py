"""The flat config of `HPOWrapper`: every key that no trial reads is one line."""

from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune.namespaces import LOSSES, read_trial_config


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"modle.hidden": 3}, "config has 'modle.hidden', did you mean 'model'"),
        ({"hidden": 3}, "config has 'hidden'.*namespaces model"),
        ({"model.": 3}, "config has 'model.'"),
        ({"optim.rate": 3}, "config has 'optim.rate'.*optim.lr"),
        ({"data.batchsize": 3}, "did you mean 'batch_size'"),
        ({"optim.lr": 0.0}, "optim.lr: expected a number greater than 0"),
        ({"optim.name": "rmsprop"}, "optim.name: expected 'adamw', 'adam' or 'sgd'"),
        ({"trainer.epochs": 1.5}, "trainer.epochs: expected a whole number"),
        ({"loss.name": "cross_entrpy"}, "loss.name is 'cross_entrpy', did you mean"),
        ({"loss.mse_share": 0.1}, "loss.mse_share has no effect on the loss cross_entropy"),
        ({"metric.name": "r2"}, "metric.name is 'r2', expected one for classification"),
        ({"loss.name": "mse"}, "data.task is 'classification', the loss is for regression"),
    ],
)
def test_a_mistake_is_one_line(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        read_trial_config(config)
    assert str(caught.value).startswith("HPOWrapper: ")
    assert "\n" not in str(caught.value)


def test_a_name_that_is_not_a_text_is_an_error() -> None:
    with pytest.raises(TypeError, match="config has the key 3"):
        read_trial_config({3: 1})  # type: ignore[dict-item]


def test_the_builder_gets_model_and_nwave() -> None:
    trial = read_trial_config({"model.hidden": 8, "nwave.stddev": 0.1, "optim.lr": 0.1})
    assert trial.model_cfg == {"hidden": 8, "nwave": {"stddev": 0.1}}
    assert read_trial_config({"model.hidden": 8}).model_cfg == {"hidden": 8}
    assert trial.metric_name == "accuracy"
    regression = {"loss.name": "mse", "data.task": "regression"}
    assert read_trial_config(regression).metric_name == "r2"


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_takes_its_options(name: str) -> None:
    task = {"data.task": LOSSES[name].task}
    options = {f"loss.{option}": 1.0 for option in LOSSES[name].options}
    trial = read_trial_config({"loss.name": name, **task, **options, "loss.topology": 0.1})
    assert trial.loss_of is LOSSES[name]
