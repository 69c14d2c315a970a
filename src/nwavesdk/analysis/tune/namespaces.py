"""The flat config of `HPOWrapper`: its namespaces, their keys and what a trial gets of them.

NWAVE documents the namespaces `model. loss. metric. optim. sched. nwave. trainer. data.
early_stop.`; their keys are assumed.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from nwavesdk import loss as losses
from nwavesdk.analysis.tune.config import COMPARED, LUCKY
from nwavesdk.data import NWaveDataloaderConfig
from nwavesdk.internal.checks import close_name, shown
from nwavesdk.internal.model import FrozenModel

__all__ = [
    "LOSSES",
    "METRICS",
    "EarlyStop",
    "Loss",
    "Optim",
    "Sched",
    "TrainerConfig",
    "TrialConfig",
    "check_keys",
    "check_space",
    "read_trial_config",
]

Epochs = Annotated[int, Field(ge=1, le=100_000)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class Loss(NamedTuple):
    """A loss by name.

    Attributes:
        function: Of outputs `[B, T, N]` and targets.
        reads: What it reads, `"spk"` or `"mem"`.
        task: What the net learns with it.
    """

    function: Callable[..., Any]
    reads: Literal["spk", "mem"]
    task: Literal["classification", "regression"] = "classification"

    @property
    def options(self) -> set[str]:
        """Keyword arguments that a config may give."""
        known = set(inspect.signature(self.function).parameters)
        return known - {"spk", "mem", "targets", "num_classes", "lengths"}


def _membrane_mse(mem: Any, targets: Any) -> Any:
    """The mean squared distance of the membranes from the targets of each step."""
    return (mem - targets).square().mean()


LOSSES: dict[str, Loss] = {
    "cross_entropy": Loss(losses.rate_cross_entropy, "spk"),
    "rate_cross_entropy": Loss(losses.rate_cross_entropy, "spk"),
    "count_cross_entropy": Loss(losses.count_cross_entropy, "spk"),
    "first_spike_cross_entropy": Loss(losses.first_spike_cross_entropy, "spk"),
    "membrane_cross_entropy": Loss(losses.membrane_cross_entropy, "mem"),
    "tet": Loss(losses.tet_loss, "mem"),
    "rate_mse": Loss(losses.rate_mse, "spk"),
    "balanced_population_mse": Loss(losses.balanced_population_mse, "spk"),
    "mse": Loss(_membrane_mse, "mem", "regression"),
}

# What is maximized, by task.
METRICS = {
    "accuracy": "classification",
    "accuracy_population": "classification",
    "r2": "regression",
}


class Optim(FrozenModel):
    """`optim.*`: the optimizer."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Annotated[float, Field(gt=0, le=1e3, allow_inf_nan=False)] = 1e-3
    weight_decay: NotNegative = 0.0
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Sched(FrozenModel):
    """`sched.*`: the course of the learning rate over the epochs of a trial."""

    name: Literal["none", "cosine", "one_cycle"] = "none"
    warmup: Annotated[float, Field(gt=0, lt=1)] = 0.3


class TrainerConfig(FrozenModel):
    """`trainer.*`: the epochs of a trial and its seed."""

    epochs: Epochs = 20
    clip: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0


class EarlyStop(FrozenModel):
    """`early_stop.*`: when a trial ends that no longer improves."""

    patience: Epochs | None = None
    min_delta: NotNegative = 0.0


class TrialConfig(FrozenModel):
    """All choices of a trial, by namespace.

    Args:
        model: What the builder gets; its keys are the builder's own.
        loss: Name, options of the loss, and the weights `topology` and `weight_magnitude` of the
            two losses on weights of a chip.
        metric: Name.
        optim: The optimizer.
        sched: The learning rate.
        nwave: What the builder gets as `model_cfg["nwave"]`, such as `stddev`; its keys are free.
        trainer: Epochs and seed.
        data: Fields of `NWaveDataloaderConfig`.
        early_stop: When to end early.
    """

    model: dict[str, Any]
    loss: dict[str, Any]
    metric: dict[str, Any]
    optim: Optim
    sched: Sched
    nwave: dict[str, Any]
    trainer: TrainerConfig
    data: dict[str, Any]
    early_stop: EarlyStop

    @property
    def model_cfg(self) -> dict[str, Any]:
        """The argument of the builder."""
        return {**self.model, **({"nwave": dict(self.nwave)} if self.nwave else {})}

    @property
    def loss_of(self) -> Loss:
        """The loss that is chosen."""
        return LOSSES[str(self.loss.get("name", "cross_entropy"))]

    @property
    def metric_name(self) -> str:
        """The metric that is chosen, or that of the task."""
        default = next(name for name, task in METRICS.items() if task == self.loss_of.task)
        return str(self.metric.get("name", default))


# Keys of each namespace; None if they are free.
KEYS: dict[str, set[str] | None] = {
    "model": None,
    "loss": {"name", "topology", "weight_magnitude"}.union(
        *(one.options for one in LOSSES.values())
    ),
    "metric": {"name"},
    "optim": set(Optim.model_fields),
    "sched": set(Sched.model_fields),
    "nwave": None,
    "trainer": set(TrainerConfig.model_fields),
    "data": set(inspect.signature(NWaveDataloaderConfig).parameters),
    "early_stop": set(EarlyStop.model_fields),
}

# Keys that cannot vary, and why.
FIXED_KEYS = {
    **{
        f"data.{key}": COMPARED
        for key in ("data_parent", "task", "val", "test", "split", "on_error", "max_seconds")
    },
    "metric.name": "scores of two metrics are not comparable",
    "trainer.seed": LUCKY,
    "data.seed": LUCKY,
}

# Keys that act only with one value of another key.
ACTS_WITH = {
    "optim.momentum": ("optim.name", "sgd"),
    "sched.warmup": ("sched.name", "one_cycle"),
}


def check_keys(config: Mapping[str, Any]) -> None:
    """Reject keys that no trial reads.

    Args:
        config: Values by `namespace.key`.

    Raises:
        TypeError: If a key is not a text.
        ValueError: If a namespace or a key is unknown; the text names it.
    """
    for name in config:
        if not isinstance(name, str):
            raise TypeError(f"HPOWrapper: config has the key {shown(name)}, expected texts.")
        namespace, _, key = name.partition(".")
        if namespace not in KEYS or not key:
            expected = ", ".join(f"{known}.*" for known in KEYS)
            raise ValueError(
                f"HPOWrapper: config has {shown(name)}{close_name(namespace, KEYS)}: expected "
                f"keys of the namespaces {expected}."
            )
        keys = KEYS[namespace]
        if keys is not None and key not in keys:
            raise ValueError(
                f"HPOWrapper: config has {shown(name)}{close_name(key, keys)}: expected one of "
                f"{', '.join(f'{namespace}.{known}' for known in sorted(keys))}."
            )


def check_space(fixed: Mapping[str, Any], varying: Collection[str]) -> None:
    """Reject keys that cannot vary, and keys that no trial acts on.

    Args:
        fixed: The values that all trials have, by `namespace.key`.
        varying: The keys of the others.

    Raises:
        ValueError: If there is one; the text names it.
    """
    for key in varying:
        if key in FIXED_KEYS:
            raise ValueError(
                f"HPOWrapper: {key} cannot vary, because {FIXED_KEYS[key]}: give one value."
            )
    given = {*fixed, *varying}
    for key, (other, value) in ACTS_WITH.items():
        if key in given and other not in varying and fixed.get(other) != value:
            raise ValueError(
                f"HPOWrapper: {key} has no effect without {other} = {value!r}, got {other} = "
                f"{shown(fixed.get(other))}: leave one of them out, or change {other}."
            )
    if "early_stop.min_delta" in given and "early_stop.patience" not in given:
        raise ValueError(
            "HPOWrapper: early_stop.min_delta has no effect without early_stop.patience: give the "
            "patience in epochs, or leave it out."
        )


def read_trial_config(config: Mapping[str, Any]) -> TrialConfig:
    """The choices of a trial from its flat config.

    Raises:
        ValueError: If a key is unknown or a value out of its range; the text names it.
    """
    check_keys(config)
    sections: dict[str, dict[str, Any]] = {namespace: {} for namespace in KEYS}
    for name, value in config.items():
        namespace, _, key = name.partition(".")
        sections[namespace][key] = value
    trial = TrialConfig.of(sections, "HPOWrapper: config")
    _check_loss(trial)
    _check_metric(trial)
    return trial


def _check_loss(trial: TrialConfig) -> None:
    name = trial.loss.get("name", "cross_entropy")
    if not isinstance(name, str) or name not in LOSSES:
        raise ValueError(
            f"HPOWrapper: loss.name is {shown(name)}{close_name(name, LOSSES)}: expected one of "
            f"{', '.join(LOSSES)}."
        )
    options = {"name", "topology", "weight_magnitude"} | LOSSES[name].options
    for key, value in trial.loss.items():
        if key not in options:
            raise ValueError(
                f"HPOWrapper: loss.{key} has no effect on the loss {name}, got {shown(value)}: "
                "leave it out."
            )


def _check_metric(trial: TrialConfig) -> None:
    name = trial.metric_name
    task = trial.loss_of.task
    if METRICS.get(name) != task:
        fitting = [metric for metric, of_task in METRICS.items() if of_task == task]
        raise ValueError(
            f"HPOWrapper: metric.name is {shown(name)}, expected one for {task}, the task of the "
            f"loss: {', '.join(fitting)}."
        )
    given = trial.data.get("task", "classification")
    if given != task:
        raise ValueError(
            f"HPOWrapper: data.task is {shown(given)}, the loss is for {task}: change one of them."
        )
