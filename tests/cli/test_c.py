"""`nwave export --c`."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from cli.command import json_object, nwave
from train.runs import no_pictures


def test_export_writes_a_folder_of_c(run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "firmware"
    result = json_object(nwave("export", run, "--c", folder, "--json"))
    assert sorted(result["files"]) == sorted(path.name for path in folder.iterdir())
    assert [layer["neurons"] for layer in result["layers"]] == [16, 8, 6]
    assert {"float", "rounded"} <= result.keys()
    readme = (folder / "README.md").read_text()
    assert "as exported" in readme
    assert "frames are prepared before" in readme

    if shutil.which("gcc") is not None:
        command = "gcc -std=c99 -O1 -I. net.c selftest.c -lm -o selftest && ./selftest"
        subprocess.run(command, cwd=folder, shell=True, check=True)


def test_a_run_on_live_sound_has_a_program_from_samples_to_outputs(
    tones: Path, tmp_path: Path
) -> None:
    sizes = ["--net", "lif", "--hidden", 8, "--population", 2, "--bands", 12, "--hold", 2]
    options = ["--level", "running", "--epochs", 1, "--batch-size", 8]
    with no_pictures():
        trained = nwave("train", "--out", tmp_path / "run", "--data", tones, *sizes, *options)
    assert trained.exit_code == 0, trained.output

    folder = tmp_path / "firmware"
    result = json_object(nwave("export", tmp_path / "run", "--c", folder, "--json"))
    assert {"listen.c", "log_mel_rt.h", "net_front_end.c", "net_front_end.h"} <= {*result["files"]}
    command = re.search("`(cc .* -o listen)`", (folder / "README.md").read_text())[1]
    if shutil.which("cc") is not None:
        subprocess.run(command, cwd=folder, shell=True, check=True)
        silence = bytes(2 * 8000)
        output = subprocess.run([folder / "listen"], input=silence, capture_output=True).stdout
        assert len(output.splitlines()) == 2 * 98  # frames of a second, held for two steps


def test_export_for_c_goes_with_no_other_format() -> None:
    result = nwave("export", "no-run", "--c", "a", "--chip", "h1v1")
    assert result.exit_code == 2
    assert "--chip: has no effect with --c: remove it" in result.stderr
