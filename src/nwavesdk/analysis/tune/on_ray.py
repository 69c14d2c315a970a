"""The trials of a search on Ray Tune: who proposes them, who stops them early, and their processes.

The folder of the search is the state; Ray Tune keeps no other. What an earlier process has
recorded is passed to the scheduler before the first trial begins.
"""

import contextlib
import json
import logging
import os
import shutil
import warnings
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

from nwavesdk.analysis.cells import Job, log_beside
from nwavesdk.analysis.cluster import RETRIES, check_code, cpus, join_ray, wait_while_busy
from nwavesdk.analysis.tune.folder import AnyTrial, Ended, Report, SearchFolder
from nwavesdk.internal.files import printable
from nwavesdk.internal.imports import require
from nwavesdk.internal.processes import LOCAL
from nwavesdk.train import BrokenRunError
from nwavesdk.train.run_folder import lock

__all__ = ["asha", "finish_trials", "quiet_tune"]

# Ray Tune names trials itself; results have these columns.
EPOCH, SCORE, ENDED = "epoch", "score", "ended"

# Rungs of the scheduler go up to this epoch, so that it never ends a trial for its length.
LONGEST = 10**6

# Settings of Ray Tune that it reads from the environment, unless the user has set them.
QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}

T = TypeVar("T", bound=AnyTrial)


def finish_trials(
    search: SearchFolder[T], on_ended: Callable[[T], None], address: str = LOCAL
) -> None:
    """Run all trials of a search that have not ended.

    All machines of the cluster must see the folder of the search and the data.

    Args:
        search: The search.
        on_ended: Called with each trial that has ended.
        address: The cluster; see `join_ray`.

    Raises:
        ModuleNotFoundError: If Ray or Optuna is not installed.
        BrokenRunError: If another process works on the search, or a trial cannot go on for a
            reason that is not its own.
    """
    with lock(search.file, "works on the search"):
        if search.n_ended == search.settings.trials:
            return
        require("optuna", "hpo")
        with join_ray(address) as ray, quiet_tune() as tune:
            n_cpus = cpus(ray, search.threads)
            check_code(ray, search.work, search.threads)
            searcher = _searcher_class()(search, on_ended)
            most = search.settings.max_concurrent or max(1, n_cpus // search.threads)
            _fit(tune, search, searcher, most)
        if searcher.failure is not None:
            raise searcher.failure


def _fit(tune: Any, search: SearchFolder[T], searcher: Any, max_concurrent: int) -> None:
    """Let Ray Tune run what the searcher proposes."""
    scratch = search.path.absolute() / "ray"
    shutil.rmtree(scratch, ignore_errors=True)  # of a process that was killed
    resources = {"cpu": search.threads, **({"gpu": 1} if search.uses_gpu else {})}
    tune_config = tune.TuneConfig(
        search_alg=searcher,
        scheduler=_scheduler(search),
        num_samples=search.settings.trials - search.n_ended,
        max_concurrent_trials=max_concurrent,
        reuse_actors=True,
        # The default name has the whole job.
        trial_dirname_creator=_name_of,
    )
    run_config = tune.RunConfig(
        name="search",
        storage_path=str(scratch),
        verbose=0,
        failure_config=tune.FailureConfig(max_failures=RETRIES),
    )
    trainable = tune.with_resources(_trainable(search.work), resources)
    try:
        tune.Tuner(trainable, tune_config=tune_config, run_config=run_config).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


@contextlib.contextmanager
def quiet_tune() -> Iterator[Any]:
    """The module `ray.tune`, without what it prints.

    Raises:
        ModuleNotFoundError: If it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    logger = logging.getLogger("ray.tune")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # our own lines report trials that crash
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            require("ray", "hpo")
            yield require("ray.tune", "hpo")
    finally:
        logger.setLevel(level)


def asha(tune: Any, grace: int, reduction: int) -> Any:
    """The scheduler that stops trials which are worse than others at the same epoch."""
    return tune.schedulers.ASHAScheduler(
        time_attr=EPOCH,
        max_t=max(LONGEST, grace),
        grace_period=grace,
        reduction_factor=reduction,
        metric=SCORE,
        mode="max",
    )


def _scheduler(search: SearchFolder[T]) -> Any:
    """The scheduler of a search, with the scores of all earlier epochs."""
    tune = require("ray.tune", "hpo")
    if search.settings.scheduler == "none":
        return tune.schedulers.FIFOScheduler()
    scheduler = asha(tune, search.settings.grace, search.settings.reduction)
    for trial in search.trials:
        if trial.state == "running":
            continue  # it reports its epochs again
        earlier = SimpleNamespace(trial_id=f"earlier-{trial.number}")
        scheduler.on_trial_add(None, earlier)
        for epoch, score in trial.course().items():
            scheduler.on_trial_result(None, earlier, {EPOCH: epoch, SCORE: score})
    return scheduler


def _name_of(trial: Any) -> str:
    return str(trial.trial_id)


def _trainable(work: Callable[[Job, Report], Ended]) -> Callable[[dict[str, Any]], None]:
    """What Ray Tune runs: the function of this module on the job of the trial."""

    def trainable(config: dict[str, Any]) -> None:
        _report_trial(work, json.loads(config["job"]))

    return trainable


def _report_trial(work: Callable[[Job, Report], Ended], job: Job) -> None:
    """Run a trial and report its epochs and its end to Ray Tune, from whose thread this runs."""
    tune = require("ray.tune", "hpo")
    last = {EPOCH: 0, SCORE: 0.0}

    def report(epoch: int, score: float) -> None:
        last.update({EPOCH: epoch, SCORE: score})
        tune.report({**last, ENDED: ""})

    path, choices, threads = job
    with log_beside(Path(path)):
        state, error = wait_while_busy(lambda one: work(one, report), (path, choices, threads))
    # The last epoch is not compared with those of others: the trial has ended.
    tune.report({EPOCH: 0, SCORE: last[SCORE], ENDED: json.dumps([state, error])})


@cache
def _searcher_class() -> Any:
    """The class that Ray Tune asks for trials; its base is known when Ray is imported."""
    base: Any = require("ray.tune.search", "hpo").Searcher

    class FolderSearcher(base):  # type: ignore[misc]  # known at run time only
        """Trials from the folder of a search: first those that were interrupted, then new ones.

        Attributes:
            failure: Why the search cannot go on; None if it can.
        """

        def __init__(self, search: SearchFolder[Any], on_ended: Callable[[Any], None]) -> None:
            super().__init__(metric=SCORE, mode="max")
            self.search = search
            self.on_ended = on_ended
            self.failure: BaseException | None = None
            self._interrupted = search.unfinished()
            self._running: dict[str, AnyTrial] = {}

        def suggest(self, trial_id: str) -> Any:
            """The job of the next trial."""
            trial = None
            try:
                if self.failure is None:
                    interrupted = self._interrupted.pop(0) if self._interrupted else None
                    trial = interrupted or self.search.begin_trial()
                    job = None if trial is None else self.search.job(trial)
            except Exception as error:  # such as a full disk; Ray Tune would print a traceback
                self.failure = error
            if self.failure is not None or trial is None:
                return base.FINISHED
            self._running[trial_id] = trial
            return {"number": trial.number, "job": json.dumps(job)}

        def on_trial_complete(
            self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
        ) -> None:
            """Record how a trial ended."""
            trial = self._running.pop(trial_id, None)
            if trial is None or self.failure is not None:
                return
            try:
                state, reason = _how_it_ended(trial, result or {}, error)
                if state == "broken":
                    raise BrokenRunError(f"{trial.name}: {reason} The same command continues.")
                self.search.end_trial(trial, state, reason)  # type: ignore[arg-type]  # a State
                self.on_ended(trial)
            except Exception as failure:  # as above
                self.failure = failure

        def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
            """Epochs are in the folder of the run."""

        def save(self, checkpoint_path: str) -> None:
            """Nothing: the folder of the search has everything."""

        def restore(self, checkpoint_path: str) -> None:
            """Nothing, as above."""

    return FolderSearcher


def _how_it_ended(trial: AnyTrial, result: dict[str, Any], is_lost: bool) -> Ended:
    """The end of a trial from the last thing that it reported."""
    if result.get(ENDED):
        state, reason = json.loads(result[ENDED])
        return state, reason
    if is_lost:
        log = printable(trial.path.with_suffix(".log"))
        return "crashed", (
            f"its process was lost {RETRIES + 1} times, perhaps because memory did not suffice: "
            f"see {log}."
        )
    return "stopped", ""
