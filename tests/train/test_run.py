"""A run: what it writes, that it is reproducible, and what it does not begin with."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.config.facts import Origin
from train.runs import metrics, model_bytes


def test_a_run_writes_everything_that_is_promised(finished: Path) -> None:
    folder = RunFolder(finished)
    result = folder.read_result()
    assert {"test_accuracy", "seed", "seconds", "val_accuracy", "epochs", "rates"} <= set(result)
    assert result["test_accuracy"] > 0.8  # three tones in noise: chance is 0.33
    assert result["seed"] == 3
    assert [row["epoch"] for row in metrics(finished)] == ["1", "2", "3"]
    config = folder.read_config()
    assert config.facts is not None
    assert config.facts.classes == ("high", "low", "middle")
    assert config.data.sample_rate == 8000
    assert config.data.hold == 1
    assert config.data.length is None  # nothing is cut, and padding is masked
    for picture in ("learning_curves", "spike_raster", "membrane_traces", "confusion_matrix"):
        assert (folder.pictures / f"{picture}.png").read_bytes().startswith(b"\x89PNG")
    page = folder.report.read_text()
    assert page.count("data:image/png;base64,") == 8
    assert config.facts.begun_with == Origin.current()
    assert f"begun with</th><td>{Origin.current().line()}</td>" in page
    # A namespace is not an address to load from.
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert "https://" not in page
    assert list((finished / "tensorboard").glob("events.*"))
    assert Run.open(finished).test()["test_accuracy"] == result["test_accuracy"]


def test_the_same_seed_gives_the_same_weights(
    finished: Path, choices: dict[str, Any], tmp_path: Path
) -> None:
    torch.manual_seed(17)  # the state of torch's generator has no effect
    run = Run.new(tmp_path / "again", RunConfig.of(choices))
    result = run.train()
    assert result == RunFolder(tmp_path / "again").read_result()
    assert model_bytes(tmp_path / "again") == model_bytes(finished)
    other = Run.new(tmp_path / "other", RunConfig.of({**choices, "seed": 4}))
    assert not torch.equal(other.network()[0].weight, run.network()[0].weight)


def test_a_run_takes_a_text_as_its_path_but_only_a_config(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    path = str(tmp_path / "run")
    with pytest.raises(ValueError, match="expected a dictionary or instance of RunConfig"):
        Run.new(path, path)  # type: ignore[arg-type]  # what it rejects
    begun = Run.new(path, RunConfig.of(choices))
    assert Run.open(path).folder.path == begun.folder.path == tmp_path / "run"
    assert RunFolder(path).read_config() == begun.config


def test_changed_data_are_an_error(choices: dict[str, Any], tmp_path: Path) -> None:
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
    choices["data"]["source"] = str(tmp_path / "none")
    with pytest.raises(ValueError, match="none does not exist"):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    assert not (tmp_path / "run").exists()


def test_a_net_that_memory_cannot_hold_is_an_error_before_anything_is_written(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["net"]["hidden"] = [100_000] * 100
    with pytest.raises(
        ValueError,
        match=r"net: a batch .* and a net of \d+–100000–.*neurons need .* GB of memory.*: lower",
    ):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    choices["net"]["hidden"] = [4]
    run = Run.new(tmp_path / "run", RunConfig.of(choices))
    net = run.config.net.model_copy(update={"hidden": (50_000, 50_000)})
    run.config = run.config.model_copy(update={"net": net})
    with pytest.raises(ValueError, match="net: a batch of .* a net of .* need .* GB of memory"):
        run.train()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_accelerator_is_an_error_before_anything_is_written(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["machine"]["accelerator"] = "cuda"
    with pytest.raises(
        ValueError, match=r"got 'cuda' with 1 device.*which this machine does not have \(.*: use --"
    ):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    assert not (tmp_path / "run").exists()
