"""Runs that all tests of commands share."""

from pathlib import Path

import pytest
from typer.testing import Result

from cli.command import nwave, succeeded
from train.runs import no_pictures


@pytest.fixture(scope="session")
def trained(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """A finished run, and the output of `nwave train`."""
    pytest.importorskip("lightning")
    out = tmp_path_factory.mktemp("cli") / "run"
    sizes = ["--net", "lif", "--hidden", "16,8", "--population", 2, "--bands", 12, "--hold", 1]
    learning = ["--epochs", 2, "--batch-size", 8, "--learning-rate", 0.02, "--seed", 5]
    with no_pictures():
        return out, nwave("train", "--out", out, "--data", tones, *sizes, *learning, "--json")


@pytest.fixture(scope="session")
def run(trained: tuple[Path, Result]) -> Path:
    """The folder of a finished run."""
    return trained[0]


@pytest.fixture(scope="session")
def chip_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run for a chip."""
    pytest.importorskip("lightning")
    out = tmp_path_factory.mktemp("cli") / "chip"
    sizes = ["--hidden", 10, "--population", 3, "--duration", 0.3, "--sample-rate", 8000]
    learning = ["--epochs", 2, "--batch-size", 8, "--learning-rate", 0.05]
    with no_pictures():
        succeeded("train", "--out", out, "--data", tones, "--chip", "h1v1", *sizes, *learning)
    return out


@pytest.fixture(autouse=True)
def _no_pictures(without_pictures: None) -> None:
    """No test looks at pictures of runs."""
