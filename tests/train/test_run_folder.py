import json
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from nwavesdk.internal.files import FileError, FileWriteError, draft_of
from nwavesdk.train import BrokenRunError, CompletedConfig, Run, RunFolder


@cache
def config_of(seed: int = 0) -> CompletedConfig:
    """The config of a run on the digits."""
    return Run.prepare("run", {"seed": seed, "data": {"limit": 30}}).config


RESULT = {
    "test_accuracy": 1.0,
    "val_accuracy": 0.75,
    "val_loss": 0.5,
    "seed": 1,
    "seconds": 2.0,
    "epochs": 2,
    "best_epoch": 1,
    "rates": [0.25, 0.5],
    "dead": [0.0, 0.0],
    "saturated": [0.0, 0.0],
    "parameters": 10,
}
METRICS = "epoch,train_loss,train_accuracy,train_rate,val_loss,val_accuracy\n1,1,1,1,1,1\n"


def test_a_new_or_empty_folder_is_accepted(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(config_of())
    RunFolder(tmp_path / "a" / "b").begin(config_of())
    assert RunFolder(tmp_path / "a" / "b").read_config() == config_of()


def test_a_folder_with_a_run_is_rejected_and_untouched(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(config_of(1))
    with pytest.raises(ValueError, match=r"run already holds a run: add --resume"):
        folder.begin(config_of(2))
    folder.write_result(RESULT, folder.identity)
    with pytest.raises(ValueError, match=r"run already holds a run: .* choose another --out"):
        folder.begin(config_of(2))
    assert folder.read_config().seed == 1
    assert folder.read_result() == RESULT
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "result.json"}


def test_a_folder_with_other_files_is_rejected_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        ValueError, match="is in use and holds no run: choose a new or empty folder"
    ):
        RunFolder(tmp_path).begin(config_of())
    with pytest.raises(ValueError, match="is in use"):
        RunFolder(tmp_path / "thesis.tex").begin(config_of())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_of_two_processes_that_begin_a_run_one_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = RunFolder(tmp_path), RunFolder(tmp_path)
    real = RunFolder.check_free
    calls: list[RunFolder] = []

    def late(self: RunFolder) -> None:
        real(self)
        if not calls:
            calls.append(self)
            first.begin(config_of(1))

    monkeypatch.setattr(RunFolder, "check_free", late)
    with pytest.raises(FileExistsError):
        second.begin(config_of(2))
    assert first.read_config().seed == 1


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(no config\.json\)"):
        RunFolder(tmp_path).read_config()


def test_drafts_of_killed_writes_count_as_nothing_and_are_removed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    draft_of(folder.config).write_text("half")
    draft_of(folder.checkpoint).write_text("half")
    folder.begin(config_of())
    folder.pictures.mkdir()
    draft_of(folder.pictures / "rates.png").write_text("half")
    with folder.lock():
        assert {path.name for path in tmp_path.iterdir()} == {".lock", "config.json", "pictures"}
        assert not list(folder.pictures.iterdir())


def test_a_process_whose_draft_is_removed_by_the_owner_learns_of_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from nwavesdk.train import run_folder

    write = run_folder.write_atomically

    def late(path: Path, *_: object, **__: object) -> None:
        monkeypatch.setattr(run_folder, "write_atomically", write)
        RunFolder(tmp_path).begin(config_of(1))
        raise FileWriteError(2, "No such file or directory", str(path))

    monkeypatch.setattr(run_folder, "write_atomically", late)
    with pytest.raises(FileExistsError):
        RunFolder(tmp_path).begin(config_of(2))
    assert RunFolder(tmp_path).read_config().seed == 1


def test_one_process_trains_a_run(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    RunFolder(tmp_path).begin(config_of())
    first, second = RunFolder(tmp_path).lock(), RunFolder(tmp_path).lock()
    with first, pytest.raises(BrokenRunError, match=r"another process trains the run in .*: wait"):
        second.__enter__()
    with RunFolder(tmp_path).lock():
        pass


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, error, words in (
        ("file/run", FileError, r"file/run/config\.json cannot be written \(Not a directory\)"),
        ("n" * 300, FileError, r"cannot be written \(File name too long\)"),
        ("link", ValueError, "link is in use and holds no run"),
    ):
        with pytest.raises(error, match=words):
            RunFolder(tmp_path / name).begin(config_of())


def test_every_changed_bit_of_a_result_is_found(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write_result(RESULT, folder.identity)
    content = folder.result.read_bytes()
    for place in range(len(content)):
        folder.result.write_bytes(
            content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]
        )
        with pytest.raises(FileError, match="remove it; `nwave train --resume` writes it again"):
            folder.read_result()


@pytest.mark.parametrize("text", ["", "[1]", json.dumps(RESULT)])
def test_a_result_without_its_checksum_is_damaged(tmp_path: Path, text: str) -> None:
    folder = RunFolder(tmp_path)
    folder.result.write_text(text)
    with pytest.raises(FileError, match=r"is damaged .*: remove it; `nwave train --resume`"):
        folder.read_result()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "expected a row for each epoch"),
        (METRICS.replace("\n1", "\n2"), "expected a row for each epoch"),
        (METRICS.replace(",1\n", "\n"), "float"),
        (METRICS.replace(",1\n", ",1,1\n"), "float"),
        (METRICS.replace(",1\n", ",one\n"), "could not convert string to float: 'one'"),
        (METRICS + "\udc80", "can't decode byte"),
        (METRICS + '"', "unexpected end of data"),
    ],
)
def test_metrics_that_are_none_are_named(tmp_path: Path, text: str, words: str) -> None:
    folder = RunFolder(tmp_path)
    folder.metrics.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(FileError, match=rf"metrics\.csv does not hold .*{words}.*: remove it"):
        folder.read_metrics()
    folder.metrics.write_text(METRICS)
    assert folder.read_metrics()[0]["epoch"] == 1


def test_a_result_of_another_run_is_rejected(tmp_path: Path) -> None:
    """Also after the config was edited; the worker processes may change."""
    folders = [RunFolder(tmp_path / name) for name in ("first", "second", "moved")]
    machine = config_of().machine.model_copy(update={"workers": 2})
    configs = [config_of(), config_of(1), config_of().model_copy(update={"machine": machine})]
    for folder, config in zip(folders, configs, strict=True):
        folder.begin(config)
    folders[0].write_result(RESULT, folders[0].identity)
    for folder in folders[1:]:
        folder.result.write_bytes(folders[0].result.read_bytes())
    assert folders[0].read_result() == folders[2].read_result() == RESULT
    with pytest.raises(FileError, match=r"result\.json is damaged or belongs to another run"):
        folders[1].read_result()
