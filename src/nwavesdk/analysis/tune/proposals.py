"""Proposals of Optuna's sampler for the next trial, and the importance of what varies.

Design requirement: a proposal is a function of the seed, its number and the trials before it, and
nothing is kept in memory, so that a search that was killed goes on as if it had not been.
"""

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Literal

from nwavesdk.analysis.tune.space import Space
from nwavesdk.internal.imports import require

__all__ = ["LEAST_IMPORTANCE", "State", "Tried", "importance", "propose"]

# How a trial ended, or that it has not.
State = Literal["running", "finished", "stopped", "crashed"]

# Trials that are needed to compare fields: fewer give mostly noise.
LEAST_IMPORTANCE = 8


@dataclass(frozen=True)
class Tried:
    """A trial, as the sampler sees it.

    Args:
        values: The value of each field.
        state: How it ended.
        score: What is maximized; None unless it is finished.
        course: The score after each epoch, of a trial that was stopped.
    """

    values: Mapping[str, Any]
    state: State
    score: float | None = None
    course: Mapping[int, float] = field(default_factory=dict)


def propose(space: Space, tried: Sequence[Tried], seed: int, number: int) -> dict[str, Any]:
    """The values of the next trial.

    Args:
        space: The space.
        tried: All trials before it, in their order; those that run count as bad ones.
        seed: Seed of the search.
        number: Number of the trial, from 0.

    Returns:
        A value for each field.
    """
    optuna = _optuna()
    text = f"{seed}/{number}".encode()
    drawn = int.from_bytes(sha256(text).digest()[:4], "big")
    with _quiet():
        sampler = optuna.samplers.TPESampler(seed=drawn, constant_liar=True)
        study = _study(space, tried, sampler)
        distributions = {name: dimension.distribution for name, dimension in space.items()}
        params = study.ask(distributions).params
    return {name: dimension.from_optuna(params[name]) for name, dimension in space.items()}


def importance(space: Space, tried: Sequence[Tried]) -> dict[str, float]:
    """How much each field decides the score, largest first; the sum is 1.

    The evaluator is Optuna's PED-ANOVA: it compares the values of the best tenth with all others.

    Returns:
        A share for each field; empty with fewer than `LEAST_IMPORTANCE` finished trials.
    """
    finished = [one for one in tried if one.state == "finished"]
    if len(finished) < LEAST_IMPORTANCE or len({one.score for one in finished}) < 2:
        return {}
    optuna = _optuna()
    with _quiet():
        study = _study(space, finished, None)
        evaluator = optuna.importance.PedAnovaImportanceEvaluator()
        shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: float(share) for name, share in shares.items() if math.isfinite(share)}


def _study(space: Space, tried: Sequence[Tried], sampler: Any) -> Any:
    """An Optuna study in memory with all trials."""
    optuna = _optuna()
    state = optuna.trial.TrialState
    states = {
        "running": state.RUNNING,
        "finished": state.COMPLETE,
        "stopped": state.PRUNED,
        "crashed": state.FAIL,
    }
    study = optuna.create_study(direction="maximize", sampler=sampler)
    distributions = {name: dimension.distribution for name, dimension in space.items()}
    for one in tried:
        params = {name: space[name].to_optuna(value) for name, value in one.values.items()}
        study.add_trial(
            optuna.trial.create_trial(
                state=states[one.state],
                params=params,
                distributions=distributions,
                value=one.score if one.state == "finished" else None,
                intermediate_values=dict(one.course) if one.state == "stopped" else None,
            )
        )
    return study


def _optuna() -> Any:
    return require("optuna", "hpo")


@contextmanager
def _quiet() -> Iterator[None]:
    """Hide the lines of Optuna, and its notes on options that may change."""
    optuna = _optuna()
    level = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(level)
