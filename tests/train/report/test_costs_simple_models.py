"""Scores of simple models on data of which they are known."""

import numpy as np
import pytest

from nwavesdk.data import NetInput, Series
from nwavesdk.data.recordings import Recordings, Standard
from nwavesdk.data.recordings import standardized as standardize
from nwavesdk.train.report.costs import simple_scores

F = 4


def series_of(frames, labels=None, targets=(), task="classification"):
    recordings = Recordings(
        frames=tuple(frame.astype(np.float32) for frame in frames),
        labels=np.zeros(len(frames), np.int64) if labels is None else np.asarray(labels),
        classes=("a", "b") if task != "regression" else (),
        keys=tuple(map(str, range(len(frames)))),
        fingerprint="0" * 64,
        task=task,
        targets=targets,
    )
    standard = Standard(np.zeros(F, np.float32), np.ones(F, np.float32))
    return Series(recordings, NetInput(standard=standard))


def noise(count, seed, steps=30):
    return list(np.random.default_rng(seed).normal(size=(count, steps, F)))


def classes(count, seed):
    """Class b has a larger deviation in one feature; its mean says nothing."""
    labels = (np.arange(count) % 4 == 0).astype(np.int64)
    frames = noise(count, seed)
    for frame, label in zip(frames, labels, strict=True):
        frame[:, 1] *= 1 + 2 * label
    return series_of(frames, labels)


def test_a_linear_classifier_sees_deviations():
    scores = simple_scores(classes(80, 0), classes(20, 1), classes(40, 2), "classification")
    assert scores == {"majority_accuracy": 0.75, "linear_accuracy": 1.0}


@pytest.mark.parametrize("standardized", [False, True])
def test_rounding_errors_say_nothing(standardized):
    """Class b is longer; means and deviations have other rounding errors then."""
    labels = np.arange(40) % 2
    frames = [np.full((20 + 7 * label, F), -15.2) for label in labels]
    if standardized:
        waves = [np.sin(np.arange(20 + 7 * label))[:, None].repeat(F, 1) for label in labels]
        frames = [standardize(wave.astype(np.float32)) for wave in waves]
    series = series_of(frames, labels)
    assert simple_scores(series, series, series, "classification")["linear_accuracy"] == 0.5


def test_more_inputs_than_recordings_are_solved_too():
    few = classes(6, 0)
    assert simple_scores(few, few, few, "classification")["linear_accuracy"] == 1


def test_unlabeled_steps_do_not_count():
    frames = noise(6, 0)
    labels = [(frame[:, 2] > 0).astype(np.int64) for frame in frames]
    for target, frame in zip(labels, frames, strict=True):
        target[::3] = -1
        frame[::3] = 1e3
    series = series_of(frames, targets=labels, task="labels")
    scores = simple_scores(series, series, series, "labels")
    assert scores["linear_accuracy"] > 0.9
    assert 0.4 < scores["majority_accuracy"] < 0.6


def test_a_linear_target_has_an_r2_of_one():
    frames = noise(6, 0)
    targets = [(frame[:, :2] * 3 + 1).astype(np.float32) for frame in frames]
    series = series_of(frames, targets=targets, task="regression")
    assert simple_scores(series, series, series, "regression") == {
        "linear_r2": pytest.approx(1, abs=1e-4)
    }
