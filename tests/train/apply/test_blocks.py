"""A net adapts to recordings of another origin: its batch norms take their statistics."""

import pytest
import torch
from torch import Tensor, nn

from nwavesdk.data import Batch
from nwavesdk.layers import LIFLayer, SpikingSequential, StepBatchNorm, TimeBatchNorm
from nwavesdk.train.apply.blocks import TRAINING_WEIGHT, adapted_net

# Norms of ours and of torch, in the order of the net.
NORMS = (1, 3, 6)


def net_with_norms() -> SpikingSequential:
    """A net whose running statistics are from some training."""
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


def batch_of(given: list[Tensor]) -> Batch:
    lengths = torch.tensor([len(x) for x in given])
    return Batch(nn.utils.rnn.pad_sequence(given, batch_first=True), lengths, lengths)


def outputs_of(net: nn.Module, given: list[Tensor]) -> Tensor:
    """The outputs in all steps of all recordings, `[steps, C]`."""
    return torch.cat([net(x[None])[0][0] for x in given])


def mixed(trained: Tensor, new: Tensor, count: int) -> Tensor:
    return (TRAINING_WEIGHT * trained + count * new) / (TRAINING_WEIGHT + count)


@pytest.mark.parametrize("lengths", [(7, 12, 4, 12, 9), (6, 6)])
def test_each_norm_adapts_to_what_the_norms_before_it_give(lengths: tuple[int, ...]) -> None:
    net = net_with_norms()
    given = recordings(*lengths)
    adapted = adapted_net(net, batch_of(given))
    for index in NORMS:
        x = outputs_of(SpikingSequential(*adapted[:index]).eval(), given)
        for statistic, new in (("running_mean", x.mean(0)), ("running_var", x.var(0))):
            expected = mixed(getattr(net[index], statistic), new, len(given))
            torch.testing.assert_close(getattr(adapted[index], statistic), expected)


def test_the_given_net_stays_and_the_copy_is_ready() -> None:
    net = net_with_norms()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    momenta = [net[index].momentum for index in NORMS]
    adapted = adapted_net(net, batch_of(recordings(5, 8)))
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
    adapted = adapted_net(net, batch_of(changed))
    assert (outputs_of(net, changed) - outputs_of(net, known)).abs().mean() > 4
    assert (outputs_of(adapted, changed) - outputs_of(net, known)).abs().mean() < 0.4


class Backwards(nn.Module):
    """A net whose last norm was made first, and one of whose norms is not used."""

    def __init__(self) -> None:
        super().__init__()
        self.last = TimeBatchNorm(2)
        self.unused = TimeBatchNorm(2)
        self.first = TimeBatchNorm(2)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.last(self.first(x, lengths).square(), lengths)


def test_norms_adapt_in_the_order_of_their_calls() -> None:
    given = [4 * torch.randn(30, 2) + 1 for _ in range(2000)]
    adapted = adapted_net(Backwards().eval(), batch_of(given))
    outputs = torch.cat([adapted(x[None])[0] for x in given])
    assert outputs.mean().abs() < 0.1
    assert (outputs.std() - 1).abs() < 0.1


class Loop(nn.Module):
    """A net that runs step by step."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:  # noqa: ARG002  # nets get it
        return torch.stack([self.norm(step) for step in x.unbind(1)], dim=1)


@pytest.mark.parametrize(
    ("net", "message"),
    [
        (
            SpikingSequential(nn.Linear(3, 2), LIFLayer(2, 5e-3, 1.0, dt=1e-3)),
            "got 0 calls of 0 batch norms",
        ),
        (
            SpikingSequential(nn.BatchNorm1d(3, track_running_stats=False)),
            "got 0 calls of 0 batch norms",
        ),
        (SpikingSequential(StepBatchNorm(3, 20)), "batch norms and a StepBatchNorm, expected"),
        (Loop(), "got 8 calls of 1 batch norms, expected"),
    ],
)
def test_other_nets_cannot_adapt(net: nn.Module, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        adapted_net(net.eval(), batch_of(recordings(5, 8)))


def test_values_beyond_the_norms_are_an_error() -> None:
    with pytest.raises(ValueError, match="have values that are too large for the batch norms"):
        adapted_net(net_with_norms(), batch_of([*recordings(5, 8), torch.full((5, 3), 1e30)]))
