"""The detector that is part of the package: it loads by its name, runs, and has its licenses."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from benchmarks.package_detector import probe_scores
from cli.command import nwave
from nwavesdk.train import RunFolder, load
from train.event_folders import write_sound

NAME = "wake-words"
WORDS = ("alexa", "computer", "jarvis")


def test_it_computes_what_it_computed_when_it_was_made(tmp_path: Path) -> None:
    """If this fails after a change of the net, `benchmarks.package_detector` makes it again."""
    run = load(NAME)
    assert (run.name, run.classes[1:], run.decision.events) == (NAME, WORDS, WORDS)
    expected = RunFolder.find(NAME).read_result()["probe"]
    np.testing.assert_allclose(probe_scores(run), expected, atol=0.05)

    noise = np.random.default_rng(1).normal(0, 0.1, 40_000)
    write_sound(tmp_path / "noise.wav", noise)
    result = nwave("detect", NAME, tmp_path / "noise.wav")
    assert (result.exit_code, result.stdout) == (0, "")


def test_it_is_small_and_has_its_sources_and_no_path() -> None:
    files = {file.name: file.read_bytes() for file in RunFolder.find(NAME).path.iterdir()}
    assert files.keys() == {"config.json", "model.safetensors", "result.json", "README.md"}
    assert sum(map(len, files.values())) <= 100 * 1024  # it is part of each download
    assert b"/" not in files["config.json"] + files["result.json"]

    readme = files["README.md"].decode()
    sources = ("Picovoice", "LibriSpeech", "speechocean762", "VCTK", "ESC-10", "Noisekun")
    licenses = ("Apache-2.0", "CC BY 4.0", "CC BY 3.0", "CC0")
    assert not [name for name in (*WORDS, *sources, *licenses) if name not in readme]


def test_a_folder_of_this_name_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load(NAME).name == NAME
    with pytest.raises(ValueError, match=r"wake-word holds no run .* file has it: wake-words\.$"):
        load("wake-word")
    (tmp_path / NAME).mkdir()
    with pytest.raises(ValueError, match=r"^wake-words holds no run \(no config\.json\): "):
        load(NAME)
