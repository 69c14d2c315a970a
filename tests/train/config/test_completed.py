"""The config of a run that has begun: its file, what a resumed run keeps, and its origin."""

import json
import platform
import shutil
from copy import deepcopy
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.presets import NAMES, PresetName
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.config.completed import CompletedConfig, Origin
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO
from nwavesdk.train.fit.network import sample_config
from train.config.test_run_config import nested
from train.runs import Choices, difference

VERSIONS = {"nwavesdk": "0.1.0", "python": "3.11.7", "torch": "2.13.0"}
VERSIONS |= {"numpy": "2.4.6", "numba": "0.68.1"}
ORIGIN = Origin(**VERSIONS, system="Linux", machine="x86_64", cores=1)


def with_field(content: Choices, field: str, value: Any) -> Choices:
    """A copy of a nested mapping with one field, named with dots."""
    copy = deepcopy(content)
    *sections, name = field.split(".")
    reduce(getitem, sections, copy)[name] = value
    return copy


@pytest.mark.parametrize("preset", NAMES)
def test_the_file_gives_the_config_back(preset: PresetName, tmp_path: Path) -> None:
    config = sample_config(preset, (16,), 2)
    folder = RunFolder(tmp_path)
    folder.begin(config)
    again = folder.read_config()
    assert again == config
    assert again.identity() == config.identity()
    assert difference(again, config) is None
    # Its choices begin the same run again.
    assert RunConfig.of(again.choices()).model_dump() == config.choices()


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("colour", "red", r"colour: expected no entry of this name \(got 'red'\)"),
        ("data.hold", None, r"data\.hold: missing"),
        ("chip.gain", None, r"chip\.gain: missing"),
        ("learning.epochs", None, r"learning\.epochs: expected a whole number"),
        ("facts", None, r"facts: expected a dictionary"),
        ("machine.threads", 0, r"machine\.threads: expected at least 1"),
        ("net", [], r"net: expected a dictionary"),
    ],
)
def test_a_config_with_a_damaged_field_is_one_line(
    field: str, value: Any, words: str, tmp_path: Path
) -> None:
    preset: PresetName = "chip" if field.startswith("chip") else "lif"
    content = sample_config(preset, (16,), 2).model_dump(mode="json")
    (tmp_path / "config.json").write_text(json.dumps(with_field(content, field, value)))
    match = rf"config\.json is not the config of a run: {words}[^\n]*$"
    with pytest.raises(ValueError, match=match):
        CompletedConfig.read(tmp_path / "config.json")


def test_a_file_that_is_not_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"seed": ')
    with pytest.raises(ValueError, match=r"config\.json is not the config of a run: it "):
        CompletedConfig.read(tmp_path / "config.json")


def test_only_fields_that_may_move_leave_the_identity_unchanged() -> None:
    page = {"file": "/net.py", "function": "build", "sha256": "0" * 64}
    content = sample_config("lif", (16,), 2).model_dump(mode="json")
    content |= {"net": {"name": "file", "page": page}, "page": dict(page)}
    identity = CompletedConfig.of(content).identity()
    moved = {
        "data.source": "/elsewhere",
        "learning.finetune": "/elsewhere",
        "net.page.file": "/other.py",
        "page.file": "/other.py",
        "machine.accelerator": "cpu",
        "machine.workers": 2,
        "facts.split_reason": "by chance",
        "facts.begun_with": content["facts"]["begun_with"] | {"torch": "9.0"},
    }
    changed = {"seed": 1, "net.tau": 0.02, "facts.fingerprint": "f", "page.sha256": "1" * 64}
    for field, value in (moved | changed).items():
        config = CompletedConfig.of(with_field(content, field, value))
        expected = None if field in moved else field
        assert difference(config, CompletedConfig.of(content), moved) == expected
        assert (config.identity() == identity) == (field in moved)


def test_a_resumed_run_keeps_its_choices() -> None:
    config = sample_config("lif", (16,), 2, neuron="adlif", constants="tau_w=0.2", learn="a")
    same = {"neuron": "AdLIFLayer", "constants": "tau_w=0.2,a=0.02", "learn": ["a"], "dt": 1e-3}
    for choices in ({}, {"seed": 0, "net": same}, {"net": {"surrogate": "fast_sigmoid(25)"}}):
        config.check_same(choices)
    for field, value in {
        "seed": 2,
        "learning.epochs": 6,
        "learning.patience": 0,
        "task.name": "regression",
        "net.constants.tau_w": 0.3,
        "net.learn": ("b",),
        "net.neuron": "lif",
        "net.tau": 0.02,
    }.items():
        words = rf"^{field}: a resumed run keeps its choices, got .*, expected .*: remove"
        with pytest.raises(ValueError, match=words):
            config.check_same(nested(field, value))


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
