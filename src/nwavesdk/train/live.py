"""A trained run for sound that comes in blocks: its net, and the input of the net step by step."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.data import Frames, FrontEnd, LogMel, Standard
from nwavesdk.data.decoding import HIGHEST_RATE, LOWEST_RATE, ResamplingStream
from nwavesdk.internal.checks import whole_number
from nwavesdk.internal.files import printable
from nwavesdk.layers import SpikingSequential
from nwavesdk.train.config import RunConfig
from nwavesdk.train.model_file import load_model
from nwavesdk.train.network import build_run_network
from nwavesdk.train.run_folder import RunFolder

__all__ = ["LiveInput", "LiveRun"]

Samples = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class LiveRun:
    """A trained run on sound, without its recordings.

    Attributes:
        net: The trained net in `eval()`; for a chip, the chip as designed.
        classes: Name of each class.
        sample_rate: Rate of the sound that the run was trained on [Hz].
        front_end: From sound to features.
        standard: The scale of the features.
        hold: Time steps of the net for each frame of features.
        steps: Time steps of a recording: the net was trained on recordings of this length, and
            decides by the spikes of its populations since their beginning. If the recordings of the
            run end where their sound does, nine of ten have at most these; None in earlier runs.
        pads: Whether a sound is padded to recordings of that length, for a chip and with
            `--padding zeros`. Otherwise it ends where it does.

    Example:
        .. code-block:: python

            run = LiveRun.open(Path("runs/words"))
            stream = run.stream()
            prepare_net(run.net)
            for block in blocks:  # mono samples, full scale 1
                for x in stream.push(block):
                    spk, mem = run.net(x)
    """

    net: SpikingSequential
    classes: tuple[str, ...]
    sample_rate: int
    front_end: FrontEnd | LogMel
    standard: Standard
    hold: int
    steps: int | None
    pads: bool

    @classmethod
    def open(cls, path: Path) -> "LiveRun":
        """Load the run in a folder.

        Args:
            path: The folder of a run of `nwave train --data FOLDER --level as_is`, with or without
                a chip.

        Raises:
            ValueError: If the run is missing or not finished, if it was trained on something other
                than sound, or if it scales each recording by its loudest sample.
            ModuleNotFoundError: If the extra `train` is missing.
        """
        folder = RunFolder(path)
        config = folder.read_config()
        _check_streams(path, config)
        facts = config.facts
        sample_rate = config.data.sample_rate
        assert facts is not None
        assert sample_rate is not None
        net = build_run_network(config.net, config.chip, facts, deployed=True)
        standard, _ = load_model(folder.model, net, facts.n_features, folder.identity)
        front_end, hold, length = _front_end(config)
        pads = config.chip is not None or config.data.padding == "zeros"
        steps = length * hold if pads and length else facts.typical_steps
        return cls(net.eval(), facts.classes, sample_rate, front_end, standard, hold, steps, pads)

    @property
    def frame_seconds(self) -> float:
        """Time from the beginning of a frame of features to that of the next one [s]."""
        front_end = self.front_end
        if isinstance(front_end, FrontEnd):
            return front_end.config.sim_time_s
        return front_end.hop

    def stream(self, sample_rate: int | None = None) -> "LiveInput":
        """The input of the net for a sound that begins now.

        Args:
            sample_rate: Rate of the sound [Hz]; another rate than that of the run is converted,
                which delays the input by some 40 to 120 ms. [the rate of the run]

        Raises:
            ValueError: If there is no sound of this rate.
        """
        limits = {"least": LOWEST_RATE, "most": HIGHEST_RATE}
        rate = self.sample_rate if sample_rate is None else sample_rate
        return LiveInput(self, whole_number("LiveRun.stream", "sample_rate", rate, **limits))


class LiveInput:
    """The input of a run's net for a sound that comes in blocks.

    The steps are those that the run computes from the whole sound, bit for bit. Where training cuts
    a recording, they go on as long as the sound does.

    Args:
        run: The run.
        sample_rate: Rate of the sound [Hz].
    """

    def __init__(self, run: LiveRun, sample_rate: int) -> None:
        self._run = run
        self._resampling = ResamplingStream(sample_rate, run.sample_rate)
        self._front_end = run.front_end.stream()
        self._n_frames = 0
        self._has_ended = False

    def push(self, block: npt.NDArray[np.floating]) -> Tensor:
        """The steps that the next block completes.

        Args:
            block: Mono samples with full scale 1, `[samples]`, of any length.

        Returns:
            `[steps, 1, F]`: a step is a batch of one, `net(x)` with x `[1, F]`.

        Raises:
            TypeError: If the samples are not floating numbers.
            ValueError: If the sound has ended, is not mono, or has samples that are not finite or
                too large to be filtered.
        """
        return self._net_input(self._frames(_as_mono(block)))

    def finish(self) -> Tensor:
        """The steps from the end of the sound to the end of the recording, as `push` returns them.

        If the run pads recordings, a sound that is shorter than one is padded as in training, and
        of a longer one the last recording is. Otherwise only a sound without a frame is padded, to
        one frame.
        """
        frames = self._frames(np.zeros(0, np.float32), last=True)
        per_recording = 1
        if self._run.pads and self._run.steps is not None:
            per_recording = self._run.steps // self._run.hold
        missing = -self._n_frames % per_recording if self._n_frames else per_recording
        self._has_ended = True
        return self._net_input(np.concatenate([frames, self._padding(missing)]))

    def _frames(self, samples: Samples, *, last: bool = False) -> Frames:
        """The frames that some samples complete, on the scale of the training set."""
        if self._has_ended:
            raise ValueError("The sound has ended: call LiveRun.stream() for another one.")
        with np.errstate(over="ignore", invalid="ignore"):
            frames = self._front_end.push(self._resampling.push(samples, last=last))
        if not np.isfinite(frames).all():
            raise ValueError(
                "The sound has samples that are not finite or too large to be filtered, expected "
                "full scale 1: scale it."
            )
        self._n_frames += len(frames)
        return self._run.standard.apply(frames)

    def _padding(self, count: int) -> Frames:
        """The frames with which training pads a recording."""
        front_end = self._run.front_end
        if isinstance(front_end, FrontEnd):
            # The filters go on in silence: one sample more, because steps differ by one.
            samples = count * front_end.config.sim_time_s * front_end.config.sample_rate
            silent = self._front_end.push(np.zeros(math.ceil(samples) + 1, np.float32))
            return self._run.standard.apply(silent[:count])
        padding = np.zeros((count, front_end.bands), np.float32)
        if not self._n_frames:
            # Training pads a sound that is shorter than a window to a window.
            silent = self._front_end.push(np.zeros(front_end.width, np.float32))
            padding[0] = self._run.standard.apply(silent[:1])
        return padding

    def _net_input(self, frames: Frames) -> Tensor:
        return torch.from_numpy(np.repeat(frames, self._run.hold, axis=0)).unsqueeze(1)


def _check_streams(path: Path, config: RunConfig) -> None:
    """Reject a run that cannot be applied to sound as it comes."""
    name = printable(path)
    if config.data.source == "digits":
        raise ValueError(
            f"{name} was trained on the spoken digits, which are features, expected sound: train "
            "with `nwave train --data FOLDER --level as_is`."
        )
    if config.data.level == "peak":
        raise ValueError(
            f"{name} scales each recording by its loudest sample, which is known only at the end "
            "of the sound (got data.level 'peak', expected 'as_is'): train with `nwave train "
            "--level as_is`."
        )
    needed = {"facts": config.facts, "data.sample_rate": config.data.sample_rate}
    if config.chip is None:
        needed["data.hold"] = config.data.hold
    missing = [field for field, value in needed.items() if value is None]
    if missing:
        raise ValueError(
            f"{name} has no {missing[0]} in its config.json: the run has not begun; train it with "
            "`nwave train`."
        )


def _front_end(config: RunConfig) -> tuple[FrontEnd | LogMel, int, int | None]:
    """The front end of a run, the steps for each of its frames, and frames of a recording."""
    data = config.data
    if config.chip is not None:
        assert config.facts is not None
        assert config.facts.chip is not None
        channels = config.channel_choices(config.facts.chip)
        return FrontEnd(channels), 1, channels.T
    assert data.sample_rate is not None
    assert data.hold is not None
    log_mel = LogMel(data.sample_rate, data.bands, data.window, data.hop)
    return log_mel, data.hold, data.length


def _as_mono(block: npt.NDArray[np.floating]) -> Samples:
    """A block as float32; integers are rejected, because their full scale is not known."""
    samples = np.asarray(block)
    if samples.dtype.kind != "f":
        raise TypeError(
            f"A block of sound has floating samples with full scale 1, got {samples.dtype}: divide "
            "by the full scale, as in block / 32768."
        )
    if samples.ndim != 1:
        raise ValueError(
            f"A block of sound is mono [samples], got an array of shape {list(samples.shape)}: "
            "average its channels, or take one."
        )
    return samples.astype(np.float32)
