import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.layers import prepare_net
from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder
from nwavesdk.train.checkpoint import AtomicCheckpointIO, load_model
from nwavesdk.train.classifier import population_loss
from train.interrupt import stop_after


def rows(folder: Path) -> list[dict[str, str]]:
    with open(folder / "metrics.csv") as file:
        return list(csv.DictReader(file))


def course(folder: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name != "seconds"} for row in rows(folder)
    ]


def test_a_run_leaves_everything_that_is_promised(choices: dict[str, Any], tmp_path: Path) -> None:
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    folder = RunFolder(tmp_path / "run")
    assert (
        result == folder.read_result() == json.loads((tmp_path / "run" / "result.json").read_text())
    )
    assert {"test_accuracy", "seed", "seconds", "val_accuracy", "epochs", "rates"} <= set(result)
    assert result["test_accuracy"] > 0.8  # three tones in noise: chance is 0.33
    assert result["seed"] == 3
    assert [row["epoch"] for row in rows(folder.path)] == ["1", "2", "3"]
    config = folder.read_config()
    assert config.facts is not None
    assert config.facts.classes == ("high", "low", "middle")
    assert (config.data.sample_rate, config.data.hold) == (8000, 1)
    assert config.data.length is not None
    for picture in ("learning_curves", "spike_raster", "membrane_traces", "confusion_matrix"):
        assert (folder.pictures / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    page = folder.report.read_text()
    assert page.count("data:image/png;base64,") == 8
    assert "http://" not in page
    assert "https://" not in page
    assert list((folder.path / "tensorboard").glob("events.*"))
    assert Run.open(folder.path).test()["test_accuracy"] == result["test_accuracy"]


def test_same_seed_same_weights_other_seed_others(choices: dict[str, Any], tmp_path: Path) -> None:
    choices["learning"]["epochs"] = 1
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        torch.manual_seed(len(name) + seed)
        Run.new(tmp_path / name, RunConfig.of({**choices, "seed": seed})).train()
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b != c


COMMAND = "from nwavesdk.cli import main; main()"


def killed(choices: dict[str, Any], out: Path, after: int) -> list[dict[str, str]]:
    """Run in a process of its own and end it by SIGKILL when `after` epochs are in its metrics; these metrics."""
    data, net, learning = choices["data"], choices["net"], choices["learning"]
    options = {
        "out": out,
        "seed": choices["seed"],
        "data": data["source"],
        "bands": data["bands"],
        "hold": data["hold"],
        "hidden": net["hidden"][0],
        "population": net["population"],
        "epochs": learning["epochs"],
        "batch-size": learning["batch_size"],
        "learning-rate": learning["rate"],
        "accelerator": "cpu",
    }
    words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "train", *words], stderr=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 90
        while process.poll() is None and time.monotonic() < deadline:
            if (out / "metrics.csv").is_file() and len(rows(out)) >= after:
                break
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (out / "result.json").exists()
    return rows(out)


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL")
def test_a_killed_run_resumes_and_ends_with_the_same_weights(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["learning"]["epochs"] = 12
    Run.new(tmp_path / "whole", RunConfig.of(choices)).train()
    before = killed(choices, tmp_path / "killed", after=2)
    checkpoint = AtomicCheckpointIO().load_checkpoint(tmp_path / "killed" / "checkpoint.ckpt")
    assert 1 <= checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] < 12
    Run.open(tmp_path / "killed").train()
    whole, resumed = (
        (tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed")
    )
    assert resumed == whole
    last = [
        AtomicCheckpointIO().load_checkpoint(tmp_path / name / "checkpoint.ckpt")
        for name in ("whole", "killed")
    ]
    for name, weights in last[0]["state_dict"].items():
        assert torch.equal(weights, last[1]["state_dict"][name])
    assert course(tmp_path / "killed") == course(tmp_path / "whole")
    # Its first epoch is the one of the killed process, not a new one.
    assert rows(tmp_path / "killed")[0]["seconds"] == before[0]["seconds"]


@pytest.mark.parametrize("patience", [None, 2])
def test_a_run_that_dies_after_its_last_epoch_only_finishes(
    choices: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, patience: int | None
) -> None:
    choices["learning"].update(
        epochs=3 if patience is None else 12,
        patience=patience,
        rate=0.02 if patience is None else 0.2,
    )
    Run.new(tmp_path / "whole", RunConfig.of(choices)).train()
    with monkeypatch.context() as patch:
        patch.setattr(
            "nwavesdk.train.run.save_model", lambda *_: (_ for _ in ()).throw(OSError("killed"))
        )
        with pytest.raises(OSError, match="killed"):
            Run.new(tmp_path / "died", RunConfig.of(choices)).train()
    assert patience is None or len(rows(tmp_path / "whole")) < 12  # it did stop early
    assert not RunFolder(tmp_path / "died").finished
    Run.open(tmp_path / "died").train()
    assert course(tmp_path / "died") == course(tmp_path / "whole")
    assert (tmp_path / "died" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()


def test_patience_ends_a_run_and_the_best_epoch_is_kept(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["learning"].update(epochs=40, patience=2, rate=0.2)
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    table = rows(tmp_path / "run")
    assert result["epochs"] == len(table) == result["best_epoch"] + 2 < 40
    best = max(table, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert int(best["epoch"]) == result["best_epoch"]
    run = Run.open(tmp_path / "run")
    net = run.network()
    load_model(run.folder.model, net)
    net.eval()
    prepare_net(net)
    spk, _ = net(torch.from_numpy(run.data.val.x))
    loss = population_loss(
        spk, torch.from_numpy(run.data.val.labels), 3, run.config.learning.sharpness
    )
    assert loss.item() == pytest.approx(float(best["val_loss"]), rel=1e-3, abs=1e-5)
    checkpoint = AtomicCheckpointIO().load_checkpoint(run.folder.checkpoint)
    kept, last = checkpoint["callbacks"]["Selection"]["weights"], checkpoint["state_dict"]
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, kept[f"net.{name}"])
    assert not torch.equal(kept["net.0.weight"], last["net.0.weight"])


def test_changed_data_are_noticed(choices: dict[str, Any], tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    source = tmp_path / "data"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        for index in range(3):
            soundfile.write(source / name / f"{index}.wav", torch.randn(2000).numpy() / 9, 8000)
    choices["data"]["source"] = str(source)
    Run.new(tmp_path / "run", RunConfig.of(choices))
    Run.open(tmp_path / "run")
    soundfile.write(source / "a" / "0.wav", torch.randn(2000).numpy() / 9, 8000)
    with pytest.raises(
        ValueError, match=r"have changed since the run began.*restore them or start a new run"
    ):
        Run.open(tmp_path / "run")


def test_bad_data_leave_no_folder(choices: dict[str, Any], tmp_path: Path) -> None:
    choices["data"]["source"] = str(tmp_path / "nothing")
    with pytest.raises(ValueError, match="got nothing there"):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_accelerator_is_said_before_anything_is_written(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["machine"]["accelerator"] = "cuda"
    with pytest.raises(
        ValueError, match=r"got 'cuda' with 1 device.*but this machine has 0: use --accelerator cpu"
    ):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"state_dict": Trap()}, tmp_path / "checkpoint.ckpt")
    with pytest.raises(BrokenRunError, match="Weights only load failed"):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "checkpoint.ckpt")
    assert not (tmp_path / "sprung").exists()


@pytest.fixture(scope="module")
def checkpoint(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """What a run leaves behind that breaks off after one epoch."""
    folder = tmp_path_factory.mktemp("broken") / "run"
    net, learning = {"hidden": [4], "population": 1}, {"epochs": 2, "batch_size": 8}
    choices = {
        "data": {"source": str(tones), "bands": 4, "hold": 1},
        "net": net,
        "learning": learning,
    }
    stop_after(Run.new(folder, RunConfig.of({**choices, "machine": {"accelerator": "cpu"}})), 1)
    return (folder / "checkpoint.ckpt").read_bytes()


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_checkpoint_that_was_cut_off_is_told(
    checkpoint: bytes, share: float, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint[: int(share * len(checkpoint))])
    with pytest.raises(
        BrokenRunError,
        match=r"checkpoint\.ckpt is damaged or not the checkpoint of a run .*begin a new run",
    ):
        AtomicCheckpointIO().load_checkpoint(file)


def test_a_checkpoint_with_a_wrong_bit_or_wrong_content_is_told(
    checkpoint: bytes, tmp_path: Path
) -> None:
    file = tmp_path / "checkpoint.ckpt"
    file.write_bytes(checkpoint)
    state = AtomicCheckpointIO().load_checkpoint(file)["state_dict"]
    weights = state["net.0.weight"].numpy().tobytes()
    place = checkpoint.index(weights) + len(weights) // 2
    for content in (
        checkpoint[:place] + bytes([checkpoint[place] ^ 1]) + checkpoint[place + 1 :],
        b"\x80\x02.",
    ):
        file.write_bytes(content)
        with pytest.raises(BrokenRunError, match="is damaged"):
            AtomicCheckpointIO().load_checkpoint(file)
    torch.save({"weights": torch.zeros(2)}, file)
    with pytest.raises(
        BrokenRunError, match="epoch, global_step, loops, optimizer_states, state_dict missing"
    ):
        AtomicCheckpointIO().load_checkpoint(file)
    with pytest.raises(FileNotFoundError):
        AtomicCheckpointIO().load_checkpoint(tmp_path / "none.ckpt")


def test_a_run_that_cannot_go_on_is_told_in_one_line(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from nwavesdk.cli import app

    stop_after(Run.new(tmp_path / "broken", RunConfig.of(choices)), 1)
    (tmp_path / "broken" / "checkpoint.ckpt").write_bytes(b"")
    done = CliRunner().invoke(
        app, ["train", "--out", str(tmp_path / "broken"), "--resume", "--json"]
    )
    assert done.exit_code == 2
    assert "checkpoint.ckpt is damaged" in json.loads(done.stdout)["error"]
    assert "Traceback" not in done.stderr


def test_training_that_diverges_is_the_users_to_mend(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["learning"] |= {"rate": 1e30, "weight_decay": 1e30}
    with pytest.raises(
        BrokenRunError,
        match="is not finite after epoch .: training diverged; begin a new run with a lower",
    ):
        Run.new(tmp_path / "wild", RunConfig.of(choices)).train()
