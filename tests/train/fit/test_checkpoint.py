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
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO
from train.runs import stop_after


def test_a_checkpoint_that_would_run_code_is_rejected(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(FileError, match="Weights only load failed"):
        AtomicCheckpointIO("run").load_checkpoint(tmp_path / "checkpoint.ckpt", weights_only=False)
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def broken(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that breaks off after one epoch."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    net, learning = {"name": "lif", "hidden": [4], "population": 1}, {"epochs": 2, "batch_size": 8}
    choices = {
        "data": {"source": str(tones), "bands": 4, "hold": 1},
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
        AtomicCheckpointIO("run").load_checkpoint(file)


def test_a_flipped_bit_in_the_weights_of_a_checkpoint_is_an_error(
    checkpoint: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint)
    state = torch.load(file, weights_only=True)
    weights = state["state_dict"]["net.0.weight"].numpy().tobytes()
    index = checkpoint.index(weights) + len(weights) // 2
    damaged = bytearray(checkpoint)
    damaged[index] ^= 1
    file.write_bytes(damaged)
    with pytest.raises(
        FileError, match=r"checkpoint\.ckpt is damaged .*\(the checksum of \S+ is wrong\)"
    ):
        AtomicCheckpointIO(state["run"]).load_checkpoint(file)
    file.write_bytes(checkpoint)
    AtomicCheckpointIO(state["run"]).load_checkpoint(file)


def test_a_checkpoint_belongs_to_its_run_and_has_all_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "checkpoint.ckpt"
    AtomicCheckpointIO("one run").save_checkpoint({"weights": torch.ones(2)}, file)
    assert AtomicCheckpointIO("one run").load_checkpoint(file)["weights"].tolist() == [1, 1]
    with pytest.raises(FileError, match=r"checkpoint of this run \(it was written with other"):
        AtomicCheckpointIO("another run").load_checkpoint(file)
    with pytest.raises(FileError, match=r"none\.ckpt is damaged .*not found"):
        AtomicCheckpointIO("one run").load_checkpoint(tmp_path / "none.ckpt")


def place_of(state: Any, place: str) -> tuple[Any, Any]:
    """The container of a value in a nested state, and its key."""
    *outer, last = [int(part) if part.isdigit() else part for part in place.split("/")]
    for part in outer:
        state = state[part]
    return state, last


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("state_dict/net.0.weight", torch.zeros(1), r"size mismatch for net\.0\.weight"),
        ("state_dict/net.0.weight", None, r"net\.0\.weight"),
        ("state_dict/net.9.weight", torch.zeros(1), r"Unexpected key.*net\.9\.weight"),
        ("state_dict", [], "dict-like"),
        ("optimizer_states/0/param_groups", [], "parameter groups"),
        ("loops", {}, "fit_loop"),
        ("callbacks/History", {"row": []}, "rows"),
        ("run", "another", "it was written with other choices"),
        ("run", 3, "it was written with other choices"),
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
