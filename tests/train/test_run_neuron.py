"""A run with another neuron and a learned constant: it learns, resumes to the bit, and reports."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("lightning")

from nwavesdk.layers import NeuronLayer
from nwavesdk.presets import lif
from nwavesdk.train import Run
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.tasks import Classification
from train.runs import model_bytes, no_pictures, stop_after


@pytest.fixture(autouse=True)
def _no_pictures() -> None:
    """The pictures of each neuron are drawn."""


def test_a_resumed_run_ends_with_the_same_weights_and_constants(
    choices: dict[str, Any], tmp_path: Path
) -> None:
    choices["net"] |= {"neuron": "klif", "constants": "tau=0.01", "learn": "k"}
    whole = Run.new(tmp_path / "whole", choices)
    result = whole.train()
    assert result is not None
    assert result["test_accuracy"] > 0.6  # three tones in noise: chance is 0.33
    stop_after(Run.new(tmp_path / "broken", choices), 2)
    resumed = Run.open(tmp_path / "broken")
    with no_pictures():
        resumed.train()
    assert model_bytes(tmp_path / "broken") == model_bytes(tmp_path / "whole")
    assert Run.open(tmp_path / "whole").test()["test_accuracy"] == result["test_accuracy"]
    layer = next(module for module in resumed.trained().net if isinstance(module, NeuronLayer))
    learned = layer.constant("k").item()
    assert learned != pytest.approx(1.0, rel=1e-3)
    assert layer.constant("tau").item() == pytest.approx(0.01)
    page = (tmp_path / "whole" / "report.html").read_text()
    assert f"tau=0.01, k={learned:.4g} (learned), threshold=1" in page


def test_scaled_weights_learn_and_decay_as_others_do() -> None:
    net = {"hidden": [5], "neuron": "adlif", "learn": ["a"], "charge_gain": 10}
    config = sample_config("lif", (3,), 2, **net)
    learning = config.learning
    task = Classification(config)
    model = Learner(lif.build((3,), 2, config), task, learning, seed=0, charge_gain=10)
    others, scaled, constants = model._parameter_groups()
    assert others["params"] == [model.net[-2].weight]
    assert scaled["params"] == [model.net[0].weight]
    assert scaled["lr"] == 10 * learning.rate
    assert scaled["lr"] * scaled["weight_decay"] == learning.rate * learning.weight_decay
    assert constants["params"] == [model.net[1].logit_a]
    assert constants["weight_decay"] == 0
    net = lif.build((3,), 2, sample_config("lif", (3,), 2))
    (group,) = Learner(net, task, learning, seed=0)._parameter_groups()
    assert group["params"] == [*net.parameters()]
    assert (group["lr"], group["weight_decay"]) == (learning.rate, learning.weight_decay)


@pytest.mark.parametrize(
    ("net", "words"),
    [
        *(
            (
                {"neuron": neuron, "tau": 2e-3, "dt": 5e-3},
                r"from 1 to 1,000 steps of 0\.005 s, got 1: tau.* of 0\.002 s; 4: taus of",
            )
            for neuron in ("lif", "klif")
        ),
        (
            {"neuron": "adlif", "constants": {"tau_w": 100}},
            r"steps of 0\.001 s, got .*: tau_w of 100 s: ",
        ),
    ],
)
def test_a_run_with_time_constants_of_another_unit_warns_once(
    choices: dict[str, Any], tmp_path: Path, net: dict[str, Any], words: str
) -> None:
    choices["net"] |= net
    with pytest.warns(UserWarning, match=words) as caught:
        run = Run.new(tmp_path / "run", choices)
    run.network()
    assert len(caught) == 1
