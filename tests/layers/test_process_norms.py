"""What two processes share, in two forks that exchange by gloo: norms, rates, mismatch."""

import multiprocessing
import sys
from pathlib import Path

import pytest
import torch
from torch import distributed, nn

from nwavesdk.layers import (
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.loss import rate_excess_loss
from nwavesdk.net import SpikingSequential
from tolerances import GRADIENT, STATE, assert_close

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks")

NORMS = {
    "time": lambda: TimeBatchNorm(6),
    "no scale": lambda: TimeBatchNorm(6, affine=False),
    "threshold": lambda: ThresholdBatchNorm(6, threshold=0.5),
    "effective": lambda: TemporalEffectiveBatchNorm(6, max_steps=20),
}


def build():
    torch.manual_seed(1)
    nets = {
        name: SpikingSequential(LIFSynapse(4, 6), norm(), LIFLayer(6, taus=10e-3))
        for name, norm in NORMS.items()
    }
    for net in nets.values():
        net[1].is_synchronized = True
    return nets


def batch():
    torch.manual_seed(2)
    return torch.rand(6, 20, 4), torch.tensor([20, 13, 7, 20, 20, 2])


def train_step(net, share):
    """Gradients of the sum over all processes, and buffers, after a step on a share of a batch."""
    x, lengths = batch()
    spk, mem = net(x[share], lengths=lengths[share])
    is_valid = torch.arange(20) < lengths[share, None]
    loss = ((spk + mem) * is_valid[:, :, None]).sum() / len(x)
    loss.backward()
    grads = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
    if distributed.is_initialized():
        for grad in grads.values():
            distributed.all_reduce(grad)
    return grads, dict(net.named_buffers())


def rate_cost(share):
    """The cost of rates above a bound, and its gradient, for a share of a batch."""
    torch.manual_seed(3)
    rates = torch.tensor([0.02, 0.5, 0.1, 0.4, 0.05, 0.9])
    spikes = [(torch.rand(6, 20, n) < rates[:, None, None]).float() for n in (5, 3)]
    spikes = [spk.requires_grad_() for spk in spikes]
    _, lengths = batch()
    cost = rate_excess_loss(
        [spk[share] for spk in spikes], [0.2, 0.9], lengths[share], is_synchronized=True
    )
    cost.backward()
    return cost.detach(), [spk.grad for spk in spikes]


def work(rank, folder):
    torch.set_num_threads(1)
    store = distributed.FileStore(str(folder / "store"), 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    steps = {name: train_step(net, slice(rank, None, 2)) for name, net in build().items()}
    torch.manual_seed(rank)
    synapse = HWSynapse(4, 6, stddev=0.1)
    nn.init.ones_(synapse.weight)
    weights = []
    for seed in (None, 5):
        prepare_net(synapse, seed)
        weights.append(synapse.effective_weight().detach())
    torch.save((steps, weights, rate_cost(slice(rank, None, 2))), folder / f"{rank}.pt")
    distributed.barrier()
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def of_ranks(tmp_path_factory: pytest.TempPathFactory):
    folder: Path = tmp_path_factory.mktemp("ranks")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=work, args=(rank, folder)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
        assert process.exitcode == 0
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", NORMS)
def test_norms_of_two_processes_are_those_of_one(name, of_ranks):
    grads, buffers = train_step(build()[name], slice(None))
    assert any(grad.any() for grad in grads.values())
    for steps, *_ in of_ranks:
        got_grads, got_buffers = steps[name]
        assert got_grads.keys() == grads.keys()
        for key, value in grads.items():
            assert_close(got_grads[key], value, GRADIENT, f"{name}: gradient of {key}")
        for key in ("1.running_mean", "1.running_var"):
            assert_close(got_buffers[key], buffers[key], STATE, f"{name}: {key}")
        assert got_buffers["1.num_batches_tracked"] == 1


def test_rates_above_a_bound_cost_what_they_cost_in_one_process(of_ranks):
    """As torch takes the mean over processes, each gradient is 2 times the gradient of its part."""
    expected, gradients = rate_cost(slice(None))
    costs_alone = [rate_cost(slice(rank, None, 2))[0] for rank in range(2)]
    assert 0 < expected < sum(costs_alone) / 2  # one process is below a bound
    for rank, (_, _, (cost, got)) in enumerate(of_ranks):
        assert_close(cost, expected, STATE, "cost")
        for layer, gradient in enumerate(gradients):
            share = slice(rank, None, 2)
            assert_close(got[layer][share] / 2, gradient[share], GRADIENT, f"layer {layer}")


def test_each_process_draws_its_own_chip_and_a_seed_gives_all_the_same(of_ranks):
    (first, same), (second, also) = [weights for _, weights, _ in of_ranks]
    assert not torch.equal(first, second)
    assert torch.equal(same, also)
    assert not torch.equal(same, torch.ones(4, 6))
