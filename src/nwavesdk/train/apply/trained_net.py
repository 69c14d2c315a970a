"""A trained net with the way from a recording to its input, on which all its uses build."""

import copy
from dataclasses import dataclass
from functools import cached_property

import torch

from nwavesdk.data import FrontEnd, LogMel, NetInput
from nwavesdk.data.features import ChipFeatures, Features, LogMelFeatures
from nwavesdk.data.source import RecordingKind
from nwavesdk.train.apply.blocks import runs_in_blocks
from nwavesdk.train.apply.decision import Decision
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.objective import TrainingTask

__all__ = ["BLOCK_SECONDS", "TrainedNet", "rate_of"]

# Longest block of a sound in which the net runs [s]: a detection waits for the end of its block.
BLOCK_SECONDS = 0.1


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class TrainedNet:
    """A trained net with all that its recordings and streams need; see `TrainedRun`.

    Attributes:
        config: The config of the run.
        net: The trained net in `eval()`; for a chip, the chip as designed.
        task: The task of the net, with the scale of its targets.
        features: How a recording becomes frames.
        input: How frames become the input of the net.
        max_seconds: Length above which a sound is an error [s].
        decision: When outputs are a detection, of a run that detects events.
        name: The path of its folder, for messages.
    """

    config: CompletedConfig
    net: RunNet
    task: TrainingTask
    features: Features
    input: NetInput
    max_seconds: float
    decision: Decision | None = None
    name: str = "The run"

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class; none for values."""
        return self.config.facts.classes

    @property
    def kind(self) -> RecordingKind:
        """The kind of the recordings; the built-in digits are series."""
        return self.config.data.source_kind

    @property
    def front_end(self) -> FrontEnd | LogMel:
        """From sound to frames.

        Raises:
            ValueError: If the run was not trained on sound.
        """
        if isinstance(self.features, ChipFeatures):
            return FrontEnd(self.features.config)
        if isinstance(self.features, LogMelFeatures):
            return self.features.log_mel
        raise ValueError(
            f"{self.name} was trained on {self.kind}, expected sound: train with `nwave train "
            "--data FOLDER --level as_is`."
        )

    @property
    def sample_rate(self) -> int:
        """Rate of the sound that the run was trained on [Hz]; see `front_end`."""
        return rate_of(self.front_end)

    @property
    def step_seconds(self) -> float | None:
        """Time between steps of the net [s]; None if steps have no duration."""
        return self.config.step_seconds

    @property
    def scales_past_only(self) -> bool:
        """Whether the scale of a sound depends on the past only, not on the whole recording."""
        level = getattr(self.config.data, "level", None)
        return self.input.is_causal and level in ("as_is", "running")

    @cached_property
    def block_steps(self) -> int | None:
        """Steps of the blocks in which the net runs on a sound; None if it runs on whole sounds."""
        if self.step_seconds is None or not self.scales_past_only:
            return None

        # A step of a whole number of milliseconds is not exact in floating point.
        steps = max(1, int(BLOCK_SECONDS / self.step_seconds + 1e-9))
        if self.config.net.name != "file":
            return steps

        # The net of a file may look at later steps, which is visible in noise.
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, 3 * steps, len(self.input.standard.mean), generator=generator)
        return steps if runs_in_blocks(copy.deepcopy(self.net), noise, steps) else None


def rate_of(front_end: FrontEnd | LogMel) -> int:
    """Rate of the sound that a front end takes [Hz]."""
    return (
        front_end.config.sample_rate if isinstance(front_end, FrontEnd) else front_end.sample_rate
    )
