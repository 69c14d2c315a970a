"""A run: what it writes, that it is reproducible, and what it does not begin with."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.config.facts import Origin
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.network import sample_config
from train.runs import metrics, model_bytes


def test_a_run_writes_everything_that_is_promised(finished: Path) -> None:
    folder = RunFolder(finished)
    result = folder.read_result()
    assert {"test_accuracy", "seed", "seconds", "val_accuracy", "epochs", "rates"} <= set(result)
    assert result["test_accuracy"] > 0.8  # three tones in noise: chance is 0.33
    assert result["seed"] == 3
    assert [row["epoch"] for row in metrics(finished)] == ["1", "2", "3"]
    config = folder.read_config()
    assert config.facts.classes == ("high", "low", "middle")
    assert config.data.sample_rate == 8000
    assert config.data.hold == 1
    assert config.data.length is None  # nothing is cut, and padding is masked
    for picture in ("learning_curves", "spike_raster", "membrane_traces", "confusion_matrix"):
        assert (folder.pictures / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    page = folder.report.read_text()
    assert page.count("data:image/png;base64,") == 8
    assert config.facts.begun_with == Origin.current()
    assert page.index(Origin.current().torch) > page.index("<summary>Settings, versions, machine")
    # A namespace is not an address to load from.
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert list((finished / "tensorboard").glob("events.*"))
    assert Run.open(finished).test()["test_accuracy"] == result["test_accuracy"]


def test_the_same_seed_gives_the_same_weights(
    finished: Path, choices: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(17)  # the state of torch's generator has no effect
    run = Run.new(tmp_path / "again", choices)
    result = run.train()
    assert result == RunFolder(tmp_path / "again").read_result()
    assert model_bytes(tmp_path / "again") == model_bytes(finished)
    other = Run.new(tmp_path / "other", {**choices, "seed": 4})
    assert not torch.equal(other.network()[0].weight, run.network()[0].weight)


def test_a_run_takes_a_text_as_its_path_and_choices_or_a_config(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    path = str(tmp_path / "run")
    with pytest.raises(ValueError, match="expected a dictionary or instance of RunConfig"):
        Run.new(path, path)  # type: ignore[arg-type]  # what it rejects
    begun = Run.new(path, RunConfig.of(choices))
    assert Run.open(path).folder.path == begun.folder.path == tmp_path / "run"
    assert RunFolder(path).read_config() == begun.config == Run.prepare("other", choices).config


def test_the_summary_shortens_many_classes() -> None:
    run = Run(RunFolder("runs/none"), sample_config("lif", (16,), 40), RunData(*(None,) * 4))
    classes, split, net = run.summary()
    assert classes.startswith("40 classes: 0, 1, 2, ")
    assert classes.endswith(", …")
    assert split == run.config.facts.split_reason
    assert net.startswith("net lif for sound, ")


def test_changed_data_are_an_error(choices: dict[str, Any], tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    source = tmp_path / "data"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        for index in range(3):
            soundfile.write(source / name / f"{index}.wav", torch.randn(2000).numpy() / 9, 8000)
    choices["data"]["source"] = str(source)
    Run.new(tmp_path / "run", choices)
    Run.open(tmp_path / "run")
    soundfile.write(source / "a" / "0.wav", torch.randn(2000).numpy() / 9, 8000)
    with pytest.raises(
        ValueError, match=r"have changed since the run began.*restore them or start a new run"
    ):
        Run.open(tmp_path / "run")


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("data", {"source": "none"}, "none does not exist"),
        (
            "net",
            {"hidden": [100_000] * 100},
            r"net: a batch .* and a net of 10,000,\d+ neurons need .* GB.*: lower --batch",
        ),
        ("net", {"hidden": [50_000] * 2}, "net: a batch of .* a net of .* need .* GB of memory"),
        (
            "data",
            {"padding": "zeros", "length": 10**6, "hold": 10**4},
            r"net: a batch of 8 sequences of 10,000,000,000 steps .* need .* GB",
        ),
        (
            "learning",
            {"surrogate_schedule": "linear(alpha, 1, 2)"},
            r"no parameter 'alpha'",
        ),
        (
            "learning",
            {"surrogate_schedule": "linear(slope, 0, 2)"},
            r"slope must be a finite",
        ),
        pytest.param(
            "machine",
            {"accelerator": "cuda"},
            r"got 'cuda' with 1 device.*which this machine does not have \(.*: use --",
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU"),
        ),
    ],
)
def test_a_run_that_cannot_be_trained_is_an_error_before_anything_is_written(
    section: str, change: dict[str, Any], words: str, choices: dict[str, Any], tmp_path: Path
) -> None:
    choices[section] |= change
    with pytest.raises(ValueError, match=words):
        Run.new(tmp_path / "run", choices)
    assert not (tmp_path / "run").exists()
