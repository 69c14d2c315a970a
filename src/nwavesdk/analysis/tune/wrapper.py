"""`HPOWrapper`: the search of a user's net and its training on NWAVE's data, on Ray Tune."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import torch

from nwavesdk.analysis.cells import Job, begin_study
from nwavesdk.analysis.cluster import require_local_cpus
from nwavesdk.analysis.tune.config import SearchConfig
from nwavesdk.analysis.tune.contract import (
    ModelBuilder,
    build_model,
    check_output,
    import_builder,
)
from nwavesdk.analysis.tune.domains import split_domains
from nwavesdk.analysis.tune.folder import AnyTrial, Ended, Report, SearchFolder
from nwavesdk.analysis.tune.namespaces import check_keys, check_space, read_trial_config
from nwavesdk.analysis.tune.on_ray import finish_trials
from nwavesdk.analysis.tune.one_trial import (
    BEST,
    evaluate_best,
    n_outputs_of,
    open_data,
    read_course,
    train_one_trial,
)
from nwavesdk.analysis.tune.proposals import propose
from nwavesdk.analysis.tune.space import Space
from nwavesdk.analysis.tune.trial import ended_by
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import printable, read_bytes, write_atomically
from nwavesdk.internal.formats import parse_json
from nwavesdk.internal.processes import LOCAL
from nwavesdk.train import BrokenRunError
from nwavesdk.train.fit.progress import print_line

__all__ = ["HPOResult", "HPOWrapper"]

FILE = "hpo.json"

# What trains one trial; see `train_one_trial`.
TrainOneTrial = Callable[[Mapping[str, Any], ModelBuilder, Path, Report], float]


@dataclass(frozen=True)
class HPOResult:
    """What a search gave.

    Attributes:
        best_config: The config of the best trial, by `namespace.key`.
        best_score: Its best score on the validation set.
        test_score: The score of its best epoch on the test set, which was read once.
        best_checkpoint: The file with the weights of this epoch: `{"model": state_dict, "epoch"}`.
        trials: A mapping for each trial: `number`, `state`, `config`, `scores` by epoch, `error`.
    """

    best_config: dict[str, Any]
    best_score: float
    test_score: float
    best_checkpoint: Path
    trials: list[dict[str, Any]]


@dataclass(frozen=True)
class _Trial(AnyTrial):
    """A trial in whose folder `train_one_trial` writes."""

    @property
    def end(self) -> Path:
        """The file that is written last."""
        return self.path / "result.json"

    @property
    def is_complete(self) -> bool:
        return self.end.is_file()

    @property
    def score(self) -> float:
        return float(parse_json(read_bytes(self.end), self.end)["score"])

    def course(self) -> dict[int, float]:
        return dict(enumerate(read_course(self.path), 1))


class HPOWrapper(SearchFolder[_Trial]):
    """A search over the config of nets that a function builds, on NWAVE's data.

    Trials run side by side on Ray Tune, proposed by Optuna's sampler; ASHA stops bad ones early.
    The best epoch of each trial is on disk. A search that was killed is continued by the same call:
    trials that have ended are not repeated. A trial that fails is recorded, and the search goes on.

    Assumed: NWAVE documents the class, the namespaces, `model_builder(model_cfg) -> model` and that
    outputs are checked; the arguments and the keys of the namespaces are ours.

    Args:
        model_builder: `model_builder(model_cfg) -> model`, or its import path `"module:function"`;
            see `train_one_trial`.
        config: Values by `namespace.key`. What varies is a domain of Ray Tune, such as
            `tune.loguniform(1e-3, 1e-1)`. The namespaces are `model`, `loss`, `metric`, `optim`,
            `sched`, `nwave`, `trainer`, `data` and `early_stop`.
        out: Folder of the search; new, empty, or with the same search.
        num_samples: Number of trials.
        seed: Seed of the proposals.
        max_concurrent: Trials at a time; None for as many as the CPUs allow.
        scheduler: `"asha"` stops trials that are worse than others at the same epoch, or `"none"`.
        threads: Threads of each trial.
        train: What trains one trial.

    Raises:
        TypeError: If `config` is not a mapping with names.
        ValueError: If a namespace or key is unknown, a value is out of its range, or the builder
            cannot be imported; nothing is written.

    Example:
        >>> from ray import tune  # doctest: +SKIP
        >>> rates = tune.loguniform(1e-3, 1e-1)  # doctest: +SKIP
        >>> config = {"data.data_parent": "words", "optim.lr": rates}  # doctest: +SKIP
        >>> HPOWrapper("my_nets:build", config, "runs/hpo").fit().best_config  # doctest: +SKIP
    """

    def __init__(
        self,
        model_builder: ModelBuilder | str,
        config: Mapping[str, Any],
        out: str | Path,
        *,
        num_samples: int = 20,
        seed: int = 0,
        max_concurrent: int | None = None,
        scheduler: Literal["asha", "none"] = "asha",
        threads: int = 1,
        train: TrainOneTrial = train_one_trial,
    ) -> None:
        if not isinstance(config, Mapping):
            raise TypeError(f"HPOWrapper: config is {shown(config)}, expected a mapping.")
        check_keys(config)
        self.model_builder = import_builder(model_builder)
        self.train = train
        fixed, space = split_domains(config)
        check_space(fixed, space)
        if "data.data_parent" in fixed:
            fixed["data.data_parent"] = os.path.abspath(fixed["data.data_parent"])
        self.fixed = _json_values(fixed)
        settings = SearchConfig.of(
            {
                "trials": num_samples,
                "seed": seed,
                "max_concurrent": max_concurrent,
                "scheduler": scheduler,
                "threads": threads,
            },
            "HPOWrapper",
        )
        super().__init__(Path(out), settings, space)
        self._check_values(space)

    def _check_values(self, space: Space) -> None:
        """Check all choices and ends of the space, each with the first value of all others."""
        first = {name: dimension.samples()[0] for name, dimension in space.items()}
        read_trial_config({**self.fixed, **first})
        for name, dimension in space.items():
            for value in dimension.samples()[1:]:
                read_trial_config({**self.fixed, **first, name: value})

    def validate(self) -> None:
        """Build the model of the first proposal and check its outputs on one batch.

        Raises:
            ValueError: If the data cannot be used, or the model has other outputs.
        """
        first = propose(self.space, [], self.settings.seed, 0)
        trial = read_trial_config({**self.fixed, **first})
        data = open_data(trial)
        model = build_model(self.model_builder, trial)
        batch = next(iter(data.dataloaders()[1]))
        check_output(model, batch, n_outputs_of(trial, data), trial)

    def fit(self, address: str = LOCAL) -> HPOResult:
        """Run all trials that have not ended, and test the best one once.

        Args:
            address: The Ray cluster: `"local"`, `"auto"` or `"HOST:PORT"`. All its machines must
                see the folder of the search and the data, and import the builder.

        Raises:
            ValueError: If the data cannot be used, the model has other outputs, or the folder holds
                something else; nothing is written.
            BrokenRunError: If all trials have crashed, or another process works on the search.
        """
        require_local_cpus(self.threads, address)
        begin_study(self.file, self.content(), self.validate)
        finish_trials(self, self._print_trial, address)
        return self.result()

    def result(self) -> HPOResult:
        """What the search gave; the test set is read at the first call only.

        Raises:
            BrokenRunError: If no trial has finished.
        """
        finished = self.finished()
        if not finished:
            reasons = [trial.record.error for trial in self.trials]
            first = next(filter(None, reasons), "none has begun")
            raise BrokenRunError(
                f"HPOWrapper: no trial of {printable(self.path)} has finished; the first error: "
                f"{first.rstrip('.')}: correct the builder or the config, and begin a new search."
            )
        best = max(finished, key=lambda trial: (trial.score, -trial.number))
        return HPOResult(
            best_config=self.config_of(best),
            best_score=best.score,
            test_score=self._test_score(best),
            best_checkpoint=best.path / BEST,
            trials=[
                {
                    "number": trial.number,
                    "state": trial.state,
                    "config": self.config_of(trial),
                    "scores": list(trial.course().values()),
                    "error": trial.record.error,
                }
                for trial in self.trials
            ],
        )

    def _test_score(self, best: _Trial) -> float:
        file = self.path / "test.json"
        if not file.is_file():
            score = evaluate_best(self.config_of(best), self.model_builder, best.path)
            content = json.dumps({"trial": best.number, "score": score}) + "\n"
            write_atomically(file, content.encode())
        return float(parse_json(read_bytes(file), file)["score"])

    @property
    def file(self) -> Path:
        """`hpo.json`: the config of the search."""
        return self.path / FILE

    @property
    def uses_gpu(self) -> bool:
        return False

    @property
    def work(self) -> Callable[[Job, Report], Ended]:
        return partial(_run_trial, self.model_builder, self.train)

    def trial(self, number: int) -> _Trial:
        return _Trial(number, self.path.absolute() / f"trial-{number}")

    def job(self, trial: _Trial) -> Job:
        return str(trial.path), self.config_of(trial), self.threads

    def config_of(self, trial: _Trial) -> dict[str, Any]:
        """The config of a trial, by `namespace.key`."""
        return {**self.fixed, **self.values(trial)}

    def content(self) -> dict[str, Any]:
        """The content of `hpo.json`: everything on which results depend but the builder's code."""
        settings = self.settings.model_dump(mode="json")
        del settings["out"]
        space = {
            name: dimension.model_dump(mode="json", exclude_defaults=True)
            for name, dimension in self.space.items()
        }
        builder = f"{self.model_builder.__module__}:{_name_of(self.model_builder)}"
        return {"model_builder": builder, "config": self.fixed, "space": space, "search": settings}

    def _print_trial(self, trial: _Trial) -> None:
        record = trial.record
        if record.state == "finished":
            what = f"{trial.score:.4f} on the validation set"
        elif record.state == "crashed":
            what = f"crashed: {record.error}"
        else:
            what = f"stopped after epoch {len(trial.course())}"
        print_line(f"{self.n_ended}/{self.settings.trials}  {trial.name}: {what}")


def _run_trial(
    model_builder: ModelBuilder, train: TrainOneTrial, job: Job, report: Report
) -> Ended:
    """Finish one trial in its process."""
    path, config, threads = job
    torch.set_num_threads(threads)
    trial = _Trial(0, Path(path))
    if trial.is_complete:
        return "finished", ""
    try:
        for epoch, score in trial.course().items():
            if epoch < read_trial_config(config).trainer.epochs:
                report(epoch, score)
        best = train(config, model_builder, trial.path, report)
        content = json.dumps({"score": float(best)}, allow_nan=False) + "\n"
        write_atomically(trial.end, content.encode())
    except Exception as error:  # whatever a user's net raises
        return ended_by(error)
    return "finished", ""


def _json_values(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values as the file of the search holds them.

    Raises:
        ValueError: If JSON does not have one; the text names its key.
    """
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError):
            raise ValueError(
                f"HPOWrapper: {name} is {shown(value)}, expected a value that JSON has, or a "
                "domain of ray.tune."
            ) from None
    return dict(json.loads(json.dumps(dict(values))))


def _name_of(function: Any) -> str:
    return str(getattr(function, "__qualname__", type(function).__qualname__))
