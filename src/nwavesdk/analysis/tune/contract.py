"""What `HPOWrapper` expects of a user's code: an importable builder, and a model with its outputs.

NWAVE documents `model_builder(model_cfg) -> model` and that the output contract is validated; the
contract itself is assumed.
"""

import pickle
from collections.abc import Callable
from importlib import import_module
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.analysis.tune.namespaces import TrialConfig
from nwavesdk.internal.checks import shown
from nwavesdk.internal.files import one_line
from nwavesdk.internal.imports import require
from nwavesdk.net.preparation import prepared

__all__ = ["ModelBuilder", "build_model", "check_output", "import_builder"]

# What builds the net of a trial from the keys of `model.*`.
ModelBuilder = Callable[[dict[str, Any]], nn.Module]


def import_builder(model_builder: object) -> ModelBuilder:
    """The function that builds a model.

    Args:
        model_builder: The function, or its import path.

    Raises:
        TypeError: If it is neither.
        ValueError: If the path leads to nothing.
    """
    if callable(model_builder):
        _check_pickle(model_builder)
        return model_builder
    if not isinstance(model_builder, str):
        raise TypeError(
            f"HPOWrapper: model_builder is {shown(model_builder)}, expected a function "
            'model_builder(model_cfg) or its import path "module:function".'
        )
    module, _, name = model_builder.partition(":")
    hint = 'expected an import path "module:function" of a function model_builder(model_cfg)'
    try:
        function = getattr(import_module(module), name or "model_builder")
    except Exception as error:  # whatever the user's module raises
        raise ValueError(
            f"HPOWrapper: model_builder {shown(model_builder)} cannot be imported "
            f"({type(error).__name__}: {error}), {hint}: check the path and PYTHONPATH."
        ) from error
    if not callable(function):
        raise ValueError(
            f"HPOWrapper: model_builder {shown(model_builder)} is {type(function).__name__}, "
            f"{hint}."
        )
    builder: ModelBuilder = function
    return builder


def _check_pickle(function: Any) -> None:
    """Reject a function that no other process can get."""
    try:
        require("ray.cloudpickle", "hpo").dumps(function)
    except ModuleNotFoundError:
        raise
    except (pickle.PicklingError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"HPOWrapper: model_builder {shown(function)} cannot be sent to another process "
            f"({error}): define it in a module, and use no open files or locks in it."
        ) from error


def build_model(model_builder: ModelBuilder, trial: TrialConfig) -> nn.Module:
    """The net of a trial.

    Raises:
        ValueError: If the builder fails or returns something else.
    """
    try:
        model = model_builder(trial.model_cfg)
    except Exception as error:  # whatever a user's function raises
        raise ValueError(
            f"HPOWrapper: model_builder({shown(trial.model_cfg)}) failed "
            f"({type(error).__name__}: {one_line(error)}): correct it."
        ) from error
    if not isinstance(model, nn.Module):
        raise ValueError(
            f"HPOWrapper: model_builder returned {type(model).__name__}, expected a "
            "torch.nn.Module: return the model."
        )
    return model


@torch.no_grad()
def check_output(model: nn.Module, batch: Any, n_outputs: int, trial: TrialConfig) -> None:
    """Check on one batch that a model has the outputs that loss and metric need.

    Args:
        model: The model.
        batch: A batch `(x, y)` of `NWaveDataGen`.
        n_outputs: Number of classes or targets.
        trial: The choices of the trial.

    Raises:
        ValueError: If it has not; the text names what it returned and what is expected.
    """
    x = batch[0]
    B, T = x.shape[:2]
    was_training = model.training
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]), prepared(model, 0):
            output = model(x)
    except Exception as error:  # whatever a user's model raises
        raise ValueError(
            f"HPOWrapper: the model failed for an input of shape {list(x.shape)} "
            f"({type(error).__name__}: {one_line(error)}): correct it."
        ) from error
    finally:
        model.train(was_training)
    has_groups = trial.metric_name == "accuracy_population"
    size = f"N a multiple of {n_outputs}" if has_groups else f"N = {n_outputs}"
    expected = f"(spk, mem), [{B}, {T}, N] each with {size}"
    is_pair = isinstance(output, tuple) and len(output) == 2
    if not is_pair or not all(isinstance(one, Tensor) for one in output):
        got = type(output).__name__
        if isinstance(output, tuple | list):
            got = f"a {got} of {len(output)}"
        raise ValueError(f"HPOWrapper: the model returned {got}, expected {expected}.")
    for name, one in zip(("spk", "mem"), output, strict=True):
        fits = one.ndim == 3 and one.shape[:2] == (B, T) and one.shape[2] > 0
        N = one.shape[-1] if one.ndim else 0
        fits = fits and (N % n_outputs == 0 if has_groups else n_outputs == N)
        if not fits:
            remedy = ""
            if trial.metric_name == "accuracy" and N and N % n_outputs == 0:
                remedy = ': for a population per class, choose metric.name "accuracy_population"'
            raise ValueError(
                f"HPOWrapper: the model returned {name} of shape {list(one.shape)}, expected "
                f"{expected}{remedy}."
            )
