"""The base of the tasks of a run: what training and use ask of a task, and outputs of each step.

A task is data plus pure functions; `fitted` adds the scale of the targets or the weights of the
classes from the training set.

Its decoder runs on the host, from the spikes or membranes of the output layer of a net to outputs.
It is causal and has no weights, and is called as `decoder(spk, mem, lengths)`, with spikes and
membranes of the output layer, `[B, T, N]`, and the steps of each recording, `[B]`, or None.
`nwavesdk.encoding.RateDecoder` is one, too.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from torch import Tensor, nn

from nwavesdk.data import Series, Standard
from nwavesdk.data.source import TaskName
from nwavesdk.encoding import RateDecoder
from nwavesdk.train.config import CompletedConfig

__all__ = ["MembraneDecoder", "Objective", "TrainingTask"]


class MembraneDecoder(nn.Module):
    """The membranes of a read-out as outputs of each step.

        output[t] = √(1 - β²) · v[t],  β = exp(-dt/tau)

    The factor cancels the gain of the leaky integration: if the charges of the steps are
    independent, an output has the deviation of a charge, whatever tau and dt are.

    Args:
        tau: Time constant of the read-out [s]; 0 for membranes that are the outputs.
        dt: Time step [s].
    """

    def __init__(self, tau: float, dt: float) -> None:
        super().__init__()
        self.scale = math.sqrt(-math.expm1(-2 * dt / tau)) if tau else 1.0

    def forward(self, spk: Tensor, mem: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Outputs `[B, T, N]`."""
        return self.scale * mem


class Objective(ABC):
    """The part of a task that the training loop uses: its loss and its score.

    Attributes:
        name: Its name in configs.
        batch_score_name: The measure that `batch_score` returns.
    """

    name: ClassVar[str]
    batch_score_name: ClassVar[str]

    @property
    def score(self) -> str:
        """The measure that selects the epoch by its highest value on the validation set."""
        return self.batch_score_name

    @abstractmethod
    def decoder(self) -> nn.Module:
        """A decoder of outputs; see the text of the module."""

    @abstractmethod
    def loss(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """The loss of a batch, a scalar.

        Args:
            outputs: Outputs of the decoder.
            y: Targets of the batch; see `Batch`.
            lengths: Steps of each recording, `[B]`; None: all steps.
        """

    @abstractmethod
    def batch_score(
        self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None
    ) -> tuple[Tensor, int]:
        """The score of a training batch, and its weight in the mean over batches."""

    @abstractmethod
    def tally(self, outputs: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Sums of a batch, which are added over batches and from which the measures follow."""

    @abstractmethod
    def measures(self, tally: Tensor) -> dict[str, float]:
        """The measures of all batches in a tally."""


@dataclass(frozen=True, eq=False)
class TrainingTask(Objective):
    """A task of a run, with its output layer and the functions of training and of use.

    Args:
        config: The config of the run.
        targets: The scale of the targets; None for classes, and until `fitted`.
    """

    name: ClassVar[TaskName]

    config: CompletedConfig
    targets: Standard | None = field(default=None, kw_only=True)

    @property
    def n_outputs(self) -> int:
        """Number of outputs: classes, or values of a step."""
        facts = self.config.facts
        return len(facts.classes) or facts.n_targets

    @property
    def is_readout(self) -> bool:
        """Whether output neurons only integrate, and their membranes are the outputs."""
        is_per_step = self.name != "classification"
        return not self.config.is_layered or (self.config.net.name == "lif" and is_per_step)

    @property
    def population(self) -> int:
        """Neurons of each output."""
        return 1 if self.is_readout else self.config.net.population  # type: ignore[union-attr]  # of a stack

    @property
    def n_neurons(self) -> int:
        """Neurons of the output layer."""
        return self.n_outputs * self.population

    def step_decoder(self, scale: float, *, is_signed: bool) -> nn.Module:
        """The decoder of outputs for each step: the membranes, or the filtered rates.

        Args:
            scale: Output per spike and step, for neurons that spike.
            is_signed: Whether an output can be negative, for neurons that spike.
        """
        dt = self.config.net.dt
        tau = getattr(self.config.net, "tau", dt)
        if self.is_readout:
            return MembraneDecoder(tau if self.config.is_layered else 0.0, dt)
        return RateDecoder(self.n_outputs, tau, dt, scale=scale, is_signed=is_signed)

    @abstractmethod
    def fitted(self, train: Series, *, is_balanced: bool = False) -> Self:
        """The task with the scale of values or the weights of classes of the training set.

        Args:
            train: The training set.
            is_balanced: Whether rare classes get larger weights.
        """

    def advice(self, train: Series) -> str | None:  # noqa: ARG002
        """A note on the training set before a run, or None."""
        return None

    def scaled(self, targets: Standard | None) -> Self:
        """The task with a scale of the targets that was fitted earlier."""
        return replace(self, targets=targets)

    @abstractmethod
    def predict(self, outputs: Tensor) -> Tensor:
        """Classes, int64 `[B]` or `[B, T]`; or values in the units of the targets, `[B, T, D]`."""
