import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from nwavesdk import __version__
from nwavesdk.cli import app
from nwavesdk.solvers.sparse import crossover

COMMAND = [sys.executable, "-c", "from nwavesdk.cli import main; main()"]


def nwave(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


def the_object(result: Result) -> dict[str, Any]:
    """The one JSON object on standard output."""
    value, end = json.JSONDecoder().raw_decode(result.stdout)
    assert not result.stdout[end:].strip()
    return value


@pytest.fixture(scope="module")
def run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    pytest.importorskip("lightning")
    out = tmp_path_factory.mktemp("cli") / "run"
    small = (
        "--hidden",
        "16,8",
        "--population",
        2,
        "--bands",
        12,
        "--hold",
        1,
        "--batch-size",
        8,
        "--learning-rate",
        0.02,
    )
    return out, nwave(
        "train", "--out", out, "--data", tones, "--epochs", 2, "--seed", 5, *small, "--json"
    )


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"]], ids=" ".join)
def test_help_is_fast_and_loads_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys, time\nfrom nwavesdk.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'numba', 'numpy', 'lightning', 'matplotlib'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "print(time.process_time(), file=sys.stderr)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=True
    )
    assert "Usage: " in result.stdout
    assert float(result.stderr) < 0.5  # seconds of the processor, whatever else it is doing


def test_version() -> None:
    assert nwave("--version").stdout == f"{__version__}\n"


def test_train_prints_one_object_and_progress_elsewhere(run: tuple[Path, Result]) -> None:
    out, result = run
    assert result.exit_code == 0
    report = the_object(result)
    assert report == {"run": str(out), **json.loads((out / "result.json").read_text())}
    assert report["seed"] == 5
    assert "epoch   2/2" in result.stderr
    assert json.loads((out / "config.json").read_text())["net"]["hidden"] == [16, 8]


def test_eval_gives_the_same_accuracy(run: tuple[Path, Result]) -> None:
    report = the_object(nwave("eval", run[0], "--json"))
    assert (
        report["test_accuracy"]
        == report["recorded_test_accuracy"]
        == the_object(run[1])["test_accuracy"]
    )
    assert "test accuracy" in nwave("eval", run[0]).stdout


def test_a_finished_run_is_neither_overwritten_nor_resumed(
    run: tuple[Path, Result], tones: Path
) -> None:
    out, first = run
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    refused = nwave("train", "--out", out, "--data", tones, "--json")
    assert refused.exit_code == 2
    assert "already holds a finished run: choose another --out" in the_object(refused)["error"]
    resumed = nwave("train", "--out", out, "--resume", "--json")
    assert resumed.exit_code == 0
    assert "is finished: nothing to resume" in resumed.stderr
    assert the_object(resumed) == the_object(first)
    changed = nwave("train", "--out", out, "--resume", "--epochs", 9)
    assert changed.exit_code == 2
    assert (
        "learning.epochs: a resumed run keeps its own choices, got 9, expected 2" in changed.stderr
    )
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--out", "{}/run", "--resume"), "holds no run (no config.json)"),
        (("eval", "{}/run"), "holds no run (no config.json)"),
        (("train", "--out", "{}/run", "--data", "{}/none"), "got nothing there, expected a folder"),
        (
            ("train", "--out", "{}/run", "--epochs", "0"),
            "learning.epochs: input should be greater than or equal to 1",
        ),
        (("train", "--out", "{}/run", "--surrogate", "tan"), "unknown surrogate 'tan'"),
        (
            ("train", "--out", "{}/run", "--split", "speaker"),
            "the spoken digits do not name their speakers",
        ),
        (
            ("compare", "--out", "{}/run", "--split", "some"),
            "data.split: input should be 'auto', 'speaker' or 'recording'",
        ),
        (
            ("surrogates", "--plot", "{}/x.svg"),
            "pictures are PNG files, got 'x.svg', expected a name that ends in .png",
        ),
        (
            ("compare", "--out", "{}/run", "--hold", "0"),
            "data.hold: input should be greater than or equal to 1",
        ),
        (
            ("train", "--out", "{}/run", "--hidden", "a,b"),
            "net.hidden.0: input should be a valid integer",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    words: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    pytest.importorskip("lightning")
    result = nwave(*(word.format(tmp_path) for word in words))
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("nwave: ")
    assert result.stderr.count("\n") == 1
    assert said in result.stderr
    assert list(tmp_path.iterdir()) == []
    assert said in the_object(nwave(*(word.format(tmp_path) for word in words), "--json"))["error"]


def test_what_the_user_cannot_mend_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.analysis.catalogue_shapes", lambda: 1 / 0)
    result = nwave("surrogates", "--no-plot")
    assert isinstance(result.exception, ZeroDivisionError)


def test_a_missing_extra_says_what_brings_it(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'lightning' else find(name, *rest)\n"
        "from nwavesdk.cli import main; main()"
    )
    words = [sys.executable, "-c", code, "train", "--out", str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert (
        done.stderr
        == 'nwave: lightning is not installed: pip install "nwavesdk[train]" brings it.\n'
    )


def test_surrogates_as_table_object_and_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    table = nwave("surrogates")
    assert re.search(r"fast_sigmoid\(slope=25\)\s+1\s+0\.08\s", table.stdout)
    assert (tmp_path / "surrogates.png").read_bytes().startswith(b"\x89PNG")
    report = the_object(nwave("surrogates", "--plot", tmp_path / "a" / "b.png", "--json"))
    assert {row["name"] for row in report["surrogates"]} >= {"atan", "fast_sigmoid", "sigmoid"}
    assert (tmp_path / "a" / "b.png").is_file()
    (tmp_path / "surrogates.png").unlink()
    nwave("surrogates", "--no-plot")
    assert not (tmp_path / "surrogates.png").exists()


def test_slopes_as_table_object_and_picture(run: tuple[Path, Result]) -> None:
    out, _ = run
    table = nwave("slopes", out)
    assert table.exit_code == 0
    assert "trained weights" in table.stdout
    assert re.search(r"fast_sigmoid\(slope=25\) \*\s+\S+ ", table.stdout)
    assert "layer 1 receives" in table.stdout
    assert (out / "pictures" / "slopes.png").read_bytes().startswith(b"\x89PNG")
    page = (out / "slopes.html").read_text("utf-8")
    assert "Recommended" in page
    assert "https://" not in page
    few = "fast_sigmoid(2), atan(alpha=3),atan(1)"
    report = the_object(
        nwave(
            "slopes",
            out / "config.json",
            "--surrogates",
            few,
            "--no-plot",
            "--recordings",
            5,
            "--json",
        )
    )
    assert [one["name"] for one in report["candidates"]] == [
        "fast_sigmoid(slope=2)", "atan(alpha=3)", "atan(alpha=1)", "fast_sigmoid(slope=25)",
    ]  # fmt: skip
    assert (report["weights"], report["recordings"], report["plot"]) == ("initial", 5, None)
    assert [one["surrogate"] for one in report["recommended"]["advice"]][-1].startswith(
        "fast_sigmoid"
    )
    assert len(report["candidates"][0]["by_time"]) == len(report["layers"]) == 3
    kind = the_object(
        nwave("slopes", out, "--surrogates", few, "--kind", "atan", "--no-plot", "--json")
    )
    assert kind["recommended"]["advice"][0]["surrogate"].startswith("atan")


def test_slopes_and_diagnose_say_what_is_wrong(run: tuple[Path, Result], tmp_path: Path) -> None:
    out, _ = run
    for words, error in [
        (("slopes", out, "--kind", "step"), "--kind step is unknown: expected one of"),
        (("slopes", out, "--surrogates", "relu"), "unknown surrogate 'relu'"),
        (("slopes", tmp_path), "holds no run"),
        (("diagnose", tmp_path), "holds no run"),
        (("slopes", out / "metrics.csv"), "is not the config of a run"),
    ]:
        result = nwave(*words)
        assert result.exit_code == 2
        assert error in result.stderr


def test_diagnose_a_run(run: tuple[Path, Result]) -> None:
    out, _ = run
    report = the_object(nwave("diagnose", out, "--json"))
    assert [layer["layer"] for layer in report["layers"]] == ["1", "4", "7"]
    assert all(0 <= layer["dead"] <= 1 for layer in report["layers"])
    told = nwave("diagnose", out)
    assert told.exit_code == 0
    for finding in report["findings"]:
        assert finding["text"] in told.stdout
        assert f"Remedy: {finding['remedy']}." in told.stdout
    assert report["findings"] or "no problem found" in told.stdout


def test_info() -> None:
    report = the_object(nwave("info", "--json"))
    assert report["nwavesdk"] == __version__
    assert {"train", "demo", "dev"} <= set(report["extras"])
    for extra in report["extras"].values():
        assert extra["complete"] == (not extra["missing"])
    assert report["crossovers"] == "shipped"
    assert "torch" in nwave("info").stdout


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the own table of crossovers goes; measuring it takes no time here."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NWAVESDK_CROSSOVER", raising=False)
    table = replace(crossover.shipped_table(), min_work=7)
    monkeypatch.setattr(
        "nwavesdk.solvers.sparse.tuner.tune", lambda progress: (progress(1.0), table)[1]
    )
    crossover.use_table(None)
    yield tmp_path / "nwavesdk" / "crossover.toml"
    monkeypatch.undo()
    crossover.use_table(None)


def test_tune_kernels_writes_the_own_table_and_takes_it_back(settings: Path) -> None:
    done = nwave("tune-kernels")
    assert done.exit_code == 0
    assert "least work 7, before 100,000,000" in done.stdout
    assert f"written to {settings}" in done.stdout
    assert "100%" in done.stderr
    assert settings.read_text("utf-8").startswith("# nwave tune-kernels, ")
    crossover.use_table(None)
    assert crossover.active_table().min_work == 7
    assert the_object(nwave("info", "--json"))["crossovers"] == str(settings)
    report = the_object(nwave("tune-kernels", "--json"))
    assert report["before"]["min_work"] == report["table"]["min_work"] == 7
    assert the_object(nwave("tune-kernels", "--reset", "--json")) == {
        "removed": True,
        "path": str(settings),
    }
    assert not settings.exists()
    assert "there was no" in nwave("tune-kernels", "--reset").stdout


def test_tune_kernels_writes_elsewhere(settings: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "table.toml"
    done = nwave("tune-kernels", "--out", out)
    assert f"set NWAVESDK_CROSSOVER={out}" in done.stdout
    assert crossover.read_table(out).min_work == 7
    assert not settings.exists()


def test_a_broken_own_table_is_told_and_replaced(settings: Path) -> None:
    settings.parent.mkdir(parents=True)
    settings.write_text("min_work = [")
    failed = nwave("info")
    assert failed.exit_code == 2
    assert "is not a crossover table" in failed.stderr
    done = nwave("tune-kernels")
    assert done.exit_code == 0
    assert "is not a crossover table" in done.stderr
    crossover.use_table(None)
    assert crossover.active_table().min_work == 7


def test_options_are_generated_from_the_config() -> None:
    result = nwave("train", "--help")
    text = " ".join(result.stdout.split())
    for option in (
        "--seed <int> Seed of weights, order, dropout and mismatch. [0]",
        "--epochs <int> Passes over the training set. [20; chip: 40]",
        "--hidden N,N,… Hidden layer sizes. [256,256; chip: 50]",
        "--tau <float> Membrane time constant [s]. [0.01; chip: 0.05]",
        "--learning-rate <float> Highest learning rate of the cycle. [0.008; chip: 0.03]",
        "--precision 32-true|64-true|bf16-mixed|16-mixed Precision of the numbers. [32-true]",
        "--bits <int> Bits of a weight on the chip. [the profile's]",
    ):
        assert option in text


def test_data_counts_a_folder_and_draws(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("soxr")
    monkeypatch.setenv("NWAVESDK_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    words = ("data", tones, "--sample-rate", 8000, "--duration", 0.3, "--sim-time", 0.01)
    result = nwave(*words)
    assert result.exit_code == 0
    first, heads, train, *_, drawn = result.stdout.splitlines()
    assert first == (
        "48 recordings of 30 steps and 16 channels; 0 from the cache, 0 skipped; split by recording"
    )
    assert heads.split() == ["high", "low", "middle", "all"]
    assert train.split() == ["train", "12", "12", "12", "36"]
    assert drawn == "drawn in front_end.png"
    assert (tmp_path / "front_end.png").is_file()
    report = the_object(nwave(*words, "--no-plot", "--json"))
    assert report["recordings"] == {"train": 36, "val": 6, "test": 6}
    assert report["per_class"]["test"] == {"high": 2, "low": 2, "middle": 2}
    assert (report["cached"], report["skipped"], report["split_by"], report["speakers"]) == (
        48,
        [],
        "recording",
        {},
    )
    assert report["plot"] is None


def test_data_names_what_it_skips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
        "bad.wav is empty (0 bytes): repair or remove it, or leave such files out"
        in the_object(refused)["error"]
    )
    result = nwave(*words, "--on-error", "skip")
    assert "1 skipped; split by speaker" in result.stdout
    assert "train       2       2       4         2" in result.stdout
    assert "skipped no/bad.wav: is empty (0 bytes)" in result.stdout
    assert nwave(*words, "--on-error", "ignore").exit_code == 2
