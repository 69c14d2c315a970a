"""`nwave export --c`."""

import shutil
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("lightning")

from cli.command import json_object, nwave


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


def test_export_for_c_goes_with_no_other_format() -> None:
    result = nwave("export", "no-run", "--c", "a", "--chip", "h1v1")
    assert result.exit_code == 2
    assert "--chip: has no effect with --c: remove it" in result.stderr
