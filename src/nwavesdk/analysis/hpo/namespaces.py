"""The flat config of `HPOWrapper`: its namespaces, their keys and what a trial gets of them.

NWAVE documents the namespaces `model. loss. metric. optim. sched. nwave. trainer. data.
early_stop.`; their keys are assumed.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from nwavesdk import loss as losses
from nwavesdk.data import NWaveDataloaderConfig
from nwavesdk.internal.model import FrozenModel
from nwavesdk.train.config.fields import Epochs, Scale, Share

__all__ = ["LOSSES", "TrialConfig", "check_keys", "read_trial_config"]

Real = Annotated[float, Field(allow_inf_nan=False)]


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

# What is maximized, by task; the first one of a task is its default.
METRICS = {
    "accuracy": "classification",
    "accuracy_population": "classification",
    "r2": "regression",
}


class Loss(FrozenModel):
    """`loss.*`: the loss, its options, and the weights of the losses on weights of a chip."""

    model_config = ConfigDict(extra="allow")

    name: LossName = "cross_entropy"
    topology: Real = 0.0
    weight_magnitude: Real = 0.0

    @property
    def parameters(self) -> set[str]:
        """The parameters of the loss."""
        return {*inspect.signature(LOSSES[self.name]).parameters}

    @model_validator(mode="after")
    def _check(self) -> Self:
        options = self.parameters - {"spk", "mem", "targets", "num_classes", "lengths"}
        if unknown := (self.model_extra or {}).keys() - options:
            raise ValueError(f"{min(unknown)}: has no effect on the loss {self.name}: remove it")
        return self


class Metric(FrozenModel):
    """`metric.*`: what is maximized on the validation set."""

    name: Literal["accuracy", "accuracy_population", "r2"] | None = None


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
    min_delta: Annotated[Real, Field(ge=0)] = 0.0


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
    metric: Metric = Metric()
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
    def metric_name(self) -> str:
        """The metric that is chosen, or the default of the task."""
        return self.metric.name or next(name for name in METRICS if METRICS[name] == self.task)

    @property
    def model_cfg(self) -> dict[str, Any]:
        """The argument of the builder."""
        return {**self.model, **({"nwave": self.nwave} if self.nwave else {})}

    @model_validator(mode="after")
    def _check_task(self) -> Self:
        if len({self.task, METRICS[self.metric_name], self.data.task}) > 1:
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

# Keys that act only with another key, or only with one value of it.
ACTS_WITH = {
    "optim.momentum": ("optim.name", "sgd"),
    "sched.warmup": ("sched.name", "one_cycle"),
    "early_stop.min_delta": ("early_stop.patience", None),
}


def check_keys(fixed: Mapping[str, Any], varying: Collection[str]) -> None:
    """Reject keys that cannot vary, and keys that no trial acts on.

    Args:
        fixed: The values that all trials have, by `namespace.key`.
        varying: The keys of the others.

    Raises:
        ValueError: If there is one; the text names it.
    """
    for key in FIXED_KEYS.intersection(varying):
        raise ValueError(
            f"HPOWrapper: {key} cannot vary, because scores on other data, metrics or seeds are "
            "not comparable: pass one value."
        )
    for key, (other, value) in ACTS_WITH.items():
        acts = other in varying or fixed.get(other) == value if value else other in fixed
        if key in {*fixed, *varying} and not acts:
            raise ValueError(
                f"HPOWrapper: {key} has no effect with {other} = {fixed.get(other)!r}: remove it, "
                f"or set {other}."
            )


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
