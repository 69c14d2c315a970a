"""A net adapts to recordings of another origin: its batch norms take their statistics."""

import pytest
import torch
from torch import Tensor, nn

from nwavesdk.layers import LIFLayer, SpikingSequential, TimeBatchNorm
from nwavesdk.train import adaptation
from nwavesdk.train.adaptation import TRAINING_WEIGHT, adapted_net

# Norms of ours and of torch, in the order of the net.
NORMS = (1, 3, 6)


def net_with_norms() -> SpikingSequential:
    """A net whose running statistics are those of some training."""
    net = SpikingSequential(
        nn.Linear(3, 8),
        TimeBatchNorm(8),
        LIFLayer(8, 5e-3, 0.3, dt=1e-3),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        nn.Linear(8, 4),
        TimeBatchNorm(4),
    )
    for index in NORMS:
        nn.init.uniform_(net[index].running_mean, -0.2, 0.2)
        nn.init.uniform_(net[index].running_var, 0.5, 1.5)
    return net.eval()


def recordings(*lengths: int) -> list[Tensor]:
    return [torch.rand(length, 3) * 2 + 0.5 for length in lengths]


def outputs_of(net: nn.Module, given: list[Tensor]) -> Tensor:
    """The outputs in all steps of all recordings, `[steps, C]`."""
    return torch.cat([net(x[None])[0][0] for x in given])


def mixed(trained: Tensor, new: Tensor, count: int) -> Tensor:
    return (TRAINING_WEIGHT * trained + count * new) / (TRAINING_WEIGHT + count)


@pytest.mark.parametrize("lengths", [(7, 12, 4, 12, 9), (6, 6)])
def test_each_norm_adapts_to_what_the_norms_before_it_give(lengths: tuple[int, ...]) -> None:
    net = net_with_norms()
    given = recordings(*lengths)
    adapted = adapted_net(net, given)
    assert adapted is not None
    for index in NORMS:
        x = outputs_of(SpikingSequential(*adapted[:index]).eval(), given)
        for statistic, new in (("running_mean", x.mean(0)), ("running_var", x.var(0))):
            expected = mixed(getattr(net[index], statistic), new, len(given))
            torch.testing.assert_close(getattr(adapted[index], statistic), expected)


def test_recordings_in_several_batches_count_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    given = recordings(*[9] * 7)
    net = net_with_norms()
    whole = adapted_net(net, given)
    monkeypatch.setattr(adaptation, "BATCH_SIZE", 3)
    parts = adapted_net(net, given)
    assert whole is not None
    assert parts is not None
    torch.testing.assert_close(parts[1].running_mean, whole[1].running_mean)


def test_the_given_net_stays_and_the_copy_is_ready() -> None:
    net = net_with_norms()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    momenta = [net[index].momentum for index in NORMS]
    adapted = adapted_net(net, recordings(5, 8))
    assert adapted is not None
    assert not any(module.training for module in adapted.modules())
    assert [adapted[index].momentum for index in NORMS] == momenta
    for name, value in net.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
    for (name, value), (_, other) in zip(
        net.named_parameters(), adapted.named_parameters(), strict=True
    ):
        assert torch.equal(value, other), name


def test_a_change_of_all_charges_is_undone() -> None:
    norm = TimeBatchNorm(2)
    known = [torch.randn(50, 2) for _ in range(400)]
    net = SpikingSequential(norm).eval()
    changed = [3 * x + 5 for x in known]
    adapted = adapted_net(net, changed)
    assert adapted is not None
    assert (outputs_of(net, changed) - outputs_of(net, known)).abs().mean() > 4
    assert (outputs_of(adapted, changed) - outputs_of(net, known)).abs().mean() < 0.4


def test_a_net_without_norms_cannot_adapt() -> None:
    net = SpikingSequential(nn.Linear(3, 2), LIFLayer(2, 5e-3, 1.0, dt=1e-3))
    assert adapted_net(net, recordings(5, 8)) is None
