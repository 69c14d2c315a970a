"""Progress on standard error: one line on a terminal, a bounded number of lines elsewhere."""

import sys
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule
from torch import nn

from nwavesdk.train import Run, RunConfig
from nwavesdk.train.config.learning import LearningConfig
from nwavesdk.train.fit.progress import N_LINES, History


def history_of(folder: Path, **learning: Any) -> History:
    task: Any = SimpleNamespace(score="accuracy", batch_score_name="accuracy")
    return History(folder / "metrics.csv", task, LearningConfig(**learning))


def printed_epochs(text: str) -> list[int]:
    return [int(line.split()[1].split("/")[0]) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("n_epochs", "first", "last"), [(3, 1, 3), (20, 1, 20), (188, 1, 188), (188, 101, 163)]
)
def test_a_log_gets_at_most_twenty_lines_and_the_first_and_the_last_epoch(
    n_epochs: int, first: int, last: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """From `first`, where a run is resumed, to `last`, where its patience ends it."""
    history = history_of(tmp_path)
    names = ("train_loss", "train_accuracy", "train_rate", "val_loss", "val_accuracy")
    trainer: Any = SimpleNamespace(
        max_epochs=n_epochs,
        progress_bar_callback=None,
        callback_metrics=dict.fromkeys(names, torch.tensor(0.5)),
        optimizers=[SimpleNamespace(param_groups=[{"lr": 0.1}])],
    )
    for epoch in range(first, last + 1):
        trainer.current_epoch = epoch - 1
        history.on_train_epoch_start()
        history.on_train_epoch_end(trainer, LightningModule())
    history.on_train_end(trainer, LightningModule())
    epochs = printed_epochs(capsys.readouterr().err)
    assert epochs == sorted(set(epochs))
    assert (epochs[0], epochs[-1]) == (first, last)
    assert len(epochs) <= N_LINES + 2
    # Evenly spaced, apart from the first and the last.
    assert len({after - before for before, after in pairwise(epochs[1:-1])}) <= 1
    if n_epochs <= N_LINES:
        assert len(epochs) == n_epochs


@pytest.mark.usefixtures("without_report")
def test_a_terminal_gets_one_line_that_is_rewritten(
    choices: dict[str, Any],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "120")
    Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    text = capsys.readouterr().err
    assert "Validation" not in text
    (line,) = [line for line in text.split("\n") if "validation loss" in line]
    assert line.split("\r")[-1].startswith("epoch   3/3  loss ")
    rewritten = [part for part in text.split("\r") if part.startswith("epoch 3/3")]
    assert any("val_accuracy=" in part and "loss=" in part for part in rewritten)


@pytest.mark.parametrize(("keep", "kept"), [("best", 1), ("last", 2)])
def test_the_best_or_the_last_epoch_is_kept(keep: str, kept: int, tmp_path: Path) -> None:
    history = history_of(tmp_path, keep=keep)
    module = LightningModule()
    module.register_parameter("weight", nn.Parameter(torch.zeros(1)))
    names = ("train_loss", "train_accuracy", "train_rate", "val_loss", "val_accuracy")
    optimizers = [SimpleNamespace(param_groups=[{"lr": 0.1}])]
    trainer: Any = SimpleNamespace(
        max_epochs=3, progress_bar_callback=None, optimizers=optimizers, should_stop=False
    )
    for epoch, accuracy in enumerate((0.5, 0.9, 0.7)):
        nn.init.constant_(module.weight, epoch)
        trainer.current_epoch = epoch
        values = dict.fromkeys(names, torch.tensor(1.0))
        trainer.callback_metrics = {**values, "val_accuracy": torch.tensor(accuracy)}
        history.on_train_epoch_end(trainer, module)
    assert history.kept_index == kept
    assert history.weights["weight"].item() == kept
