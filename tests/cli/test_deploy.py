"""`nwave check`, `map`, `export` and `chips`, and `nwave info --chip`."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from cli.command import nwave, rejected, succeeded

pytest.importorskip("lightning")

from nwavesdk.deploy import ChipRun, load_export
from nwavesdk.deploy import chip_run as chip_run_module
from nwavesdk.deploy.chip_file import read_header
from nwavesdk.layers import SpikingSequential


def test_check_lists_violations(chip_run: Path) -> None:
    result = succeeded("check", chip_run)
    assert result.stdout == f"the net of {chip_run} keeps every limit of h1v1\n"
    broken = nwave("check", chip_run, "--json", "--chip", _tight_profile(chip_run))
    assert broken.exit_code == 1
    violations = json.loads(broken.stdout)["violations"]
    assert {"charge_law", "weight_limit"} <= {violation["rule"] for violation in violations}


def test_map_places_layers_on_cores(chip_run: Path) -> None:
    result = nwave("map", chip_run, "--json")
    report = json.loads(result.stdout)
    assert [piece["size"] for piece in report["pieces"]] == [16, 10, 9]
    assert report["power_w"]["total"] > report["power_w"]["static"] > 0
    assert Path(report["plot"]).read_bytes().startswith(b"\x89PNG")
    plain = nwave("map", chip_run, "--no-plot")
    assert "core 0: 35/64" in plain.stdout
    assert "assumed: static_power" in plain.stdout


def test_the_name_of_a_chip_is_not_a_formula_and_moves_no_cursor(chip_run: Path) -> None:
    path = _tight_profile(chip_run).rename(chip_run.parent / "in $_$^{\x1b[31m.toml")
    path.write_text(path.read_text().replace("value = 0.01\n", "value = 0.9\n"))
    result = succeeded("map", chip_run, "--chip", path)
    assert result.stdout.startswith("in $_$^{\\x1b[31m\n")


def test_export_writes_a_file_that_can_be_read(chip_run: Path, tmp_path: Path) -> None:
    result = nwave("export", chip_run, "--out", tmp_path / "net.safetensors", "--json")
    report = json.loads(result.stdout)
    assert report["spikes_compared"] > 0
    tested = json.loads((chip_run / "result.json").read_text())["test_accuracy"]
    assert report["test_accuracy"] == tested
    printed = nwave("export", chip_run, "--out", tmp_path / "again.safetensors").stdout
    assert f"of the chip as designed: test accuracy {tested:.4f}" in printed
    assert isinstance(load_export(tmp_path / "net.safetensors"), SpikingSequential)
    assert "which has other neurons than h1v2" in rejected("export", chip_run, "--chip", "h1v2")


def test_an_earlier_file_is_kept_if_spikes_differ(
    chip_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"earlier")
    monkeypatch.setattr(
        chip_run_module, "unpack_net", lambda *_: ChipRun.open(chip_run).run.network()
    )
    with pytest.raises(
        RuntimeError, match="net.safetensors is not written: the exported net spikes differently"
    ):
        ChipRun.open(chip_run).export(path)
    assert path.read_bytes() == b"earlier"


@pytest.mark.parametrize("command", ["map", "chips"])
def test_the_place_of_a_picture_is_checked_before_the_work(
    command: str, chip_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = {"map": "placement", "chips": "series"}[command]
    monkeypatch.setattr(ChipRun, work, lambda *_: pytest.fail("worked"))
    name = {"map": "placement.png", "chips": "chips.png"}[command]
    picture = chip_run / "pictures" / name
    picture.unlink(missing_ok=True)
    picture.symlink_to("elsewhere")
    try:
        result = nwave(command, chip_run)
    finally:
        picture.unlink()
    assert result.exit_code == 2
    assert f"{name} is a link, expected a file" in result.stderr


def test_chips_are_a_function_of_the_seed(chip_run: Path, tmp_path: Path) -> None:
    first = json.loads(
        nwave("chips", chip_run, "--n", "12", "--seed", "5", "--wanted", "0.4", "--json").stdout
    )
    again = json.loads(
        nwave("chips", chip_run, "--n", "12", "--seed", "5", "--json", "--no-plot").stdout
    )
    assert first["accuracy"] == again["accuracy"]
    assert len(first["accuracy"]) == 12
    assert first["yield"] == sum(a >= 0.4 for a in first["accuracy"]) / 12

    assert {"q05", "q50", "q95", "seed", "wanted", "designed"} <= set(first)
    assert Path(first["plot"]).read_bytes().startswith(b"\x89PNG")
    assert again["plot"] is None

    report = nwave("chips", chip_run, "--n", "3", "--plot", tmp_path / "own.png").stdout
    assert "yield" in report
    assert "mismatch is assumed, not measured: leak_mismatch" in report
    assert first["assumed"] == ["leak_mismatch", "threshold_mismatch", "synapse_mismatch"]
    assert (tmp_path / "own.png").is_file()


def test_chips_are_drawn_with_all_mismatch(chip_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    draw_series = chip_run_module.draw_series

    def check_mismatch(net: Any, *arguments: Any) -> Any:
        assert [m.stddev for m in net if hasattr(m, "nb_inputs")] == [0.02] * 3
        assert [m.ileak_mismatch for m in net if hasattr(m, "neuron")] == [True] * 3
        return draw_series(net, *arguments)

    monkeypatch.setattr(chip_run_module, "draw_series", check_mismatch)
    assert nwave("chips", chip_run, "--n", "2", "--no-plot").exit_code == 0


@pytest.mark.parametrize("command", ["check", "map", "export", "chips"])
def test_a_run_without_chip_is_rejected(command: str, run: Path) -> None:
    error = rejected(command, run)
    assert "was not trained for a chip" in error
    assert "Traceback" not in error


def test_info_prints_the_numbers_of_a_chip() -> None:
    text = nwave("info", "--chip", "h1v2").stdout
    assert "* threshold" in text
    assert re.search("  weight_limit +1.66\n", text)
    assert "assumed: one fixed threshold" in text
    report = json.loads(nwave("info", "--chip", "h1v1", "--json").stdout)
    assert report["entries"]["weight_limit"] == {
        "value": 0.9, "unit": "1", "source": "documented", "note": "weights lie in [-limit, limit]",
    }  # fmt: skip
    assert "found no profile h7" in rejected("info", "--chip", "h7")


def _tight_profile(run: Path) -> Path:
    """The profile of the run with a tiny range of weights."""
    from importlib.resources import files

    path = run.parent / "tight.toml"
    text = (files("nwavesdk.chip") / "profiles" / "h1v1.toml").read_text()
    path.write_text(text.replace("value = 0.9\n", "value = 0.01\n", 1))
    return path


def test_a_decision_of_the_run_is_in_the_chip_file(chip_run: Path, tmp_path: Path) -> None:
    from nwavesdk.train import RunFolder

    folder = RunFolder(shutil.copytree(chip_run, tmp_path / "run"))
    decision = {"events": ["low"], "threshold": 1.5}
    folder.write_result({**folder.read_result(), "decision": decision}, folder.identity)
    assert nwave("export", folder.path, "--out", tmp_path / "chip.safetensors").exit_code == 0
    assert read_header(tmp_path / "chip.safetensors")["about"]["decision"] == decision
