"""A trained run detects its classes while a sound plays.

    nwave train --out runs/words --data FOLDER --level running
    python examples/live.py runs/words sound.wav --background noise

FOLDER has a class for everything that is not an event, `noise` here: sounds of the places where the
detector will listen, and speech without the words. The file is played in real time, silently;
`--fast` does not wait.

A run of the task `detect` has a decision, which was fitted to false alarms per hour: its detections
are the events, and `--average`, `--threshold` and `--dead` have no effect. Of other runs, an event
is a class whose probability by the scores of the last `--average` seconds reaches `--threshold`.
After an event, there is none for `--dead` seconds. The last lines give the events per hour: play
hours of sound without events to count false alarms, and choose `--threshold` by them. The accuracy
of a run is measured on whole recordings, and does not give this number.

`listen` takes any source of blocks. For a microphone, with the package sounddevice:

    def microphone(rate):
        with sounddevice.InputStream(rate, rate // 100, channels=1, dtype="float32") as device:
            while True:
                yield device.read(rate // 100)[0][:, 0]

    listen(run, Detector(run), microphone(run.sample_rate), run.sample_rate)
"""

import argparse
import math
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from nwavesdk.data.decoding import MAX_RECORDING_SECONDS, read_sound
from nwavesdk.data.source import Samples
from nwavesdk.train import Scores, TrainedRun, load
from nwavesdk.train.apply.decision import DecisionStream, event_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run for live sound")
    parser.add_argument("sound", type=Path, help="a wav of any sample rate")
    parser.add_argument("--background", nargs="+", default=[], help="classes that are not events")
    parser.add_argument("--average", type=float, default=0.8, help="time that decides [s]")
    parser.add_argument("--threshold", type=float, default=0.95, help="least probability")
    parser.add_argument("--dead", type=float, default=1.0, help="time without events after one [s]")
    parser.add_argument("--block", type=float, default=10e-3, help="length of a block [s]")
    parser.add_argument("--fast", action="store_true", help="do not wait for the time of a block")
    options = parser.parse_args()
    if not 0 < options.block <= MAX_RECORDING_SECONDS:
        sys.exit(f"live.py: --block: expected a time above 0 [s], got {options.block:g}.")
    if not 0 < options.average < math.inf:
        sys.exit(f"live.py: --average: expected a time above 0 [s], got {options.average:g}.")
    try:
        run = load(options.run)
        run.stream()  # the error of a run that cannot be applied to live sound
        if run.task.name != "classification" and run.decision is None:
            sys.exit(
                f"live.py: {options.run} has no class for each recording and detects no events, "
                "expected one of both."
            )
        for name in options.background:
            if name not in run.classes:
                sys.exit(
                    f"live.py: --background: got {name}, expected one of {', '.join(run.classes)}."
                )
        samples, rate = read_sound(options.sound)
        length = max(1, round(options.block * rate))
        blocks = [samples[start : start + length] for start in range(0, len(samples), length)]
        detector = Detector(
            run, options.background, options.average, options.threshold, options.dead
        )
        listen(run, detector, blocks if options.fast else play(blocks, rate), rate)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"live.py: {error}")


def play(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Yield each block when its last sample would have been recorded."""
    began = time.perf_counter()
    played = 0
    for block in blocks:
        played += len(block)
        time.sleep(max(0.0, began + played / rate - time.perf_counter()))
        yield block


def listen(run: TrainedRun, detector: "Detector", blocks: Iterable[Samples], rate: int) -> None:
    """Print the events of a sound in blocks and, at its end, how many there were."""
    first = warm_up(run, rate)
    stream = run.stream(rate)
    n_samples = 0
    latencies: list[float] = []

    def detect(scores: Scores, began: float) -> None:
        detector.detect(scores)
        latencies.append(time.perf_counter() - began)

    with suppress(KeyboardInterrupt):  # Ctrl-C ends the sound of a microphone
        for block in blocks:
            began = time.perf_counter()
            n_samples += len(block)
            detect(stream.push(block), began)
    if not n_samples:
        return
    detect(stream.finish(), time.perf_counter())

    seconds = n_samples / rate
    count = detector.events
    print(f"{count} events in {seconds:.2f} s, {3600 * count / seconds:,.0f} per hour")
    computing = sum(latencies)
    print(f"real-time factor {computing / seconds:.3f} ({computing:.3f} s for {seconds:.2f} s)")
    print(f"first block, before the sound: {1e3 * first:.0f} ms")
    middle, high = 1e3 * np.quantile(latencies, [0.5, 0.99])
    print(f"computing time of a block: p50 {middle:.3f} ms, p99 {high:.3f} ms")


def warm_up(run: TrainedRun, rate: int) -> float:
    """Run a block of silence, which loads libraries and kernels; return how long it took [s]."""
    began = time.perf_counter()
    run.stream(rate).finish()
    return time.perf_counter() - began


class Detector:
    """Events by the mean of a net's outputs over the last steps.

    Args:
        run: The run of the net, for a class per recording.
        background: Classes that are not events.
        average: Length of the mean [s].
        threshold: Probability of a class from which it is an event.
        dead: Time after an event in which there is no other [s].

    Attributes:
        events: Number of events.
    """

    def __init__(
        self,
        run: TrainedRun,
        background: Iterable[str] = (),
        average: float = 0.8,
        threshold: float = 0.95,
        dead: float = 1.0,
    ) -> None:
        assert run.step_seconds is not None
        self.run = run
        self.threshold = threshold
        self.dead = dead
        self.events = 0
        self._is_event = torch.tensor([name not in background for name in run.classes])
        self._n_steps = max(1, round(average / run.step_seconds))
        self._last_steps: deque[torch.Tensor] = deque(maxlen=self._n_steps)
        self._last = -math.inf
        self._decisions = None if run.decision is None else DecisionStream(run.decision)

    def detect(self, scores: Scores) -> None:
        """Print the events of the next steps."""
        if self._decisions is not None:
            detections = self._decisions.push(event_scores(scores.values), scores.times)
            self.events += len(detections)
            for name, seconds, score in detections:
                print(f"{seconds:7.2f} s  {name:12} {score:4.1f}", flush=True)
            return

        for values, seconds in zip(torch.from_numpy(scores.values), scores.times, strict=True):
            self._last_steps.append(values)
            if len(self._last_steps) < self._n_steps or seconds - self._last < self.dead:
                continue

            # The score of a recording is the mean of the scores of its steps.
            mean = torch.stack(tuple(self._last_steps)).mean(dim=0)
            probability, best = (self.run.task.probabilities(mean) * self._is_event).max(dim=0)
            if probability >= self.threshold:
                self.events += 1
                self._last = seconds
                name = self.run.classes[best]
                print(f"{seconds:7.2f} s  {name:12} {probability:4.0%}", flush=True)


if __name__ == "__main__":
    main()
