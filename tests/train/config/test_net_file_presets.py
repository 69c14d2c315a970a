"""Runs of presets: their page is from the package, for every kind of data and task."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from examples import small_data
from nwavesdk.layers import SpikingSequential, prepare_net
from nwavesdk.net import record
from nwavesdk.presets import page_path
from nwavesdk.train import Run, RunConfig, load
from nwavesdk.train.config import CompletedConfig
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.network import FileNet
from train.runs import Choices, write_untrained


def choices_of(source: Path, preset: str, **data: Any) -> Choices:
    return {
        "seed": 3,
        "net": {"name": preset},
        "data": {"source": str(source), **data},
        "learning": {"epochs": 2, "batch_size": 8},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
def conv_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of `--net conv` with its initial weights."""
    folder = tmp_path_factory.mktemp("preset") / "run"
    write_untrained(folder, choices_of(tones, "conv"))
    return folder


@pytest.fixture
def changed_page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The page of `conv` in another version of the library."""
    page = tmp_path / "conv.py"
    page.write_text(f"{page_path('conv').read_text()}# newer\n")
    monkeypatch.setattr("nwavesdk.train.config.net_file.page_path", lambda _: page)
    return page


def test_a_run_records_the_page_and_needs_no_file(conv_run: Path) -> None:
    config = CompletedConfig.read(conv_run / "config.json")
    page = page_path("conv").read_bytes()
    assert config.net.name == "conv"
    assert config.page.sha256 == hashlib.sha256(page).hexdigest()
    assert 0 <= Run.open(conv_run).test()["test_accuracy"] <= 1
    assert isinstance(load(conv_run, net="conv").net, FileNet)
    with pytest.raises(ValueError, match=r"began with conv\.py:build, .*, got lif\.py:build"):
        load(conv_run, net="lif")


def test_the_page_in_the_folder_of_a_run_is_not_run(conv_run: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(conv_run, run)
    (run / "net.py").write_text("raise SystemExit('run')\n")
    config = (run / "config.json").read_text()
    (run / "config.json").write_text(config.replace(str(page_path("conv")), str(run / "net.py")))
    load(run)


def test_a_run_of_another_page_names_the_way_on(conv_run: Path, changed_page: Path) -> None:
    words = (
        r"--net: .*run began with conv\.py:build, SHA-256 .*: pass --net .*run/net\.py:build \(net="
    )
    with pytest.raises(ValueError, match=words):
        load(conv_run)
    (conv_run / "net.py").write_bytes(page_path("conv").read_bytes())
    load(conv_run, net=f"{conv_run / 'net.py'}:build")
    with pytest.raises(ValueError, match=r"run began with conv\.py:build"):
        load(conv_run, net=f"{changed_page}:build")


# Each kind of data and task, with some of the presets, so that each preset meets several of them.
CASES = {
    "sound": (small_data.make_sounds, ("conv", "delay")),
    "series": (small_data.make_csv, ("conv", "adlif", "lif")),
    "image": (small_data.make_png, ("conv", "recurrent")),
    "events": (small_data.make_bin, ("conv", "delay")),
    "labels": (small_data.make_npz_labels, ("delay", "recurrent")),
    "regression": (small_data.make_npz_values, ("conv", "adlif")),
    "pattern": (small_data.make_npz_pattern, ("lif", "recurrent")),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.events] if n == "events" else []) for n in CASES],
)
def test_presets_learn_from_each_kind_of_data(name: str, tmp_path: Path) -> None:
    make, tried = CASES[name]
    source = make(tmp_path / "data")
    is_image = name == "image"
    for preset in tried:
        choices = choices_of(source, preset, **({"steps": 4} if is_image else {}))
        run = Run.prepare(tmp_path / "run", RunConfig.of(choices))
        net = run.network().train()
        assert isinstance(net, SpikingSequential if preset == "lif" else FileNet)
        task = run.task.fitted(run.data.train)
        decoder = task.decoder()
        optimizer = torch.optim.SGD(net.parameters(), 1e-2)
        train = run.data.train
        for rows in (np.arange(4), np.arange(4) + 1):
            batch = train.batch(rows % len(train))
            optimizer.zero_grad()
            prepare_net(net)
            prepare_net(decoder)
            recording = record(net, batch.x, lengths=lengths_of(batch))
            outputs = decoder(recording.spk, recording.mem, lengths_of(batch))
            loss = task.loss(outputs, batch.y, lengths_of(batch))
            loss.backward()
            assert loss.isfinite()
            optimizer.step()
        gradients = [p.grad.abs().sum().item() for p in net.parameters() if p.grad is not None]
        assert sum(gradients) > 0, preset
        assert len(task.predict(outputs)) == 4


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"net": {"name": "chip"}},
            r"net\.name: the net of a chip needs one, got none: add chip\.",
        ),
        (
            {"net": {"name": "conv"}, "chip": {"profile": "h1v2"}, "data": {"kind": "sound"}},
            r"chip\.profile: the net conv is not for a chip: remove one of them",
        ),
        (
            {"net": {"name": "conv"}, "data": {"kind": "events", "events": "lists"}},
            r"data(\.events)?: the net conv gets frames, got 'lists': remove it, or use net lif",
        ),
    ],
)
def test_a_net_that_cannot_be_is_one_line(choices: Choices, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}"):
        RunConfig.of({"task": {"name": "classification"}, **choices})
