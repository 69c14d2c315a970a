"""The CNN next to a detector, the detector of the package, and the folder of its words."""

import json
import tarfile
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
pytest.importorskip("soundfile")

from benchmarks import detector, package_detector
from benchmarks.wake_words import main as make_folder
from nwavesdk.data import Batch
from nwavesdk.net import record
from nwavesdk.train import Run, RunConfig, load
from nwavesdk.train.apply.blocks import run_net
from nwavesdk.train.data.load import complete_data
from nwavesdk.train.data.split import open_recordings
from nwavesdk.train.fit.network import network_of_run, sample_config
from train.event_folders import write_events
from train.runs import no_pictures


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_events(tmp_path_factory.mktemp("events"))


@pytest.fixture(scope="module")
@no_pictures()
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A detector after one epoch."""
    path = tmp_path_factory.mktemp("runs") / "tones"
    choices = {"data": {"source": str(folder)}, "learning": {"epochs": 1}}
    Run.new(path, RunConfig.of(choices)).train()
    return path


def test_the_cnn_has_the_size_of_the_detector_and_sees_no_later_step() -> None:
    config = sample_config("conv", (40,), 4, "sound", task="detect")
    net = detector.cnn_of(config).eval()
    sizes = [sum(p.numel() for p in model.parameters()) for model in (net, network_of_run(config))]
    assert sizes[0] == sizes[1] - 1  # without the time constant of the integrator

    x, lengths = torch.randn(1, 150, 40), torch.tensor([150])
    impulse = torch.zeros(1, 150, 40).index_fill(1, torch.tensor([80]), 1.0)
    with torch.no_grad():
        scores, other = net(x)[0], net(x + impulse)[0]
        in_blocks = run_net(net, Batch(x, lengths, lengths), 5)[0]
    assert not record(net, x).spiking
    assert (scores != other).any(dim=-1).nonzero()[0, 1] == 80
    torch.testing.assert_close(in_blocks, scores)


def test_the_cnn_learns_with_hard_places(folder: Path) -> None:
    config, data = complete_data(RunConfig.of({"data": {"source": str(folder), "test": False}}))
    net = detector.cnn_of(config)
    assert detector.learn(net, config, data, 30) == 30
    assert (data.train.hard >= 0).any()
    batch = data.val.batch([0])
    outputs = net.eval()(batch.x)[0].argmax(-1)
    assert (outputs == batch.y)[batch.y > 0].float().mean() > 0.5


def test_both_nets_get_a_line_and_a_result(
    folder: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "results.jsonl"
    words = [str(folder), "--updates", "6", "--run", str(run), "--out", str(out)]
    detector.app(words, standalone_mode=False)
    detector.app([*words, "--test"], standalone_mode=False)

    lines = capsys.readouterr().out.splitlines()
    assert [(line.split()[0], "test misses" in line) for line in lines] == [
        *[("cnn", False), ("tones", False)],
        *[("cnn", True), ("tones", True)],
    ]
    cnn, spiking, tested, _ = map(json.loads, out.read_text().splitlines())
    assert (cnn["updates"], cnn["val_misses"]) == (6, tested["val_misses"])
    assert ("test_misses" in cnn, "test_misses" in tested) == (False, True)
    assert spiking["decision"] == load(run).decision.model_dump(mode="json")
    with pytest.raises(SystemExit, match="does not exist"):
        detector.app([str(folder / "none")], standalone_mode=False)


def test_a_packaged_detector_computes_as_its_run_with_rounded_weights(
    run: Path, tmp_path: Path
) -> None:
    result = package_detector.package(run, tmp_path / "wake-words")
    assert package_detector.package(run, tmp_path / "wake-words") == result
    original, loaded = load(run), load(tmp_path / "wake-words")
    assert loaded.decision == original.decision
    assert result["probe"] == package_detector.probe_scores(loaded)
    half = {"rtol": 2**-11, "atol": 2**-25}  # what 16 bits resolve
    torch.testing.assert_close(loaded.net.state_dict(), original.net.state_dict(), **half)


def test_an_archive_becomes_a_folder_with_background_and_a_table_of_sets(tmp_path: Path) -> None:
    folder = write_events(tmp_path / "recordings", events=3, background=3, seconds=1)
    lines = ["path\tsplit\tgroup\tlicence"]
    archive = tmp_path / "words.tar"
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.glob("**/*.wav")):
            name, _, rest = path.relative_to(folder).as_posix().partition("/")
            target = f"words/{name}/{rest}" if name != "background" else f"speech/{rest}"
            tar.add(path, target)
            lines.append(f"{target}\t{('train', 'val', 'test')[len(lines) % 3]}\tann\tCC0")
        manifest = tmp_path / "manifest.tsv"
        manifest.write_text("\n".join(lines))
        tar.add(manifest, "manifest.tsv")

    data = tmp_path / "data"
    make_folder([str(archive), str(data)])
    config = RunConfig.of({"data": {"source": str(data), "split": str(data / "split.csv")}})
    source, _, note = open_recordings(config)
    assert (config.task.name, note) == ("detect", "")
    assert {(item.class_name, item.part) for item in source.items} == {
        (name, part) for name in ("background", "high", "low") for part in ("train", "val", "test")
    }
    assert {item.group for item in source.items} == {"ann"}
    assert (data / "background" / "speech" / "noise" / "0.wav").is_file()
