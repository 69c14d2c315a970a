"""Precisions: what computes in them, that nets learn, and what a device does not have."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from cli.command import nwave
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.config.learning import MachineConfig
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.machine import trainer_of
from train.runs import Choices, model_bytes, read_checkpoint, stop_after

HALF = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@pytest.mark.usefixtures("without_report")
@pytest.mark.parametrize("precision", HALF)
def test_a_run_in_16_bits_learns_and_resumes(
    precision: str, choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices["machine"]["precision"] = precision
    products, train_batch = set(), Learner.training_step

    def training_step(self: Any, batch: Any, batch_idx: int) -> Any:
        products.add((self.net[0](batch.x.float()).dtype, self.net[0].weight.dtype))
        return train_batch(self, batch, batch_idx)

    whole = Run.new(tmp_path / "whole", RunConfig.of(choices))
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "training_step", training_step)
        result = whole.train()
    assert products == {(HALF[precision], torch.float32)}
    assert result["test_accuracy"] > 0.8  # three tones in noise: chance is 0.33
    if precision == "bf16-mixed":  # a run resumes as one in 32 bits does
        return
    stop_after(Run.new(tmp_path / "broken", RunConfig.of(choices)), 2)
    checkpoint = read_checkpoint(tmp_path / "broken")
    assert checkpoint["MixedPrecision"]["scale"] > 1
    Run.open(tmp_path / "broken").train()
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")


def test_a_precision_that_a_device_does_not_have_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trainer_of(MachineConfig(accelerator="cpu", precision="bf16-mixed"), logger=False)
    kind = "nwavesdk.train.fit.machine._device_kind"
    monkeypatch.setattr(kind, lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    words = r"precision: got 'bf16-mixed', which this GPU \(cuda\) does not have: use --precision"
    with pytest.raises(ValueError, match=words):
        trainer_of(MachineConfig(precision="bf16-mixed"), logger=False)
    trainer_of(MachineConfig(precision="64-true"), logger=False)

    monkeypatch.setattr(kind, lambda _: "mps")
    with pytest.raises(
        ValueError, match=r"'64-true', which this GPU \(mps\) does not have: use --precision 32"
    ):
        trainer_of(MachineConfig(precision="64-true"), logger=False)


def test_a_run_does_not_go_on_where_its_precision_is_missing(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices["machine"] |= {"precision": "bf16-mixed", "accelerator": "auto"}
    if torch.cuda.is_available():
        pytest.skip("the run would begin on the GPU")
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    monkeypatch.setattr("nwavesdk.train.fit.machine._device_kind", lambda _: "cuda")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)
    with pytest.raises(ValueError, match=r"this GPU \(cuda\) does not have"):
        run.train()
    result = nwave("train", "--out", tmp_path / "run", "--resume")
    assert result.exit_code == 2
    assert "--precision: got 'bf16-mixed', which this GPU (cuda) does not have" in result.stderr
