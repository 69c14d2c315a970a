"""The flat config of `HPOWrapper`: its namespaces, their keys and what a trial gets of them.

NWAVE documents the namespaces `model. loss. metric. optim. sched. nwave. trainer. data.
early_stop.`; their keys are assumed.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nwavesdk import loss as losses
from nwavesdk.data import NWaveDataloaderConfig
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import Epochs, Moderate, Scale, Share

__all__ = ["LOSSES", "TrialConfig", "check_config", "read_trial_config"]


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


def _membrane_mse(mem: Any, targets: Any) -> Any:
    """The mean squared distance of the membranes from the targets of each step."""
    return (mem - targets).square().mean()


# The parameters of a loss name what it reads; those with `num_classes` are for classification.
LOSSES: dict[LossName, Callable[..., Any]] = {
    "cross_entropy": losses.rate_cross_entropy,
    "rate_cross_entropy": losses.rate_cross_entropy,
    "count_cross_entropy": losses.count_cross_entropy,
    "first_spike_cross_entropy": losses.first_spike_cross_entropy,
    "membrane_cross_entropy": losses.membrane_cross_entropy,
    "tet": losses.tet_loss,
    "rate_mse": losses.rate_mse,
    "balanced_population_mse": losses.balanced_population_mse,
    "mse": _membrane_mse,
}

# What is maximized on the validation set.
MetricName = Literal["accuracy", "accuracy_population", "r2"]


class Loss(FrozenModel):
    """`loss.*`: the loss, its options, and the weights of the losses on weights of a chip."""

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
    clip: Scale | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class EarlyStop(FrozenModel):
    """`early_stop.*`: when a trial ends that no longer improves."""

    patience: Epochs | None = None
    min_delta: Annotated[Moderate, Field(ge=0)] = 0.0


class TrialConfig(FrozenModel):
    """All choices of a trial, by namespace.

    Args:
        model: What the builder gets; its keys are the builder's own.
        loss: The loss, its options, and the losses on weights of a chip.
        metric: What is maximized.
        optim: The optimizer.
        sched: The learning rate.
        nwave: What the builder gets as `model_cfg["nwave"]`, such as `stddev`; its keys are free.
        trainer: Epochs and seed.
        data: The fields of `NWaveDataloaderConfig`.
        early_stop: When to end early.
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
        """What the net learns with the loss."""
        return "classification" if "num_classes" in self.loss.parameters else "regression"

    @property
    def metric_name(self) -> MetricName:
        """The metric that is chosen, or the default of the task."""
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


# Keys that cannot vary: scores of other data, sets or metrics, or of a lucky seed, say nothing.
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

# Keys that do not act if another key has one of some values, or is not given.
INACTIVE = {
    "optim.momentum": ("optim.name", (None, "adamw", "adam")),
    "sched.warmup": ("sched.name", (None, "none", "cosine")),
    "early_stop.min_delta": ("early_stop.patience", (None,)),
}


def check_config(fixed: Mapping[str, Any], samples: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Check all that trials may get.

    Args:
        fixed: The values that all trials have, by `namespace.key`.
        samples: All choices, or the ends, of the others.

    Returns:
        The first sample of each.

    Raises:
        ValueError: If a key is unknown, cannot vary or does not act, or a value is out of its
            range; the text names it.
    """
    for key in FIXED_KEYS & samples.keys():
        raise ValueError(
            f"HPOWrapper: {key} cannot vary, because scores on other data, metrics or seeds are "
            "not comparable: pass one value."
        )
    for key, (other, values) in INACTIVE.items():
        is_given = key in {*fixed, *samples}
        if is_given and other not in samples and fixed.get(other) in values:
            raise ValueError(
                f"HPOWrapper: {key} has no effect with {other} = {fixed.get(other)!r}: remove it, "
                f"or set {other}."
            )
    first = {name: values[0] for name, values in samples.items()}
    changes = [{name: value} for name, values in samples.items() for value in values]
    for change in changes or [{}]:
        read_trial_config({**fixed, **first, **change})
    return first


def read_trial_config(config: Mapping[str, Any]) -> TrialConfig:
    """The choices of a trial from its flat config.

    Raises:
        ValueError: If a key is unknown or a value out of its range; the text names it.
    """
    namespaces: dict[str, dict[str, Any]] = {}
    for name, value in config.items():
        namespace, _, key = str(name).partition(".")
        namespaces.setdefault(namespace, {})[key] = value
    return TrialConfig.of(namespaces, "HPOWrapper: config")
