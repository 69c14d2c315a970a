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
from torch import Tensor, nn

from nwavesdk.data import Batch, NetInput, Recordings, Series
from nwavesdk.data.features import EventBins
from nwavesdk.data.loading import EventFrames
from nwavesdk.net.preparation import prepared
from nwavesdk.train.apply.given import Given
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.fit.arithmetic import use_arithmetic
from nwavesdk.train.fit.tasks import Classification, StepLabels

if TYPE_CHECKING:
    from nwavesdk.train.apply.trained import TrainedRun

__all__ = ["MAX_STEPS", "batch_of", "batched", "predict_recordings", "run_net"]

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


def run_net(net: nn.Module, batch: Batch, block_steps: int) -> Any:
    """The outputs of a net for a batch, in blocks of steps.

    Args:
        net: The net; its state changes.
        batch: One recording, or several of at most `block_steps` steps.
        block_steps: Steps of a call.

    Returns:
        Spikes and membranes of the output layer, `[B, T, N]`; of one block, what the net returns.
    """
    x, _, lengths = batch
    n_steps = x.shape[1]
    padded = lengths if bool((lengths < n_steps).any()) else None
    outputs = []
    with prepared(net):
        for first in range(0, n_steps, block_steps):
            block = x.narrow_copy(1, first, min(block_steps, n_steps - first))
            outputs.append(net(block.to_dense(), padded))

    if len(outputs) == 1:
        return outputs[0]
    return [torch.cat(blocks, dim=1) for blocks in zip(*outputs, strict=True)]


def predict_recordings(
    run: "TrainedRun", recordings: Iterable[Given], *, spikes: bool
) -> Iterator[Prediction]:
    """The prediction for each recording, in their order.

    Args:
        run: The run.
        recordings: Their frames, of which one batch is in memory.
        spikes: Whether to record the output spikes.
    """
    look_ahead = run.input.look_ahead
    for given in batched(recordings, run.input):
        batch = batch_of(given, run.input)
        block_steps = batch.x.shape[1] if run.task.output.is_given else MAX_STEPS
        with use_arithmetic(run.config.arithmetic), torch.inference_mode():
            # A copy, because the net of the run may have a state: that of live sound.
            spk, mem = run_net(copy.deepcopy(run.net), batch, block_steps)
            outputs = run.task.decoder()(spk, mem, batch.lengths)

        for index, recording in enumerate(given):
            n_steps = int(batch.lengths[index])
            output = outputs[index]
            if output.ndim > 1:  # of each step
                output = output[look_ahead:n_steps]
            fired = spk[index, :n_steps] if spikes else None
            yield _prediction(run, recording, n_steps - look_ahead, output, fired)


def _prediction(
    run: "TrainedRun", given: Given, steps: int, output: Tensor, fired: Tensor | None
) -> Prediction:
    """The prediction for a recording.

    Args:
        run: The run.
        given: The recording.
        steps: Its time steps.
        output: The output for the recording, `[C]`, or for its steps, `[T, D]`.
        fired: Output spikes in all steps of the net, `[T, N]`; None if they are not asked for.
    """
    task = run.task
    probabilities = counts = events = None
    if isinstance(task, Classification | StepLabels):
        probabilities = task.probabilities(output).numpy()
    if fired is not None:
        events = fired.nonzero().int().numpy()
        counts = fired.sum(dim=0).reshape(task.output.n_outputs, -1).sum(dim=1).long().numpy()

    n_frames = given.frames.shape[0]
    return Prediction(
        key=given.key,
        task=task.name,
        steps=steps,
        classes=run.classes,
        predicted=task.predict(output).numpy(),
        probabilities=probabilities,
        step_seconds=run.step_seconds,
        counts=counts,
        spikes=events,
        is_cut=given.is_cut or n_frames > (run.input.length or n_frames),
    )
