"""The course of a run: how it resumes, ends early, finishes and fails."""

import multiprocessing
import os
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")

from tensorboard.summary.writer.record_writer import RecordWriter

from cli.command import json_object, nwave
from nwavesdk.layers import prepare_net
from nwavesdk.loss import rate_cross_entropy
from nwavesdk.train import BrokenRunError, Run, RunConfig, RunFolder
from nwavesdk.train.fit.model_file import load_model
from train.runs import (
    Choices,
    metrics,
    metrics_without_time,
    model_bytes,
    patient_choices,
    read_checkpoint,
    stop_after,
)


def begin_here(choices: Choices, out: Path) -> None:
    """What the process does that is killed."""
    torch.set_num_threads(1)
    Run.new(out, RunConfig.of(choices)).train()


def kill_after(choices: Choices, out: Path, epochs: int) -> list[dict[str, str]]:
    """Begin a run in a process and end it by SIGKILL after some epochs; return its metrics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python warns of forks with threads
        process = multiprocessing.get_context("fork").Process(
            target=begin_here, args=(choices, out)
        )
        process.start()
    try:
        deadline = time.monotonic() + 90
        while process.is_alive() and time.monotonic() < deadline:
            if (out / "metrics.csv").is_file() and len(metrics(out)) >= epochs:
                break
            time.sleep(0.002)
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    assert not (out / "result.json").exists()
    return metrics(out)


@pytest.mark.skipif(sys.platform != "linux", reason="a fork has the imports of this process")
def test_a_killed_run_resumes_and_ends_with_the_same_weights(
    choices: Choices, tmp_path: Path
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    choices["learning"]["epochs"] = 12
    choices["machine"]["threads"] = 1
    Run.new(whole, RunConfig.of(choices)).train()
    before = kill_after(choices, killed, epochs=2)
    checkpoint = read_checkpoint(killed)
    assert 1 <= checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"] < 12
    Run.open(killed).train()
    assert model_bytes(killed) == model_bytes(whole)
    expected, got = (read_checkpoint(folder)["state_dict"] for folder in (whole, killed))
    for name, weights in expected.items():
        assert torch.equal(weights, got[name])
    assert metrics_without_time(killed) == metrics_without_time(whole)
    # Its first epoch is from the killed process, not a new one.
    assert metrics(killed)[0]["seconds"] == before[0]["seconds"]


@pytest.mark.skipif(os.name != "posix", reason="only POSIX lets a process catch SIGTERM")
def test_a_terminated_run_names_the_way_on_and_is_no_success(
    choices: Choices, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def terminate(_: object) -> None:
        assert callable(signal.getsignal(signal.SIGTERM))  # otherwise these tests would end
        os.kill(os.getpid(), signal.SIGTERM)

    # Lightning keeps the handler of others; Ray leaves one in its process.
    handler = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    try:
        with pytest.raises(SystemExit) as caught:
            run.train(on_epoch=terminate)
    finally:
        signal.signal(signal.SIGTERM, handler)
    assert caught.value.code == 143
    last_line = capsys.readouterr().err.splitlines()[-1]
    assert last_line == "stopped after 1 epoch: --resume continues the run."
    assert not run.folder.finished


@pytest.mark.parametrize("stops_early", [False, True])
def test_a_run_that_dies_after_its_last_epoch_only_finishes(
    stops_early: bool,
    request: pytest.FixtureRequest,
    choices: Choices,
    tones: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = request.getfixturevalue("stopped_early" if stops_early else "finished")

    def fail(*_: object) -> None:
        raise OSError("killed")

    run = Run.new(
        tmp_path / "died", RunConfig.of(patient_choices(tones) if stops_early else choices)
    )
    with monkeypatch.context() as patch:
        patch.setattr("nwavesdk.train.fit.course.save_model", fail)
        with pytest.raises(OSError, match="killed"):
            run.train()
    assert not RunFolder(tmp_path / "died").finished
    Run.open(tmp_path / "died").train()
    assert metrics_without_time(tmp_path / "died") == metrics_without_time(whole)
    assert model_bytes(tmp_path / "died") == model_bytes(whole)


def test_neither_pictures_nor_logs_cost_a_result(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(finished, tmp_path / "run")
    folder = RunFolder(tmp_path / "run")
    for file in (folder.result, folder.report, folder.metrics, folder.model):
        file.unlink()

    def fail(*_: object) -> None:
        raise ValueError("unknown symbol:\n\\frac")

    with monkeypatch.context() as patch:
        patch.setattr("nwavesdk.train.fit.course.write_report", fail)
        Run.open(folder.path).train()
    assert folder.finished
    assert not folder.complete
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert "the run is finished, but" in line
    assert r"report.html was not written (unknown symbol: \frac)" in line
    assert "`nwave train --resume` writes it again" in line
    Run.open(folder.path).train()
    assert folder.complete
    for name in ("result.json", "model.safetensors", "metrics.csv"):
        assert (folder.path / name).read_bytes() == (finished / name).read_bytes()


def test_a_finished_run_is_never_trained_again(finished: Path, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.config.write_bytes((finished / "config.json").read_bytes())
    folder.result.write_text("")
    with pytest.raises(BrokenRunError, match=r"checkpoint\.ckpt does not exist: restore it"):
        Run.open(tmp_path).train()


@pytest.mark.usefixtures("without_report")
def test_logs_that_cannot_be_written_are_reported_once(
    choices: Choices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write = RecordWriter.write
    written = []

    def write_until_the_disk_is_full(self: RecordWriter, data: bytes) -> None:
        if len(written) == 5:
            raise OSError(28, "No space left on device")
        written.append(data)
        write(self, data)

    monkeypatch.setattr(RecordWriter, "write", write_until_the_disk_is_full)
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    run.train()
    assert run.folder.finished
    errors = capsys.readouterr().err
    assert errors.count("the run goes on without logs for TensorBoard (") == 1
    assert "No space left on device" in errors
    assert "Traceback" not in errors


def test_logs_are_those_that_tensorboard_reads(finished: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(finished / "tensorboard")).Reload()
    losses = [event.value for event in events.Scalars("val_loss")]
    assert losses == pytest.approx([float(row["val_loss"]) for row in metrics(finished)], rel=1e-5)
    assert {"train_loss_step", "train_accuracy", "epoch"} <= {*events.Tags()["scalars"]}


def test_patience_ends_a_run_and_the_best_epoch_is_selected(stopped_early: Path) -> None:
    run = Run.open(stopped_early)
    result = run.folder.read_result()
    rows = metrics(stopped_early)
    assert result["epochs"] == len(rows) == result["best_epoch"] + 2 < 40
    best = max(rows, key=lambda row: (float(row["val_accuracy"]), -float(row["val_loss"])))
    assert int(best["epoch"]) == result["best_epoch"]
    lowest = min(rows, key=lambda row: float(row["val_loss"]))
    assert int(lowest["epoch"]) == result["lowest_loss_epoch"]
    assert result["lowest_loss"] == pytest.approx(float(lowest["val_loss"]), rel=1e-5)
    net = run.network()
    load_model(run.folder.model, net, run.folder.identity)
    net.eval()
    prepare_net(net)
    spk, _ = net(run.data.val.whole().x)
    labels = torch.from_numpy(run.data.val.recordings.labels)
    loss = rate_cross_entropy(spk, labels, 3, run.config.net.sharpness)
    assert loss.item() == pytest.approx(float(best["val_loss"]), rel=1e-3, abs=1e-5)
    checkpoint = read_checkpoint(stopped_early)
    selected = checkpoint["callbacks"]["History"]["weights"]
    for name, weights in net.state_dict().items():
        assert torch.equal(weights, selected[f"net.{name}"])
    assert not torch.equal(selected["net.0.weight"], checkpoint["state_dict"]["net.0.weight"])


def test_a_damaged_checkpoint_is_an_error_of_one_line(choices: Choices, tmp_path: Path) -> None:
    stop_after(Run.new(tmp_path / "broken", RunConfig.of(choices)), 1)
    (tmp_path / "broken" / "checkpoint.ckpt").write_bytes(b"")
    result = nwave("train", "--out", tmp_path / "broken", "--resume", "--json")
    assert result.exit_code == 2
    assert "checkpoint.ckpt is damaged" in json_object(result)["error"]
    assert "Traceback" not in result.stderr


def test_training_that_diverges_is_an_error_with_a_remedy(choices: Choices, tmp_path: Path) -> None:
    choices["learning"] |= {"epochs": 10, "rate": 1e3, "weight_decay": 1e3}
    with pytest.raises(
        BrokenRunError,
        match="states are NaN or infinite .* training diverged; begin a new run with a lower",
    ):
        Run.new(tmp_path / "wild", RunConfig.of(choices)).train()
