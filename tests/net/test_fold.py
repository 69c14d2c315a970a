"""`fold`: the same function as the net with norms, spikes equal up to rounding, and the reasons."""

import copy
import re

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from layers.nets import run
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    StepBatchNorm,
    TemporalConv,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.net import Branches, Feedback, Residual, fold
from pairwise import case_id, pairwise
from tolerances import STATE, assert_close

B, T, C = 3, 12, 4
SYNAPSES = {
    "dense": (lambda: LIFSynapse(5, C), (5,)),
    "dense with bias": (lambda: LIFSynapse(5, C, bias=True), (5,)),
    "delayed": (lambda: DelayedSynapse(5, C, max_delay=3), (5,)),
    "over time": (lambda: TemporalConv(5, C, taps=3, bias=True), (5,)),
    "over time and space": (lambda: TemporalConv(2, C, taps=2, kernel=3, groups=2), (2, 6)),
    "linear": (lambda: nn.Linear(5, C), (5,)),
    "lines": (lambda: nn.Conv1d(2, C, 3, padding=1), (2, 6)),
    "images": (lambda: nn.Conv2d(2, C, 3, groups=2, padding=1, bias=False), (2, 5, 5)),
    "volumes": (lambda: nn.Conv3d(1, C, 2), (1, 3, 3, 3)),
    "transposed": (lambda: nn.ConvTranspose2d(4, C, 2, groups=2), (4, 3, 3)),
}
# By the number of axes besides time and channels.
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
NORMS = {
    "torch": lambda axes: BATCH_NORMS[axes](C),
    "torch without affine": lambda axes: BATCH_NORMS[axes](C, affine=False),
    "plain": lambda _: TimeBatchNorm(C),
    "tdBN": lambda _: ThresholdBatchNorm(C, threshold=0.6, alpha=0.7),
    "BNTT": lambda _: StepBatchNorm(C, T),
    "TEBN": lambda _: TemporalEffectiveBatchNorm(C, T),
}


def randomize(norm):
    """Statistics and factors as after training, the same in each step."""
    for name in ("running_mean", "running_var", "weight", "bias"):
        tensor = getattr(norm, name, None)
        if tensor is not None:
            values = torch.rand(tensor.shape[-1:]) + 0.5
            tensor.data.copy_(values if name == "running_var" else values * 2 - 2)
    if isinstance(norm, TemporalEffectiveBatchNorm):
        norm.step_factor.data.fill_(1.5)
    return norm


def chain(synapse, norm, *others):
    return SpikingSequential(synapse, *others, norm).eval()


@pytest.mark.parametrize(
    "case",
    pairwise(synapse=[*SYNAPSES], norm=[*NORMS]),
    ids=case_id,
)
def test_the_folded_net_is_the_same_function(case):
    torch.manual_seed(0)
    build, features = SYNAPSES[case["synapse"]]
    net = chain(build(), randomize(NORMS[case["norm"]](len(features) - 1)), nn.Identity())
    if getattr(net[0], "bias", None) is not None:
        nn.init.normal_(net[0].bias)
    net.double()
    before = copy.deepcopy(net.state_dict())
    result = fold(net)
    assert result.folded == {"2": "0"}
    assert result.kept == {}
    assert isinstance(result.net[2], nn.Identity)
    assert all(map(torch.equal, net.state_dict().values(), before.values()))
    x = torch.randn(B, T, *features, dtype=torch.float64)
    outputs = []
    for model in net, result.net:
        outputs.append(run(model, x)[0])
    assert outputs[0].abs().max() > 0.1
    assert_close(outputs[1], outputs[0], STATE, "charge")


def deep_net(norm, width=64, decay_steps=20):
    torch.manual_seed(0)
    modules = []
    for n_in in (40, width, width):
        layer = LIFLayer(width, decay_steps * 1e-3)
        modules += [LIFSynapse(n_in, width, bias=True), norm(width), layer]
    net = SpikingSequential(*modules)
    x = (torch.rand(8, 200, 40) < 0.1).float()
    for _ in range(5):  # statistics of its own charges
        run(net, x)
    return net.eval(), x


def rounding_bounds(net, recording, x):
    """The bound that `fold` states, for each layer [B, T, N]."""
    epsilon = torch.finfo(torch.float32).eps / 2
    bounds = []
    spikes = x
    for synapse, norm, layer in zip(net[0::3], net[1::3], net[2::3], strict=True):
        record = recording.layers[str(list(net).index(layer))]
        gain = (norm.weight / (norm.running_var + norm.eps).sqrt()).abs()
        size = spikes.abs() @ synapse.weight.abs() + synapse.bias.abs() + norm.running_mean.abs()
        number = (spikes != 0).sum(2, keepdim=True)
        of_charge = (2 * number + 16) * epsilon * (gain * size + norm.bias.abs())
        before = torch.cat([torch.zeros_like(record.mem[:, :1]), record.mem[:, :-1]], 1)
        of_step = of_charge + 8 * epsilon * (before.abs() + record.cur.abs())
        decay = torch.exp(-layer.dt / layer.taus)
        bound = [of_step[:, 0]]
        for t in range(1, of_step.shape[1]):
            bound.append(decay * bound[-1] + of_step[:, t])
        bounds.append(torch.stack(bound, 1).detach())
        spikes = record.spk
    return bounds


@pytest.mark.parametrize("norm", [TimeBatchNorm, nn.BatchNorm1d])
def test_spikes_are_the_same_until_some_z_is_within_rounding(norm):
    net, x = deep_net(norm)
    result = fold(net)
    assert result.kept == {}
    recordings = []
    for model in net, result.net:
        prepare_net(model)
        recordings.append(model.record(x, charges=True))
    expected, got = recordings
    bounds = rounding_bounds(net, expected, x)
    names = list(expected.layers)
    unclear = torch.zeros(8, 200, dtype=torch.bool)
    for name, bound in zip(names, bounds, strict=True):
        assert bound.max() < 1e-3
        z = expected.layers[name].u - 1
        unclear |= (z.abs() <= bound).any(2)
    # Steps of each recording before the first unclear one.
    clear = unclear.cumsum(1) == 0
    assert clear.sum() > 100
    difference = 0.0
    for name, bound in zip(names, bounds, strict=True):
        assert torch.equal(got.layers[name].spk[clear], expected.layers[name].spk[clear])
        gap = (got.layers[name].u - expected.layers[name].u).abs()
        assert bool((gap <= bound)[clear].all())
        difference = max(difference, float(gap[clear].max()))
    assert 0 < difference < 1e-4
    assert got.layers[names[0]].spk[clear].sum() > 100


def test_norms_in_blocks_fold():
    def block():
        return LIFSynapse(C, C), randomize(TimeBatchNorm(C)), LIFLayer(C, taus=10e-3)

    net = SpikingSequential(
        Residual(*block()),
        Branches(SpikingSequential(*block()), LIFSynapse(C, C), join="add"),
        Feedback(*block(), feedback=SpikingSequential(*block())),
    )
    x = (torch.rand(B, T, C) < 0.5).double()
    net = net.double().eval()
    result = fold(net)
    assert result.folded == {
        "0.body.1": "0.body.0",
        "1.0.1": "1.0.0",
        "2.body.1": "2.body.0",
        "2.feedback.1": "2.feedback.0",
    }
    assert not result.kept
    assert torch.equal(result.net(x)[0], net(x)[0])


def test_containers_nest_and_names_stay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = SpikingSequential(
                nn.Sequential(nn.Linear(5, C), randomize(nn.BatchNorm1d(C))),
                SpikingSequential(randomize(TimeBatchNorm(C)), LIFLayer(C, 10e-3)),
            )
            self.norm = nn.BatchNorm1d(C)

        def forward(self, x):
            return self.net(x)[1]

    model = Model().eval()
    result = fold(model)
    assert result.folded == {"net.0.1": "net.0.0", "net.1.0": "net.0.0"}
    assert result.kept == {"norm": "its place in the order of the net is unknown"}
    x = torch.randn(B, T, 5)
    prepare_net(model)
    prepare_net(result.net)
    assert_close(result.net(x), model(x), STATE, "mem")
    assert result.net.net[1][1].features == (C,)


def shared(build):
    synapse = LIFSynapse(5, C)
    return build(synapse)


def hooked(module):
    module.register_forward_hook(lambda *_: None)
    return module


def tied():
    first, second = LIFSynapse(C, C), LIFSynapse(C, C)
    second.weight = first.weight
    return SpikingSequential(first, TimeBatchNorm(C), second).eval()


def varying(norm):
    nn.init.uniform_(next(norm.parameters()))
    if isinstance(norm, TemporalEffectiveBatchNorm):
        nn.init.uniform_(norm.step_factor)
    return norm


norm = TimeBatchNorm
REASONS = {
    "mode": (lambda: chain(LIFSynapse(5, C), norm(C)).train(), r"in train\(\) and has the statis"),
    "statistics": (
        lambda: chain(nn.Linear(5, C), nn.BatchNorm1d(C, track_running_stats=False)),
        "no running statistics: build it with track_running_stats",
    ),
    "BNTT": (
        lambda: chain(nn.Linear(5, C), varying(StepBatchNorm(C, 3))),
        "its factors differ from step to step, and a synapse has one weight",
    ),
    "other norms": (
        lambda: chain(nn.Linear(5, C), nn.LayerNorm(C)),
        "LayerNorm normalizes by the values of each call, which no weight can do",
    ),
    "neurons": (
        lambda: chain(LIFLayer(C, 10e-3), norm(C)),
        "it follows neurons, LIFLayer '0', and not a synapse",
    ),
    "nothing": (lambda: SpikingSequential(norm(C)).eval(), "no synapse is before it"),
    "dropout": (
        lambda: chain(LIFSynapse(5, C), norm(C), Dropout()),
        "Dropout '1' is between it and the synapse before it",
    ),
    "channels": (
        lambda: chain(LIFSynapse(5, 6), norm(C)),
        r"it has 4 channels, and LIFSynapse '0' has 6",
    ),
    "shared synapse": (
        lambda: shared(lambda s: SpikingSequential(s, norm(C), LIFSynapse(C, 5), s)).eval(),
        "LIFSynapse '0' is used twice, or shares",
    ),
    "shared weight": (tied, "LIFSynapse '0' is used twice, or shares a parameter"),
    "pruned": (
        lambda: chain(prune.random_unstructured(LIFSynapse(5, C), "weight", 0.5), norm(C)),
        "LIFSynapse '0' has a pruned or parametrized weight: call prune.remove",
    ),
    "parametrized": (
        lambda: chain(parametrizations.weight_norm(nn.Linear(5, C)), norm(C)),
        "ParametrizedLinear '0' has a pruned or parametrized weight",
    ),
    "hooks": (
        lambda: chain(hooked(LIFSynapse(5, C)), norm(C)),
        "LIFSynapse '0' has hooks, which would see other values",
    ),
    "hooks of the norm": (lambda: chain(LIFSynapse(5, C), hooked(norm(C))), "it has hooks"),
    "chip": (
        lambda: chain(H1v2Synapse(5, C), norm(C)),
        "H1v2Synapse '0' is of a chip, and has no bias",
    ),
}


@pytest.mark.parametrize("case", [*REASONS])
def test_what_is_not_folded_has_a_reason(case):
    build, words = REASONS[case]
    net = build()
    result = fold(net)
    ((name, reason),) = result.kept.items()
    assert result.folded == {}
    assert re.search(words, reason)
    assert type(result.net.get_submodule(name)) is type(net.get_submodule(name))
    for before, after in zip(net.parameters(), result.net.parameters(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize(
    "synapse", [nn.Linear(C, 3), nn.Linear(C, 3, bias=False), LIFSynapse(C, 3)]
)
def test_a_norm_after_neurons_folds_into_the_dense_synapse_after_it(synapse):
    norm = randomize(TimeBatchNorm(C))
    net = SpikingSequential(LIFLayer(C, 10e-3), norm, nn.Identity(), synapse).eval()
    assert fold(net).kept.keys() == {"1"}
    result = fold(net, into_next=True)
    assert (result.folded, result.kept) == ({"1": "3"}, {})
    x = 20 * torch.rand(B, T, C)
    assert_close(result.net(x)[0], net(x)[0], STATE, "charge")


def test_a_norm_after_neurons_folds_into_the_convolution_after_it():
    norm, conv = randomize(TimeBatchNorm(C)), TemporalConv(C, 3, taps=3, dilation=2)
    net = SpikingSequential(LIFLayer(C, 10e-3), norm, conv).eval()
    folded = fold(net, into_next=True).net
    x = 20 * torch.rand(B, T, C)
    # The convolution reads zeros before the first step, which the norm does not shift.
    assert_close(folded(x)[0][:, 4:], net(x)[0][:, 4:], STATE, "charge")

    net[2] = TemporalConv(1, 3, taps=2, kernel=2)
    assert fold(net, into_next=True).kept["1"].startswith("it follows neurons, LIFLayer '0'")


def test_fold_takes_a_module():
    with pytest.raises(TypeError, match="fold takes a torch module, got list"):
        fold([])
