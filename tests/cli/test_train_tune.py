"""`nwave tune`: errors before any work. The search is tested with `nwavesdk.analysis.study`."""

import os
import re
import signal
import sys
from pathlib import Path

import pytest

from cli.command import nwave
from nwavesdk.cli.train import finish_study

pytest.importorskip("lightning")

CONFIG = """
[run]
data = { source = "/nothing/there", kind = "sound" }
task.name = "classification"
[space]
"learning.rate" = { low = 1e-3, high = 1e-1, log = true }
"""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--out", "new"], "CONFIG: missing"),
        (
            ["--out", "new", "--resume"],
            "no such option: --resume, the same command continues a search, also with "
            "DIR/tune.json as CONFIG",
        ),
        pytest.param(
            ["tune.toml"],
            "--out: missing, expected a folder for the search",
            marks=pytest.mark.hpo,
        ),
        pytest.param(["out.toml"], "/nothing/there", marks=pytest.mark.hpo),
        pytest.param(["other.toml", "--out", "new"], "other.toml", marks=pytest.mark.hpo),
        (["tune.toml", "--out", "new", "--threads", "0"], "--threads: "),
        (["tune.toml", "--out", "new", "--ray=nowhere"], "--ray: got 'nowhere', expected local"),
        pytest.param(
            ["bad.toml", "--out", "new"],
            "bad.toml has a mistake: search.trals",
            marks=pytest.mark.hpo,
        ),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], line: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tune.toml").write_text(CONFIG)
    Path("out.toml").write_text(f"[search]\nout = 'new'\n{CONFIG}")
    Path("bad.toml").write_text(f"[search]\ntrals = 3\n{CONFIG}")
    result = nwave("tune", *words)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert re.search(line, result.stderr), result.stderr
    assert not Path("new").exists()


@pytest.mark.hpo
def test_data_that_are_missing_leave_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "tune.toml").write_text(CONFIG)
    result = nwave("tune", tmp_path / "tune.toml", "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert "/nothing/there" in result.stderr
    assert not (tmp_path / "new").exists()


def test_a_missing_extra_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    (tmp_path / "tune.toml").write_text(CONFIG)
    result = nwave("tune", tmp_path / "tune.toml", "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert "optuna is not installed: pip install '.[hpo]' in a clone of nwavesdk" in result.stderr
    assert not (tmp_path / "new").exists()


@pytest.mark.skipif(os.name != "posix", reason="only POSIX lets a process catch SIGTERM")
def test_sigterm_ends_a_study_like_an_interrupt_and_is_left_to_others_after_it() -> None:
    class TerminatedStudy:
        def finish(self, *_: object) -> None:
            assert callable(signal.getsignal(signal.SIGTERM))  # otherwise these tests would end
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as caught:
        finish_study(TerminatedStudy(), as_json=False, threads=1, jobs=1, ray=None)
    assert caught.value.code == 143
    assert signal.getsignal(signal.SIGTERM) == handler
