"""A trained run decides while a sound plays, one time step of the net after the other.

    nwave train --out runs/words --data FOLDER --net lif --level as_is --no-center
    python examples/live.py runs/words FOLDER/yes/1.wav

The file is played in real time, silently; `--fast` does not wait. Each change of the decision is
printed with the time in the sound. The net decides as in training, by the spikes of each class
since the beginning of the recording, so its last decision is that of `nwave eval`. A sound that is
longer than nine of ten recordings of the run is several recordings, one after the other, each from
rest. `--window` sets another length of these; `--window inf` makes the sound one recording.

`listen` takes any source of blocks. For a microphone, with the package sounddevice:

    def microphone(rate):
        with sounddevice.InputStream(rate, rate // 100, channels=1, dtype="float32") as device:
            while True:
                yield device.read(rate // 100)[0][:, 0]

    listen(run, microphone(run.sample_rate), run.sample_rate)
"""

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nwavesdk.data import decode
from nwavesdk.data.decoding import MOST_SECONDS, Samples, read_recording
from nwavesdk.layers import prepare_net
from nwavesdk.metrics import population_counts
from nwavesdk.train import TrainedRun, load


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, help="folder of a run for live sound")
    parser.add_argument("sound", type=Path, help="a wav of any sample rate")
    parser.add_argument("--block", type=float, default=10e-3, help="length of a block [s]")
    parser.add_argument("--window", type=float, help="length of a recording [s]; that of the run")
    parser.add_argument("--fast", action="store_true", help="do not wait for the time of a block")
    options = parser.parse_args()
    if not 0 < options.block <= MOST_SECONDS:
        sys.exit(f"live.py: --block: expected a time above 0 [s], got {options.block:g}.")
    if options.window is not None and not options.window > 0:
        sys.exit(f"live.py: --window: expected a time above 0 [s], got {options.window:g}.")
    try:
        run = load(options.run)
        run.stream()  # the error of a run that cannot be applied to live sound
        if run.task.name != "classification":
            sys.exit(f"live.py: {options.run} has no class for each recording, expected one.")
        if options.window is not None:
            run = replace(run, steps=steps_of(run, options.window))
        samples, rate = decode(options.sound, read_recording(options.sound, MOST_SECONDS))
        length = max(1, round(options.block * rate))
        blocks = [samples[start : start + length] for start in range(0, len(samples), length)]
        listen(run, blocks if options.fast else play(blocks, rate), rate)
    except (ValueError, OSError, ModuleNotFoundError) as error:
        sys.exit(f"live.py: {error}")


def steps_of(run: TrainedRun, seconds: float) -> int | None:
    """The steps of a recording of some length [s]; None if it has no end."""
    if math.isinf(seconds):
        return None
    assert run.frame_seconds is not None
    return run.hold * max(1, round(seconds / run.frame_seconds))


def play(blocks: Iterable[Samples], rate: int) -> Iterator[Samples]:
    """Yield each block when its last sample would have been recorded."""
    began = time.perf_counter()
    played = 0
    for block in blocks:
        played += len(block)
        time.sleep(max(0.0, began + played / rate - time.perf_counter()))
        yield block


@torch.inference_mode()
def listen(run: TrainedRun, blocks: Iterable[Samples], rate: int) -> None:
    """Print the decisions on a sound in blocks and, at its end, how long they took."""
    first = warm_up(run, rate)
    stream = run.stream(rate)
    decision = Decision(run)
    heard = 0
    computing = 0.0
    with suppress(KeyboardInterrupt):  # Ctrl-C ends the sound of a microphone
        for block in blocks:
            began = time.perf_counter()
            heard += len(block)
            for x in stream.push(block):
                decision.step(x, heard / rate)
            computing += time.perf_counter() - began
    if not heard:
        return
    began = time.perf_counter()
    for x in stream.finish():
        decision.step(x, heard / rate)
    decision.finish(heard / rate)
    computing += time.perf_counter() - began

    seconds = heard / rate
    print(f"real-time factor {computing / seconds:.3f} ({computing:.3f} s for {seconds:.2f} s)")
    middle, high = 1e3 * np.quantile(decision.latencies, [0.5, 0.99])
    print(f"first step, before the sound: {1e3 * first:.0f} ms")
    print(f"latency of a step: p50 {middle:.3f} ms, p99 {high:.3f} ms")


def warm_up(run: TrainedRun, rate: int) -> float:
    """Run one step of silence, which loads libraries and kernels; return how long it took [s]."""
    began = time.perf_counter()
    prepare_net(run.net)
    run.net(run.stream(rate).finish()[0])
    return time.perf_counter() - began


class Decision:
    """The decision of a net about a recording, step by step.

    Args:
        run: The run of the net.

    Attributes:
        latencies: The time that each step took [s].
    """

    def __init__(self, run: TrainedRun) -> None:
        self.run = run
        self.latencies: list[float] = []
        self.steps = 0
        self.counts = torch.zeros(1, len(run.classes))
        self.printed = -1

    def step(self, x: torch.Tensor, seconds: float) -> None:
        """Run one step; print the decision if it changes, and at the end of a whole recording.

        Args:
            x: Input of the net, `[1, F]`.
            seconds: Time in the sound [s].
        """
        began = time.perf_counter()
        if self.steps == 0:
            prepare_net(self.run.net)
        spk, _ = self.run.net(x)
        self.counts += population_counts(spk[:, None], len(self.run.classes))
        best = int(self.counts.argmax())
        self.latencies.append(time.perf_counter() - began)
        self.steps += 1
        if self.steps == self.run.steps:
            self.finish(seconds)
        elif self.counts.any() and best != self.printed:
            self._print(seconds, "")
            self.printed = best

    def finish(self, seconds: float) -> None:
        """Print the decision at the end of a recording, if one has begun.

        Args:
            seconds: Time in the sound [s].
        """
        if self.steps:
            self._print(seconds, ", end of the recording")
        self.steps = 0
        self.counts.zero_()
        self.printed = -1

    def _print(self, seconds: float, end: str) -> None:
        best = int(self.counts.argmax())
        spikes = int(self.counts.sum())
        share = f"{self.counts[0, best] / max(1, spikes):4.0%} of {spikes} spikes"
        print(f"{seconds:7.2f} s  {self.run.classes[best]:12} {share}{end}", flush=True)


if __name__ == "__main__":
    main()
