"""`HPOWrapper`: errors before any trial, crashed trials, continuation and the test of the best."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.hpo.nets import Other, build
from analysis.tune.conftest import finish_here
from nwavesdk.analysis.tune import Dimension
from nwavesdk.analysis.tune.wrapper import HPOWrapper
from nwavesdk.train import BrokenRunError

pytestmark = pytest.mark.hpo


def make(config: dict[str, Any], out: Path, **options: Any) -> HPOWrapper:
    return HPOWrapper(
        options.pop("builder", build), config, out, num_samples=2, scheduler="none", **options
    )


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"modle.x": 1}, {}, "did you mean 'model'"),
        ({"optim.lr": -1.0}, {}, "optim.lr: expected a number greater than 0"),
        ({"optim.lr": Dimension.of({"low": -1.0, "high": 1.0})}, {}, "optim.lr: expected"),
        ({"data.split": Dimension.of({"choices": ["auto"]})}, {}, "split cannot vary, because sc"),
        ({"optim.momentum": 0.9}, {}, "momentum has no effect without optim.name = 'sgd', got"),
        ({"early_stop.min_delta": 0.1}, {}, "min_delta has no effect without early_stop.pat"),
        ({"model.x": object()}, {}, "model.x is .*, expected a value that JSON has"),
        ({}, {"builder": "no_such_module:build"}, "'no_such_module:build' cannot be imported"),
        ({}, {"builder": "json:no_such_name"}, "cannot be imported"),
        ({}, {"builder": "json:__doc__"}, "is str, expected an import path"),
        ({}, {"threads": 0}, "HPOWrapper: threads: expected at least 1"),
        ({}, {"scheduler": "hyperband"}, "multiple values|scheduler"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(
    wrapper_config: dict[str, Any],
    tmp_path: Path,
    changes: dict[str, Any],
    options: dict[str, Any],
    words: str,
) -> None:
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        make({**wrapper_config, **changes}, tmp_path / "search", **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (lambda _: Other(lambda x: x), "the model returned Tensor"),
        (lambda cfg: build({**cfg, "n_outputs": 4}), r"spk of shape \[\d+, \d+, 4\]"),
    ],
)
def test_outputs_are_checked_before_any_trial(
    wrapper_config: dict[str, Any], tmp_path: Path, builder: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make(wrapper_config, tmp_path / "search", builder=builder).fit()
    assert not (tmp_path / "search").exists()


def test_a_crashed_trial_is_recorded_and_the_best_is_tested_once(
    wrapper_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trials run in this process, in place of Ray."""
    monkeypatch.setattr(
        "nwavesdk.analysis.tune.wrapper.finish_trials", lambda search, *_: finish_here(search)
    )
    config = {**wrapper_config, "model.hidden": Dimension.of({"choices": [8, 13]})}
    seed = next(s for s in range(99) if crashes(make(config, tmp_path, seed=s)) == [False, True])
    search = make(config, tmp_path / "search", seed=seed)
    result = search.fit()
    assert [trial["state"] for trial in result.trials] == ["finished", "crashed"]
    assert result.trials[1]["error"] == "RuntimeError: thirteen neurons"
    assert result.best_config["model.hidden"] == 8
    assert result.best_score == max(result.trials[0]["scores"])
    assert result.best_checkpoint.is_file()
    monkeypatch.setattr("nwavesdk.analysis.tune.wrapper.evaluate_best", None)
    assert make(config, tmp_path / "search", seed=seed).fit() == result
    with pytest.raises(ValueError, match="holds another study"):
        make(config, tmp_path / "search", seed=seed + 1).fit()


def crashes(search: HPOWrapper) -> list[bool]:
    from nwavesdk.analysis.tune.proposals import propose

    seed = search.settings.seed
    values = [propose(search.space, [], seed, number) for number in range(2)]
    return [value["model.hidden"] == 13 for value in values]


def test_if_all_trials_crash_one_line_says_so(
    wrapper_config: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "nwavesdk.analysis.tune.wrapper.finish_trials", lambda search, *_: finish_here(search)
    )
    with pytest.raises(BrokenRunError, match="no trial of .* has finished; .*thirteen neurons"):
        make({**wrapper_config, "model.hidden": 13}, tmp_path / "search").fit()


@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_ray_gives_the_trials_of_this_process(
    wrapper_config: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    search = make(wrapper_config, tmp_path / "ray", max_concurrent=1)
    result = search.fit()
    here = make(wrapper_config, tmp_path / "here", max_concurrent=1)
    finish_here(here)
    assert here.result() == result.__class__(
        **{**vars(result), "best_checkpoint": here.result().best_checkpoint}
    )
    assert here.result().best_checkpoint.read_bytes() == result.best_checkpoint.read_bytes()
    lines = capfd.readouterr().err.splitlines()
    assert [line[:12] for line in lines if "/2  trial" in line] == ["1/2  trial 0", "2/2  trial 1"]


def test_the_example_of_the_docs(
    tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With a builder and a folder of recordings; the trials run in this process."""
    page = (Path(__file__).parents[3] / "docs" / "search.md").read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    for text, other in {
        '"words"': f'"{tones}", "data.sample_rate": 8000, "data.recording_duration_s": 0.2',
        '"runs/hpo", num_samples=20': f'"{tmp_path / "hpo"}", num_samples=2',
        '"trainer.epochs": 20': '"trainer.epochs": 1',
    }.items():
        assert text in code
        code = code.replace(text, other)
    module = types.ModuleType("my_nets")
    vars(module)["build"] = build
    monkeypatch.setitem(sys.modules, "my_nets", module)
    monkeypatch.setattr(
        "nwavesdk.analysis.tune.wrapper.finish_trials", lambda search, *_: finish_here(search)
    )
    exec(code, {})
    assert "best.pt" in capsys.readouterr().out
