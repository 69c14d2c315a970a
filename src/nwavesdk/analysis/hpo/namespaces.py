"""The flat config of `HPOWrapper`: its namespaces, their keys, and the settings of a trial.

NWAVE documents the namespaces `model. loss. metric. optim. sched. nwave. trainer. data.
early_stop.`; their keys are assumed.
"""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nwavesdk import loss as losses
from nwavesdk.analysis.study.search_file import nested
from nwavesdk.data import NWaveDataloaderConfig
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import Epochs, Moderate, PositiveNumber, Seed, Share

__all__ = ["FIXED_KEYS", "LOSSES", "TrialConfig", "read_trial_config"]


LossName = Literal[
    "cross_entropy",
    "rate_cross_entropy",
    "count_cross_entropy",
    "first_spike_cross_entropy",
    "membrane_cross_entropy",
    "tet",
    "rate_mse",
    "balanced_population_mse",
    "mse",
]


# A loss gets the values that its parameters name, such as `spk`. Losses with a parameter
# `num_classes` are for classification.
LOSSES: dict[LossName, Callable[..., Any]] = {
    "cross_entropy": losses.rate_cross_entropy,
    "rate_cross_entropy": losses.rate_cross_entropy,
    "count_cross_entropy": losses.count_cross_entropy,
    "first_spike_cross_entropy": losses.first_spike_cross_entropy,
    "membrane_cross_entropy": losses.membrane_cross_entropy,
    "tet": losses.tet_loss,
    "rate_mse": losses.rate_mse,
    "balanced_population_mse": losses.balanced_population_mse,
    # Of the membranes and the targets of each step.
    "mse": lambda mem, targets: (mem - targets).square().mean(),
}

# The metrics, one of which is maximized on the validation set.
MetricName = Literal["accuracy", "accuracy_population", "r2"]


class Loss(FrozenModel):
    """`loss.*`: the loss, its options, and the weights of the losses on chip weights."""

    model_config = ConfigDict(extra="allow")

    name: LossName = "cross_entropy"
    topology: Moderate = 0.0
    weight_magnitude: Moderate = 0.0

    @property
    def parameters(self) -> set[str]:
        """The parameters of the loss."""
        return {*inspect.signature(LOSSES[self.name]).parameters}


class Optim(FrozenModel):
    """`optim.*`: the optimizer."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Annotated[float, Field(ge=1e-12, le=1e3)] = 1e-3
    weight_decay: Annotated[float, Field(ge=0, le=1e3)] = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Sched(FrozenModel):
    """`sched.*`: the course of the learning rate over the epochs of a trial."""

    name: Literal["none", "cosine", "one_cycle"] = "none"
    warmup: Share = 0.3


class TrainerConfig(FrozenModel):
    """`trainer.*`: the epochs of a trial and its seed."""

    epochs: Epochs = 20
    clip: PositiveNumber | None = None
    seed: Seed = 0


class EarlyStop(FrozenModel):
    """`early_stop.*`: the number of epochs without improvement after which a trial ends."""

    patience: Epochs | None = None


class TrialConfig(FrozenModel):
    """All settings of a trial, by namespace.

    Args:
        model: Settings that are passed to the builder, which decides about their keys.
        loss: The loss, its options, and the losses on chip weights.
        metric: The metric that is maximized.
        optim: The optimizer.
        sched: The schedule of the learning rate.
        nwave: Settings that are passed to the builder as `model_cfg["nwave"]`, such as `stddev`.
            All keys are allowed.
        trainer: Epochs and seed.
        data: The fields of `NWaveDataloaderConfig`.
        early_stop: The condition under which a trial ends early.
    """

    model: Annotated[dict[str, Any], Field(default_factory=dict)]
    loss: Loss = Loss()
    metric: Annotated[dict[Literal["name"], MetricName], Field(default_factory=dict)]
    optim: Optim = Optim()
    sched: Sched = Sched()
    nwave: Annotated[dict[str, Any], Field(default_factory=dict)]
    trainer: TrainerConfig = TrainerConfig()
    data: NWaveDataloaderConfig
    early_stop: EarlyStop = EarlyStop()

    @property
    def task(self) -> str:
        """The task for which the loss is made."""
        return "classification" if "num_classes" in self.loss.parameters else "regression"

    @property
    def metric_name(self) -> MetricName:
        """The metric that was chosen, or the default metric of the task."""
        return self.metric.get("name", "accuracy" if self.task == "classification" else "r2")

    @model_validator(mode="after")
    def _check(self) -> Self:
        options = self.loss.parameters - {"spk", "mem", "targets", "num_classes", "lengths"}
        if unknown := (self.loss.model_extra or {}).keys() - options:
            raise ValueError(
                f"loss.{min(unknown)}: has no effect on the loss {self.loss.name}: remove it"
            )

        metric_task = "regression" if self.metric_name == "r2" else "classification"
        if not self.task == metric_task == self.data.task:
            raise ValueError(
                f"loss.name, metric.name, data.task: got {self.loss.name!r}, {self.metric_name!r} "
                f"and {self.data.task!r}, expected them for one task: change one of them"
            )
        return self


# Keys that cannot vary.
FIXED_KEYS = {
    "data.data_parent",
    "data.max_seconds",
    "data.on_error",
    "data.seed",
    "data.split",
    "data.task",
    "data.test",
    "data.val",
    "metric.name",
    "trainer.seed",
}


def read_trial_config(config: Mapping[str, Any]) -> TrialConfig:
    """The settings of a trial from its flat config.

    Raises:
        ValueError: If a key is unknown or a value is out of its range. The message names the key.
    """
    return TrialConfig.of(nested(config), "HPOWrapper: config")
