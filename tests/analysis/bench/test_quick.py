"""The report of `nwave bench`, as JSON and as a table."""

import json

import pytest
import torch
from typer.testing import CliRunner

from nwavesdk.analysis import bench
from nwavesdk.analysis.bench import (
    LayerCase,
    TrainingCase,
    add_lower_bound,
    load_warning,
    quick_lines,
    quick_report,
)
from nwavesdk.cli import app

CASES = (LayerCase((2, 12, 6)), TrainingCase(2, 8, (12, 8, 4)))


@pytest.fixture(scope="module")
def report():
    threads = torch.get_num_threads()
    yield quick_report(CASES, runs=2, copy_bytes=1 << 12, gemm_size=16)
    torch.set_num_threads(threads)


def test_bench_prints_exactly_one_object(monkeypatch, report):
    monkeypatch.setattr(bench, "quick_report", lambda: report)
    result = CliRunner().invoke(app, ["bench", "--json"])
    assert result.exit_code == 0
    printed = json.loads(result.stdout)
    assert [row["name"] for row in printed["rows"]] == [case.name for case in CASES]
    for row in printed["rows"]:
        assert row["parity"]["agrees"]
        assert row["floor_ms"] > 0
        assert {"ours", "reference"} <= row["times_ms"].keys()
        assert {"median", "low", "high", "runs"} == row["ratios"]["reference"].keys()
    assert printed["machine"]["threads"] <= 2
    assert printed["limits"]["copy_gb_s"]["median"] > 0
    table = CliRunner().invoke(app, ["bench"])
    assert all(case.name in table.stdout for case in CASES)


def test_a_row_without_parity_has_no_times(report):
    parity = {"agrees": False, "spikes_differ": 3, "gradient_error": 0.5}
    row = {"name": "wrong", "parity": parity, "times_ms": {}, "ratios": {}}
    assert "floor_ms" not in add_lower_bound(row, CASES[0])
    lines = quick_lines({**report, "rows": [row]})
    assert lines[4].endswith(
        "differs from the reference, so not timed: 3 spikes, gradients by 5.0e-01"
    )


def test_load_by_other_processes_is_reported():
    assert load_warning(None) is None
    assert load_warning(0.01) is None
    assert "30%" in load_warning(0.3)
