"""`HPOWrapper`: errors before any trial, crashed trials, continuation and the test of the best."""

import os
import sys
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from analysis.here import Here
from analysis.hpo.nets import Other, build
from nwavesdk.analysis.hpo.wrapper import HPOWrapper, read_arguments
from nwavesdk.analysis.study.search_file import distribution_of
from nwavesdk.train import BrokenRunError
from train.runs import Choices

pytestmark = pytest.mark.hpo

# A builder that no other process can get.
LOCK = threading.Lock()


def domain(name: str, *arguments: Any) -> Any:
    """A domain of Ray Tune."""
    return getattr(pytest.importorskip("ray.tune"), name)(*arguments)


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials run in this process, in place of Ray."""
    monkeypatch.setattr("nwavesdk.analysis.hpo.wrapper.on_ray", lambda *_, **__: Here())


def make(config: Choices, out: Path, **options: Any) -> HPOWrapper:
    options = {"num_samples": 2, "scheduler": "none", **options}
    return HPOWrapper(options.pop("builder", build), config, out, **options)


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("choice", ([1, [2], "a"],), {"choices": [1, [2], "a"]}),
        ("uniform", (0, 2), {"low": 0.0, "high": 2.0}),
        ("loguniform", (1e-3, 1e-1), {"low": 1e-3, "high": 1e-1, "log": True}),
        ("quniform", (0, 1, 0.25), {"low": 0.0, "high": 1.0, "step": 0.25}),
        ("randint", (1, 9), {"low": 1, "high": 8}),
        ("lograndint", (1, 9), {"low": 1, "high": 8, "log": True}),
        ("qrandint", (16, 64, 16), {"low": 16, "high": 64, "step": 16}),
    ],
)
def test_a_domain_is_a_dimension(name: str, arguments: Any, expected: Choices) -> None:
    config = {"a.x": domain(name, *arguments), "a.y": (1, {"b": 2})}
    builder, fixed, space = read_arguments("json:loads", config)
    assert builder.__name__ == "loads"
    assert fixed == {"a.y": [1, {"b": 2}]}
    assert space["a.x"] == distribution_of("a.x", expected)


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"data.data_parent": 3}, {}, "data_parent: expected the path"),
        ({"modle.x": 1}, {}, "HPOWrapper: config: modle: expected no entry of this name"),
        ({"optim.lr": -1.0}, {}, "optim.lr: expected at least 1e-12"),
        ({"optim.lr": ("uniform", -1.0, 1.0)}, {}, "optim.lr: expected at least 1e-12"),
        ({"trainer.epochs": ("uniform", 1, 3)}, {}, "trainer.epochs: expected a whole number"),
        ({"data.split": ("choice", ["auto"])}, {}, "data.split cannot vary, because scores"),
        ({"model.x": object()}, {}, "type object is not JSON serializable.* expected a function"),
        ({"model.x": ("choice", [])}, {}, "`choices` must contain one or more elements"),
        ({"model.x": ("randn", 0, 1)}, {}, "samplers of type `_Normal`.*tune.choice, uniform"),
        ({"model.x": ("sample_from", len)}, {}, "type `Function`"),
        ({"model.x": ("grid_search", [1])}, {}, "Grid search"),
        ({}, {"builder": "no_such_module:build"}, "ModuleNotFoundError: .*no_such_module"),
        ({}, {"builder": "json:no_such_name"}, "AttributeError: .*no_such_name"),
        ({}, {"builder": "json:__doc__"}, "the first argument must be callable"),
        ({}, {"builder": 3}, "the first argument must be callable"),
        ({}, {"builder": lambda _: LOCK}, "cannot pickle"),
        ({}, {"threads": 0}, "HPOWrapper: threads: expected at least 1"),
        ({}, {"scheduler": "hyperband"}, "HPOWrapper: scheduler: expected 'asha' or 'none'"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_written(
    config: Choices,
    tmp_path: Path,
    changes: Choices,
    options: Choices,
    words: str,
) -> None:
    varying = {n: domain(*v) if isinstance(v, tuple) else v for n, v in changes.items()}
    with pytest.raises(ValueError, match=words) as caught:
        make({**config, **varying}, tmp_path / "search", **options).fit()
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "search").exists()


@pytest.mark.parametrize(
    ("builder", "words"),
    [
        (lambda _: Other(lambda x: x), "expected a torch.nn.Module"),
        (lambda cfg: build({**cfg, "n_outputs": 4}), r"outputs of shape \[\d+, \d+, 4\]"),
    ],
)
def test_outputs_are_checked_before_any_trial(
    config: Choices, tmp_path: Path, builder: Any, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        make(config, tmp_path / "search", builder=builder).fit()
    assert not (tmp_path / "search").exists()


@pytest.mark.usefixtures("_here")
def test_a_crashed_trial_is_recorded_and_the_best_is_tested_once(
    config: Choices,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config["model.hidden"] = domain("choice", [8, 13])
    monkeypatch.chdir(Path(config["data.data_parent"]).parent)
    config["data.data_parent"] = os.path.relpath(config["data.data_parent"])

    def search(seed: int) -> HPOWrapper:
        return make(config, tmp_path / "search", num_samples=4, seed=seed)

    result = search(0).fit()
    hidden = [trial["config"]["model.hidden"] for trial in result.trials]
    assert {*hidden} == {8, 13}, "choose another seed"
    for n, trial in enumerate(result.trials):
        crashed = hidden[n] == 13
        assert (trial["number"], trial["state"]) == (n, "crashed" if crashed else "finished")
        assert trial["error"] == ("RuntimeError: thirteen neurons" if crashed else "")
        assert len(trial["scores"]) == (0 if crashed else 2)
        outcome = trial["error"] or f"{max(trial['scores']):.4f} on the validation set"
        assert f"trial {n} {trial['state']}: {outcome}\n" in capsys.readouterr().err or n
    assert result.best_config["model.hidden"] == 8
    assert os.path.isabs(result.best_config["data.data_parent"])
    scores = max(trial["scores"] for trial in result.trials)
    assert result.best_score == pytest.approx(max(scores), rel=1e-5)
    assert result.best_checkpoint.is_file()
    monkeypatch.setattr("nwavesdk.analysis.hpo.wrapper.evaluate_best", None)
    assert search(0).fit() == result
    with pytest.raises(ValueError, match="holds another study"):
        search(1).fit()


@pytest.mark.usefixtures("_here")
def test_if_all_trials_crash_one_line_says_so(config: Choices, tmp_path: Path) -> None:
    with pytest.raises(BrokenRunError, match="no trial of .* has finished; .*thirteen neurons"):
        make({**config, "model.hidden": 13}, tmp_path / "search").fit()


@pytest.mark.usefixtures("_here")
@pytest.mark.parametrize(
    ("score", "words"), [(float("nan"), "score"), (None, "score"), (0.5, "best.pt")]
)
def test_a_function_of_the_user_trains_the_trials(
    config: Choices, tmp_path: Path, score: Any, words: str
) -> None:
    def train(_: Any, builder: Any, folder: Path, report: Callable[[int, float], None]) -> Any:
        assert builder is build
        report(1, 0.25)
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text("epoch\n1\n")
        return score

    search = make(config, tmp_path / "search", num_samples=1, train=train)
    # Its best epoch has no file, so it cannot be tested.
    with pytest.raises((BrokenRunError, ValueError), match=words):
        search.fit()


@pytest.mark.cluster
@pytest.mark.usefixtures("local_ray")
def test_ray_gives_the_trials_of_this_process(
    config: Choices, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    config["optim.lr"] = domain("loguniform", 1e-3, 0.1)
    result = make(config, tmp_path / "ray", max_concurrent=1).fit()
    lines = capfd.readouterr().err.splitlines()
    here = make(config, tmp_path / "here", max_concurrent=1)
    here.finish(Here(), lambda _: None)
    expected = here.result()
    assert expected == result.__class__(
        **{**vars(result), "best_checkpoint": expected.best_checkpoint}
    )
    assert expected.best_checkpoint.read_bytes() == result.best_checkpoint.read_bytes()
    assert [line[:16] for line in lines if "finished" in line] == [
        "trial 0 finished",
        "trial 1 finished",
    ]


@pytest.mark.usefixtures("_here")
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
    exec(code, {})
    assert "best.pt" in capsys.readouterr().out
