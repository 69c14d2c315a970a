"""A detector on streams of known events: its decision, its test, and what a report shows of it.

The net runs in the blocks in which `TrainedRun.detect` runs it, so the numbers hold in use.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self

import numpy as np
import torch

from nwavesdk.data import Batch, Split
from nwavesdk.data.composed import Framing, labeled_frames
from nwavesdk.data.streams import Sounds, Stream
from nwavesdk.metrics import DetectionScore
from nwavesdk.net.preparation import ChipInstance
from nwavesdk.train.apply.blocks import run_net
from nwavesdk.train.apply.decision import Decision, ScoredStream, event_scores, fit_decision
from nwavesdk.train.apply.trained import TrainedRun
from nwavesdk.train.apply.trained_net import BLOCK_SECONDS
from nwavesdk.train.data.detection import PART_SECONDS, SNR
from nwavesdk.train.fit.seeds import use_threads

__all__ = [
    "LONG_BLOCK_STEPS",
    "DetectorTest",
    "SetDetections",
    "score_fields",
    "scored_chips",
    "snr_name",
]

# Signal-to-noise ratios of the test [dB]; None: the background is silent under an event.
TEST_SNRS = (None, 20.0, SNR, 5.0, 0.0)

# Steps of a block at these ratios: long blocks are faster, and equal up to rounding.
LONG_BLOCK_STEPS = 3000


@dataclass(frozen=True, eq=False, kw_only=True)
class SetDetections:
    """The streams of a set, and how well a decision detects their events.

    Args:
        decision: The decision.
        streams: The streams at 10 dB.
        scored: The scores of each stream, by signal-to-noise ratio [dB].
    """

    decision: Decision
    streams: Sequence[Stream]
    scored: Mapping[float | None, Sequence[ScoredStream]]

    @classmethod
    def of(
        cls,
        run: TrainedRun,
        decision: Decision,
        sounds: Sounds,
        framing: Framing,
        snrs: Sequence[float | None] = (SNR,),
    ) -> Self:
        """A decision on the streams of a set.

        Args:
            run: The trained run.
            decision: The decision.
            sounds: The sounds of the set.
            framing: How samples become frames.
            snrs: Signal-to-noise ratios [dB]; only at 10 dB do blocks have the length of use.
        """
        streams = sounds.compose(SNR)
        scored = {}
        for snr in snrs:
            composed = streams if snr == SNR else sounds.compose(snr)
            block_steps = None if snr == SNR else LONG_BLOCK_STEPS
            scored[snr] = scored_streams(run, composed, framing, block_steps)
        return cls(decision=decision, streams=streams, scored=scored)

    @cached_property
    def scores(self) -> dict[float | None, DetectionScore]:
        """The score of all streams, by signal-to-noise ratio."""
        return {snr: self.decision.score(streams) for snr, streams in self.scored.items()}

    def fields(self, part: str) -> dict[str, Any]:
        """The fields of `result.json`.

        Args:
            part: The name of the set, with which their names begin.
        """
        fields = {f"{part}_{name}": value for name, value in score_fields(self.scores[SNR]).items()}
        if len(self.scores) > 1:
            by_snr = {snr_name(snr): score_fields(score) for snr, score in self.scores.items()}
            fields[f"{part}_by_snr"] = by_snr
        return fields


@dataclass(frozen=True, eq=False, kw_only=True)
class DetectorTest:
    """The test of a detector.

    Args:
        decision: Its decision, fitted on the validation set.
        val: The validation set.
        test: The test set; None if it was not read.
        notes: Notes on the decision.
    """

    decision: Decision
    val: SetDetections
    test: SetDetections | None
    notes: Sequence[str]

    @classmethod
    def of(cls, run: TrainedRun, sounds: Split[Sounds | None], framing: Framing) -> Self:
        """Fit a decision for the budget of false alarms on the validation set, and test it.

        Args:
            run: The trained run.
            sounds: The sounds of the sets; the test set may be None.
            framing: How samples become frames.
        """
        assert sounds.val is not None
        streams = sounds.val.compose(SNR)
        scored = scored_streams(run, streams, framing)
        decision, notes = fit_decision(
            scored,
            events=run.classes[1:],
            step_seconds=framing.hop / run.input.hold,
            false_alarms=run.config.task.false_alarms,  # type: ignore[union-attr]  # of a detector
        )

        val = SetDetections(decision=decision, streams=streams, scored={SNR: scored})
        test = None
        if sounds.test is not None:
            snrs = (SNR,) if sounds.test.line.events else TEST_SNRS
            test = SetDetections.of(run, decision, sounds.test, framing, snrs)
        return cls(decision=decision, val=val, test=test, notes=notes)

    @property
    def evaluated(self) -> SetDetections:
        """The test set, or the validation set if the test set was not read."""
        return self.test or self.val

    @property
    def fields(self) -> dict[str, Any]:
        """The fields of `result.json`."""
        return {
            **(self.test.fields("test") if self.test else {}),
            **self.val.fields("val"),
            "decision": self.decision.model_dump(mode="json"),
        }


def scored_streams(
    run: TrainedRun, streams: Sequence[Stream], framing: Framing, block_steps: int | None = None
) -> list[ScoredStream]:
    """The scores of a run for streams.

    Args:
        run: The run.
        streams: The streams.
        framing: How their samples become frames.
        block_steps: Steps of a block. [as in use]
    """
    chips = (scored_chips(run, stream, framing, block_steps) for stream in streams)
    return [scored for (scored,) in chips]


def scored_chips(
    run: TrainedRun,
    stream: Stream,
    framing: Framing,
    block_steps: int | None = None,
    seeds: Sequence[int | None] = (None,),
) -> Iterator[ScoredStream]:
    """The scores of each of some chips for a stream; of a net without mismatch, all are equal.

    Args:
        run: The run.
        stream: The stream.
        framing: How its samples become frames.
        block_steps: Steps of a block. [as in use]
        seeds: The seed of each chip; None is the chip as designed.
    """
    steps = run.block_steps or max(1, int(BLOCK_SECONDS / framing.hop))
    net, scale = copy.deepcopy(run.net), run.input.standard.apply
    pieces = labeled_frames(stream, framing, run.classes, PART_SECONDS)
    frames = np.concatenate([scale(np.asarray(piece.frames)) for piece in pieces])
    x = torch.from_numpy(frames)[None]
    lengths = torch.tensor([x.shape[1]])

    # In use, all steps of a block are computed when its last frame has arrived.
    last = np.arange(len(frames)) // steps * steps + steps - 1
    times = framing.ends(last[-1] + 1)[last].clip(max=stream.seconds)
    for seed in seeds:
        with ChipInstance(seed).on(net), use_threads(1), torch.inference_mode():
            spk, mem = run_net(net, Batch(x, lengths, lengths), block_steps or steps)
            outputs = run.task.decoder()(spk, mem)[0].numpy()
        yield ScoredStream(event_scores(outputs), times, stream.events, stream.seconds)


def score_fields(score: DetectionScore) -> dict[str, Any]:
    """The numbers of a score; a latency is None without a detected event."""
    latencies = {"median_latency": score.latency(50), "p90_latency": score.latency(90)}
    return {
        "misses": round(score.misses, 6),
        "false_alarms_per_hour": round(score.false_alarms_per_hour, 6),
        **{name: round(value, 4) if score.latencies else None for name, value in latencies.items()},
        "misses_interval": [round(value, 6) for value in score.misses_interval],
        "false_alarms_interval": [round(value, 6) for value in score.false_alarms_interval],
        "events": score.n_events,
        "hours": round(score.hours, 6),
    }


def snr_name(snr: float | None) -> str:
    """A signal-to-noise ratio in words."""
    return "clean" if snr is None else f"{snr:g} dB"
