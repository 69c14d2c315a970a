"""The callback reports each finding once and does not change training."""

import logging
import re
from dataclasses import astuple

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule, Trainer
from torch.utils.data import DataLoader

from nwavesdk.analysis import Limits
from nwavesdk.analysis.health_callback import HealthCallback
from nwavesdk.data import Batch
from nwavesdk.layers import Dropout, LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.layers.lengths import mean_over_steps
from nwavesdk.surrogate import atan
from nwavesdk.train.config.learning import CompletedLearning
from nwavesdk.train.fit.learner import Learner
from nwavesdk.train.fit.tasks import Classification, OutputLayer

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*LeafSpec.*deprecated.*",
    "ignore:.*have no `val_dataloader`.*",
)
LEARNING = CompletedLearning(epochs=2, batch_size=8)
TASK = Classification(OutputLayer(n_outputs=2, population=2, tau=10e-3, dt=1e-3), 25.0)


def spikes_of(spk, mem, labels):  # noqa: ARG001
    return spk.mean()


def net_of():
    torch.manual_seed(1)
    net = SpikingSequential(
        LIFSynapse(6, 20), LIFLayer(20, 10e-3), Dropout(0.2), LIFSynapse(20, 4), LIFLayer(4, 10e-3)
    )
    net[0].weight.data[:, :10] = -1.0
    return net


def fitted(module, *callbacks, folder, padding=0, x=None):
    torch.manual_seed(2)
    labels = torch.arange(16) % 2
    if x is None:
        x = torch.rand(16, 30, 6)
    x = torch.cat([x, torch.ones(16, padding, x.shape[2])], 1)

    def batch_of(chosen):
        return Batch(x[chosen], labels[chosen], torch.full((len(chosen),), 30))

    trainer = Trainer(
        accelerator="cpu",
        max_epochs=2,
        callbacks=[*callbacks],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    trainer.fit(module, DataLoader(range(16), 8, collate_fn=batch_of))
    return trainer


def test_findings_are_logged_once_and_training_does_not_change(tmp_path, caplog):
    alone, watched = (Learner(net_of(), TASK, LEARNING, seed=3) for _ in range(2))
    fitted(alone, folder=tmp_path)
    health = HealthCallback()
    with caplog.at_level(logging.WARNING, "nwavesdk"):
        trainer = fitted(watched, health, folder=tmp_path)

    for mine, other in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(mine, other)
    assert sorted(health.found) == [0, 1]
    assert health.found[1].layers[0].dead >= 0.5

    warnings = [
        record.getMessage() for record in caplog.records if "never fire" in record.getMessage()
    ]
    assert [text for text in warnings if "layer 1: " in text] == warnings[:1]
    assert re.match(
        r"epoch 1, layer 1: [56]\d% of its neurons never fire: raise their weights",
        warnings[0],
    )
    assert trainer.callback_metrics["health_dead_1"] >= 0.5


def test_spikes_are_counted_over_several_batches(tmp_path, monkeypatch):
    net = SpikingSequential(LIFSynapse(2, 2), LIFLayer(2, 10e-3))
    net[0].weight.data = torch.eye(2)
    x = torch.zeros(16, 30, 2)
    x[:8, :, 0] = x[8:, :, 1] = 1  # the second neuron is silent in the first batch
    for enough, dead in ((1, 0.5), (16, 0.0)):
        monkeypatch.setattr("nwavesdk.analysis.health_callback.ENOUGH_RECORDINGS", enough)
        health = HealthCallback(spikes_of)
        fitted(Plain(net), health, folder=tmp_path, x=x)
        assert health.found[0].layers[0].dead == dead


def numbers(layer):
    return [value for value in astuple(layer)[1:] if value is not None]


def test_a_growing_loop_is_logged_while_it_happens(tmp_path, caplog):
    torch.manual_seed(1)
    hidden = LIFLayer(20, 20e-3, spike_grad=atan(2), layer_topology="RC", max_loop_gain=None)
    hidden.recurrent_weights.data.mul_(5)
    net = SpikingSequential(LIFSynapse(6, 20), hidden, LIFSynapse(20, 4), LIFLayer(4, 10e-3))
    health = HealthCallback(limits=Limits(loop=10))
    with caplog.at_level(logging.WARNING, "nwavesdk"):
        trainer = fitted(Learner(net, TASK, LEARNING, seed=3), health, folder=tmp_path)
    (warning,) = (text for text in caplog.messages if "recurrent loop gain" in text)
    assert warning.startswith("epoch 1, layer 1: recurrent loop gain")
    assert trainer.callback_metrics["health_growth_1"] > 1.05
    assert "health_growth_3" not in trainer.callback_metrics


def valid_mean(spk, mem, labels, lengths=None):  # noqa: ARG001
    return mean_over_steps(spk, lengths).mean()


@pytest.mark.parametrize("loss", [None, valid_mean])
def test_padding_does_not_count(tmp_path, loss):
    values = []
    for padding in (0, 20):
        health = HealthCallback(loss)
        module = Learner(net_of(), TASK, LEARNING, seed=3)
        fitted(module, health, folder=tmp_path, padding=padding)
        values.append([numbers(layer) for layer in health.found[0].layers])
    for got, expected in zip(*values, strict=True):
        assert got == pytest.approx(expected, rel=1e-5)


class Plain(LightningModule):
    def __init__(self, net):
        super().__init__()
        self.net = net

    def training_step(self, batch, _):
        prepare_net(self.net)
        return self.net(batch[0])[0].mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def test_a_module_that_is_not_a_learner(tmp_path):
    health = HealthCallback(spikes_of, every=2)
    fitted(Plain(net_of()), health, folder=tmp_path)
    assert sorted(health.found) == [0]
    with pytest.raises(TypeError, match="needs loss=, because Plain is not a Learner"):
        fitted(Plain(net_of()), HealthCallback(), folder=tmp_path)
    nameless = Plain(net_of())
    nameless.other = nameless.net
    del nameless.net
    with pytest.raises(TypeError, match="module.net, a torch module, which Plain lacks"):
        fitted(nameless, HealthCallback(spikes_of), folder=tmp_path)
