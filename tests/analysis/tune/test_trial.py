"""One trial in a process: which epochs it reports, and how it ends."""

import errno
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.tune.conftest import Content
from nwavesdk.analysis.tune import TuneConfig
from nwavesdk.analysis.tune.study import Search
from nwavesdk.analysis.tune.trial import run_trial
from nwavesdk.internal.files import FileWriteError
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.run_folder import BusyError


class StopError(BaseException):
    """What a scheduler raises in a trial, which no handler of errors may catch."""


@pytest.fixture
def job(content: Content, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr("nwavesdk.train.report.page.render_png", lambda *_: b"")
    given = content()
    given["run"]["learning"]["epochs"] = 4
    search = Search(tmp_path, TuneConfig.of(given).completed())
    choices = search.choices({"learning.rate": 0.01, "net.tau": 0.01})
    return str(tmp_path / "trial-0"), choices, 1


def test_a_stopped_trial_reports_its_epochs_again_but_never_the_last(job: Any) -> None:
    reported: list[tuple[int, float]] = []

    def stop_at_2(epoch: int, score: float) -> None:
        reported.append((epoch, score))
        if epoch == 2:
            raise StopError

    with pytest.raises(StopError):
        run_trial(job, stop_at_2)
    assert [epoch for epoch, _ in reported] == [1, 2]
    folder = RunFolder(Path(job[0]))
    assert not folder.finished
    first, reported = reported, []
    assert run_trial(job, lambda *report: reported.append(report)) == ("finished", "")
    assert [epoch for epoch, _ in reported] == [1, 2, 3]
    assert reported[:2] == first
    assert [row["epoch"] for row in folder.read_metrics()] == [1, 2, 3, 4]
    reported = []
    assert run_trial(job, lambda *report: reported.append(report)) == ("finished", "")
    assert not reported


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (ValueError("a bad choice"), ("crashed", "a bad choice")),
        (RuntimeError("a bug\nin two lines"), ("crashed", "RuntimeError: a bug in two lines")),
        (MemoryError(), ("crashed", "MemoryError: MemoryError")),
    ],
)
def test_an_error_is_the_end_of_the_trial(
    job: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, ended: tuple[str, str]
) -> None:
    monkeypatch.setattr(Run, "train", lambda *_: (_ for _ in ()).throw(error))
    assert run_trial(job, lambda *_: None) == ended


def test_a_full_disk_is_not_the_fault_of_a_trial(job: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    full = FileWriteError(errno.ENOSPC, "No space left on device", "/runs/x")
    monkeypatch.setattr(
        "nwavesdk.train.fit.progress.write_atomically", lambda *_: (_ for _ in ()).throw(full)
    )
    state, reason = run_trial(job, lambda *_: None)
    assert state == "broken"
    assert "No space left on device" in reason


def test_another_process_at_the_run_is_waited_for(
    job: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy = BusyError("another process trains the run")
    monkeypatch.setattr(Run, "train", lambda *_: (_ for _ in ()).throw(busy))
    with pytest.raises(BusyError):
        run_trial(job, lambda *_: None)
