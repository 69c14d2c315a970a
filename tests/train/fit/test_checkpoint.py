"""The checkpoint: written and read back; damaged files are errors."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("safetensors")
pytest.importorskip("lightning")

from nwavesdk.internal.files import FileError, FileWriteError
from nwavesdk.train import BrokenRunError, Run, RunConfig
from nwavesdk.train.fit.checkpoint import read_checkpoint
from train.runs import stop_after


def test_a_checkpoint_that_would_run_code_is_rejected(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(FileError, match="Weights only load failed"):
        read_checkpoint(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def broken(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that breaks off after one epoch."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    net, learning = {"hidden": [4], "population": 1}, {"epochs": 2, "batch_size": 8}
    choices = {
        "data": {"source": str(tones), "bands": 4, "hold": 1},
        "net_file": "lif",
        "net": net,
        "learning": learning,
    }
    stop_after(Run.new(folder, RunConfig.of({**choices, "machine": {"accelerator": "cpu"}})), 1)
    return folder


@pytest.fixture(scope="module")
def checkpoint(broken: Path) -> bytes:
    return (broken / "checkpoint.ckpt").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_checkpoint_is_an_error(
    checkpoint: bytes, share: float, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint[: int(share * len(checkpoint))])
    with pytest.raises(
        FileError,
        match=r"checkpoint\.ckpt is damaged or not the checkpoint of this run .*begin a new run",
    ):
        read_checkpoint(file)


def test_a_checkpoint_with_a_wrong_bit_or_wrong_content_is_an_error(
    checkpoint: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint)
    state = read_checkpoint(file)["state_dict"]
    weights = state["net.0.weight"].numpy().tobytes()
    place = checkpoint.index(weights) + len(weights) // 2
    for content in (
        checkpoint[:place] + bytes([checkpoint[place] ^ 1]) + checkpoint[place + 1 :],
        b"\x80\x02.",
    ):
        file.write_bytes(content)
        with pytest.raises(FileError, match="is damaged"):
            read_checkpoint(file)
    torch.save({"weights": torch.zeros(2)}, file)
    with pytest.raises(
        FileError,
        match="callbacks, epoch, global_step, loops, lr_schedulers, optimizer_states, state_dict "
        "missing",
    ):
        read_checkpoint(file)
    with pytest.raises(FileError, match=r"none\.ckpt does not exist"):
        read_checkpoint(tmp_path / "none.ckpt")


def place_of(state: Any, place: str) -> tuple[Any, Any]:
    """The container of a value in a nested state, and its key."""
    *outer, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    for part in outer:
        state = state[part]
    return state, last


WEIGHT = "net.0.weight"
MOMENTS = "optimizer_states/0/state/0"
PROGRESS = "loops/fit_loop/epoch_progress/current"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        (f"state_dict/{WEIGHT}", torch.full((4, 4), torch.inf), "weight has values that are not f"),
        (
            f"state_dict/{WEIGHT}",
            torch.zeros(4, 4, dtype=torch.float16),
            "weight has size .*float16",
        ),
        # From torch 2.15 on, torch itself rejects it.
        (f"state_dict/{WEIGHT}", torch.zeros(4, 4).to_sparse(), "(not a dense|sparse) tensor"),
        (f"state_dict/{WEIGHT}", None, "weight is not a dense tensor"),
        ("state_dict/net.9.weight", torch.zeros(1), r"net\.9\.weight is unknown"),
        ("state_dict", [], "weights are not a table of tensors"),
        (f"{MOMENTS}/exp_avg", torch.zeros(2, 2), r"state\.0\.exp_avg has size \[2, 2\]"),
        (f"{MOMENTS}/exp_avg_sq", torch.full((4, 4), -1.0), r"state\.0 has values below 0"),
        (f"{MOMENTS}/step", "one", "could not convert"),
        ("optimizer_states/0/state", {}, r"optimizer\.state has other keys"),
        ("optimizer_states/0/param_groups/0/lr", torch.nan, r"0\.lr is nan, expected a finite"),
        ("optimizer_states/0/param_groups/0/params", [0, 0], r"params is \[0, 0\], expected"),
        ("optimizer_states", [], "not enough values"),
        ("lr_schedulers/0/total_steps", 10**6, "total_steps is 1000000, expected"),
        ("lr_schedulers/0/last_epoch", "4", "last_epoch is '4', expected a count"),
        (f"{PROGRESS}/ready", "1", "ready is '1', expected a count"),
        (f"{PROGRESS}/processed", 2, "expected metrics of 2 epochs"),
        ("loops/fit_loop", {}, "epoch_progress"),
        ("callbacks", {}, "History"),
        ("callbacks/History/rows/0/val_loss", "low", "expected metrics that are numbers"),
        ("callbacks/Selection/epoch", 1, "the selected epoch is 1 of 1"),
        (f"callbacks/Selection/weights/{WEIGHT}", torch.zeros(1), r"selection\..* has size \[1\]"),
        ("run_config", RunConfig().model_dump_json(), r"differs from config\.json"),
        ("run_config", "{", "Expecting property name"),
        ("run_config", 3, "JSON object must be str"),
        ("extra", 3, "extra unknown"),
    ],
)
def test_a_checkpoint_that_does_not_fit_the_run_is_an_error_before_training(
    place: str, value: object, words: str, broken: Path, checkpoint: bytes
) -> None:
    file = broken / "checkpoint.ckpt"
    file.write_bytes(checkpoint)
    state = torch.load(file, weights_only=True)
    container, key = place_of(state, place)
    container[key] = value
    torch.save(state, file)
    damaged = file.read_bytes()
    try:
        with pytest.raises(
            BrokenRunError, match=rf"is damaged or .*{words}.*begin a new run"
        ) as caught:
            Run.open(broken).train()
        assert "\n" not in str(caught.value)
        assert file.read_bytes() == damaged
    finally:
        file.write_bytes(checkpoint)


def test_a_disk_that_is_full_ends_the_run_in_one_line_and_keeps_its_state(
    broken: Path, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, *_: object) -> None:
        raise FileWriteError(28, "No space left on device", str(path))

    monkeypatch.setattr("nwavesdk.train.fit.checkpoint.write_atomically", fail)
    with pytest.raises(
        BrokenRunError,
        match=r"checkpoint\.ckpt cannot be written \(No space left on device\).*--resume continues",
    ):
        Run.open(broken).train()
    assert (broken / "checkpoint.ckpt").read_bytes() == checkpoint


@pytest.mark.parametrize("name", ["checkpoint.ckpt", "model.safetensors", "metrics.csv"])
def test_what_cannot_be_written_is_an_error_before_training(
    name: str, broken: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = broken / name
    kept = file.rename(broken.parent / name) if file.exists() else None
    try:
        os.mkfifo(file)
        with pytest.raises(BrokenRunError, match=rf"{name} is a pipe, expected a file"):
            Run.open(broken).train()
        assert "epoch" not in capsys.readouterr().err
    finally:
        file.unlink()
        if kept:
            kept.rename(file)
