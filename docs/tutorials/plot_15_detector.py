"""
# 15. A net that listens

You will train a detector that listens to a stream and reports a doorbell, and see what makes it
different from a classifier: a score in each step, a decision, misses, false alarms and latency. The
sounds are made here, so that the page runs in seconds.
"""

# %%
# ## Why not a classifier?
#
# A classifier gets a recording that somebody has cut. Nearly all that a device in a hall hears is
# *nothing*. A net that is wrong about one of a thousand pieces of 0.1 s rings 36 times an hour for
# nobody. So a detector is measured by **misses**, the share of events that it does not report; by
# **false alarms per hour**; and by its **latency**, from the end of an event to its report.
#
# ## Sounds
#
# A bell is a high tone, then a low one. The background has noise, and low tones before high ones. A
# net that only knows the two pitches rings for both.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile

import nwavesdk as nw
from nwavesdk.metrics import DetectionScore, Event
from nwavesdk.train import Run

RATE = 8000
rng = np.random.default_rng(0)


def tones(*pitches):
    """Tones of 0.2 s that fade, a little out of tune."""
    t = np.arange(round(0.2 * RATE)) / RATE
    tune = rng.uniform(0.95, 1.05)
    return np.concatenate([np.sin(2 * np.pi * f * tune * t) * np.exp(-8 * t) for f in pitches])


def hall(seconds, n_wrong):
    """Noise of any loudness, with some bells that are the wrong way round."""
    sound = 0.02 * rng.uniform(0.3, 3) * rng.standard_normal(round(seconds * RATE))
    for start in rng.integers(0, len(sound) - RATE, n_wrong):
        sound[start : start + round(0.4 * RATE)] += 0.2 * tones(600, 900)
    return sound


# %%
# One folder for each event, and `background` for everything else. This name makes the run a
# detector. Recordings of events are short; background may have any length.

home = Path(tempfile.mkdtemp())
bells = [0.3 * tones(900, 600) for _ in range(40)]
halls = [hall(20, n_wrong=5) for _ in range(30)]
for name, sounds in {"bell": bells, "background": halls}.items():
    (home / "hall" / name).mkdir(parents=True)
    for index, sound in enumerate(sounds):
        soundfile.write(home / "hall" / name / f"{index}.wav", sound, RATE)

# %%
# ## Training
#
# Each epoch composes a new training set: bells at random places and levels in the
# background. The class of a step is `bell` for 0.3 s after a bell, because only then the net can
# know, and `background` elsewhere. On a shell this is
# `nwave train --data hall --out bell --epochs 8`.

choices = {"data": {"source": str(home / "hall")}, "learning": {"epochs": 8}}
run = Run.new(home / "bell", choices)
result = run.train()
print(f"misses {result['test_misses']:.0%}, latency {result['test_median_latency']:.3f} s")
print("false alarms per hour, 95 % interval:", result["test_false_alarms_interval"])

# %%
# Two minutes without a false alarm say little about an hour, which is why the interval is wide.
#
# ## Scores and a decision
#
# `stream()` takes samples in pieces of any length, as a microphone delivers them, and returns the
# outputs of the net. The score of an event is a log-odds: 0 means as likely as not. The decision
# averages scores, and reports an event when the average rises to a threshold. It was fitted on the
# validation stream, for at most 0.5 false alarms per hour, and is stored in the run.

trained = nw.train.load(home / "bell")
sound = hall(12, n_wrong=2)
events = [Event("bell", start, start + 0.4) for start in (3.0, 8.0)]
for event, bell in zip(events, bells, strict=False):
    start = round(event.start * RATE)
    sound[start : start + len(bell)] += bell
sound = sound.astype(np.float32)

stream = trained.stream()
pieces = np.split(sound, range(1000, len(sound), 1000))
values, times = map(np.concatenate, zip(*map(stream.push, pieces), strict=True))
score = values[:, 1] - values[:, 0]

figure, axes = plt.subplots(2, figsize=(8, 4), sharex=True, layout="constrained")
axes[0].plot(np.arange(len(sound)) / RATE, sound, linewidth=0.5)
axes[1].plot(times, score)
axes[1].axhline(trained.decision.threshold, color="tab:red", linestyle="--")
for event in events:
    axes[1].axvspan(event.start, event.end, color="tab:green", alpha=0.3)
axes[0].set_ylabel("samples")
axes[1].set(xlabel="time [s]", ylabel="score")

# %%
# Bells are green, the threshold is red. At the wrong tones the score stays low.
#
# ## Counting
#
# `detector()` joins both: samples in, detections out. `DetectionScore` counts as the test does.

detections = trained.detector().push(sound)
counted = DetectionScore.of(events, detections, seconds=len(sound) / RATE)
for detection in detections:
    print(f"{detection.name} at {detection.time:.2f} s, score {detection.score:.1f}")
print(f"misses {counted.misses:.0%}, false alarms {len(counted.false_alarms)}")

# %%
# **Exercise.** Add `"task": {"name": "detect", "false_alarms": 20}` to the choices. What happens to
# the latency? (A lower threshold is passed earlier, and by more that is no bell.)
# [Detect words and other events](../../how-to/detector.md) describes
# which sounds to record.
