"""A pass of recordings through a trained net in blocks of steps, which bounds its memory.

Recordings that are short run in batches. A long one runs in blocks: the states of the net are kept
from block to block, so its spikes are those of one call, up to the rounding of the products, whose
order of sums may depend on the number of rows. A net that the user built runs in one call, because
it may look at all steps.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data import Batch, NetInput, Recordings, Series
from nwavesdk.data.features import EventBins
from nwavesdk.data.loading import EventFrames
from nwavesdk.layers.lengths import fill_padding, sum_over_steps
from nwavesdk.net.preparation import prepared
from nwavesdk.train.apply.given import Given
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.tasks import Classification, StepLabels

if TYPE_CHECKING:
    from nwavesdk.train.apply.trained import TrainedRun

__all__ = ["MAX_STEPS", "batch_of", "batched", "predict_recordings"]

# Steps of all recordings of a batch together, and of a block of a long recording.
MAX_STEPS = 4096


def batched(recordings: Iterable[Given], net_input: NetInput) -> Iterator[list[Given]]:
    """Recordings in batches of at most `MAX_STEPS` steps with padding, or of a single recording."""
    batch: list[Given] = []
    longest = 0
    for given in recordings:
        steps = int(net_input.n_steps(given.frames.shape[0]))
        longest = max(longest, steps)
        if batch and longest * (len(batch) + 1) > MAX_STEPS:
            yield batch
            batch, longest = [], steps
        batch.append(given)
    if batch:
        yield batch


def batch_of(recordings: Sequence[Given], net_input: NetInput) -> Batch:
    """The input of a net for recordings, as in training; sparse for events."""
    frames: Any = tuple(given.frames for given in recordings)
    are_events = isinstance(frames[0], EventBins)
    series = Series(
        Recordings(
            frames=EventFrames(frames) if are_events else frames,
            labels=np.zeros(len(frames), np.int64),
            classes=(),
            keys=tuple(given.key for given in recordings),
            fingerprint="",
        ),
        replace(net_input, as_lists=are_events),
    )
    return series.batch(range(len(series)))


def predict_recordings(
    run: "TrainedRun", recordings: Iterable[Given], *, spikes: bool
) -> Iterator[Prediction]:
    """The prediction for each recording, in their order.

    Args:
        run: The run.
        recordings: Their frames, of which one batch is in memory.
        spikes: Whether to record the output spikes.
    """
    task = run.task
    net_input = run.input
    for batch in batched(recordings, net_input):
        x, _, lengths = batch_of(batch, net_input)
        with use_arithmetic(run.config.arithmetic), torch.inference_mode():
            outputs, fired, events = _run_net(run, x, lengths, spikes=spikes)
        counts = fired.reshape(len(batch), task.output.n_outputs, -1).sum(dim=2).long()

        for index, (given, length) in enumerate(zip(batch, lengths.tolist(), strict=True)):
            output = outputs[index]
            if output.ndim > 1:  # of each step
                output = output[net_input.look_ahead : length]
            probabilities = None
            if isinstance(task, Classification | StepLabels):
                probabilities = task.probabilities(output).numpy()
            n_frames = given.frames.shape[0]
            yield Prediction(
                key=given.key,
                task=task.name,
                steps=length - net_input.look_ahead,
                classes=run.classes,
                predicted=task.predict(output).numpy(),
                probabilities=probabilities,
                step_seconds=run.step_seconds,
                counts=None if task.output.is_readout else counts[index].numpy(),
                spikes=events[events[:, 0] == index, 1:].numpy() if spikes else None,
                is_cut=given.is_cut or n_frames > (net_input.length or n_frames),
            )


def _run_net(
    run: "TrainedRun", x: Tensor, lengths: Tensor, *, spikes: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Run a batch `[B, T, F]`, of which only a single recording may have more than one block.

    Returns:
        Outputs of each recording, `[B, C]`, or of its steps, `[B, T, D]`; spikes of each output
        neuron, `[B, N]`; and recording, step and neuron of each spike, int32 `[n, 3]`.
    """
    output = run.task.output
    # A copy, because the net of the run may have a state: that of live sound.
    net, decoder = copy.deepcopy(run.net), run.task.decoder()
    fired = torch.zeros(len(x), output.n_neurons, dtype=torch.float64)
    outputs: list[Tensor] = []
    events = [torch.zeros(0, 3, dtype=torch.int32)]
    decides_by_rates = isinstance(run.task, Classification) and not output.is_readout
    n_steps = x.shape[1]
    block_steps = n_steps if output.is_given else min(n_steps, MAX_STEPS)

    with prepared(net), prepared(decoder):
        for first in range(0, n_steps, block_steps):
            block = x.narrow_copy(1, first, min(block_steps, n_steps - first)).to_dense()
            valid = (lengths - first).clamp(max=block.shape[1])
            padded = valid if bool((valid < block.shape[1]).any()) else None
            spk, mem = net(block, padded)
            if not output.is_readout:
                fired += sum_over_steps(spk, padded)
            if not decides_by_rates:
                outputs.append(decoder(spk, mem, padded))
            if spikes:
                event = fill_padding(spk, padded).nonzero() + torch.tensor([0, first, 0])
                events.append(event.int())

        if decides_by_rates:
            # The decoder divides by the steps and is linear in the spikes: that of their sum, as
            # one step, over the number of steps is that of the sequence.
            summed = fired[:, None].float()
            outputs = [decoder(summed, summed) / lengths[:, None]]
    return torch.cat(outputs, dim=1), fired, torch.cat(events)
