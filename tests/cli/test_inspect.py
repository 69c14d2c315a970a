"""`nwave data`, `surrogates`, `info`, `slopes` and `diagnose`."""

import re
from pathlib import Path

import pytest

from cli.command import json_object, nwave
from nwavesdk import __version__


def test_surrogates_as_table_object_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    table = nwave("surrogates", "--plot", tmp_path / "a" / "b.png")
    assert re.search(r"fast_sigmoid\(slope=25\)\s+1\s+0\.08\s", table.stdout)
    assert (tmp_path / "a" / "b.png").read_bytes().startswith(b"\x89PNG")
    drawn: list[Path] = []
    monkeypatch.setattr("nwavesdk.analysis.pictures.plot_derivatives", drawn.append)
    report = json_object(nwave("surrogates", "--json"))
    assert {shape["name"] for shape in report["surrogates"]} >= {"atan", "fast_sigmoid", "sigmoid"}
    assert report["plot"] == "surrogates.png"
    assert json_object(nwave("surrogates", "--no-plot", "--json"))["plot"] is None
    assert drawn == [Path("surrogates.png")]


def test_slopes_as_table_object_and_picture(run: Path) -> None:
    table = nwave("slopes", run)
    assert table.exit_code == 0
    assert "trained weights" in table.stdout
    assert re.search(r"fast_sigmoid\(slope=25\) \*\s+\S+ ", table.stdout)
    assert "layer 1 receives" in table.stdout
    assert (run / "pictures" / "slopes.png").read_bytes().startswith(b"\x89PNG")
    page = (run / "slopes.html").read_text("utf-8")
    assert "Recommended" in page
    assert "https://" not in page
    few = "fast_sigmoid(2), atan(alpha=3),atan(1)"
    options = ("--surrogates", few, "--no-plot", "--json")
    report = json_object(nwave("slopes", run / "config.json", *options, "--recordings", 5))
    assert [candidate["name"] for candidate in report["candidates"]] == [
        "fast_sigmoid(slope=2)", "atan(alpha=3)", "atan(alpha=1)", "fast_sigmoid(slope=25)",
    ]  # fmt: skip
    assert (report["weights"], report["recordings"], report["plot"]) == ("initial", 5, None)
    assert report["recommended"]["advice"][-1]["surrogate"].startswith("fast_sigmoid")
    assert len(report["candidates"][0]["by_time"]) == len(report["layers"]) == 3
    kind = json_object(nwave("slopes", run, *options, "--kind", "atan"))
    assert kind["recommended"]["advice"][0]["surrogate"].startswith("atan")


def test_slopes_and_diagnose_reject_wrong_input(run: Path, tmp_path: Path) -> None:
    for words, error in [
        (("slopes", run, "--kind", "step"), "--kind: got 'step', expected one of"),
        (("slopes", run, "--surrogates", "relu"), "unknown surrogate 'relu'"),
        (("slopes", tmp_path), "holds no run"),
        (("diagnose", tmp_path), "holds no run"),
        (("slopes", run / "metrics.csv"), "is not the config of a run"),
    ]:
        result = nwave(*words)
        assert result.exit_code == 2
        assert error in result.stderr


def test_diagnose_lists_findings(run: Path) -> None:
    report = json_object(nwave("diagnose", run, "--json"))
    assert [layer["layer"] for layer in report["layers"]] == ["1", "4", "7"]
    assert all(0 <= layer["dead"] <= 1 for layer in report["layers"])
    text = nwave("diagnose", run)
    assert text.exit_code == 0
    for finding in report["findings"]:
        assert finding["text"] in text.stdout
        assert f"Remedy: {finding['remedy']}." in text.stdout
    assert report["findings"] or "no problem found" in text.stdout


def test_info_lists_versions_and_extras() -> None:
    report = json_object(nwave("info", "--json"))
    assert report["nwavesdk"] == __version__
    assert {"train", "demo", "dev"} <= set(report["extras"])
    for extra in report["extras"].values():
        assert extra["complete"] == (not extra["missing"])
    assert report["crossovers"] == "shipped"
    assert "torch" in nwave("info").stdout


def test_data_counts_recordings_and_draws_filters(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soxr")
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    words = ("data", tones, "--sample-rate", 8000, "--duration", 0.3, "--sim-time", 0.01)
    result = nwave(*words)
    assert result.exit_code == 0
    first, heads, train, *_, drawn = result.stdout.splitlines()
    assert first.startswith(
        "48 recordings of 30 steps and 16 channels; 0 from the cache, 0 skipped"
    )
    assert first.endswith("split by recording")
    assert heads.split() == ["high", "low", "middle", "all"]
    assert train.split() == ["train", "12", "12", "12", "36"]
    assert drawn == "drawn in front_end.png"
    assert (tmp_path / "front_end.png").is_file()
    report = json_object(nwave(*words, "--no-plot", "--json"))
    assert report["recordings"] == {"train": 36, "val": 6, "test": 6}
    assert report["per_class"]["test"] == {"high": 2, "low": 2, "middle": 2}
    assert (report["cached"], report["skipped"], report["split_by"], report["speakers"]) == (
        48,
        [],
        "recording",
        {},
    )
    assert report["plot"] is None


def test_data_lists_skipped_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soundfile = pytest.importorskip("soundfile")
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path / "cache"))
    for name in ("no", "yes"):
        (tmp_path / "words" / name).mkdir(parents=True)
        for speaker in range(4):
            soundfile.write(
                tmp_path / "words" / name / f"{speaker}f_nohash_0.wav", [0.1, 0.2] * 400, 8000
            )
    (tmp_path / "words" / "no" / "bad.wav").touch()
    words = ("data", tmp_path / "words", "--sample-rate", 8000, "--no-plot")
    refused = nwave(*words, "--json")
    assert refused.exit_code == 2
    assert (
        "bad.wav is empty (0 bytes): repair or remove it; --on-error skip leaves it out."
        in json_object(refused)["error"]
    )
    result = nwave(*words, "--on-error", "skip")
    assert "1 skipped; split by speaker" in result.stdout
    assert "train       2       2       4         2" in result.stdout
    assert "skipped no/bad.wav: is empty (0 bytes)" in result.stdout
    assert nwave(*words, "--on-error", "ignore").exit_code == 2
