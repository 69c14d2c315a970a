"""What a builder and its model must be: everything else is one line."""

import json
import threading
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from analysis.hpo.nets import Other
from nwavesdk.analysis.tune.contract import build_model, check_output, import_builder
from nwavesdk.analysis.tune.namespaces import TrialConfig, read_trial_config


@pytest.mark.hpo
def test_a_builder_of_another_kind_is_an_error() -> None:
    with pytest.raises(TypeError, match="model_builder is 3, expected a function"):
        import_builder(3)
    assert import_builder("json:loads") is json.loads
    lock = threading.Lock()
    with pytest.raises(ValueError, match="cannot be sent to another process"):
        import_builder(lambda _: lock)


BATCH = (torch.rand(2, 5, 16), torch.tensor([0, 1]))


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (lambda x: x, r"returned Tensor, expected \(spk, mem\), \[2, 5, N\] each with N = 3"),
        (lambda x: (x, x, x), "returned a tuple of 3"),
        (lambda x: (x, None), "returned a tuple of 2"),
        (lambda x: (x[..., :3], x), r"returned mem of shape \[2, 5, 16\]"),
        (lambda x: (x[..., :4], x), r"returned spk of shape \[2, 5, 4\], expected .*N = 3\."),
        (lambda x: (x[..., :6], x), 'choose metric.name "accuracy_population"'),
        (lambda x: (x[:, 0, :3], x), r"returned spk of shape \[2, 3\]"),
        (lambda x: x.nothing, "the model failed for an input of shape .*AttributeError"),
    ],
)
def test_other_outputs_are_one_line(output: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        check_output(Other(output), BATCH, 3, read_trial_config({}))
    assert "\n" not in str(caught.value)


def test_populations_are_allowed_with_their_metric() -> None:
    population = read_trial_config({"metric.name": "accuracy_population"})
    check_output(Other(lambda x: (x[..., :6], x[..., :6])), BATCH, 3, population)
    with pytest.raises(ValueError, match="N a multiple of 3"):
        check_output(Other(lambda x: (x[..., :4], x[..., :4])), BATCH, 3, population)


@pytest.mark.parametrize(
    ("builder", "words"),
    [(lambda _: 3, "returned int, expected a torch.nn.Module"), (lambda cfg: cfg["x"], "KeyError")],
)
def test_a_builder_that_fails_is_one_line(builder: Any, words: str) -> None:
    trial: TrialConfig = read_trial_config({"model.hidden": 8})
    with pytest.raises(ValueError, match=words):
        build_model(builder, trial)
