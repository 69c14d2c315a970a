"""Runs whose net a file of the user builds: `nwave train --net FILE.py:build`."""

import multiprocessing
import pickle
import shutil
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from nwavesdk.layers import LIFLayer
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.net_file import NetPage
from train.runs import model_bytes, no_pictures, stop_after

pytest.importorskip("lightning")

from nwavesdk.train import Run, load
from nwavesdk.train.config.net_file import NetFileError, load_function, load_module
from nwavesdk.train.fit.network import FileNet
from train.runs import Choices

HEAD = """
import torch
from torch import nn
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential


class Scores(nn.Module):
    def __init__(self, features, outputs):
        super().__init__()
        self.hidden = SpikingSequential(LIFSynapse(features, 8), LIFLayer(8, 10e-3))
        self.norm = nn.BatchNorm1d(8)
        self.last = nn.Linear(8, outputs)

    def forward(self, x):
        spk, mem = self.hidden(x)
        return self.last(self.norm(spk.mean(dim=1)))


"""

SCORES = f"{HEAD}def build(inputs, classes, config):\n    return Scores(inputs[0], classes)\n"

SPIKES = f"""{HEAD}def build(inputs, classes, config):
    return SpikingSequential(LIFSynapse(inputs[0], 2 * classes), LIFLayer(2 * classes, 10e-3))
"""

READOUT = f"""{HEAD}def build(inputs, classes, config):
    return SpikingSequential(
        LIFSynapse(inputs[0], 8), LIFLayer(8, config.net.tau),
        LIFSynapse(8, classes), LILayer(classes, tau=config.net.tau),
    )
"""


def write(folder: Path, text: str) -> str:
    file = folder / "net.py"
    file.write_text(text)
    return f"{file}:build"


def choices_of(tones: Path, page: str) -> Choices:
    """A run that takes a second; the mean of a tone is all that there is to learn from it."""
    return {
        "seed": 3,
        "net": {"page": page},
        "data": {"source": str(tones), "bands": 12, "center": False, "augment": {}},
        "learning": {"epochs": 2, "batch_size": 8, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
@no_pictures()
def scored(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run of a net that gives scores, and its file."""
    folder = tmp_path_factory.mktemp("scored")
    net = write(folder, SCORES)
    Run.new(folder / "run", RunConfig.of(choices_of(tones, net))).train()
    return folder / "run", net


@pytest.mark.parametrize("text", [SPIKES, READOUT])
def test_nets_that_spike_or_end_in_a_read_out_learn(tones: Path, tmp_path: Path, text: str) -> None:
    net = write(tmp_path, text)
    choices = choices_of(tones, net)
    choices["learning"]["epochs"] = 12
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    result = run.train()
    assert result["val_accuracy"] > 0.5
    assert Run.open(tmp_path / "run", net).test()["test_accuracy"] == result["test_accuracy"]
    assert (tmp_path / "run" / "report.html").is_file()
    assert set(result["rates"]) == set(Run.open(tmp_path / "run", net).test()["rates"])


def test_a_run_keeps_text_and_hash_of_the_file(scored: tuple[Path, str]) -> None:
    run, net = scored
    assert (run / "net.py").read_text() == SCORES
    config = CompletedConfig.read(run / "config.json")
    assert config.page == NetPage.parse(net)
    # The hash is part of what seals weights and result.
    other = config.model_copy(update={"page": config.page.model_copy(update={"sha256": "0" * 64})})
    moved = config.model_copy(update={"page": config.page.model_copy(update={"file": "/net.py"})})
    assert other.identity() != config.identity()
    assert moved.identity() == config.identity()


def test_a_run_resumes_to_the_same_bits(
    tones: Path, scored: tuple[Path, str], tmp_path: Path
) -> None:
    whole, net = scored
    stop_after(Run.new(tmp_path / "run", RunConfig.of(choices_of(tones, net))), epochs=1)
    Run.open(tmp_path / "run", net).train()
    assert model_bytes(tmp_path / "run") == model_bytes(whole)


def test_predictions_are_those_of_the_test(scored: tuple[Path, str], tones: Path) -> None:
    run_folder, net = scored
    run = Run.open(run_folder, net)
    trained = load(run_folder, net=net)
    recordings = run.test_set.recordings
    predictions = trained.predict([tones / key for key in recordings.keys])
    got = np.array([one.predicted for one in predictions])
    share = float((got == recordings.labels).mean())
    assert share == pytest.approx(run.test()["test_accuracy"])
    with pytest.raises(ValueError, match="membranes or scores, which do not spike"):
        trained.predict([tones], spikes=True)


def test_the_file_is_given_again_and_compared(scored: tuple[Path, str], tmp_path: Path) -> None:
    run, net = scored
    for opened in (Run.open, load):
        with pytest.raises(ValueError, match=r"--net: missing, .* expected --net net\.py:build"):
            opened(run)
        with pytest.raises(ValueError, match=r"began with net\.py:build, SHA-256 .*…, got net"):
            opened(run, write(tmp_path, SCORES + "\n"))
    with pytest.raises(ValueError, match=r"began with net\.py:build, .* got net\.py:Scores"):
        load(run, net.replace(":build", ":Scores"))
    # The same text may be elsewhere.
    load(run, write(tmp_path, SCORES))


def test_a_run_of_a_preset_takes_no_file(finished: Path, scored: tuple[Path, str]) -> None:
    with pytest.raises(ValueError, match=r"--net: .* began with lif\.py:build, .*, got net\.py:bu"):
        load(finished, scored[1])


def test_nothing_runs_the_copy_of_a_run(scored: tuple[Path, str], tmp_path: Path) -> None:
    run = tmp_path / "run"
    shutil.copytree(scored[0], run)
    (run / "net.py").write_text("raise SystemExit('run')\n")
    load(run, scored[1])


def test_a_changed_file_is_not_run(tmp_path: Path) -> None:
    chosen = NetPage.parse(write(tmp_path, "raise SystemExit\n"))
    write(tmp_path, "raise SystemExit(2)\n")
    with pytest.raises(ValueError, match=r"has changed: got SHA-256 .*…, expected .*…: restore"):
        load_function(chosen)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "x = 1\n",
            r"net\.py:build: got None, expected def build\(inputs, classes, config\): write",
        ),
        (
            "build = 3\n",
            r"net\.py:build: got 3, expected def build\(inputs, classes, config\): write",
        ),
        ("x = 1\nx = = 2\n", r"net\.py:2: the file failed \(SyntaxError: "),
        ("x = 1\n1 / 0\n", r"net\.py:2: the file failed \(ZeroDivisionError: "),
        ("import no_such\n", r"net\.py:1: the file failed \(ModuleNotFoundError: "),
    ],
)
def test_a_file_that_does_not_work_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(NetFileError, match=words) as caught:
        load_function(NetPage.parse(write(tmp_path, text)))
    assert "\n" not in str(caught.value)


BUILD = "def build(inputs, classes, config):\n"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("    return inputs.x", r"net\.py:20: build\(.*\) failed \(AttributeError: 'tuple' object"),
        ("    return 3", r"net\.py:build: got int, expected a torch\.nn\.Module"),
        ("    return Scores(5, classes)", r"net\.py:15: the net failed for an input of shape \[2,"),
        (
            "    return Scores(inputs[0], classes + 1)",
            r"net\.py:build: the net must return scores \[B, T, 3\], .* got the shapes \[2, 4\]",
        ),
        (
            "    return SpikingSequential(LIFSynapse(inputs[0], 7), LIFLayer(7, 1e-2))",
            r"net\.py:build: the net failed .*\(ValueError: .*7.*3",
        ),
        (
            "    return nn.Linear(inputs[0], classes)",
            r"net\.py:build: the net has no layer that spik",
        ),
        (
            "    return nn.LSTM(inputs[0], classes)",
            r"net\.py:build: the net failed .* `spk, mem`",
        ),
    ],
)
def test_a_net_that_does_not_fit_is_one_line_and_no_folder(
    tones: Path, tmp_path: Path, body: str, words: str
) -> None:
    net = write(tmp_path, f"{HEAD}{BUILD}{body}\n")
    with pytest.raises(NetFileError, match=words) as caught:
        Run.new(tmp_path / "run", RunConfig.of(choices_of(tones, net)))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_net_from_a_file_reads_the_options_of_layers(tones: Path, tmp_path: Path) -> None:
    choices = choices_of(tones, write(tmp_path, READOUT))
    choices["net"] |= {"tau": 20e-3, "hidden": [8]}
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    (layer,) = [m for m in run.network().modules() if isinstance(m, LIFLayer)]
    assert layer.taus.item() == pytest.approx(20e-3)


def test_a_file_of_another_name_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"got 'net\.txt', expected one of lif, .*, or a Python file"
    ):
        RunConfig.of({"net": {"page": "net.txt"}})
    with pytest.raises(ValueError, match="does not exist"):
        RunConfig.of({"net": {"page": str(tmp_path / "missing.py")}})


def read_pickle(content: bytes) -> None:
    """In a worker: read an instance of a class of the file."""
    assert type(pickle.loads(content)).__name__ == "Scores"


def test_a_spawned_process_reads_pickles_of_its_classes(tmp_path: Path) -> None:
    chosen = NetPage.parse(write(tmp_path, SCORES))
    module = load_module(chosen)
    assert sys.modules[module.__name__] is module
    content = pickle.dumps(module.Scores(3, 2))
    context = multiprocessing.get_context("spawn")
    with context.Pool(1, initializer=partial(load_module, chosen)) as pool:
        pool.apply(read_pickle, (content,))


def test_steps_have_the_shape_of_frames() -> None:
    class Pooled(nn.Module):
        def forward(self, x: torch.Tensor, lengths: torch.Tensor | None = None) -> torch.Tensor:
            assert lengths is not None
            return x.sum(dim=(3, 4))

    net = FileNet(Pooled(), (2, 3, 4))
    scores, again = net(torch.ones(5, 6, 24), torch.tensor([6, 5, 4, 3, 2]))
    assert again is scores
    assert (scores == 12).all()
    assert scores.shape == (5, 6, 2)


def test_a_module_of_the_user_gets_a_memory_for_each_step() -> None:
    class Viewed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            rows = x.view(5 * 6, 2, 3, 4).clamp_(0)
            return rows.sum(dim=(2, 3)).view(5, 6, 2)

    net = FileNet(Viewed(), (2, 3, 4))
    held = torch.ones(5, 1, 24).expand(-1, 6, -1)
    assert (net(held)[0] == 12).all()


def test_the_page_prints_the_example() -> None:
    root = Path(__file__).parents[3]
    example = (root / "examples" / "own_net.py").read_text(encoding="utf-8")
    assert f"```python\n{example}```\n" in (root / "docs" / "own-net.md").read_text("utf-8")


def test_the_example_trains_on_spoken_digits(tmp_path: Path) -> None:
    example = Path(__file__).parents[3] / "examples" / "own_net.py"
    choices = {
        "net": {"page": f"{example}:build"},
        "data": {"limit": 40, "hold": 1},
        "learning": {"epochs": 1},
        "machine": {"accelerator": "cpu"},
    }
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    # The example scales its read-out, so that the loss begins near the loss of a guess, ln 10.
    assert result["val_loss"] < 3.5
    assert (tmp_path / "run" / "report.html").is_file()


def test_images_reach_the_net_with_their_shape(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for index in range(12):
        values = np.full((6, 5), 10 * index, np.uint8)
        values[: 3 * (index % 2)] = 255
        folder = tmp_path / "data" / ("dark", "bright")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.fromarray(values).save(folder / f"{index}.png")
    text = f"""{HEAD}{BUILD}
    assert inputs == (6, 5), inputs
    return SpikingSequential(
        nn.Unflatten(1, (1, 6)), nn.Conv2d(1, 2, 3), LIFLayer((2, 4, 3), 10e-3), nn.Flatten(),
        LIFSynapse(24, classes), LILayer(classes, tau=10e-3),
    )
"""
    choices = choices_of(tmp_path, write(tmp_path, text))
    choices["data"] = {"source": str(tmp_path / "data"), "steps": 6}
    result = Run.new(tmp_path / "run", RunConfig.of(choices)).train()
    assert len(result["rates"]) == 1
    assert (tmp_path / "run" / "report.html").is_file()
