"""Running metrics against one pass over all batches."""

import copy
import pickle
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nwavesdk.metrics
from nwavesdk.metrics import SpikeAccuracy, SpikeAccuracyPopulation, accuracy, accuracy_population


def draw(seed, sizes, outputs, classes):
    generator = torch.Generator().manual_seed(seed)
    spk = (torch.rand(sum(sizes), 6, outputs, generator=generator) < 0.3).float()
    return spk, torch.randint(0, classes, (sum(sizes),), generator=generator)


@settings(deadline=None, max_examples=25)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=5), st.integers(0, 999))
def test_unequal_batches_give_what_one_batch_gives(sizes, seed):
    spk, targets = draw(seed, sizes, 6, 3)
    single, grouped = SpikeAccuracy(), SpikeAccuracyPopulation(num_classes=3)
    for x, y in zip(spk.split(sizes), targets.split(sizes), strict=True):
        single.update(x, y)
        grouped.update(x, y)
    assert single.compute() == accuracy(spk, targets)
    assert grouped.compute() == accuracy_population(spk, targets, 3)


def test_counts_equal_those_worked_by_hand_also_after_a_reset():
    metric = SpikeAccuracy()
    metric.update(torch.eye(3)[:, None], torch.tensor([0, 1, 0]))
    metric.update(torch.eye(3)[:1, None], torch.tensor([2]))
    assert metric.compute().item() == 0.5
    assert metric(torch.eye(3)[:, None], torch.tensor([0, 1, 2])) == 1  # of this batch
    assert metric.compute().item() == pytest.approx(5 / 7)
    metric.reset()
    metric.update(torch.eye(3)[:1, None], torch.tensor([2]))
    assert metric.compute() == 0


def test_padding_is_not_counted():
    lengths = torch.tensor([2, 6, 1, 4, 3])
    spk, targets = draw(1, [5], 6, 3)
    expected = accuracy(spk, targets, lengths), accuracy_population(spk, targets, 3, lengths)
    metrics = SpikeAccuracy(), SpikeAccuracyPopulation(3)
    for metric, share in zip(metrics, expected, strict=True):
        metric.update(spk[:2], targets[:2], lengths[:2])
        metric.update(spk[2:], targets[2:], lengths[2:])
        assert metric.compute() == share
        assert metric(spk, targets, lengths) == share
        metric.reset()
        metric.update(spk, targets)
        assert metric.compute() != share  # padding has spikes that matter


def test_two_processes_add_up():
    halves = [SpikeAccuracyPopulation(3), SpikeAccuracyPopulation(3)]
    spk, targets = draw(0, [5, 2], 6, 3)
    for metric, x, y in zip(halves, spk.split([5, 2]), targets.split([5, 2]), strict=True):
        metric.update(x, y)
    for name, how in halves[0]._reductions.items():
        setattr(halves[0], name, how(torch.stack([getattr(metric, name) for metric in halves])))
    assert halves[0].compute() == accuracy_population(spk, targets, 3)


def test_a_copy_and_a_pickle_keep_the_counts():
    metric = SpikeAccuracyPopulation(2)
    metric.update(torch.ones(3, 2, 4), torch.tensor([0, 0, 1]))
    for twin in (copy.deepcopy(metric), pickle.loads(pickle.dumps(metric))):
        assert twin.compute().item() == pytest.approx(2 / 3)


def test_errors_name_what_is_wrong():
    with pytest.raises(ValueError, match=r"shape \(4, 5\), expected \[B, T, outputs\]"):
        SpikeAccuracy().update(torch.zeros(4, 5), torch.zeros(4))
    with pytest.raises(ValueError, match="6 output neurons cannot be split into 4 equal groups"):
        SpikeAccuracyPopulation(4).update(torch.zeros(2, 3, 6), torch.zeros(2))
    with pytest.raises(ValueError, match="num_classes must be a whole number of at least 1, got 0"):
        SpikeAccuracyPopulation(0)
    with (
        pytest.warns(UserWarning, match="before the ``update`` method"),
        pytest.raises(
            RuntimeError, match=r"SpikeAccuracy has no batch: call update\(spk, targets\)"
        ),
    ):
        SpikeAccuracy().compute()
    with pytest.raises(
        AttributeError, match="module 'nwavesdk.metrics' has no attribute 'nonsense'"
    ):
        _ = nwavesdk.metrics.nonsense


def test_without_torchmetrics_the_error_names_the_extra(monkeypatch):
    monkeypatch.delitem(sys.modules, "nwavesdk.metrics.running")
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"torchmetrics is not installed: pip install '\.\[train\]'"
    ):
        _ = nwavesdk.metrics.SpikeAccuracy
