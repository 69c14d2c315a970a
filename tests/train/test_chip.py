"""A run for a chip: what it hears, what its weights keep to, that it resumes to the bit, and the commands after it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

pytest.importorskip("lightning")

from safetensors.torch import load_file
from typer.testing import CliRunner

from nwavesdk.cli import app
from nwavesdk.deploy import find_violations, load_export
from nwavesdk.layers import H1v1Layer, H1v2Layer, SpikingSequential, prepare_net
from nwavesdk.train import Run, RunConfig, RunFolder
from train.interrupt import stop_after


@pytest.fixture
def chosen(tones: Path) -> dict[str, Any]:
    """A run for a chip that takes a second or two."""
    return {
        "seed": 3,
        "data": {"source": str(tones), "sample_rate": 8000},
        "net": {"hidden": [10], "population": 3, "dt": 5e-3},
        "chip": {"profile": "h1v2", "duration": 0.3},
        "learning": {"epochs": 3, "batch_size": 8, "rate": 0.05, "sharpness": 100},
        "machine": {"accelerator": "cpu"},
    }


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("training", ["plain", "hardware", "mismatch"])
@pytest.mark.parametrize("chip", ["h1v1", "h1v2"])
def test_a_net_for_a_chip_keeps_to_it(
    chosen: dict[str, Any], tmp_path: Path, chip: str, training: str
) -> None:
    chosen["chip"] |= {"profile": chip, "training": training}
    result = Run.new(tmp_path / "run", RunConfig.of(chosen)).train()
    assert result is not None
    opened = Run.open(tmp_path / "run")
    net = opened.model()
    assert find_violations(net) == []
    assert {type(m) for m in net if hasattr(m, "neuron")} == {
        H1v1Layer if chip == "h1v1" else H1v2Layer
    }
    assert all(m.quantization_bits == 5 for m in net if hasattr(m, "nb_inputs"))
    assert opened.test()["test_accuracy"] == result["test_accuracy"]
    assert set(load_file(RunFolder(tmp_path / "run").model)) >= {
        "net.0.weight",
        "net.2.weight",
        "standard.mean",
    }
    page = RunFolder(tmp_path / "run").report.read_text()
    assert "of its 25 numbers are assumed" in page
    assert ("or the nearest of the chip&#x27;s tau profiles" in page) == (chip == "h1v2")
    config = opened.config
    assert config.chip is not None
    assert config.facts is not None
    assert config.chip.gain is not None
    assert config.facts.split_by == "recording"  # the names of these files tell no speaker
    assert opened.data.train.x.shape[1:] == (60, 16)
    assert (opened.data.train.x > 1).mean() == pytest.approx(0.01, abs=0.003)


def test_training_draws_chips_only_where_it_is_to(chosen: dict[str, Any], tmp_path: Path) -> None:
    weights = {}
    for training in ("hardware", "mismatch"):
        chosen["chip"]["training"] = training
        chosen["learning"]["epochs"] = 1
        Run.new(tmp_path / training, RunConfig.of(chosen)).train()
        weights[training] = (tmp_path / training / "model.safetensors").read_bytes()
    assert weights["hardware"] != weights["mismatch"]


def test_each_batch_has_its_chip_and_each_epoch_the_same_chips_to_select_on(
    chosen: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nwavesdk.optim import SignAnnealing
    from nwavesdk.train import classifier

    seeds: dict[bool, list[Any]] = {True: [], False: []}
    epochs = []

    def preparing(net: Any, seed: int | None) -> None:
        seeds[net.training].append(seed)
        prepare_net(net, seed=seed)

    def stepping(self: Any, net: Any, epoch: int) -> Any:
        epochs.append(epoch)
        return step(self, net, epoch)

    step = SignAnnealing.step
    monkeypatch.setattr(classifier, "prepare_net", preparing)
    monkeypatch.setattr("nwavesdk.train.run.VAL_BATCH", 2)
    monkeypatch.setattr(SignAnnealing, "step", stepping)
    Run.new(tmp_path / "run", RunConfig.of(chosen)).train()
    assert epochs == [1, 2, 3]
    trained, heard = seeds[True], seeds[False]
    assert len(set(trained)) == len(trained) >= 3
    chips = len(heard) // 3
    assert heard == heard[:chips] * 3
    assert len(set(heard)) == chips > 1
    assert not any(seed % 2 for seed in trained + heard)


@pytest.mark.parametrize("training", ["plain", "hardware", "mismatch"])
def test_plain_training_knows_no_bits(
    chosen: dict[str, Any], tmp_path: Path, training: str
) -> None:
    chosen["chip"]["training"] = training
    run = Run.new(tmp_path / "run", RunConfig.of(chosen))
    assert run.network()[0].quantization_bits == (None if training == "plain" else 5)
    assert run.network(deployed=True)[0].quantization_bits == 5


def test_mismatch_of_weights_is_the_chip_s(chosen: dict[str, Any], tmp_path: Path) -> None:
    chosen["chip"]["profile"] = "h1v1"
    run = Run.new(tmp_path / "run", RunConfig.of(chosen))
    for net, stddev in ((run.network(mismatch=True), 0.02), (run.network(), None)):
        synapses = [m for m in net if hasattr(m, "nb_inputs")]
        assert [m.stddev for m in synapses] == [stddev] * len(synapses)


def test_the_gain_is_of_the_training_part_alone_and_a_limit_counts_all_parts(
    chosen: dict[str, Any], tmp_path: Path
) -> None:
    chosen["data"]["limit"] = 12
    run = Run.new(tmp_path / "run", RunConfig.of(chosen))
    assert run.config.chip is not None
    assert run.config.chip.gain is not None
    gain = run.config.chip.gain
    assert gain == float(f"{1 / np.quantile(run.data.train.x / gain, 0.99):.3g}")
    parts = (run.data.train, run.data.val, run.data.test)
    assert 10 <= sum(len(part) for part in parts) <= 15
    for part in parts:
        assert len(set(np.bincount(part.labels))) == 1


def test_the_profile_is_that_with_which_the_run_began(
    chosen: dict[str, Any], tmp_path: Path
) -> None:
    from importlib.resources import files

    text = (files("nwavesdk.chip") / "profiles" / "h1v2.toml").read_text()
    mine = tmp_path / "mine.toml"
    mine.write_text(text.replace("value = 1.66", "value = 1.0"))
    chosen["chip"]["profile"] = str(mine)
    chosen["learning"]["epochs"] = 1
    Run.new(tmp_path / "run", RunConfig.of(chosen)).train()
    mine.write_text(text.replace("value = 1.66", "value = 0.1"))
    net = Run.open(tmp_path / "run").model()
    assert net[0].profile.number("weight_limit") == 1.0
    assert find_violations(net) == []


def test_a_killed_run_ends_with_the_same_weights(chosen: dict[str, Any], tmp_path: Path) -> None:
    """The schedule of signs and the drawn chips go on where they were."""
    chosen["learning"]["epochs"] = 4
    Run.new(tmp_path / "whole", RunConfig.of(chosen)).train()
    stop_after(Run.new(tmp_path / "broken", RunConfig.of(chosen)), 2)
    Run.open(tmp_path / "broken").train()
    a, b = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "broken"))
    for name, value in a.items():
        assert torch.equal(value, b[name]), name


@pytest.mark.parametrize(
    ("choices", "words"),
    [
        (
            {"chip": {"profile": "h1v2"}},
            "a chip needs sound, but the spoken digits are features",
        ),
        ({"chip": {"profile": "h9"}, "data": {"source": "x"}}, "there is no profile h9"),
    ],
)
def test_what_cannot_be_is_said_before_a_folder_is_made(
    choices: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Run.new(tmp_path / "run", RunConfig.of(choices))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("section", "choices", "words"),
    [
        (
            "net",
            {"hidden": [180]},
            r"net: 16 \+ 180 \+ \d+ neurons .* do not fit on h1v2: got \d+, expected at most",
        ),
        (
            "net",
            {"threshold": 2.0},
            "net.threshold: the chip's filters and neurons determine it, got 2.0",
        ),
        ("data", {"bands": 64}, "data.bands: .* got 64, expected 32: leave the option out"),
        ("data", {"hold": 3}, "data.hold: .* got 3, expected None"),
        (
            "data",
            {"sample_rate": None},
            "data.sample_rate: a run for a chip needs the sample rate of the sound",
        ),
    ],
)
def test_what_a_chip_has_no_room_for_is_said_before_a_folder_is_made(
    chosen: dict[str, Any], tmp_path: Path, section: str, choices: dict[str, Any], words: str
) -> None:
    chosen[section] |= choices
    with pytest.raises(ValueError, match=words):
        Run.new(tmp_path / "run", RunConfig.of(chosen))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("chip", "words"),
    [
        ({"profile": "h1v2", "training": "some"}, "chip.training"),
        ({"profile": "h1v2", "bits": 9}, "chip.bits"),
        (
            {"training": "plain"},
            r"^chip.profile: missing, .* expected h1v1, h1v2 or a file \(--chip\)",
        ),
    ],
)
def test_a_wrong_choice_is_named(chip: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RunConfig.of({"chip": chip})


def test_defaults_of_a_chip_give_way_to_what_is_given() -> None:
    config = RunConfig.of({"chip": {"profile": "h1v2"}, "net": {"hidden": [7]}})
    assert config.net.hidden == (7,)
    assert config.net.tau != RunConfig().net.tau
    assert RunConfig.of({}).net == RunConfig().net


@pytest.fixture(scope="module")
def run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("chip") / "run"
    options = [
        "--hidden",
        "10",
        "--population",
        "3",
        "--epochs",
        "2",
        "--batch-size",
        "8",
        "--duration",
        "0.3",
    ]
    options += ["--sample-rate", "8000", "--learning-rate", "0.05", "--accelerator", "cpu"]
    done = nwave("train", "--out", out, "--data", tones, "--chip", "h1v1", *options)
    assert done.exit_code == 0, done.output
    return out


def test_a_damaged_profile_in_the_config_is_named(chosen: dict[str, Any], tmp_path: Path) -> None:
    Run.new(tmp_path / "run", RunConfig.of(chosen))
    file = tmp_path / "run" / "config.json"
    config = json.loads(file.read_text())
    config["facts"]["profile"] = '{"name": "h1v2"}'
    file.write_text(json.dumps(config))
    done = nwave("check", tmp_path / "run")
    assert done.exit_code == 2
    assert (
        "config.json is not the config of a run: facts.profile: it is not a profile of a chip"
        in done.stderr
    )


class TestCommands:
    def test_check(self, run: Path) -> None:
        done = nwave("check", run)
        assert (done.exit_code, done.stdout) == (0, f"the net of {run} keeps every limit of h1v1\n")
        broken = nwave("check", run, "--json", "--chip", tight(run))
        assert broken.exit_code == 1
        found = json.loads(broken.stdout)["violations"]
        assert {"charge_law", "weight_limit"} <= {violation["rule"] for violation in found}

    def test_map(self, run: Path) -> None:
        done = nwave("map", run, "--json")
        told = json.loads(done.stdout)
        assert [piece["size"] for piece in told["pieces"]] == [16, 10, 9]
        assert told["power_w"]["total"] > told["power_w"]["static"] > 0
        assert Path(told["plot"]).read_bytes().startswith(b"\x89PNG")
        plain = nwave("map", run, "--no-plot")
        assert "core 0: 35/64" in plain.stdout
        assert "assumed: static_power" in plain.stdout

    def test_export(self, run: Path, tmp_path: Path) -> None:
        done = nwave("export", run, "--out", tmp_path / "net.safetensors", "--json")
        assert json.loads(done.stdout)["spikes_compared"] > 0
        assert isinstance(load_export(tmp_path / "net.safetensors"), SpikingSequential)
        refused = nwave("export", run, "--chip", "h1v2")
        assert refused.exit_code == 2
        assert "whose neurons are not those of h1v2" in refused.stderr

    def test_chips(self, run: Path, tmp_path: Path) -> None:
        first = json.loads(
            nwave("chips", run, "--n", "12", "--seed", "5", "--wanted", "0.4", "--json").stdout
        )
        again = json.loads(
            nwave("chips", run, "--n", "12", "--seed", "5", "--json", "--no-plot").stdout
        )
        assert first["accuracy"] == again["accuracy"]
        assert len(first["accuracy"]) == 12
        assert first["yield"] == sum(a >= 0.4 for a in first["accuracy"]) / 12
        assert {"q05", "q50", "q95", "seed", "wanted", "designed"} <= set(first)
        assert Path(first["plot"]).read_bytes().startswith(b"\x89PNG")
        assert again["plot"] is None
        told = nwave("chips", run, "--n", "3", "--plot", tmp_path / "own.png").stdout
        assert "yield" in told
        assert "mismatch is assumed, not measured: leak_mismatch" in told
        assert first["assumed"] == ["leak_mismatch", "threshold_mismatch", "synapse_mismatch"]
        assert (tmp_path / "own.png").is_file()

    def test_chips_are_drawn_with_all_mismatch(
        self, run: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from nwavesdk.deploy import chip_run

        def looking(net: Any, *arguments: Any) -> Any:
            assert [m.stddev for m in net if hasattr(m, "nb_inputs")] == [0.02] * 3
            assert [m.ileak_mismatch for m in net if hasattr(m, "neuron")] == [True] * 3
            return draw_series(net, *arguments)

        draw_series = chip_run.draw_series
        monkeypatch.setattr(chip_run, "draw_series", looking)
        assert nwave("chips", run, "--n", "2", "--no-plot").exit_code == 0

    def test_a_run_for_no_chip_is_told_so(self, choices: dict[str, Any], tmp_path: Path) -> None:
        choices["learning"]["epochs"] = 1
        Run.new(tmp_path / "desk", RunConfig.of(choices)).train()
        for command in ("check", "map", "export", "chips"):
            done = nwave(command, tmp_path / "desk")
            assert done.exit_code == 2
            assert "was not trained for a chip" in done.stderr
            assert "Traceback" not in done.stderr

    def test_a_chip_s_numbers(self) -> None:
        text = nwave("info", "--chip", "h1v2").stdout
        assert "* threshold" in text
        assert "  weight_limit          1.66" in text
        assert "assumed: one fixed threshold" in text
        told = json.loads(nwave("info", "--chip", "h1v1", "--json").stdout)
        assert told["entries"]["weight_limit"] == {
            "value": 0.9, "unit": "1", "source": "documented", "note": "weights lie in [-limit, limit]",
        }  # fmt: skip
        wrong = nwave("info", "--chip", "h7")
        assert wrong.exit_code == 2
        assert "there is no profile h7" in wrong.stderr


def nwave(*arguments: object) -> Any:
    return CliRunner().invoke(
        app, [str(argument) for argument in arguments], catch_exceptions=False
    )


def tight(run: Path) -> Path:
    """A chip like the run's with hardly any range."""
    from importlib.resources import files

    path = run.parent / "tight.toml"
    text = (files("nwavesdk.chip") / "profiles" / "h1v1.toml").read_text()
    path.write_text(text.replace("value = 0.9\n", "value = 0.01\n", 1))
    return path
