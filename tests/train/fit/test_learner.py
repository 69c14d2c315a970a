from types import SimpleNamespace

import pytest

pytest.importorskip("lightning")

import torch
from torch import nn

from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential
from nwavesdk.loss import rate_excess_loss
from nwavesdk.net import prepare_net
from nwavesdk.net.recording import record_spikes
from nwavesdk.train.config.learning import CompletedLearning
from nwavesdk.train.fit.learner import (
    EpochMeans,
    Learner,
    seed_generators,
    spike_cost,
)
from nwavesdk.train.fit.network import sample_config
from nwavesdk.train.fit.seeds import stream_seed
from nwavesdk.train.fit.tasks import Classification

TASK = Classification(sample_config("lif", (3,), 2, population=2))


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


def test_the_generator_is_seeded_as_by_torch() -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    seed_generators(7, torch.device("cpu"))
    assert torch.equal(torch.rand(3), expected)


def test_means_over_an_epoch_count_decisions_and_begin_again() -> None:
    means = EpochMeans()
    means.add({"loss": torch.tensor(1.0), "rate": torch.tensor(0.5)}, 3)
    means.add({"loss": torch.tensor(5.0), "rate": torch.tensor(0.5)}, 1)
    means.add({"grad": torch.tensor(2.0, requires_grad=True)})
    strategy = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)  # noqa: ARG005
    trainer = SimpleNamespace(strategy=strategy)
    taken = {name: mean.item() for name, mean in means.take(trainer).items()}  # type: ignore[arg-type]  # what it reads
    assert taken == {"loss": 2.0, "rate": 0.5, "grad": 2.0}
    means.add({"loss": torch.tensor(4.0)}, 2)
    assert means.take(trainer) == {"loss": 4.0}  # type: ignore[arg-type]  # what it reads


@pytest.mark.parametrize(("warmup", "steps"), [(0.5, 2), (0.1, 10), (0.3, 1), (0.3, 3)])
def test_the_rate_may_rise_for_one_step(
    warmup: float, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    net = SpikingSequential(LIFSynapse(2, 4), LIFLayer(4, 10e-3))
    model = Learner(net, TASK, CompletedLearning(epochs=1, batch_size=1, warmup=warmup), seed=0)
    trainer = SimpleNamespace(estimated_stepping_batches=steps)
    monkeypatch.setattr(Learner, "trainer", trainer)
    config = model.configure_optimizers()
    for _ in range(steps - 1):
        config["optimizer"].step()
        config["lr_scheduler"]["scheduler"].step()
    (rate,) = config["lr_scheduler"]["scheduler"].get_last_lr()
    assert 0 < rate <= 8e-3


def test_a_run_decays_weights_and_leaves_all_else_alone() -> None:
    """Decay would pull a learned time constant, stored as its logarithm, to 1 s."""
    hidden = SpikingSequential(nn.Linear(2, 4), nn.BatchNorm1d(4))
    net = nn.Sequential(hidden, LIFLayer(4, 10e-3, learn_taus=True), LIFSynapse(4, 4))
    model = Learner(net, TASK, CompletedLearning(epochs=1, batch_size=1, weight_decay=0.5), seed=0)
    decay_of = {
        id(parameter): group["weight_decay"]
        for group in model._parameter_groups()
        for parameter in group["params"]
    }
    decays = {name: decay_of[id(parameter)] for name, parameter in net.named_parameters()}
    assert {name for name, decay in decays.items() if decay} == {"0.0.weight", "2.weight"}
    assert decays["1.log_taus"] == 0
    assert set(decays.values()) == {0.0, 0.5}


def test_spikes_cost_more_as_a_run_goes_on_and_those_of_the_output_nothing() -> None:
    torch.manual_seed(0)
    net = SpikingSequential(
        LIFSynapse(3, 8), LIFLayer(8, 10e-3), LIFSynapse(8, 4), LIFLayer(4, 10e-3)
    )
    lengths = torch.tensor([20, 7])
    prepare_net(net)
    recording = record_spikes(net, 5 * torch.rand(2, 20, 3), lengths)
    assert recording.spiking["3"].any()
    assert recording.hidden == ["1"]
    hidden = [recording.rates()["1"]]
    learning = CompletedLearning(epochs=1, batch_size=1, most_spikes=0.01, spike_cost=0.5)
    full = 0.5 * rate_excess_loss([recording.spiking["1"]], 0.01, lengths)
    assert full > 0
    costs = [spike_cost(hidden, learning, progress, 27) for progress in (0.0, 0.5, 1.0)]
    assert torch.allclose(torch.stack(costs), full * torch.tensor([0, 0.5, 1]))  # type: ignore[arg-type]  # tensors
    unbounded = CompletedLearning(epochs=1, batch_size=1, most_spikes=None)
    assert spike_cost(hidden, unbounded, 1.0, 27) == 0.0
    assert spike_cost([], learning, 1.0, 27) == 0.0


def test_all_spikes_are_hidden_before_a_readout() -> None:
    net = SpikingSequential(
        LIFSynapse(3, 8), LIFLayer(8, 10e-3), LIFSynapse(8, 2), LILayer(2, tau=10e-3)
    )
    prepare_net(net)
    assert record_spikes(net, torch.rand(2, 20, 3)).hidden == ["1"]
