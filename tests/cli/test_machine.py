"""`nwave info` and `nwave tune-kernels`."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cli.command import json_object, nwave
from nwavesdk.solvers.sparse import crossover


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the own table of crossovers goes; measuring it takes no time here."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.delenv("NWAVESDK_CROSSOVER", raising=False)
    table = replace(crossover.shipped_table(), min_work=7)
    monkeypatch.setattr(
        "nwavesdk.solvers.sparse.tuner.tune", lambda progress: (progress(1.0), table)[1]
    )
    crossover.use_table(None)
    yield tmp_path / "nwavesdk" / "crossover.toml"
    monkeypatch.undo()
    crossover.use_table(None)


def test_tune_kernels_writes_the_own_table_and_takes_it_back(settings: Path) -> None:
    done = nwave("tune-kernels")
    assert done.exit_code == 0
    assert "least work 7, before 0" in done.stdout
    assert f"written to {settings}" in done.stdout
    assert "100%" in done.stderr
    assert settings.read_text("utf-8").startswith("# nwave tune-kernels, ")

    crossover.use_table(None)
    assert crossover.active_table().min_work == 7
    assert json_object(nwave("info", "--json"))["crossovers"] == str(settings)

    report = json_object(nwave("tune-kernels", "--json"))
    assert report["before"]["min_work"] == report["table"]["min_work"] == 7
    assert json_object(nwave("tune-kernels", "--reset", "--json")) == {
        "removed": True,
        "path": str(settings),
    }
    assert not settings.exists()
    assert "there was no" in nwave("tune-kernels", "--reset").stdout


def test_tune_kernels_writes_elsewhere(settings: Path, tmp_path: Path) -> None:
    out = tmp_path / "a" / "table.toml"
    done = nwave("tune-kernels", "--out", out)
    assert f"set NWAVESDK_CROSSOVER={out}" in done.stdout
    assert crossover.read_table(out).min_work == 7
    assert not settings.exists()


def test_a_broken_own_table_is_told_and_replaced(settings: Path) -> None:
    settings.parent.mkdir(parents=True)
    settings.write_text("min_work = [")
    failed = nwave("info")
    assert failed.exit_code == 2
    assert "is not a crossover table" in failed.stderr
    done = nwave("tune-kernels")
    assert done.exit_code == 0
    assert "is not a crossover table" in done.stderr
    crossover.use_table(None)
    assert crossover.active_table().min_work == 7


@pytest.mark.usefixtures("settings")
def test_tune_kernels_touches_nothing_but_its_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "table.toml.tmp").symlink_to("precious")
    assert nwave("tune-kernels", "--out", tmp_path / "table.toml").exit_code == 0
    assert (tmp_path / "precious").read_text() == "precious"
    monkeypatch.setenv("NWAVESDK_CROSSOVER", "/dev/full")
    for words in (["tune-kernels"], ["tune-kernels", "--reset"]):
        result = nwave(*words)
        assert result.exit_code == 2
        assert "/dev/full is a device, expected a file" in result.stderr
    assert Path("/dev/full").is_char_device()
