"""The default trial: its files, its end, its continuation to the same bits, and its checks."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

pytest.importorskip("lightning")

from analysis.hpo.nets import Other, build
from nwavesdk.analysis.hpo.namespaces import read_trial_config
from nwavesdk.analysis.hpo.trial import (
    TrialObjective,
    build_model,
    evaluate_best,
    open_trial,
    train_one_trial,
)
from nwavesdk.internal.files import FileError
from nwavesdk.loss import tet_loss, topology_loss, weight_magnitude_loss
from nwavesdk.metrics import accuracy, r2
from train.runs import Choices

# Options of a trial that change each step of it.
OPTIONS = {
    "sched.name": "one_cycle",
    "loss.topology": 0.1,
    "trainer.clip": 1.0,
    "early_stop.patience": 3,
}


class StopError(Exception):
    """Ends a trial between two epochs."""


@pytest.fixture
def config(config: Choices) -> Choices:
    return {**config, "trainer.epochs": 4}


def scores_of(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open() as file:
        return [float(row["val_score"]) for row in csv.DictReader(file)]


def weights_of(folder: Path) -> list[Any]:
    """The weights of the last and of the best epoch, as lists, and the number of the best one."""
    last = torch.load(folder / "checkpoint.ckpt", weights_only=True)["state_dict"]
    best = torch.load(folder / "best.pt", weights_only=True)
    last = {name.removeprefix("net."): weight for name, weight in last.items()}
    weights = [{name: w.tolist() for name, w in state.items()} for state in (last, best["model"])]
    return [*weights, best["epoch"]]


def give_scores(monkeypatch: pytest.MonkeyPatch, *scores: float) -> None:
    """Give the epochs of a trial other scores on the validation set."""
    left = [*scores]

    def measures(_: object, tally: torch.Tensor) -> dict[str, float]:
        # Of a batch, the tally has fewer recordings than of the validation set.
        return {"score": left.pop(0) if tally.shape == () else 0.0}

    monkeypatch.setattr(TrialObjective, "measures", measures)
    monkeypatch.setattr(TrialObjective, "tally", lambda *_: torch.tensor(1.0))
    monkeypatch.setattr(TrialObjective, "batch_score", lambda *_: (torch.tensor(0.0), 1))


def test_a_stopped_trial_continues_to_the_same_bits(config: Choices, tmp_path: Path) -> None:
    config |= OPTIONS
    whole: list[tuple[int, float]] = []
    score = train_one_trial(config, build, tmp_path / "a", lambda *row: whole.append(row))
    scores = scores_of(tmp_path / "a")
    assert [*enumerate(scores[:3], 1)] == whole  # the last epoch is the end of the trial
    assert max(scores) == pytest.approx(score, rel=1e-5)

    def stop(epoch: int, _: float) -> None:
        if epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        train_one_trial(config, build, tmp_path / "b", stop)
    again: list[tuple[int, float]] = []
    assert train_one_trial(config, build, tmp_path / "b", lambda *row: again.append(row)) == score
    assert again == whole  # also the epochs before the stop
    assert weights_of(tmp_path / "b") == weights_of(tmp_path / "a")
    assert scores_of(tmp_path / "b") == scores
    assert 0 <= evaluate_best(config, build, tmp_path / "a") <= 1


@pytest.mark.parametrize(
    ("stop", "n_epochs"),
    [
        ({"early_stop.patience": 1}, 3),
        ({"early_stop.patience": 2}, 4),
        ({}, 4),
    ],
)
def test_the_best_epoch_is_kept_and_patience_ends_a_trial(
    config: Choices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: Choices,
    n_epochs: int,
) -> None:
    config |= stop
    scores = [0.2, 0.5, 0.4, 0.3]
    give_scores(monkeypatch, *scores)
    assert train_one_trial(config, build, tmp_path) == pytest.approx(0.5)
    assert scores_of(tmp_path) == pytest.approx(scores[:n_epochs])
    last, best, epoch = weights_of(tmp_path)
    assert (last != best, epoch) == (True, 2)
    # It ended before its folder was complete: the trial is not trained further.
    (tmp_path / "best.pt").unlink()
    give_scores(monkeypatch)
    assert train_one_trial(config, build, tmp_path) == pytest.approx(0.5)
    assert weights_of(tmp_path)[-1] == 2


def test_a_net_that_diverges_ends_the_trial(config: Choices, tmp_path: Path) -> None:
    config |= {"optim.name": "sgd", "optim.lr": 1e3, "loss.weight_magnitude": 1e6}
    with pytest.raises(RuntimeError, match="training diverged; lower the"):
        train_one_trial(config, build, tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.parametrize("schedule", ["none", "cosine"])
def test_optimizers_and_schedules(config: Choices, optimizer: str, schedule: str) -> None:
    config |= {"optim.name": optimizer, "sched.name": schedule, "optim.weight_decay": 0.1}
    config["trainer.clip"] = 0.5
    if optimizer == "sgd":
        config["optim.momentum"] = 0.5
    _, learner, _ = open_trial(config, build)
    assert (learner.draws_mismatch, learner.learning.clip) == (True, 0.5)

    groups = learner._parameter_groups()
    made: Any = learner.optimizer_of(groups)
    assert type(made).__name__.lower() == optimizer
    assert [(group["weight_decay"], group["lr"]) for group in groups] == [(0.1, 0.02)]
    assert optimizer != "sgd" or made.defaults["momentum"] == 0.5

    course: Any = learner.schedule_of(made, 4)
    rates = []
    for _ in range(4):
        rates.append(made.param_groups[0]["lr"])
        made.step()
        course.step()

    expected = [0.02] * 4
    if schedule == "cosine":
        expected = [
            0.01 * (1 + torch.tensor(step * torch.pi / 4).cos().item()) for step in range(4)
        ]
    assert rates == pytest.approx(expected)


def test_losses_on_weights_are_added(config: Choices) -> None:
    net = build({"hidden": 8})
    y, outputs = torch.tensor([0, 1]), torch.rand(2, 2, 5, 3)

    def loss(**weights: float) -> float:
        changes = {f"loss.{name}": weight for name, weight in weights.items()}
        trial = read_trial_config({**config, "loss.name": "tet", **changes})
        return TrialObjective(trial, net, 3).loss(outputs, y).item()

    assert loss() == pytest.approx(tet_loss(outputs[1], y).item())
    added = 2 * topology_loss(net) + 3 * weight_magnitude_loss(net)
    assert loss(topology=2, weight_magnitude=3) == pytest.approx(loss() + added.item())
    assert loss(mse_share=0.5) == pytest.approx(tet_loss(outputs[1], y, mse_share=0.5).item())


def test_the_score_is_that_of_the_metric(config: Choices) -> None:
    """The sums of two batches give the score of both together."""
    draw = torch.Generator().manual_seed(0)
    outputs = torch.rand(2, 6, 5, 3, generator=draw)
    classes = torch.randint(3, (6,), generator=draw)
    values = torch.rand(6, 5, 3, generator=draw)
    for changes, y, expected in (
        ({}, classes, accuracy(outputs[0], classes)),
        ({"loss.name": "mse", "data.task": "regression"}, values, r2(outputs[1], values).mean()),
    ):
        task = TrialObjective(read_trial_config({**config, **changes}), nn.Identity(), 3)
        tally = task.tally(outputs[:, :4], y[:4]) + task.tally(outputs[:, 4:], y[4:])
        assert task.measures(tally)["score"] == pytest.approx(expected.item(), abs=1e-6)


def test_the_seed_of_the_data_orders_the_batches(config: Choices, tmp_path: Path) -> None:
    for seed in (0, 1):
        train_one_trial({**config, "data.seed": seed}, build, tmp_path / str(seed))
    assert weights_of(tmp_path / "0") != weights_of(tmp_path / "1")


def test_damaged_files_and_another_config_are_errors(config: Choices, tmp_path: Path) -> None:
    config["trainer.epochs"] = 1
    train_one_trial(config, build, tmp_path)
    with pytest.raises(FileError, match="checkpoint.ckpt is damaged or .*with other choices"):
        train_one_trial({**config, "optim.lr": 0.1}, build, tmp_path)
    with pytest.raises(FileError, match="best.pt is damaged or not .*size mismatch"):
        evaluate_best(config, lambda _: build({"hidden": 9}), tmp_path)
    for file in ("best.pt", "checkpoint.ckpt"):
        (tmp_path / file).write_bytes(b"x")
    with pytest.raises(FileError, match="best.pt is damaged"):
        evaluate_best(config, build, tmp_path)
    with pytest.raises(FileError, match="checkpoint.ckpt is damaged"):
        train_one_trial(config, build, tmp_path)


@pytest.mark.parametrize("nwave", [{}, {"stddev": 0.1}])
def test_the_builder_gets_model_and_nwave(config: Choices, nwave: Choices) -> None:
    got = []

    def build_and_keep(model_cfg: Choices) -> nn.Module:
        got.append(model_cfg)
        return build(model_cfg)

    open_trial(config | {f"nwave.{key}": value for key, value in nwave.items()}, build_and_keep)
    assert got == [{"hidden": 8, **({"nwave": nwave} if nwave else {})}]


def fails(cfg: Choices) -> nn.Module:
    raise KeyError(cfg["hidden"])


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (lambda _: Other(lambda x: (x, x, x)), r"too many values.*\(spk, mem\), \[B, T, N\] each"),
        (lambda _: Other(lambda x: (x, None)), "NoneType"),
        (lambda _: Other(lambda x: x), r"shape \[5, 16\] and \[5, 16\].* N = 3, or a multiple"),
        (lambda _: Other(lambda x: (x[..., :3], x)), r"\[2, 5, 3\] and \[2, 5, 16\]"),
        (lambda _: Other(lambda x: (x[..., :6], x[..., :6])), 'name "accuracy_population"'),
        (lambda _: Other(lambda x: (x[:, 0, :3], x[:, 0, :3])), r"shape \[2, 3\] and"),
        (lambda _: Other(lambda x: x.nothing), "AttributeError"),
        (lambda _: 3, "expected a torch.nn.Module"),
        (fails, r"model_builder\({'hidden': 8}\) failed.*KeyError: 8"),
    ],
)
def test_other_builders_and_outputs_are_one_line(config: Choices, builder: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        build_model(builder, read_trial_config(config), torch.rand(2, 5, 16), 3)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("neurons", "fits"), [(3, True), (6, True), (4, False), (0, False)])
def test_populations_are_allowed_with_their_metric(
    config: Choices, neurons: int, fits: bool
) -> None:
    trial = read_trial_config({**config, "metric.name": "accuracy_population"})
    net = Other(lambda x: (x[..., :neurons], x[..., :neurons]))
    if fits:
        assert build_model(lambda _: net, trial, torch.rand(2, 5, 16), 3).training
        return
    with pytest.raises(ValueError, match="a multiple of it"):
        build_model(lambda _: net, trial, torch.rand(2, 5, 16), 3)


def test_a_net_of_other_modules_can_be_trained(config: Choices, tmp_path: Path) -> None:
    """Without a layer of this library, there are no spikes to count."""

    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.LazyLinear(3)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.linear(x).sigmoid(), self.linear(x)

    config |= {"loss.name": "membrane_cross_entropy", "trainer.epochs": 1}
    assert 0 <= train_one_trial(config, lambda _: Plain(), tmp_path) <= 1
