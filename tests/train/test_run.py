"""A run: its files, its repetition, its threads, lists of events, and a surrogate that changes."""

from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from examples import small_data as small
from nwavesdk.analysis.run_batch import RunBatch
from nwavesdk.layers import DenseSynapse
from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.config.completed import Origin
from nwavesdk.train.data.load import RunData
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.seeds import use_threads
from train.runs import (
    Choices,
    assert_resumes,
    metrics,
    metrics_without_time,
    model_bytes,
    no_pictures,
    stop_after,
)


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
    finished: Path, choices: Choices, tmp_path: Path
) -> None:
    torch.manual_seed(17)  # the state of torch's generator has no effect
    run = Run.new(tmp_path / "again", choices)
    result = run.train()
    assert result == RunFolder(tmp_path / "again").read_result()
    assert model_bytes(tmp_path / "again") == model_bytes(finished)
    other = Run.new(tmp_path / "other", {**choices, "seed": 4})
    assert not torch.equal(other.network()[0].weight, run.network()[0].weight)


def test_a_run_takes_a_text_as_its_path_and_choices_or_a_config(
    choices: Choices, tmp_path: Path
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


def test_changed_data_are_an_error(choices: Choices, tmp_path: Path) -> None:
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
    section: str, change: Choices, words: str, choices: Choices, tmp_path: Path
) -> None:
    choices[section] |= change
    with pytest.raises(ValueError, match=words):
        Run.new(tmp_path / "run", choices)
    assert not (tmp_path / "run").exists()


def choices_of(folder: Path, events: str) -> Choices:
    return {
        "seed": 3,
        "data": {"source": str(folder), "events": events, "bin": 1e-3},
        "net": {"name": "lif", "hidden": [12], "population": 2},
        "learning": {"epochs": 3, "batch_size": 4, "rate": 0.02},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make_structured(tmp_path_factory.mktemp("events") / "files")


@pytest.fixture(scope="module")
@no_pictures()
def finished_lists(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = Run.new(tmp_path_factory.mktemp("run") / "lists", choices_of(folder, "lists"))
    run.train()
    return run.folder.path


def test_lists_have_the_loss_of_frames(folder: Path, finished_lists: Path, tmp_path: Path) -> None:
    choices = choices_of(folder, "frames")
    choices["net"]["first_weights"] = "drawn"
    Run.new(tmp_path / "frames", choices).train()
    of_lists, *_ = metrics_without_time(finished_lists)
    of_frames, *_ = metrics_without_time(tmp_path / "frames")
    # The two products add up in other orders.
    assert float(of_lists["train_loss"]) == pytest.approx(float(of_frames["train_loss"]), rel=1e-4)


def test_a_run_on_lists_has_its_report(finished_lists: Path) -> None:
    assert (finished_lists / "report.html").is_file()


def test_a_resumed_run_has_the_same_bits(
    folder: Path, finished_lists: Path, tmp_path: Path
) -> None:
    assert_resumes(Run.new(tmp_path / "broken", choices_of(folder, "lists")), 1, finished_lists)
    assert metrics_without_time(tmp_path / "broken") == metrics_without_time(finished_lists)


def test_diagnosis_takes_gradients_of_a_dense_batch(finished_lists: Path) -> None:
    recorded = RunBatch.open(finished_lists).record_pass()
    assert len(dict(recorded.gradients())) == 2


@pytest.mark.parametrize(
    ("form", "epochs"),
    [
        ("exponential(slope, 2, 40)", 3),
        ("plateau(slope, 2, 40, patience=1, stages=2)", 4),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(
    form: str,
    epochs: int,
    choices: Choices,
    finished_lists: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values: list[float] = []
    step = SurrogateAnnealing.step

    def record_value(
        self: SurrogateAnnealing, net: Any, epoch: int, metric: float | None = None
    ) -> None:
        step(self, net, epoch, None if metric is None else 1.0)  # no improvement after the first
        values.append(self.value)

    monkeypatch.setattr(SurrogateAnnealing, "step", record_value)
    choices["learning"] |= {"epochs": epochs, "surrogate_schedule": form}
    Run.new(tmp_path / "whole", choices).train()
    expected = list(values)
    values.clear()
    assert_resumes(Run.new(tmp_path / "broken", choices), 2, tmp_path / "whole")
    assert values == expected
    assert expected[0] == 2
    assert expected[-1] == 40
    # The shared run is the same without a schedule.
    assert model_bytes(tmp_path / "whole") != model_bytes(finished_lists)
    assert "slope from 2 to 40" in (tmp_path / "whole" / "report.html").read_text()


@pytest.fixture(autouse=True)
def _restore_settings():
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def test_a_run_records_its_threads_and_restores_the_setting(
    choices: Choices, tmp_path: Path
) -> None:
    run = Run.new(tmp_path / "run", choices)
    recorded = RunFolder(tmp_path / "run").read_config().machine.threads
    assert recorded == run.config.machine.threads == 1
    torch.set_num_threads(2)
    with use_threads(recorded):
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 2


def test_chosen_threads_are_those_of_the_run(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    current = torch.get_num_threads()
    monkeypatch.setattr("os.cpu_count", lambda: current + 1)
    chosen = Run.prepare(tmp_path, {**choices, "machine": {"threads": current + 1}})
    assert chosen.config.machine.threads == current + 1
    with use_threads(chosen.config.machine.threads):
        assert torch.get_num_threads() == current + 1


def test_a_small_net_takes_one_thread_and_a_large_one_all(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(2)
    small = Run.prepare(tmp_path, choices).config
    assert small.machine.threads == 1
    small.check_same({"machine": {"threads": 1}})
    with pytest.raises(ValueError, match="machine.threads: .*, expected 1:"):
        small.check_same({"machine": {"threads": 2}})
    monkeypatch.setattr("nwavesdk.train.prepared.SMALL_BATCH", 1)
    assert Run.prepare(tmp_path, choices).config.machine.threads == 2


def test_a_resumed_run_keeps_its_threads(
    choices: Choices, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stops after an epoch, and continues where the number of threads differs."""
    choices = {**choices, "machine": {"threads": 2}}
    Run.new(tmp_path / "whole", choices).train()
    stop_after(Run.new(tmp_path / "broken", choices), 1)

    torch.set_num_threads(1)
    threads: set[int] = set()
    forward = DenseSynapse.forward

    def record(synapse: DenseSynapse, spk: torch.Tensor) -> torch.Tensor:
        threads.add(torch.get_num_threads())
        return forward(synapse, spk)

    monkeypatch.setattr(DenseSynapse, "forward", record)
    Run.open(tmp_path / "broken").train()
    assert threads == {2}
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
