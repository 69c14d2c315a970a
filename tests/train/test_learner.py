from types import SimpleNamespace

import pytest

pytest.importorskip("lightning")

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.train.learner import Learner
from nwavesdk.train.network import stream_seed
from nwavesdk.train.sections import LearningConfig
from nwavesdk.train.tasks import Classification, OutputLayer

TASK = Classification(OutputLayer(2, 2, False, 10e-3, 1e-3), 25.0)


def test_streams_differ_by_seed_use_and_place() -> None:
    streams = [
        stream_seed(0, "order"),
        stream_seed(1, "order"),
        stream_seed(0, "dropout"),
        stream_seed(0, "order", 0),
        stream_seed(0, "order", 1),
    ]
    assert len(set(streams)) == len(streams)
    assert stream_seed(0, "order", 1) == stream_seed(0, "order", 1)


@pytest.mark.parametrize(("warmup", "steps"), [(0.5, 2), (0.1, 10), (0.3, 1), (0.3, 3)])
def test_the_rate_may_rise_for_one_step(
    warmup: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = SpikingSequential(LIFSynapse(2, 4), LIFLayer(4, 10e-3))
    model = Learner(net, TASK, LearningConfig(warmup=warmup), seed=0)
    trainer = SimpleNamespace(estimated_stepping_batches=steps)
    monkeypatch.setattr(Learner, "trainer", trainer)
    config = model.configure_optimizers()
    for _ in range(steps - 1):
        config["optimizer"].step()
        config["lr_scheduler"]["scheduler"].step()
    (rate,) = config["lr_scheduler"]["scheduler"].get_last_lr()
    assert 0 < rate <= 8e-3
