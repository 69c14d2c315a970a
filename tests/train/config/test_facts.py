"""What a run records of its versions and its machine."""

import json
import platform
import shutil
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from nwavesdk.train import Run, RunFolder
from nwavesdk.train.config.facts import Origin
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO

VERSIONS = {"nwavesdk": "0.1.0", "python": "3.11.7", "torch": "2.13.0"}
VERSIONS |= {"numpy": "2.4.6", "numba": "0.68.1"}
ORIGIN = Origin(**VERSIONS, system="Linux", machine="x86_64", cores=1)


def test_the_line_has_all_versions_and_the_machine() -> None:
    line = "nwavesdk 0.1.0, Python 3.11.7, torch 2.13.0, NumPy 2.4.6, numba 0.68.1"
    assert ORIGIN.line() == f"{line}; Linux, x86_64, 1 core"
    assert ORIGIN.model_copy(update={"cores": 2}).line().endswith(", 2 cores")


def test_the_origin_has_no_field_that_could_name_a_user_or_a_host() -> None:
    assert set(Origin.model_fields) == {*VERSIONS, "system", "machine", "cores"}
    assert Origin.current().system == platform.system()
    assert Origin.current().machine == platform.machine()


def test_a_run_resumes_with_other_versions_on_another_machine(
    finished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in ("config.json", "checkpoint.ckpt"):
        shutil.copyfile(finished / name, tmp_path / name)
    monkeypatch.setattr("nwavesdk.train.run.fit_and_finish", lambda *_: None)
    Run.open(tmp_path).train()
    assert "note" not in capsys.readouterr().err
    content = json.loads((tmp_path / "config.json").read_text())
    content["facts"]["begun_with"] |= {"torch": "2.12.1", "system": "Darwin", "cores": 64}
    (tmp_path / "config.json").write_text(json.dumps(content))
    run = Run.open(tmp_path)
    run.train()
    notes = [line for line in capsys.readouterr().err.splitlines() if "note" in line]
    origins = (run.config.facts.begun_with, Origin.current())
    words = "nwave: note: the run began with {}, and continues with {}: the last bits".format(
        *[origin.line() for origin in origins]
    )
    assert [line.startswith(words) for line in notes] == [True]
    # The checkpoint and the seals of other files still belong to the run.
    AtomicCheckpointIO(run.folder.identity).load_checkpoint(run.folder.checkpoint)
    assert run.folder.identity == RunFolder(finished).identity
