"""The wheel has the library and nothing else, and versions and dates agree."""

import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from nwavesdk import __version__

ROOT = Path(__file__).parents[1]
# Folders that Python and the build of the site write.
MADE = {"__pycache__", "generated"}
METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}


def build(kind: str, source: Path, folder: Path) -> Path:
    """Build a distribution of `source`, which is the one file in `folder` afterwards."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(folder)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (distribution,) = folder.iterdir()
    return distribution


def files_in(folder: Path) -> set[str]:
    """The files of a folder that belong to the repository."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {str(path) for path in files if MADE.isdisjoint(path.parts)}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    archive = build("sdist", ROOT, tmp_path_factory.mktemp("sdist"))
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(archive) as packed:
        # Python 3.11.2 has no filters; 3.12 warns without one.
        filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
        packed.extractall(folder, **filters)
    return folder / archive.name.removesuffix(".tar.gz")


@pytest.mark.parametrize("folder", ["src", "tests", "benchmarks", "docs", "examples", "research"])
def test_the_source_distribution_has_what_tests_read(source: Path, folder: str) -> None:
    assert files_in(ROOT / folder) == files_in(source / folder)


def test_the_wheel_of_the_source_distribution_is_the_library(source: Path, tmp_path: Path) -> None:
    wheel = zipfile.ZipFile(build("wheel", source, tmp_path))
    described = f"nwavesdk-{__version__}.dist-info"
    expected = {f"nwavesdk/{file}" for file in files_in(ROOT / "src" / "nwavesdk")}
    assert set(wheel.namelist()) == expected | {f"{described}/{name}" for name in METADATA}
    assert f"\nVersion: {__version__}\n" in wheel.read(f"{described}/METADATA").decode()


def test_the_citation_has_the_last_release_of_the_changelog() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    version, date = re.findall(r"^## ([\d.]+) \(([\d-]+)\)$", changelog, re.MULTILINE)[0]
    citation = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {version}\ndate-released: {date}\n" in citation
    assert __version__ == version or ".dev" in __version__
