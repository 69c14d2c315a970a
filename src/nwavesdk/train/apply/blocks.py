"""A pass of recordings through a trained net in blocks of steps, which bounds its memory.

Recordings that are short run in batches. A long one runs in blocks: the states of the net are kept
from block to block, so its spikes are those of one call, up to the rounding of the products, whose
order of sums may depend on the number of rows. A net that the user built runs in one call, because
it may look at all steps.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from nwavesdk.data import NetInput
from nwavesdk.data.binning import to_frames
from nwavesdk.data.features import EventBins
from nwavesdk.data.recordings import Frames
from nwavesdk.layers.lengths import fill_padding, sum_over_steps
from nwavesdk.net.preparation import prepared
from nwavesdk.train.apply.given import Given
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.tasks import Classification, StepLabels

if TYPE_CHECKING:
    from nwavesdk.train.apply.trained import TrainedRun

__all__ = ["MAX_STEPS", "Predictor", "input_blocks", "input_of"]

# Steps of all recordings of a batch together, and of a block of a long recording.
MAX_STEPS = 4096


def input_of(given: Given, net_input: NetInput) -> Tensor:
    """The input of a net for a recording, `[T, F]`; see `input_blocks`."""
    return torch.from_numpy(np.concatenate(list(input_blocks(given, net_input))))


def input_blocks(given: Given, net_input: NetInput) -> Iterator[Frames]:
    """The input of a net for a recording in blocks of `MAX_STEPS` steps; the last one is shorter.

    Args:
        given: The recording. Its name decides random spikes.
        net_input: From frames to the input.

    Yields:
        `[t, F]`.
    """
    frames, hold = given.frames, net_input.hold
    n_frames = min(frames.shape[0], net_input.length or frames.shape[0])
    n_steps = int(net_input.n_steps(n_frames))
    if not isinstance(frames, EventBins):
        frames = net_input.scaled(frames[:n_frames], given.key)
        hold = n_frames * hold // len(frames)  # 1 after an encoder, whose steps are complete
        n_frames = len(frames)

    for first in range(0, n_steps, MAX_STEPS):
        frame_of = np.arange(first, min(first + MAX_STEPS, n_steps)) // hold
        held = frame_of[frame_of < n_frames]
        x = np.zeros((len(frame_of), frames.shape[1]), np.float32)
        if isinstance(frames, EventBins) and len(held):
            counts = _event_counts(frames, held[0], held[-1] + 1)
            x[: len(held)] = net_input.standard.apply(counts)[held - held[0]]
        elif len(held):
            x[: len(held)] = frames[held]
        yield x


def _event_counts(bins: EventBins, first: int, after: int) -> Frames:
    """How many events some bins have at each place."""
    start, stop = np.searchsorted(bins.pairs[:, 0], [first, after])
    pairs = bins.pairs[start:stop] - np.array([first, 0], np.int32)
    return to_frames(pairs, after - first, bins.shape[1])


@dataclass(frozen=True, eq=False)
class Predictor:
    """Predicts from the frames of recordings.

    Args:
        run: The run.
        spikes: Whether to record the output spikes.
    """

    run: "TrainedRun"
    spikes: bool

    def predict(self, recordings: Iterable[Given]) -> Iterator[Prediction]:
        """The prediction for each recording, in their order."""
        batch: list[Given] = []
        longest = 0
        for given in recordings:
            steps = self._n_steps(given)
            longest = max(longest, steps)
            if batch and longest * (len(batch) + 1) > MAX_STEPS:
                yield from self._predict_batch(batch)
                batch, longest = [], steps
            batch.append(given)
        if batch:
            yield from self._predict_batch(batch)

    def _n_steps(self, given: Given) -> int:
        return int(self.run.input.n_steps(given.frames.shape[0]))

    def _predict_batch(self, batch: Sequence[Given]) -> Iterator[Prediction]:
        run, task = self.run, self.run.task
        lengths = torch.tensor([self._n_steps(given) for given in batch])
        with use_arithmetic(run.config.arithmetic), torch.inference_mode():
            outputs, fired, events = self._run_net(batch, lengths)
        counts = fired.reshape(len(batch), task.output.n_outputs, -1).sum(dim=2).long()

        look_ahead = run.input.look_ahead
        for index, given in enumerate(batch):
            output = outputs[index]
            if output.ndim > 1:  # of each step
                output = output[look_ahead : lengths[index]]
            n_frames = given.frames.shape[0]
            yield Prediction(
                key=given.key,
                task=task.name,
                steps=int(lengths[index]) - look_ahead,
                classes=run.classes,
                predicted=task.predict(output).numpy(),
                probabilities=(
                    task.probabilities(output).numpy()
                    if isinstance(task, Classification | StepLabels)
                    else None
                ),
                step_seconds=run.step_seconds,
                counts=None if task.output.is_readout else counts[index].numpy(),
                spikes=events[events[:, 0] == index, 1:].numpy() if self.spikes else None,
                is_cut=given.is_cut or n_frames > (run.input.length or n_frames),
            )

    def _run_net(self, batch: Sequence[Given], lengths: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What a batch gives.

        Returns:
            Outputs of each recording, `[B, C]`, or of its steps, `[B, T, D]`; spikes of each output
            neuron, `[B, N]`; and recording, step and neuron of each spike, int32 `[n, 3]`.
        """
        task, output = self.run.task, self.run.task.output
        # A copy, because the net of the run may have a state: that of live sound.
        net, decoder = copy.deepcopy(self.run.net), task.decoder()
        outputs: list[Tensor] = []
        fired = torch.zeros(len(batch), output.n_neurons, dtype=torch.float64)
        events = [torch.zeros(0, 3, dtype=torch.int32)]
        decides_by_rates = isinstance(task, Classification) and not output.is_readout
        first = 0
        with prepared(net), prepared(decoder):
            for x in self._blocks(batch):
                # The blocks of a single recording have no padding.
                steps = (lengths - first).clamp(max=x.shape[1])
                padded = steps if bool((steps < x.shape[1]).any()) else None
                spk, mem = net(x, padded)
                if not output.is_readout:
                    fired += sum_over_steps(spk, padded)
                if not decides_by_rates:
                    outputs.append(decoder(spk, mem, padded))
                if self.spikes:
                    offset = torch.tensor([0, first, 0])
                    events.append((fill_padding(spk, padded).nonzero() + offset).int())
                first += x.shape[1]

            if decides_by_rates:
                # The decoder divides by the steps and is linear in the spikes: that of their sum,
                # as one step, over the number of steps is that of the sequence.
                summed = fired[:, None].float()
                outputs = [decoder(summed, summed) / lengths[:, None]]
        return torch.cat(outputs, dim=1), fired, torch.cat(events)

    def _blocks(self, batch: Sequence[Given]) -> Iterator[Tensor]:
        """Input `[B, T, F]`: a long recording of a net of layers in blocks, others as one."""
        net_input = self.run.input
        if len(batch) == 1 and not self.run.task.output.is_given:
            for block in input_blocks(batch[0], net_input):
                yield torch.from_numpy(block)[None]
        else:
            inputs = [input_of(given, net_input) for given in batch]
            yield pad_sequence(inputs, batch_first=True)
