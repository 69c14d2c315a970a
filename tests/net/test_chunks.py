"""Nets in chunks, with norms and without: values, gradients, statistics, memory, errors."""

import itertools
from functools import partial

import pytest
import torch
from torch import nn

from layers.nets import run
from nwavesdk.layers import (
    Dropout,
    LIFLayer,
    LIFSynapse,
    LILayer,
    SpikingSequential,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.layers.lengths import mean_over_steps
from pairwise import case_id, pairwise
from tolerances import GRADIENT, assert_all_close, assert_close

B, T = 4, 23
LENGTHS = torch.tensor([23, 4, 12, 9])
X = (torch.rand(B, T, 5, generator=torch.Generator().manual_seed(1)) < 0.4).float()
NORMS = {
    "none": lambda _: nn.Identity(),
    "torch": nn.BatchNorm1d,
    "plain": TimeBatchNorm,
    "tdBN": ThresholdBatchNorm,
    "BNTT": lambda n: StepBatchNorm(n, T),
    "TEBN": lambda n: TemporalEffectiveBatchNorm(n, T),
}


class Block(nn.Module):
    """A user's module with statistics of its input, and with a part that draws."""

    def __init__(self, n):
        super().__init__()
        self.norm = nn.BatchNorm1d(n)
        self.drop = nn.Dropout(0.2)

    def forward(self, x, lengths=None):  # noqa: ARG002
        return self.drop(self.norm(x.flatten(0, 1)).relu()).reshape(x.shape)


def dense_net(norm, checkpoint=None):
    torch.manual_seed(0)
    inner = SpikingSequential(LIFSynapse(12, 8), norm(8), LIFLayer(8, 10e-3, learn_taus=True))
    return SpikingSequential(
        LIFSynapse(5, 12), norm(12), LIFLayer(12, 10e-3, layer_topology="RC"), Dropout(0.2),
        inner, LIFSynapse(8, 3), norm(3), LIFLayer(3, 10e-3, reset_mechanism="none"),
        checkpoint=checkpoint,
    )  # fmt: skip


def first_norm_net(norm, checkpoint=None):
    torch.manual_seed(0)
    return SpikingSequential(
        norm(5), norm(5), LIFSynapse(5, 4), LIFLayer(4, 10e-3), LIFSynapse(4, 3), norm(3),
        checkpoint=checkpoint,
    )  # fmt: skip


NETS = {"dense": dense_net, "norms first and last": first_norm_net}


def outcome(net, x, lengths=None):
    prepare_net(net)
    torch.manual_seed(7)
    spk, mem = net(x, lengths)
    loss = mean_over_steps(mem, lengths).square().sum() + spk[:, 0].sum()
    loss.backward()
    return {
        "spk": spk.detach(),
        "mem": mem.detach(),
        **{f"{name}.grad": p.grad.clone() for name, p in net.named_parameters()},
        **{name: buffer.double() for name, buffer in net.named_buffers()},
    }


def require_same_in_chunks(build, x, steps=7, lengths=None):
    """All values, gradients and statistics of `build(checkpoint)` with chunks and without."""
    results = []
    for checkpoint in None, steps:
        torch.manual_seed(0)
        results.append(outcome(build(checkpoint), x, lengths))
    expected, got = results
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        # Of images, batch norm adds up in the order of memory, which a part may have changed.
        if name.endswith(("grad", "running_mean", "running_var")):
            assert_close(got[name].float(), value.float(), GRADIENT, name)
        else:
            assert torch.equal(got[name], value), name


CASES = pairwise(
    net=[*NETS], norm=[*NORMS], steps=[1, 7, 23, 1000], lengths=[None, LENGTHS], evaluates=[0, 1]
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_chunks_have_the_values_and_statistics_of_the_whole(case):
    def build(checkpoint):
        net = NETS[case["net"]](NORMS[case["norm"]], checkpoint)
        return net.train(not case["evaluates"])

    require_same_in_chunks(build, X, case["steps"], case["lengths"])


class Spiking(nn.Module):
    """A user's module with a norm and neurons."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(5)
        self.neurons = LIFLayer(5, 10e-3)

    def forward(self, x, lengths=None):  # noqa: ARG002
        return self.neurons(self.norm(x.flatten(0, 1)).reshape(x.shape))


def pieces(*modules):
    return [*modules, LIFSynapse(5, 3), LIFLayer(3, 10e-3)], (B, T, 5)


# Modules, and the shape of their input.
SPECIAL = {
    "saves its output": lambda: pieces(nn.BatchNorm1d(5), nn.Sigmoid(), LIFLayer(5, 10e-3)),
    "no gradient": lambda: pieces(TimeBatchNorm(5, affine=False), LIFLayer(5, 10e-3)),
    "not spikes": lambda: pieces(LILayer(5), nn.BatchNorm1d(5), LIFLayer(5, 10e-3)),
    "neurons and norm": lambda: pieces(Spiking()),
    "container": lambda: pieces(SpikingSequential(LIFLayer(5, 10e-3)), TimeBatchNorm(5)),
    "images": lambda: (
        [
            *(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), LIFLayer((4, 6, 6), 10e-3), nn.MaxPool2d(2)),
            *(nn.Conv2d(4, 3, 3), TimeBatchNorm(3), LIFLayer((3, 1, 1), 10e-3), nn.Flatten()),
        ],
        (2, 9, 2, 8, 8),
    ),
}


@pytest.mark.parametrize("kind", SPECIAL)
def test_special_pieces_have_the_values_of_the_whole(kind):
    def build(checkpoint):
        return SpikingSequential(*SPECIAL[kind]()[0], checkpoint=checkpoint)

    require_same_in_chunks(build, torch.randn(SPECIAL[kind]()[1]))


def test_a_users_module_with_neurons_continues_in_a_second_part():
    x = torch.randn(B, T, 5)
    results = []
    for checkpoint in None, 7:
        torch.manual_seed(0)
        net = SpikingSequential(Spiking(), LIFSynapse(5, 3), checkpoint=checkpoint)
        prepare_net(net)
        mem = torch.cat([net(part)[1] for part in x.split([9, 14], 1)], 1)
        mem.square().sum().backward()
        results.append([mem, *(p.grad for p in net.parameters())])
    assert_all_close(*reversed(results), GRADIENT, "in two parts")


@pytest.mark.parametrize("steps", [5, 100])
def test_a_users_module_with_statistics_runs_again_as_a_whole(steps):
    require_same_in_chunks(partial(dense_net, Block), X, steps)


@pytest.mark.parametrize("norm", ["none", "plain"])
@pytest.mark.parametrize("output", [0, 1])
def test_backward_runs_twice_from_either_output_and_for_some_of_the_leaves(norm, output):
    x = X.clone().requires_grad_()
    factors = torch.rand(B, T, 3)
    results = []
    for checkpoint in None, 7:
        net = dense_net(NORMS[norm], checkpoint)
        prepare_net(net)
        torch.manual_seed(7)
        loss = (factors * net(x)[output]).square().sum()
        last = torch.autograd.grad(loss, net[-3].weight, retain_graph=True)
        some = torch.autograd.grad(loss, [net[0].weight], retain_graph=True)
        leaves = [x, *net.parameters()]
        grads = torch.autograd.grad(loss, leaves, retain_graph=True)
        again = torch.autograd.grad(loss, leaves)
        assert all(map(torch.equal, grads, again))
        results.append([*last, *some, *grads])
    assert_all_close(*reversed(results), GRADIENT, "gradient")


def test_a_loss_of_a_few_steps_has_its_gradients():
    results = []
    for checkpoint in None, 7:
        net = dense_net(TimeBatchNorm, checkpoint)
        prepare_net(net)
        torch.manual_seed(7)
        net(X)[1][:, :3].sum().backward()
        results.append([p.grad for p in net.parameters()])
    assert_all_close(*reversed(results), GRADIENT, "gradient")


@pytest.mark.parametrize("norm", [NORMS["none"], TimeBatchNorm, Block])
@pytest.mark.parametrize("changes_mode", [True, False])
def test_a_net_does_not_run_again_after_a_change(norm, changes_mode):
    net = dense_net(norm, 7)
    loss = run(net, torch.rand(B, T, 5))[1].sum()
    if changes_mode:
        net.eval()
    else:
        nn.init.ones_(net[0].weight)
    with pytest.raises(RuntimeError, match="its weights were changed or its mode switched since"):
        loss.backward()


def test_an_error_leaves_all_states():
    net = dense_net(TimeBatchNorm, 7)
    net[-3] = LIFSynapse(9, 3)
    prepare_net(net)
    with pytest.raises(ValueError, match=r"LIFSynapse\(9, 3\)"):
        net(torch.rand(B, T, 5))
    assert net[2].state is None
    assert not net[1]._has_run


def peak_bytes(net, x):
    """The most memory that one training step holds, beyond that before it."""

    def step():
        net.zero_grad()
        run(net, x)[1].square().sum().backward()

    step()
    with torch.profiler.profile(
        activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True
    ) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == "[memory]"]
    changes.sort(key=lambda event: event.start_ns())
    return max(itertools.accumulate(event.nbytes() for event in changes))


def test_a_layer_with_a_norm_adds_its_spikes_to_the_memory():
    x = (torch.rand(16, 200, 128) < 0.1).float()
    peaks = {}
    for checkpoint, hidden in itertools.product([None, 25], [1, 3]):
        modules = []
        for _ in range(hidden):
            synapse = LIFSynapse(128, 128, product="sparse")
            modules += [synapse, TimeBatchNorm(128), LIFLayer(128, 10e-3)]
        net = SpikingSequential(*modules, LIFSynapse(128, 4), checkpoint=checkpoint)
        peaks[checkpoint, hidden] = peak_bytes(net, x) / x.nbytes
    # With sparse products, spikes of a byte and states of a layer stay; without chunks, charges and
    # spikes do.
    assert peaks[None, 3] - peaks[None, 1] > 3.5
    assert peaks[25, 3] - peaks[25, 1] < 1
    assert peaks[25, 3] < 0.62 * peaks[None, 3]
