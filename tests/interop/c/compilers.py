"""Compilers for tests of exported C."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path

import pytest

__all__ = ["CLANG", "GCC", "WARNINGS", "compile_c", "needs_gcc", "require_program"]

GCC, CLANG = "gcc", "clang"
RUNTIME = Path(str(resources.files("nwavesdk.interop.c")))
WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror"]

needs_gcc = pytest.mark.skipif(shutil.which(GCC) is None, reason="gcc is not installed")


def require_program(*names: str) -> None:
    """Skip a test where a program is not installed."""
    if missing := [name for name in names if shutil.which(name) is None]:
        pytest.skip(f"{', '.join(missing)} not installed")


def compile_c(
    folder: Path, sources: Mapping[str, str], command: Sequence[str], output: str
) -> Path:
    """Write and compile sources; a warning is an error."""
    for name, text in sources.items():
        (folder / name).write_text(text)
    files = [str(folder / name) for name in sources if name.endswith(".c")]
    where = [f"-I{folder}", f"-I{RUNTIME}", *files, "-o", str(folder / output), "-lm"]
    subprocess.run([*command, *WARNINGS, *where], check=True)
    return folder / output
