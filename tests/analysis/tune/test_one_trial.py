"""The default trial: its files, its end, its continuation to the same bits, and its checks."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from analysis.tune.nets import build
from nwavesdk.analysis.tune.one_trial import (
    evaluate_best,
    read_course,
    train_one_trial,
)
from nwavesdk.internal.files import FileError


class StopError(Exception):
    """What ends a trial between two epochs."""


@pytest.fixture
def config(wrapper_config: dict[str, Any]) -> dict[str, Any]:
    return {**wrapper_config, "model.hidden": 8, "optim.lr": 0.02, "trainer.epochs": 4}


def test_a_stopped_trial_continues_to_the_same_bits(config: dict[str, Any], tmp_path: Path) -> None:
    config |= {"sched.name": "one_cycle", "loss.topology": 0.1, "trainer.clip": 1.0}
    whole: list[int] = []
    score = train_one_trial(config, build, tmp_path / "a", lambda epoch, _: whole.append(epoch))
    assert whole == [1, 2, 3]  # the last epoch is the end of the trial
    course = read_course(tmp_path / "a")
    assert (len(course), max(course)) == (4, score)

    def stop(epoch: int, _: float) -> None:
        if epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        train_one_trial(config, build, tmp_path / "b", stop)
    assert train_one_trial(config, build, tmp_path / "b") == score
    for name in ("course.json", "best.pt", "last.pt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert 0 <= evaluate_best(config, build, tmp_path / "a") <= 1


def test_the_best_epoch_is_kept(
    config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.2, 0.5, 0.5, 0.4])
    monkeypatch.setattr("nwavesdk.analysis.tune.one_trial._score", lambda *_: next(scores))
    assert train_one_trial(config, build, tmp_path) == 0.5
    assert torch.load(tmp_path / "best.pt", weights_only=True)["epoch"] == 2


@pytest.mark.parametrize(
    ("stop", "n_epochs"),
    [
        ({"early_stop.patience": 1}, 3),
        ({"early_stop.patience": 2}, 4),
        ({"early_stop.patience": 1, "early_stop.min_delta": 0.4}, 2),
        ({}, 4),
    ],
)
def test_patience_ends_a_trial(
    config: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    stop: dict[str, Any],
    n_epochs: int,
) -> None:
    scores = iter([0.2, 0.5, 0.5, 0.4])
    monkeypatch.setattr("nwavesdk.analysis.tune.one_trial._score", lambda *_: next(scores))
    train_one_trial({**config, **stop}, build, tmp_path)
    assert len(read_course(tmp_path)) == n_epochs


def test_a_loss_that_is_not_finite_ends_the_trial(config: dict[str, Any], tmp_path: Path) -> None:
    config |= {"optim.name": "sgd", "optim.lr": 1e3, "loss.weight_magnitude": 1e38}
    with pytest.raises(ValueError, match="the loss is .* in epoch 1: training diverged"):
        train_one_trial(config, build, tmp_path)


def test_a_damaged_state_is_an_error_with_the_remedy(
    config: dict[str, Any], tmp_path: Path
) -> None:
    config["trainer.epochs"] = 1
    train_one_trial(config, build, tmp_path)
    (tmp_path / "last.pt").write_bytes(b"x")
    with pytest.raises(FileError, match="last.pt is damaged .*remove the folder of the trial"):
        train_one_trial(config, build, tmp_path)
    (tmp_path / "course.json").write_text('{"scores": ["a"]}')
    with pytest.raises(FileError, match="does not hold the scores of a trial"):
        read_course(tmp_path)
