import math
from types import SimpleNamespace

import pytest
import torch

pytest.importorskip("lightning")

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.train.learner import Learner
from nwavesdk.train.network import stream_seed
from nwavesdk.train.sections import LearningConfig
from nwavesdk.train.tasks import Classification, OutputLayer, population_loss

TASK = Classification(OutputLayer(2, 2, False, 10e-3, 1e-3), 25.0)


def test_silence_is_undecided() -> None:
    loss = population_loss(torch.zeros(3, 7, 20), torch.tensor([0, 4, 2]), 5, sharpness=50.0)
    assert loss.item() == pytest.approx(math.log(5))


def test_the_loss_by_hand() -> None:
    spk = torch.zeros(1, 4, 4)
    spk[0, :3, 0] = 1  # class 0: 3 spikes of 2 neurons in 4 steps; class 1: none
    loss = population_loss(spk, torch.tensor([0]), 2, sharpness=8.0)
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-8.0 * 3 / 8)))


def test_neither_length_nor_population_changes_the_loss() -> None:
    spk, labels = (torch.rand(6, 10, 12) < 0.2).float(), torch.randint(0, 3, (6,))
    once = population_loss(spk, labels, 3, 50.0)
    torch.testing.assert_close(population_loss(spk.repeat(1, 4, 1), labels, 3, 50.0), once)
    torch.testing.assert_close(
        population_loss(spk.repeat_interleave(2, dim=2), labels, 3, 50.0), once
    )
    each = population_loss(spk, labels, 3, 50.0, reduction="none")
    assert each.shape == (6,)
    torch.testing.assert_close(each.mean(), once)


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
