"""Sound that comes in blocks: the input of a trained run's net, its outputs, and its detections."""

import copy
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nwavesdk.data import Frames, FrontEnd, LogMel, NetInput
from nwavesdk.data.decoding import ResamplingStream
from nwavesdk.data.source import Samples
from nwavesdk.layers.norms import ThresholdBatchNorm, TimeBatchNorm
from nwavesdk.metrics import Detection
from nwavesdk.net.preparation import prepare_net
from nwavesdk.train.apply.decision import Decision, DecisionStream, event_scores
from nwavesdk.train.apply.recordings import as_mono
from nwavesdk.train.apply.trained_net import TrainedNet, rate_of
from nwavesdk.train.fit.seeds import use_threads

__all__ = ["Detector", "LiveInput", "ScoreStream", "Scores"]


class Scores(NamedTuple):
    """The outputs of a run's net for the next steps of a sound.

    Attributes:
        values: The outputs of each step, float32 `[steps, C]`: the score of each class, whose mean
            over a recording is the score of the recording if it has one class; or the values of the
            step.
        times: Time at which the net has all samples that the step needs, float64 `[steps]` [s],
            from the beginning of the sound: the end of the last frame of the block in which the net
            runs, and the delay of a conversion of the sample rate.

    Example:
        >>> scores = Scores(np.ones((10, 3), np.float32), np.full(10, 0.115))
        >>> scores.values.mean(axis=0), float(scores.times[-1])
        (array([1., 1., 1.], dtype=float32), 0.115)
    """

    values: Frames
    times: npt.NDArray[np.float64]


class LiveInput:
    """The input of a run's net for a sound that comes in blocks; `ScoreStream` uses it.

    `push(block)` returns the steps that a block completes, and `finish()` the steps at the end.
    They equal the steps that the run computes from the whole sound, bit for bit. Training may cut a
    recording, but the steps continue as long as the sound.

    Args:
        front_end: From sound to frames.
        net_input: From frames to the input of the net, which `NetInput.is_causal`.
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
        self._scale = net_input.standard.apply
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
        padding[: len(silent)] = self._scale(silent)
        return self._held(np.concatenate([frames, padding]))

    def arrival_of(self, step: int) -> float:
        """Time at which the last sample that a step needs has arrived [s]; the first step is 0."""
        return self._front_end.end_of(step // self._net_input.hold) + self._resampling.delay

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
        return self._scale(frames)

    def _held(self, frames: Frames) -> Tensor:
        return torch.from_numpy(np.repeat(frames, self._net_input.hold, axis=0)).unsqueeze(1)


class ScoreStream:
    """The outputs of a run's net for a sound that comes in pieces; `TrainedRun.stream` makes it.

    The net runs in blocks of at most 100 ms from the beginning of the sound, however the samples
    arrive. So all outputs together are the same, bit for bit, and `TrainedRun.predict` has them for
    the whole sound. Memory does not grow with the length of the sound.

    Args:
        run: The run.
        sample_rate: Rate of the sound [Hz].

    Example:
        ```python
        stream = load("runs/words").stream()
        for samples in pieces:  # of a microphone
            for values, seconds in zip(*stream.push(samples)):
                print(f"{seconds:.2f} s", values)
        ```
    """

    def __init__(self, run: TrainedNet, sample_rate: int) -> None:
        assert run.block_steps is not None
        self._run = run
        self._block_steps = run.block_steps
        self._input = LiveInput(run.front_end, run.input, sample_rate)
        self._sample_rate = sample_rate

        # The net of the run may be in use.
        self._net = copy.deepcopy(run.net)
        _fix_norms(self._net)
        self._decoder = run.task.decoder()
        prepare_net(self._net)
        prepare_net(self._decoder)

        self._waiting = torch.zeros(0, 1, len(run.input.standard.mean))
        self._n_samples = 0
        self._n_steps = 0

    def push(self, samples: npt.NDArray[np.floating]) -> Scores:
        """The outputs of the blocks that the next samples complete.

        Args:
            samples: Mono samples with full scale 1, `[samples]`, of any length.

        Raises:
            ValueError: See `LiveInput.push`.
        """
        scores = self._run_blocks(self._input.push(samples), self._block_steps)
        self._n_samples += len(samples)
        return scores

    def finish(self) -> Scores:
        """The outputs of the last steps; no samples may follow.

        See `LiveInput.finish`. Their times are at most the length of the sound.
        """
        x = self._input.finish()
        x = torch.cat([x, torch.zeros(self._run.input.look_ahead, *x.shape[1:])])
        values, times = self._run_blocks(x, 1)
        return Scores(values, times.clip(max=self._n_samples / self._sample_rate))

    def _run_blocks(self, x: Tensor, min_steps: int) -> Scores:
        """The outputs of blocks with at least some steps; further steps wait.

        Args:
            x: The next steps, `[steps, 1, F]`.
            min_steps: Smallest number of steps of a block.
        """
        waiting = torch.cat([self._waiting, x])
        n_ready = len(waiting) if min_steps == 1 else len(waiting) // min_steps * min_steps
        ready, waiting = waiting[:n_ready].transpose(0, 1), waiting[n_ready:]
        blocks = [np.zeros((0, self._run.task.n_outputs), np.float32)]
        times = [np.zeros(0)]
        for block in torch.split(ready, self._block_steps, dim=1) if n_ready else ():
            blocks.append(self._outputs_of(block.contiguous()))

            # All steps of a block are computed when its last step is complete.
            arrival = self._input.arrival_of(self._n_steps + self._block_steps - 1)
            times.append(np.full(block.shape[1], arrival))
            self._n_steps += block.shape[1]
        self._waiting = waiting.clone()

        # The first steps of a net that looks ahead have no output.
        values = np.concatenate(blocks)
        first = max(0, self._run.input.look_ahead - self._n_steps + len(values))
        return Scores(values[first:], np.concatenate(times)[first:])

    @torch.inference_mode()
    def _outputs_of(self, x: Tensor) -> Frames:
        """The outputs `[T, C]` of the net for a block `[1, T, F]`."""
        task = self._run.task
        with use_threads(1):
            spk, mem = self._net(x)
            if task.name == "classification":
                # The decoder takes the mean over a recording: here, each step is a recording.
                fired = spk.transpose(0, 1)
                outputs = self._decoder(fired, fired if mem is spk else mem.transpose(0, 1))
            else:
                outputs = self._decoder(spk, mem)[0]
        return np.asarray(outputs if self._run.classes else task.predict(outputs), np.float32)


class Detector:
    """The detections in a sound that comes in pieces; `TrainedRun.detector` makes it.

    All detections together are the same in whichever pieces the samples arrive.

    Args:
        stream: The outputs of the net.
        decision: The decision.
    """

    def __init__(self, stream: ScoreStream, decision: Decision) -> None:
        self._stream = stream
        self._decisions = DecisionStream(decision)

    def push(self, samples: npt.NDArray[np.floating]) -> list[Detection]:
        """The detections that the next samples complete.

        Args:
            samples: Mono samples with full scale 1, `[samples]`, of any length.

        Raises:
            ValueError: If samples are not floating numbers, not mono or not finite.
        """
        return self._decide(self._stream.push(samples))

    def finish(self) -> list[Detection]:
        """The detections at the end of the sound; no samples may follow."""
        return self._decide(self._stream.finish())

    def _decide(self, outputs: Scores) -> list[Detection]:
        return self._decisions.push(event_scores(outputs.values), outputs.times)


@torch.no_grad()
def _fix_norms(net: nn.Module) -> None:
    """Compute the scale and the shift of batch norms once: the weights do not change in use."""
    module: Any
    for module in net.modules():
        if type(module) in (TimeBatchNorm, ThresholdBatchNorm):
            constants = module.scale_and_shift(1)
            module.scale_and_shift = lambda *_, constants=constants: constants
