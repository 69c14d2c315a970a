"""Studies: paired to the bit, resumable, the same on every kind of worker; statistics against textbook numbers."""

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from safetensors.torch import load_file
from scipy import stats
from typer.testing import CliRunner

from nwavesdk.analysis.compare import Study, compare_pairs, summarize
from nwavesdk.analysis.compare.study import finish_on_processes, finish_on_ray, run_cell
from nwavesdk.cli import app
from nwavesdk.train import Run, RunConfig, RunFolder


def quiet(_: Any) -> None:
    """Tell nobody."""


def finish(study: Study, cells: Any = None) -> None:
    """Finish cells within this process, which is faster than to start others."""
    threads = torch.get_num_threads()
    for cell in study.missing() if cells is None else cells:
        run_cell(study.job(cell))
    torch.set_num_threads(threads)


def small(choices: dict[str, Any]) -> dict[str, Any]:
    return {**choices, "learning": {**choices["learning"], "epochs": 2}}


def study_of(path: Path, choices: dict[str, Any], arms: list[str], seeds: int = 2) -> Study:
    return Study.open(path, arms, seeds, small(choices), threads=1)


class TestStatistics:
    def test_interval_is_student_s(self) -> None:
        values = [0.91, 0.93, 0.96, 0.90, 0.94]
        got, expected = summarize(values), stats.ttest_1samp(values, 0).confidence_interval(0.95)
        assert (got.low, got.high) == pytest.approx(tuple(expected))
        assert got.deviation == pytest.approx(stats.tstd(values))

    def test_pairs_are_paired_t_tests_with_holm_and_bonferroni(self) -> None:
        arms = {
            "a": [0.9, 0.92, 0.94, 0.95],
            "b": [0.88, 0.91, 0.9, 0.93],
            "c": [0.9, 0.9, 0.95, 0.96],
        }
        pairs = {(p.first, p.second): p for p in compare_pairs(arms)}
        raw = {key: stats.ttest_rel(arms[key[0]], arms[key[1]]) for key in pairs}
        order = sorted(raw, key=lambda key: raw[key].pvalue)
        worst = 0.0
        for rank, key in enumerate(order):  # Holm by hand
            worst = max(worst, min(1.0, raw[key].pvalue * (3 - rank)))
            assert pairs[key].p == pytest.approx(worst)
            expected = raw[key].confidence_interval(1 - 0.05 / 3)
            assert (pairs[key].low, pairs[key].high) == pytest.approx(tuple(expected))

    def test_one_seed_tells_nothing_of_chance(self) -> None:
        (pair,) = compare_pairs({"a": [0.9], "b": [0.8]})
        assert pair.difference == pytest.approx(0.1)
        assert math.isnan(pair.p)
        assert pair.told == "one seed tells nothing of chance"

    def test_conclusions(self) -> None:
        better, same = [0.9, 0.91, 0.92], [0.1, 0.11, 0.13]
        assert compare_pairs({"a": better, "b": same})[0].told == "a is better"
        assert compare_pairs({"a": same, "b": better})[0].told == "b is better"
        assert compare_pairs({"a": same, "b": same})[0].told == "no difference shown"
        assert compare_pairs({"a": same, "b": same})[0].p == 1.0

    def test_arms_need_the_same_seeds(self) -> None:
        with pytest.raises(ValueError, match="paired arms need the same seeds"):
            compare_pairs({"a": [1.0], "b": [1.0, 2.0]})


class TestStudy:
    @pytest.mark.parametrize("chip", [False, True])
    def test_identical_surrogates_are_bit_identical_and_others_are_not(
        self, choices: dict[str, Any], tmp_path: Path, chip: bool
    ) -> None:
        """Weights at the beginning, order, dropout, mismatch and bits are those of the seed."""
        choices["net"]["dropout"] = 0.2
        if chip:
            choices = {
                **choices,
                "chip": {"profile": "h1v1", "duration": 0.3, "training": "mismatch"},
            }
            choices["data"] = {"source": choices["data"]["source"], "sample_rate": 8000}
            choices["net"]["dt"] = 5e-3
        study = study_of(
            tmp_path / "study", choices, ["fast_sigmoid", "fast_sigmoid(slope=25)", "atan"]
        )
        finish(study)
        assert list(study.arms) == [
            "fast_sigmoid(slope=25.0)",
            "fast_sigmoid(slope=25.0) #2",
            "atan(alpha=2.0)",
        ]
        hashes = {(cell.arm, cell.seed): cell.weights_sha256 for cell in study.cells}
        first, again, other = study.arms
        for seed in range(2):
            assert hashes[first, seed] == hashes[again, seed] != hashes[other, seed]
        assert hashes[first, 0] != hashes[first, 1]
        assert all(cell.result["dead"] for cell in study.cells)

    def test_finished_cells_are_not_repeated_and_begun_ones_go_on(
        self, choices: dict[str, Any], tmp_path: Path
    ) -> None:
        study = study_of(tmp_path / "study", choices, ["fast_sigmoid", "atan"], seeds=1)
        finish(study, study.missing()[:1])
        done = RunFolder(study.cells[0].path).result
        before = done.stat().st_mtime_ns
        again = study_of(tmp_path / "study", choices, ["fast_sigmoid", "atan"], seeds=1)
        assert [cell.arm for cell in again.missing()] == ["atan(alpha=2.0)"]
        finish(again)
        assert not again.missing()
        assert done.stat().st_mtime_ns == before

    def test_cells_are_parted_as_those_that_have_begun(
        self, choices: dict[str, Any], tmp_path: Path
    ) -> None:
        """Also in a study of an earlier version, whose runs were parted by recording whatever names tell."""
        study = study_of(tmp_path / "study", choices, ["fast_sigmoid", "atan"], seeds=1)
        assert "split" not in study.job(study.cells[1])[1]["data"]
        begun = RunFolder(study.cells[0].path)
        config = Run.new(begun.path, RunConfig.of(study.job(study.cells[0])[1])).config.model_dump()
        del config["data"]["split"]
        begun.config.write_text(json.dumps(config))
        assert study.job(study.cells[1])[1]["data"]["split"] == "recording"

    @pytest.mark.skipif(sys.platform != "linux", reason="processes end with their parent on Linux")
    def test_a_killed_study_leaves_no_process_and_ends_as_an_unbroken_one(
        self, choices: dict[str, Any], tmp_path: Path
    ) -> None:
        whole = study_of(tmp_path / "whole", choices, ["fast_sigmoid", "atan"], seeds=1)
        finish(whole)
        broken = study_of(tmp_path / "broken", choices, ["fast_sigmoid", "atan"], seeds=1)
        code = (
            "import sys, json; from pathlib import Path\n"
            "from nwavesdk.analysis.compare import Study\n"
            "from nwavesdk.analysis.compare.study import finish_on_processes\n"
            "if __name__ == '__main__':\n"
            "    s = Study.open(Path(sys.argv[1]), ['fast_sigmoid', 'atan'], 1, json.loads(sys.argv[2]), 1)\n"
            "    finish_on_processes(s, s.missing(), 1, lambda c: None)\n"
        )
        script = tmp_path / "begin.py"
        script.write_text(code)
        process = subprocess.Popen(
            [sys.executable, script, broken.path, json.dumps(small(choices))]
        )
        deadline = time.monotonic() + 90
        while not (broken.cells[0].path / "metrics.csv").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        children = subprocess.run(
            ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
        ).stdout.split()
        process.kill()
        process.wait()
        assert children
        while any(alive(int(child)) for child in children) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(alive(int(child)) for child in children)
        finish_on_processes(broken, broken.missing(), 1, quiet)
        for a, b in zip(whole.cells, broken.cells, strict=True):
            left, right = (load_file(RunFolder(cell.path).model) for cell in (a, b))
            assert {k: v.tolist() for k, v in left.items()} == {
                k: v.tolist() for k, v in right.items()
            }

    def test_ray_gives_the_same(self, choices: dict[str, Any], tmp_path: Path) -> None:
        pytest.importorskip("ray")
        one = study_of(tmp_path / "one", choices, ["fast_sigmoid", "atan"], seeds=1)
        two = study_of(tmp_path / "two", choices, ["fast_sigmoid", "atan"], seeds=1)
        finish(one)
        finish_on_ray(two, two.missing(), quiet)
        assert [c.weights_sha256 for c in one.cells] == [c.weights_sha256 for c in two.cells]

    def test_threads_are_those_of_the_study(self, choices: dict[str, Any], tmp_path: Path) -> None:
        study = study_of(tmp_path / "study", choices, ["fast_sigmoid", "atan"], seeds=1)
        finish(study, study.missing()[:1])
        config = RunFolder(study.cells[0].path).read_config()
        assert config.arithmetic is not None
        assert config.arithmetic.threads == 1

    @pytest.mark.parametrize(
        ("arms", "seeds", "words"),
        [
            (["atan"], 1, r"needs two surrogates or more, got \['atan'\]"),
            (["atan", "nonsense"], 1, "nonsense"),
            (["atan", "sigmoid"], 0, "needs one seed and one thread or more, got 0 and 1"),
        ],
    )
    def test_what_is_no_study_is_refused(
        self, choices: dict[str, Any], tmp_path: Path, arms: list[str], seeds: int, words: str
    ) -> None:
        with pytest.raises(ValueError, match=words):
            study_of(tmp_path / "study", choices, arms, seeds)
        assert not (tmp_path / "study").exists()

    def test_a_folder_of_something_else_is_left_alone(
        self, choices: dict[str, Any], tmp_path: Path
    ) -> None:
        study_of(tmp_path / "study", choices, ["fast_sigmoid", "atan"], seeds=1)
        with pytest.raises(ValueError, match=r"holds another study \(surrogates, seeds differ\)"):
            study_of(tmp_path / "study", choices, ["atan", "sigmoid"], seeds=2)
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "mine.txt").write_text("mine")
        with pytest.raises(ValueError, match="is in use and holds no study"):
            study_of(tmp_path / "other", choices, ["fast_sigmoid", "atan"])


def alive(process: int) -> bool:
    """Whether it runs; a zombie does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_command(tones: Path, tmp_path: Path) -> None:
    options = [
        "--data",
        tones,
        "--epochs",
        "1",
        "--seeds",
        "2",
        "--hidden",
        "8",
        "--jobs",
        "2",
        "--out",
        tmp_path / "s",
    ]
    arguments = [
        str(o) for o in ["compare", "--surrogates", "fast_sigmoid,atan(alpha=3)", *options]
    ]
    done = CliRunner().invoke(app, [*arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert {(c["surrogate"], c["seed"]) for c in told["cells"]} == {
        (s, seed) for s in ("fast_sigmoid(slope=25.0)", "atan(alpha=3.0)") for seed in (0, 1)
    }
    assert all(
        len(c["weights_sha256"]) == 64 and 0 <= c["test_accuracy"] <= 1 for c in told["cells"]
    )
    (pair,) = told["pairs"]
    values = {
        c["arm"]: [x["test_accuracy"] for x in told["cells"] if x["arm"] == c["arm"]]
        for c in told["cells"]
    }
    assert pair["difference"] == pytest.approx(
        sum(a - b for a, b in zip(values[pair["first"]], values[pair["second"]], strict=True)) / 2
    )
    assert len(pair["interval"]) == 2
    again = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert "look at" in again.stdout
    assert json.loads((tmp_path / "s" / "comparison.json").read_text())["cells"] == told["cells"]
    page = (tmp_path / "s" / "report.html").read_text()
    assert "https://" not in page
    assert page.count("http://") == page.count("http://www.w3.org/2000/svg")
    wrong = CliRunner().invoke(
        app, ["compare", "--out", str(tmp_path / "t"), "--surrogates", "atan"]
    )
    assert wrong.exit_code == 2
    assert "needs two surrogates or more" in wrong.stderr
    assert os.listdir(tmp_path) == ["s"]
    assert RunConfig.of({}).net.hidden == (256, 256)
