"""Recordings as batches of a trained net, and its predictions for them.

If the frames of a sound depend on the past only, a recording runs alone and in blocks of at most
100 ms, as a stream does, so that both have the same outputs, bit for bit. Otherwise, short
recordings run in batches, and a long recording in blocks. Nets other than plain stacks of layers
run in one call then, because a net of the user's file may look at all steps.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nwavesdk.data import Batch, NetInput, Recordings, Series
from nwavesdk.data.features import EventBins
from nwavesdk.data.loading import EventFrames
from nwavesdk.train.apply.blocks import run_net
from nwavesdk.train.apply.predictions import Prediction
from nwavesdk.train.apply.recordings import FramedRecording
from nwavesdk.train.apply.trained_net import TrainedNet
from nwavesdk.train.fit.seeds import use_threads

__all__ = ["batch_of", "predict_recordings"]

# Steps of all recordings of a batch together, and of a block of a long recording.
MAX_STEPS = 4096


def batched(
    recordings: Iterable[FramedRecording], net_input: NetInput, max_steps: int
) -> Iterator[list[FramedRecording]]:
    """Batches of at most some steps with padding; a longer recording is a batch alone."""
    batch: list[FramedRecording] = []
    longest = 0
    for recording in recordings:
        steps = int(net_input.n_steps(recording.frames.shape[0]))
        longest = max(longest, steps)
        if batch and longest * (len(batch) + 1) > max_steps:
            yield batch
            batch, longest = [], steps
        batch.append(recording)
    if batch:
        yield batch


def batch_of(recordings: Sequence[FramedRecording], net_input: NetInput) -> Batch:
    """The input of a net for recordings, as in training; sparse for events."""
    frames: Any = tuple(recording.frames for recording in recordings)
    are_events = isinstance(frames[0], EventBins)
    series = Series(
        Recordings(
            frames=EventFrames(frames) if are_events else frames,
            labels=np.zeros(len(frames), np.int64),
            classes=(),
            keys=tuple(recording.key for recording in recordings),
            fingerprint="",
        ),
        replace(net_input, as_lists=are_events),
    )
    return series.batch(range(len(series)))


def predict_recordings(
    run: TrainedNet, recordings: Iterable[FramedRecording], *, spikes: bool
) -> Iterator[Prediction]:
    """The prediction for each recording, in their order.

    Args:
        run: The run.
        recordings: The recordings as frames, of which one batch is in memory.
        spikes: Whether to record the output spikes.
    """
    # A stream computes with one thread, which is the fastest for a block.
    in_blocks = run.block_steps is not None
    threads = 1 if in_blocks else run.config.machine.threads
    net = copy.deepcopy(run.net)  # the net of the run may have a state

    for members in batched(recordings, run.input, 0 if in_blocks else MAX_STEPS):
        batch = batch_of(members, run.input)
        block_steps = run.block_steps
        if block_steps is None:
            block_steps = MAX_STEPS if run.config.is_layered else batch.x.shape[1]

        with use_threads(threads), torch.inference_mode():
            spk, mem = run_net(net, batch, block_steps)
            outputs = run.task.decoder()(spk, mem, batch.lengths)

        for index, recording in enumerate(members):
            n_steps = int(batch.lengths[index])
            output = outputs[index]
            if output.ndim > 1:  # an output per step
                output = output[run.input.look_ahead : n_steps]
            fired = spk[index, :n_steps] if spikes else None
            yield _prediction(run, recording, n_steps - run.input.look_ahead, output, fired)


def _prediction(
    run: TrainedNet, recording: FramedRecording, steps: int, output: Tensor, fired: Tensor | None
) -> Prediction:
    """The prediction for a recording.

    Args:
        run: The run.
        recording: The recording.
        steps: Its time steps.
        output: The output for the recording, `[C]`, or for its steps, `[T, D]`.
        fired: Output spikes in all steps of the net, `[T, N]`; None if they are not requested.
    """
    task: Any = run.task
    probabilities = task.probabilities(output).numpy() if run.classes else None
    counts = events = None
    if fired is not None:
        events = fired.nonzero().int().numpy()
        counts = fired.sum(dim=0).reshape(task.n_outputs, -1).sum(dim=1).long().numpy()

    return Prediction(
        key=recording.key,
        task=task.name,
        steps=steps,
        classes=run.classes,
        predicted=task.predict(output).numpy(),
        probabilities=probabilities,
        step_seconds=run.step_seconds,
        counts=counts,
        spikes=events,
        is_cut=recording.is_cut or 0 < (run.input.length or 0) < recording.frames.shape[0],
    )
