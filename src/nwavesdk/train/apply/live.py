"""Sound that comes in blocks as the input of a trained run's net, step by step."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.data import Frames, FrontEnd, LogMel, NetInput
from nwavesdk.data.decoding import ResamplingStream, Samples
from nwavesdk.train.apply.recordings import as_mono

__all__ = ["LiveInput", "rate_of"]


class LiveInput:
    """The input of a run's net for a sound that comes in blocks; `TrainedRun.stream` makes it.

    `push(block)` returns the steps that a block completes, and `finish()` the steps at the end.
    They equal the steps that the run computes from the whole sound, bit for bit. Training may cut a
    recording, but the steps continue as long as the sound.

    Args:
        front_end: From sound to frames.
        net_input: From frames to the input of the net, on one scale for all recordings.
        sample_rate: Rate of the sound [Hz].

    Example:
        >>> from nwavesdk.data import Standard
        >>> standard = Standard(np.zeros(32, np.float32), np.ones(32, np.float32))
        >>> stream = LiveInput(LogMel(16_000), NetInput(standard=standard), sample_rate=16_000)
        >>> steps = stream.push(np.zeros(1600, np.float32))  # 100 ms: frames of 25 ms, every 10 ms
        >>> steps.shape, stream.finish().shape
        (torch.Size([8, 1, 32]), torch.Size([0, 1, 32]))
    """

    def __init__(self, front_end: FrontEnd | LogMel, net_input: NetInput, sample_rate: int) -> None:
        self._front_end = front_end
        self._net_input = net_input
        self._resampling = ResamplingStream(sample_rate, rate_of(front_end))
        self._stream = front_end.stream()
        self._n_frames = 0
        self._has_ended = False

    def push(self, block: npt.NDArray[np.floating]) -> Tensor:
        """The steps that the next block completes.

        Args:
            block: Mono samples with full scale 1, `[samples]`, of any length.

        Returns:
            `[steps, 1, F]`. A step is the input of one call, `net(x)` with x `[1, F]`.

        Raises:
            ValueError: If samples are not floating numbers, not mono, not finite or too large to
                be filtered, or if `finish` has ended the sound.
        """
        return self._held(self._frames(as_mono(block)))

    def finish(self) -> Tensor:
        """The steps from the end of the sound to the end of the recording, as `push` returns them.

        If the run pads recordings, the sound is padded to a whole number of recordings, each as in
        training. Otherwise only a sound without a frame is padded, to one frame.
        """
        frames = self._frames(np.zeros(0, np.float32), last=True)
        net_input = self._net_input

        # A padded recording has `length` frames. The front end computes the first `n_silent` frames
        # of the padding from silence; the others are zero, the mean frame.
        if isinstance(self._front_end, FrontEnd):
            # The filters continue in silence. The lengths of steps differ by up to a sample, so the
            # samples of one more step are enough.
            length = n_silent = self._front_end.config.T
            n_samples = int(self._front_end.config.first_samples(np.array(length + 1)))
        else:
            # Training pads a sound that is shorter than a window to a window.
            length = net_input.length if net_input.length and net_input.pads_to_length else 1
            n_silent = int(self._n_frames == 0)
            n_samples = self._front_end.width

        missing = -self._n_frames % length if self._n_frames else length
        silent = self._stream.push(np.zeros(n_samples, np.float32))[: min(missing, n_silent)]

        padding = np.zeros((missing, frames.shape[1]), np.float32)
        padding[: len(silent)] = net_input.standard.apply(silent)
        return self._held(np.concatenate([frames, padding]))

    def _frames(self, samples: Samples, *, last: bool = False) -> Frames:
        """The frames that some samples complete, on the scale of the training set."""
        if self._has_ended:
            raise ValueError("The sound has ended: call TrainedRun.stream() for a new sound.")
        self._has_ended = last

        with np.errstate(over="ignore", invalid="ignore"):
            frames = self._stream.push(self._resampling.push(samples, last=last))
        if not np.isfinite(frames).all():
            raise ValueError(
                "The sound has samples that are not finite or too large to be filtered, expected "
                "full scale 1: scale it."
            )

        self._n_frames += len(frames)
        return self._net_input.standard.apply(frames)

    def _held(self, frames: Frames) -> Tensor:
        return torch.from_numpy(np.repeat(frames, self._net_input.hold, axis=0)).unsqueeze(1)


def rate_of(front_end: FrontEnd | LogMel) -> int:
    """Rate of the sound that a front end takes [Hz]."""
    return (
        front_end.config.sample_rate if isinstance(front_end, FrontEnd) else front_end.sample_rate
    )
