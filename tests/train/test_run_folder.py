from pathlib import Path

import pytest

from nwavesdk.train import RunConfig, RunFolder


def test_a_new_or_empty_folder_is_accepted(tmp_path: Path) -> None:
    RunFolder(tmp_path).begin(RunConfig())
    RunFolder(tmp_path / "a" / "b").begin(RunConfig())
    assert RunFolder(tmp_path / "a" / "b").read_config() == RunConfig()


def test_a_folder_with_a_run_is_rejected_and_untouched(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.begin(RunConfig.of({"seed": 1}))
    with pytest.raises(
        ValueError, match=r"run already holds an unfinished run: add --resume to continue it"
    ):
        folder.begin(RunConfig.of({"seed": 2}))
    folder.write_result({"test_accuracy": 1.0})
    with pytest.raises(ValueError, match=r"run already holds a finished run: choose another --out"):
        folder.begin(RunConfig.of({"seed": 2}))
    assert folder.read_config().seed == 1
    assert folder.read_result() == {"test_accuracy": 1.0}
    assert {path.name for path in folder.path.iterdir()} == {"config.json", "result.json"}


def test_a_folder_with_other_files_is_rejected_and_untouched(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(
        ValueError, match="is in use and holds no run: choose a new or empty folder"
    ):
        RunFolder(tmp_path).begin(RunConfig())
    with pytest.raises(ValueError, match="is in use"):
        RunFolder(tmp_path / "thesis.tex").begin(RunConfig())
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
            first.begin(RunConfig.of({"seed": 1}))

    monkeypatch.setattr(RunFolder, "check_free", late)
    with pytest.raises(ValueError, match="already holds an unfinished run"):
        second.begin(RunConfig.of({"seed": 2}))
    assert first.read_config().seed == 1


def test_a_folder_without_a_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"holds no run \(no config\.json\)"):
        RunFolder(tmp_path).read_config()
