"""`HPOWrapper`: the search of a user's net and its training on NWAVE's data."""

import json
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any, Literal

from nwavesdk.analysis.hpo.namespaces import FIXED_KEYS
from nwavesdk.analysis.hpo.trial import (
    BEST,
    SCORE,
    ModelBuilder,
    evaluate_best,
    open_trial,
    train_one_trial,
)
from nwavesdk.analysis.study.cells import Course, Job, Report, run_job
from nwavesdk.analysis.study.executors import on_ray
from nwavesdk.analysis.study.search import ERROR, Search, state_of
from nwavesdk.analysis.study.search_file import (
    SearchConfig,
    distribution_of,
    reject_fixed,
    sample_values,
)
from nwavesdk.analysis.study.study import begin_study, has_begun
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import LOCAL
from nwavesdk.train import RunFolder
from nwavesdk.train.fit.progress import print_line

__all__ = ["HPOResult", "HPOWrapper"]

# The function that trains one trial; see `train_one_trial`.
TrainOneTrial = Callable[[Mapping[str, Any], ModelBuilder, Path, Report], float]


@dataclass(frozen=True, kw_only=True)
class HPOResult:
    """The result of a search.

    Attributes:
        best_config: The config of the best trial, by `namespace.key`.
        best_score: The best score of this trial on the validation set.
        test_score: The score of its best epoch on the test set, which was read once.
        best_checkpoint: The file with the weights of this epoch: `{"model": state_dict, "epoch"}`.
        trials: A mapping for each trial: `number`, `state`, `config`, `scores` by epoch, `error`.
    """

    best_config: dict[str, Any]
    best_score: float
    test_score: float
    best_checkpoint: Path
    trials: list[dict[str, Any]]


class HPOWrapper(Search):
    """A search over the config of nets that a function builds, on NWAVE's data.

    Optuna's sampler proposes trials, which run next to each other on Ray. ASHA stops bad trials
    early. The state of each trial is on disk. The same call continues a search that was killed, and
    does not repeat trials that have ended. A trial that fails is recorded, and the search
    continues.

    Assumed: NWAVE documents the class, the namespaces, `model_builder(model_cfg) -> model` and that
    outputs are checked. The arguments and the keys of the namespaces are assumed.

    Args:
        model_builder: `model_builder(model_cfg) -> model`, or its import path `"module:function"`;
            see `train_one_trial`.
        config: Values by `namespace.key`. A value that varies is a domain of Ray Tune, such as
            `tune.loguniform(1e-3, 1e-1)`. The namespaces are `model`, `loss`, `metric`, `optim`,
            `sched`, `nwave`, `trainer`, `data` and `early_stop`.
        out: Folder of the search; new, empty, or with the same search.
        num_samples: Number of trials.
        seed: Seed of the proposals.
        max_concurrent: Maximal number of trials at a time; None for as many as the CPUs allow.
        scheduler: `"asha"` stops trials that are worse than others at the same epoch, or `"none"`.
        threads: Threads of each trial.
        train: The function that trains one trial. It is called again after each comparison, and
            must then continue the trial.

    Raises:
        ValueError: If a value cannot be searched or must not vary, or the builder cannot be
            imported.

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
        builder, fixed, space = read_arguments(model_builder, config)
        self.model_builder = builder
        reject_fixed(FIXED_KEYS, space)
        # An absolute path, because the processes of a cluster have other working folders.
        if isinstance(folder := fixed.get("data.data_parent"), str):
            fixed["data.data_parent"] = os.path.abspath(folder)

        search = {
            "trials": num_samples,
            "seed": seed,
            "max_concurrent": max_concurrent,
            "scheduler": scheduler,
            "threads": threads,
        }
        super().__init__(
            Path(out),
            file="hpo.json",
            content={
                "model_builder": f"{builder.__module__}:{getattr(builder, '__qualname__', '')}",
                "config": fixed,
                "space": {name: vars(distribution) for name, distribution in space.items()},
                "search": search,
            },
            settings=SearchConfig.of(search, "HPOWrapper"),
            space=space,
            work=partial(run_trial, builder, train),
            choices=lambda values: {**fixed, **values},
        )

    def fit(self, address: str = LOCAL) -> HPOResult:
        """Run all trials that have not ended, and test the best one once.

        Args:
            address: The Ray cluster: `"local"`, `"auto"` or `"HOST:PORT"`. All its machines must
                see the folder of the search and the data, and be able to import the builder.

        Raises:
            ValueError: If a namespace or key is unknown, a value is out of its range, the data
                cannot be used, the outputs of the model have the wrong shape, or the folder holds
                other files; nothing is written.
            BrokenRunError: If all trials have crashed, or another process works on the search.
        """
        if not has_begun(self.file):
            # Build a model for each sample of the space, and check its outputs on one batch.
            for values in sample_values(self.space):
                open_trial(self.choices(values), self.model_builder)
        begin_study(self.file, self.content)
        n_jobs = self.settings.max_concurrent
        self.finish(on_ray(address, self.settings.threads, jobs=n_jobs), print_trial)
        return self.result()

    def result(self) -> HPOResult:
        """The result of the search. Only the first call reads the test set.

        Raises:
            BrokenRunError: If no trial has finished.
        """
        best = self.best
        config = dict(self.choices(self.values_of(best)))
        path = self.path_of(best.number)
        # Stored in the journal, so that later calls do not read the test set again.
        if "test_score" not in self.study.user_attrs:
            score = evaluate_best(config, self.model_builder, path)
            self.study.set_user_attr("test_score", score)
        test_score = self.study.user_attrs["test_score"]

        return HPOResult(
            best_config=config,
            best_score=best.value,
            test_score=test_score,
            best_checkpoint=path / BEST,
            trials=[self.description_of(trial) for trial in self.trials],
        )

    def description_of(self, trial: Any) -> dict[str, Any]:
        """The description of a trial for `HPOResult.trials`."""
        folder = RunFolder(self.path_of(trial.number))
        epochs = folder.read_metrics() if folder.metrics.is_file() else []
        return {
            "number": trial.number,
            "state": state_of(trial),
            "config": self.choices(self.values_of(trial)),
            "scores": [row[SCORE] for row in epochs if SCORE in row],
            "error": trial.user_attrs.get(ERROR, ""),
        }


def print_trial(trial: Any) -> None:
    """Print the outcome of a trial."""
    outcome = trial.user_attrs.get(ERROR) or f"{trial.value:.4f} on the validation set"
    print_line(f"trial {trial.number} {state_of(trial)}: {outcome}")


def run_trial(model_builder: ModelBuilder, train: TrainOneTrial, job: Job) -> Course:
    """Train one trial in its process, until its next comparison or its end; see `run_job`."""
    return run_job(lambda config, path, report: train(config, model_builder, path, report), job)


def read_arguments(
    model_builder: Any, config: Mapping[str, Any]
) -> tuple[Any, dict[str, Any], dict[str, Any]]:
    """The function that builds a model, the fixed values of a config, and the other distributions.

    Args:
        model_builder: The function, or its import path.
        config: Values and domains of Ray Tune.

    Raises:
        ValueError: If other processes cannot load the function, or if a value is neither a JSON
            value nor a domain that Optuna can search.
    """
    to_optuna = require("ray.tune.search.optuna", "hpo").OptunaSearch.convert_search_space
    try:
        if isinstance(model_builder, str):
            model_builder = resolve_name(model_builder)
        # Other processes must be able to load the builder; `partial` rejects objects that cannot be
        # called.
        require("ray.cloudpickle", "hpo").dumps(partial(model_builder))

        # Optuna warns about choices that are lists or mappings, which then become texts of JSON.
        with warnings.catch_warnings(action="ignore"):
            space = to_optuna({**config})
        for name, domain in space.items():
            if hasattr(domain, "choices"):
                space[name] = distribution_of(name, {"choices": domain.choices})
        fixed = {name: value for name, value in config.items() if name not in space}
        return model_builder, json.loads(json.dumps(fixed, allow_nan=False)), space
    except Exception as error:  # a user's module can raise anything
        raise ValueError(
            f"HPOWrapper: model_builder or config cannot be used ({type(error).__name__}: "
            f"{one_line(error)}): expected a function model_builder(model_cfg) that other "
            'processes can import or unpickle, or its path "module:function"; and a dict of values '
            "that JSON has and of tune.choice, uniform, loguniform, quniform, randint, lograndint "
            "or qrandint."
        ) from error
