"""The file of a search: every mistake is one line that names the field."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from nwavesdk.analysis.tune import TuneConfig
from nwavesdk.analysis.tune.config import FIXED_FIELDS, FIXED_SECTIONS, _run_fields
from nwavesdk.internal.files import FileError

SPACE = '[space]\n"learning.rate" = { low = 1e-3, high = 1e-1 }\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "space: missing"),
        ("[space]", "space: "),
        ("[spce]\n", "spce: expected no entry of this name"),
        ("space = 3", "space: expected a valid dictionary|space: expected a dict"),
        ("[space", "is not TOML"),
        (f"[search]\ntrials = 0\n{SPACE}", r"search\.trials: expected at least 1 \(got 0\)"),
        (f"[search]\ntrails = 3\n{SPACE}", r"search\.trails: expected no entry"),
        (f'[search]\nscheduler = "x"\n{SPACE}', r"search\.scheduler: expected 'asha' or 'none'"),
        ('[space]\n"learning.rates" = { choices = [1] }', "did you mean 'learning.rate'"),
        ('[space]\n"learning" = { choices = [1] }', "space.learning: is not a field of a run"),
        ('[space]\n"data.source" = { choices = ["a"] }', "cannot vary, because scores on other"),
        ('[space]\n"machine.threads" = { choices = [1] }', "cannot vary, because it does not"),
        ('[space]\n"seed" = { low = 0, high = 9 }', "would choose a lucky seed"),
        (f"[run]\nlearning.rate = 0.1\n{SPACE}", r"is also in \[run\], got 0.1 there"),
        (f"[run]\nlearning.epoch = 3\n{SPACE}", "learning.epoch: expected no entry"),
        (f"[run]\nlearning.epochs = 0\n{SPACE}", "learning.epochs: expected at least 1"),
        (
            f"[run]\nlearning.epochs = 3\n[search]\ngrace = 3\n{SPACE}",
            r"search\.grace: no trial of 3 epochs is ever compared, got 3, expected at most 2",
        ),
        (
            '[search]\ngrace = 9\n[space]\n"learning.epochs" = { low = 2, high = 8 }',
            r"search\.grace: no trial of 8 epochs is ever compared, got 9, expected at most 7",
        ),
        (
            f'[search]\nscheduler = "none"\ngrace = 4\n{SPACE}',
            r"search\.grace: has no effect with scheduler = 'none', got 4: leave it out",
        ),
        (f"[run]\nmachine.threads = 2\n{SPACE}", "run.machine.threads: .* use search.threads"),
        (f"[run]\ndata.folds = 5\n{SPACE}", "run.data.folds: a trial is a single run"),
        ('[space]\n"learning.rate" = { low = -1.0, high = 0.1 }', "learning.rate: expected at "),
        ('[space]\n"learning.epochs" = { low = 1.0, high = 8.0 }', "learning.epochs: .*whole"),
        ('[space]\n"net.surrogate" = { choices = ["atan", "attan"] }', "net.surrogate: .*attan"),
    ],
)
def test_a_mistake_is_one_line_that_names_file_and_field(
    tmp_path: Path, text: str, words: str
) -> None:
    file = tmp_path / "tune.toml"
    file.write_text(text)
    with pytest.raises(FileError, match=words) as caught:
        TuneConfig.read(file)
    assert str(caught.value).startswith(str(file))
    assert "\n" not in str(caught.value)


def test_paths_are_absolute_and_defaults_are_those_of_the_docs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text("def build(inputs, classes, config): ...")
    np.savez("sounds.npz", x=np.ones((4, 3, 2)), y=[0, 0, 1, 1])
    Path("tune.toml").write_text(f'[run]\ndata.source = "sounds.npz"\nnet.page = "net.py"\n{SPACE}')
    config = TuneConfig.read(Path("tune.toml"))
    assert config.run["data"]["source"] == str(tmp_path / "sounds.npz")
    assert config.run["net"]["page"]["file"] == str(tmp_path / "net.py")
    assert (config.search.trials, config.search.scheduler, config.search.threads) == (20, "asha", 1)
    assert TuneConfig.of(config.model_dump(mode="json")).completed() == config


def test_the_example_is_a_search() -> None:
    config = TuneConfig.read(Path(__file__).parents[3] / "examples" / "tune.toml")
    assert {"learning.rate", "net.surrogate"} <= set(config.space)


def test_fixed_fields_exist() -> None:
    fields = _run_fields()
    assert {"learning.rate", "net.tau", "chip.bits", "net.page"} <= set(fields)
    assert set(FIXED_FIELDS) <= set(fields)
    assert all(any(name.startswith(f"{section}.") for name in fields) for section in FIXED_SECTIONS)
