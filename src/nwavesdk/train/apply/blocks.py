"""A pass of recordings through a trained net in blocks of steps, which bounds its memory.

Recordings that are short run in batches. A long one runs in blocks: the states of the net are kept
from block to block, so its spikes are those of one call, up to the rounding of the products, whose
order of sums may depend on the number of rows.
"""

import copy
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from nwavesdk.data import Standard
from nwavesdk.data.batches import Encoder
from nwavesdk.data.binning import to_frames
from nwavesdk.data.features import EventBins
from nwavesdk.data.recordings import Frames, Indices, Pairs
from nwavesdk.layers import prepare_net
from nwavesdk.layers.lengths import sum_over_steps, valid_steps
from nwavesdk.net.preparation import prepared
from nwavesdk.train.apply.given import Given
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.config.facts import ArithmeticConfig
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.tasks import Classification, StepLabels, TrainingTask

__all__ = ["MOST_STEPS", "NetInput", "NetPass", "Predictor"]

# Steps of all recordings of a batch together, and of a block of a long recording.
MOST_STEPS = 4096


@dataclass(frozen=True, eq=False)
class NetInput:
    """From the frames of a recording to the input of a net, as `Series` makes it in training.

    Args:
        standard: The scale of the features.
        hold: Time steps for each frame.
        length: Frames after which a recording is cut; None cuts none.
        pads_to_length: Whether a shorter recording continues with zeros to `length` frames.
        encoder: How an image becomes spikes; None for a constant current and without images.
        center: Whether the mean of each feature over the recording is subtracted from it.
        standardize: Whether a recording is divided by its own deviation.
        look_ahead: Zero steps that follow a recording, after which its last step has a class.
    """

    standard: Standard
    hold: int = 1
    length: int | None = None
    pads_to_length: bool = False
    encoder: Encoder | None = None
    center: bool = False
    standardize: bool = False
    look_ahead: int = 0

    def n_steps(self, frames: Frames | EventBins) -> int:
        """Time steps of a recording, with those that follow it."""
        if self.pads_to_length and self.length is not None:
            return self.length * self.hold + self.look_ahead
        return self._n_frames(frames) * self.hold + self.look_ahead

    def _n_frames(self, frames: Frames | EventBins) -> int:
        count = frames.shape[0] if isinstance(frames, EventBins) else len(frames)
        return count if self.length is None else min(count, self.length)

    def cuts(self, frames: Frames | EventBins) -> bool:
        """Whether the end of a recording is left out."""
        count = frames.shape[0] if isinstance(frames, EventBins) else len(frames)
        return self._n_frames(frames) < count

    def blocks(self, given: Given) -> Iterator[Frames]:
        """The input `[t, F]` in blocks of at most `MOST_STEPS` steps, or of one frame.

        Args:
            given: A recording. Its name decides random spikes.
        """
        frames = given.frames
        if self.encoder is not None and not isinstance(frames, EventBins):
            x = self.encoder(self.standard.apply(frames), given.key, self.hold)
            yield from (x[start : start + MOST_STEPS] for start in range(0, len(x), MOST_STEPS))
            return
        per_block = max(1, MOST_STEPS // self.hold)
        count = self._n_frames(frames)
        standard = self.standard
        if not isinstance(frames, EventBins):
            standard = standard.of_recording(
                frames[:count], center=self.center, standardize=self.standardize
            )
        for first in range(0, count, per_block):
            part = _dense(frames, first, min(first + per_block, count))
            yield np.repeat(standard.apply(part), self.hold, axis=0)
        n_missing = self.n_steps(frames) - count * self.hold
        for first in range(0, n_missing, MOST_STEPS):
            n_zeros = min(MOST_STEPS, n_missing - first)
            yield np.zeros((n_zeros, len(self.standard.mean)), np.float32)


def _dense(frames: Frames | EventBins, first: int, after: int) -> Frames:
    """Some frames; of events, their counts."""
    if not isinstance(frames, EventBins):
        return frames[first:after]
    start, stop = np.searchsorted(frames.pairs[:, 0], [first, after])
    pairs = frames.pairs[start:stop] - np.array([first, 0], np.int32)
    return to_frames(pairs, after - first, frames.shape[1])


class NetPass:
    """A pass of a batch of recordings through a net, in blocks of steps.

    Args:
        net: A trained net in `eval()`; it is prepared here.
        task: What it has learned.
        n_recordings: Recordings of the batch, B.
        spikes: Whether to record the output spikes.
    """

    def __init__(
        self, net: nn.Module, task: TrainingTask, n_recordings: int, *, spikes: bool
    ) -> None:
        # A copy, because the state goes on from block to block.
        self._net = net = copy.deepcopy(net)
        self._task = task
        self._decoder = task.decoder()
        prepare_net(net)
        prepare_net(self._decoder)
        self._records_spikes = spikes
        self._lengths = torch.zeros(n_recordings, dtype=torch.int64)
        self._outputs: list[list[Tensor]] = [[] for _ in range(n_recordings)]
        self._events: list[list[Tensor]] = [[] for _ in range(n_recordings)]
        self._fired = torch.zeros(n_recordings, task.output.n_neurons, dtype=torch.float64)

    @property
    def _decides_at_end(self) -> bool:
        return isinstance(self._task, Classification)

    @torch.inference_mode()
    def push(self, x: Tensor, lengths: Tensor) -> None:
        """Run the next block.

        Args:
            x: Input, `[B, T, F]`.
            lengths: Steps of each recording in this block, int64 `[B]`; the others are padding.
        """
        spk, mem = self._net(x)
        if not self._task.output.is_readout:
            self._fired += sum_over_steps(spk, lengths)
        if not self._decides_at_end:
            outputs = self._decoder(spk, mem)
            for parts, values, length in zip(self._outputs, outputs, lengths, strict=True):
                parts.append(values[: int(length)])
        if self._records_spikes:
            is_valid = valid_steps(lengths, x.shape[1])
            for index, events in enumerate(self._events):
                event = (spk[index] * is_valid[index, :, None]).nonzero()
                event[:, 0] += self._lengths[index]
                events.append(event.to(torch.int32))
        self._lengths += lengths

    @torch.inference_mode()
    def outputs(self) -> list[Tensor]:
        """What the decoder gives for each recording, `[C]` or `[T, D]`."""
        if not self._decides_at_end:
            return [torch.cat(parts) for parts in self._outputs]
        # The decoder divides by the steps and is linear in the spikes: that of their sum, as one
        # step, over the number of steps is that of the sequence.
        summed = self._fired[:, None].float()
        return list(self._decoder(summed, summed) / self._lengths[:, None])

    def counts(self) -> list[Indices | None]:
        """Output spikes of each class or value, `[C]`; None for membranes."""
        output = self._task.output
        if output.is_readout:
            return [None] * len(self._lengths)
        counts = self._fired.reshape(len(self._lengths), output.n_outputs, -1).sum(dim=2)
        return list(counts.to(torch.int64).numpy())

    def spikes(self) -> list[Pairs | None]:
        """Step and neuron of each output spike, `[n, 2]`; None if they are not recorded."""
        if not self._records_spikes:
            return [None] * len(self._lengths)
        return [torch.cat(events).numpy() for events in self._events]


class WholePass:
    """As `NetPass`, for a net that the user built: in one call, because it may look at all steps.

    The arguments are those of `NetPass`. Its outputs are scores, so it records no spikes.
    """

    def __init__(self, net: nn.Module, task: TrainingTask, n_recordings: int) -> None:
        self._net = copy.deepcopy(net)
        self._decoder = task.decoder()
        self._blocks: list[Tensor] = []
        self._lengths = torch.zeros(n_recordings, dtype=torch.int64)

    def push(self, x: Tensor, lengths: Tensor) -> None:
        """Add the next block, as `NetPass.push` does."""
        self._blocks.append(x)
        self._lengths += lengths

    @torch.inference_mode()
    def outputs(self) -> list[Tensor]:
        """What the decoder gives for each recording, `[C]` or `[T, D]`."""
        x = torch.cat(self._blocks, dim=1)
        has_padding = bool((self._lengths < x.shape[1]).any())
        lengths = self._lengths if has_padding else None
        with prepared(self._net), prepared(self._decoder):
            spk, mem = self._net(x, lengths)
            outputs = self._decoder(spk, mem, lengths)
        if outputs.ndim == 2:
            return list(outputs)
        return [
            values[: int(length)] for values, length in zip(outputs, self._lengths, strict=True)
        ]

    def counts(self) -> list[Indices | None]:
        """None for each recording."""
        return [None] * len(self._lengths)

    def spikes(self) -> list[Pairs | None]:
        """None for each recording."""
        return [None] * len(self._lengths)


@dataclass(frozen=True, eq=False)
class Waiting:
    """A recording that waits for its batch, and its time steps."""

    given: Given
    steps: int


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts from the frames of recordings.

    Args:
        net: A trained net in `eval()`.
        task: What it has learned.
        net_input: From frames to its input.
        classes: Name of each class.
        step_seconds: Time between two steps [s], if steps have a duration.
        arithmetic: Threads and crossovers of the run; None for those of the process.
        spikes: Whether to record the output spikes.
    """

    net: nn.Module
    task: TrainingTask
    net_input: NetInput
    classes: tuple[str, ...]
    step_seconds: float | None
    arithmetic: ArithmeticConfig | None
    spikes: bool

    def predict(self, recordings: Iterable[Given]) -> Iterator[Prediction]:
        """The prediction for each recording, in their order."""
        batch: list[Waiting] = []
        for given in recordings:
            steps = self.net_input.n_steps(given.frames)
            longest = max([steps, *(one.steps for one in batch)])
            if batch and longest * (len(batch) + 1) > MOST_STEPS:
                yield from self._predict_batch(batch)
                batch = []
            batch.append(Waiting(given, steps))
        if batch:
            yield from self._predict_batch(batch)

    def _predict_batch(self, batch: list[Waiting]) -> Iterator[Prediction]:
        with use_arithmetic(self.arithmetic):
            net_pass = self._net_pass(len(batch))
            for x, lengths in self._blocks(batch):
                net_pass.push(x, lengths)
            all_outputs = net_pass.outputs()
        results = zip(batch, all_outputs, net_pass.counts(), net_pass.spikes(), strict=True)
        look_ahead = self.net_input.look_ahead
        for one, late_outputs, counts, spikes in results:
            outputs = late_outputs[look_ahead:] if look_ahead else late_outputs
            yield Prediction(
                one.given.key,
                self.task.name,
                one.steps - look_ahead,
                self.classes,
                self.task.predict(outputs).numpy(),
                self._probabilities(outputs),
                self.step_seconds,
                counts,
                spikes,
                one.given.is_cut or self.net_input.cuts(one.given.frames),
            )

    def _net_pass(self, n_recordings: int) -> NetPass | WholePass:
        if self.task.output.is_given:
            return WholePass(self.net, self.task, n_recordings)
        return NetPass(self.net, self.task, n_recordings, spikes=self.spikes)

    def _blocks(self, batch: list[Waiting]) -> Iterator[tuple[Tensor, Tensor]]:
        """Input `[B, T, F]` and steps `[B]` of each block: a batch has one, a recording several."""
        if len(batch) == 1:
            for block in self.net_input.blocks(batch[0].given):
                yield torch.from_numpy(block)[None], torch.tensor([len(block)])
            return
        longest = max(one.steps for one in batch)
        x = np.zeros((len(batch), longest, len(self.net_input.standard.mean)), np.float32)
        for padded, one in zip(x, batch, strict=True):
            first = 0
            for block in self.net_input.blocks(one.given):
                padded[first : first + len(block)] = block
                first += len(block)
        yield torch.from_numpy(x), torch.tensor([one.steps for one in batch])

    def _probabilities(self, outputs: Tensor) -> Frames | None:
        if not isinstance(self.task, Classification | StepLabels):
            return None
        probabilities: Frames = self.task.probabilities(outputs).numpy()
        return probabilities
