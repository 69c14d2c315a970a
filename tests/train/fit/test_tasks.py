"""Tasks: losses by hand, padding, class weights, measures of batches, and predictions."""

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from nwavesdk.data import NetInput, Recordings, Series, Standard
from nwavesdk.data.source import TaskName
from nwavesdk.loss import rate_cross_entropy, rate_logits
from nwavesdk.metrics import correlation, mse, r2
from nwavesdk.presets import PresetName
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.tasks import (
    TASKS,
    ClassDecoder,
    Classification,
    Regression,
    StepLabels,
    class_counts,
    task_of,
)

LABELS = StepLabels(sample_config("lif", (16,), 3, task="labels"))
TARGETS = Standard(np.array([5.0, -1.0], np.float32), np.array([2.0, 0.5], np.float32))
REGRESSION = Regression(sample_config("lif", (16,), 2, task="regression"), targets=TARGETS)
LENGTHS = torch.tensor([7, 3])


def values_of(seed: int = 0, T: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(2, T, 2, generator=generator)
    y = 5 + 2 * torch.randn(2, T, 2, generator=generator)
    return outputs, y


def series_of(task: Any, targets: tuple[Any, ...], n_classes: int) -> Series:
    frames = tuple(np.zeros((len(target), 1), np.float32) for target in targets)
    classes = tuple("abcdef"[:n_classes])
    keys = tuple(map(str, range(len(targets))))
    labels = np.zeros(len(targets), np.int64)
    recordings = Recordings(
        frames, labels, classes, keys, fingerprint="", task=task, targets=targets
    )
    scale = Standard(np.zeros(1, np.float32), np.ones(1, np.float32))
    return Series(recordings, NetInput(standard=scale))


@pytest.mark.parametrize("task", sorted(TASKS))
@pytest.mark.parametrize("net", ["lif", "chip", "conv"])
def test_a_task_has_the_output_layer_of_its_run(task: TaskName, net: PresetName) -> None:
    has_population = net == "chip" or (net == "lif" and task == "classification")
    options = {"population": 4} if has_population else {}
    of_run = task_of(sample_config(net, (16,), 2, task=task, **options))
    assert of_run.n_outputs == 2
    assert of_run.is_readout == (not has_population)
    assert of_run.config.is_layered == (net != "conv")
    assert of_run.n_neurons == (8 if has_population else 2)


def test_the_loss_of_classes_is_that_of_the_rates() -> None:
    spk, y = (torch.rand(6, 10, 12) < 0.2).float(), torch.randint(0, 3, (6,))
    task = Classification(sample_config("lif", (16,), 3, population=4))
    outputs = task.decoder()(spk, spk)
    assert torch.equal(task.loss(outputs, y), rate_cross_entropy(spk, y, 3, 25.0))


def test_only_labeled_steps_count() -> None:
    outputs = torch.randn(2, 7, 3)
    y = torch.randint(0, 3, (2, 7))
    y[1, 3:] = -1
    is_labeled = y >= 0
    expected = cross_entropy(outputs[is_labeled], y[is_labeled])
    assert torch.equal(LABELS.loss(outputs, y, LENGTHS), expected)
    tally = LABELS.tally(outputs, y, LENGTHS)
    assert tally.sum() == 10
    changed = outputs.clone()
    changed[1, 3:] = torch.nan
    assert torch.equal(LABELS.loss(changed, y, LENGTHS), expected)
    score, weight = LABELS.batch_score(outputs, y, LENGTHS)
    assert weight == 10
    assert score.item() == pytest.approx(LABELS.measures(tally)["accuracy"])
    unlabeled = LABELS.loss(outputs.requires_grad_(), torch.full((2, 7), -1), LENGTHS)
    unlabeled.backward()  # type: ignore[no-untyped-call]  # torch does not type it
    assert unlabeled == 0


def test_rare_classes_weigh_more() -> None:
    labels = tuple(np.array([0] * 6 + [1] * 3 + [-1] * 5, np.int64) for _ in range(2))
    train = series_of("labels", labels, 3)
    assert class_counts(train, 3).tolist() == [12, 6, 0]
    assert LABELS.fitted(train) is LABELS
    balanced = LABELS.fitted(train, is_balanced=True)
    assert balanced.weights == (0.5, 1.0, 0.0)  # n / (C n_c), 0 for a class that is missing
    assert balanced.score == "balanced_accuracy"
    outputs, y = torch.randn(1, 2, 3), torch.tensor([[0, 1]])
    each = cross_entropy(outputs[0], y[0], reduction="none")
    expected = (0.5 * each[0] + 1.0 * each[1]) / 2
    assert balanced.loss(outputs, y).item() == pytest.approx(expected.item())


def test_values_are_learned_without_units() -> None:
    outputs, y = values_of()
    standard = (y - torch.tensor([5.0, -1.0])) / torch.tensor([2.0, 0.5])
    valid = torch.cat([outputs[0] - standard[0], outputs[1, :3] - standard[1, :3]])
    loss = REGRESSION.loss(outputs, y, LENGTHS)
    assert loss.item() == pytest.approx(valid.square().mean().item())
    predicted = REGRESSION.predict(outputs)
    measures = REGRESSION.measures(REGRESSION.tally(outputs, y, LENGTHS))
    for name, measure in (("r2", r2), ("mse", mse), ("correlation", correlation)):
        expected = measure(predicted, y, LENGTHS).mean().item()
        assert measures[name] == pytest.approx(expected, rel=1e-5)


def test_the_mean_batch_score_is_r2_of_the_training_set() -> None:
    targets = tuple(values_of(seed)[1][0].numpy() for seed in range(3))
    task = REGRESSION.fitted(series_of("regression", targets, 0))
    outputs = torch.stack([values_of(seed)[0][0] for seed in range(3)])
    y = torch.from_numpy(np.stack(targets))
    scores = [task.batch_score(outputs[k : k + 1], y[k : k + 1]) for k in range(3)]
    mean = sum(score.item() * weight for score, weight in scores) / sum(w for _, w in scores)
    assert mean == pytest.approx(task.measures(task.tally(outputs, y))["r2"], rel=1e-4)


def test_the_scale_is_that_of_all_steps() -> None:
    targets = (np.array([[1.0], [3.0]], np.float32), np.array([[8.0]], np.float32))
    scale = REGRESSION.fitted(series_of("regression", targets, 0)).targets
    assert scale is not None
    assert scale.mean.tolist() == [4.0]
    assert scale.deviation.tolist() == pytest.approx([np.std([1, 3, 8])])


def spikes(B: int, T: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return (torch.rand(B, T, 6, generator=generator) < 0.3).float()


def test_scores_of_each_step_are_averaged_over_valid_steps() -> None:
    scores = torch.randn(2, 5, 3)
    decoder = ClassDecoder(3, 25.0, takes_scores=True)
    got = decoder(scores, scores, torch.tensor([5, 2]))
    torch.testing.assert_close(got, torch.stack([scores[0].mean(0), scores[1, :2].mean(0)]))
    torch.testing.assert_close(decoder(scores, scores), scores.mean(1))
    decision = scores[:, 0]
    assert decoder(decision, decision) is decision
    spk = spikes(2, 30)
    assert torch.equal(decoder(spk, 0 * spk), rate_logits(spk, 3, 25.0))


def test_padding_does_not_change_logits() -> None:
    spk = spikes(3, 12)
    lengths = torch.tensor([12, 5, 8])
    padded = torch.cat([spk, torch.ones(3, 4, 6)], dim=1)
    for row, length in enumerate(lengths.tolist()):
        padded[row, length:] = 1
    got = ClassDecoder(3, 25.0)(padded, padded, lengths)
    for row, length in enumerate(lengths.tolist()):
        alone = rate_logits(spk[row : row + 1, :length], 3, 25.0)
        torch.testing.assert_close(got[row : row + 1], alone)
    full = torch.full((3,), 12)
    torch.testing.assert_close(rate_logits(spk, 3, 25.0, full), rate_logits(spk, 3, 25.0))
