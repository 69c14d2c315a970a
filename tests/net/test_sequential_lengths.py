"""Nets with recordings of different lengths: more padding changes nothing, each kind of module."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from layers.nets import chip_net
from nwavesdk.layers import (
    AdLIFLayer,
    CubaLIFLayer,
    Dropout,
    LIFLayer,
    LIFSynapse,
    LILayer,
    Prepared,
    ResonateAndFireLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.layers.lengths import mean_over_steps, valid_steps
from nwavesdk.loss import balanced_population_mse, firing_rate_target_mse_loss
from nwavesdk.metrics import accuracy_population, population_counts
from pairwise import case_id, pairwise
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

LENGTHS = torch.tensor([19, 4, 12, 1])
TARGETS = torch.tensor([0, 1, 1, 0])
B, T, F = 4, 19, 16


def lif_net(between, last, topology="FF"):
    return SpikingSequential(
        LIFSynapse(F, 12), LIFLayer(12, 10e-3, layer_topology=topology), between(12),
        SpikingSequential(LIFSynapse(12, 8), LIFLayer(8, 10e-3, learn_taus=True)), between(8),
        LIFSynapse(8, 6), last(6),
    )  # fmt: skip


def zoo_net(between, last):
    options = {"solver": "reference"}
    net = SpikingSequential(
        LIFSynapse(F, 12), AdLIFLayer(12, **options), between(12),
        LIFSynapse(12, 12), CubaLIFLayer(12, **options),
        LIFSynapse(12, 8), ResonateAndFireLayer(8, **options), between(8),
        LIFSynapse(8, 6), last(6),
    )  # fmt: skip
    for module in net:
        if isinstance(module, LIFSynapse):
            module.weight.data.abs_()  # these neurons need more charge than LIF
    return net


NETS = {
    "dense": lif_net,
    "recurrent": lambda between, last: lif_net(between, last, "RC"),
    "zoo": zoo_net,
    "chip": lambda between, last: SpikingSequential(  # noqa: ARG005  # its last layer is a chip's
        *chip_net("h1v1", topology="RC"), between(6)
    ),
}
BETWEEN = {
    "nothing": nn.Identity,
    "batch norm": nn.BatchNorm1d,
    # Without a bias, whose gradient in front of a norm is 0 and so nothing but rounding.
    "linear and batch norm": lambda n: nn.Sequential(
        nn.Linear(n, n, bias=False), nn.BatchNorm1d(n)
    ),
    "batch norm without statistics": lambda n: nn.BatchNorm1d(n, track_running_stats=False),
    "dropout": lambda _: Dropout(0.3),
    "dropout of torch": lambda _: nn.Dropout(0.3),
}
LAST = {
    "spikes": lambda n: LIFLayer(n, 10e-3),
    "read-out": lambda n: LILayer(n, solver="reference"),
}


def padded(x, steps, noise):
    """The batch with as many steps, whose padding is 0 or random."""
    generator = torch.Generator().manual_seed(steps)
    more = torch.rand(B, steps, F, generator=generator) * noise
    more[:, :T] = torch.where(valid_steps(LENGTHS, T)[..., None], x, more[:, :T])
    return more


def outcome(net, x, lengths, record=True):
    """All that a batch gives: valid outputs, losses, metrics, rates, statistics, gradients."""
    torch.manual_seed(5)
    prepare_net(net, seed=3)
    rates = {}
    if record:
        recording = net.record(x, lengths=lengths)
        spk, mem = recording.spk, recording.mem
        rates = recording.rates()
        layers = [layer.spk for layer in recording.spiking.values()]
    else:
        spk, mem = net(x, lengths)
        layers = [spk]
    counts = population_counts(spk, 2, lengths)
    losses = {
        "rates": firing_rate_target_mse_loss(
            layers, [0.1] * len(layers), [3.0] * len(layers), lengths
        ),
        "populations": balanced_population_mse(spk, TARGETS, 2, lengths=lengths),
        "classes": cross_entropy(counts / lengths[:, None], TARGETS),
        "membranes": mean_over_steps(mem.tanh(), lengths).mean().float(),
    }
    sum(losses.values()).backward()
    valid = valid_steps(lengths, x.shape[1])
    gradients = {f"{name}.grad": p.grad for name, p in net.named_parameters()}
    statistics = {name: buffer.clone().float() for name, buffer in net.named_buffers()}
    return (
        {"spk": spk[valid], "mem": mem[valid], "counts": counts}
        | {f"loss of {name}": loss for name, loss in losses.items()}
        | {f"rate of {name}": rate for name, rate in rates.items()}
        | {"accuracy": accuracy_population(spk, TARGETS, 2, lengths)}
        | {name: grad for name, grad in gradients.items() if grad is not None}
        | statistics
    )


def require_same(got, expected):
    assert got.keys() == expected.keys()
    for name, value in expected.items():
        table = GRADIENT if name.endswith("grad") else STATE
        assert_close(got[name], value, table, name)


CASES = pairwise(
    net=[*NETS],
    between=[*BETWEEN],
    last=[*LAST],
    checkpoint=[None, 7],
    noise=[0.0, 1.0],
    training=[True, False],
    record=[True, False],
)


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_more_padding_changes_nothing(case):
    x = (torch.rand(B, T, F) < 0.4).float()
    results = []
    for steps in T, T + 13:
        torch.manual_seed(1)
        net = NETS[case["net"]](BETWEEN[case["between"]], LAST[case["last"]])
        net.checkpoint = case["checkpoint"]
        # Masks of torch's dropout depend on the number of steps.
        net.train(case["training"] and case["between"] != "dropout of torch")
        noise = 0.0 if steps == T else case["noise"]
        results.append(outcome(net, padded(x, steps, noise), LENGTHS, case["record"]))
    assert all(value > 0.01 for name, value in results[0].items() if name.startswith("rate"))
    assert results[0]["spk"].abs().sum() > 0
    require_same(results[1], results[0])


def make_net(between=nn.Identity, last="spikes", kind="dense", **options):
    torch.manual_seed(1)
    net = NETS[kind](between, LAST[last])
    for name, value in options.items():
        setattr(net, name, value)
    return net


def draw_input(steps=T):
    return (torch.rand(B, steps, F, generator=torch.Generator().manual_seed(2)) < 0.4).float()


@pytest.mark.parametrize("kind", [*NETS])
def test_a_recording_in_a_batch_gives_what_it_gives_alone(kind):
    net, x = make_net(kind=kind), draw_input()
    prepare_net(net, seed=3)
    recording = net.record(x, lengths=LENGTHS)
    assert recording.lengths is LENGTHS
    spikes = {name: [] for name in recording.layers}
    for b, n in enumerate(LENGTHS):
        prepare_net(net, seed=3)
        alone = net.record(x[b : b + 1, :n])
        assert_close(recording.mem[b, :n], alone.mem[0], STATE, "mem")
        for name, layer in alone.layers.items():
            spikes[name] += [layer.spk[0]]
    for name, layer in recording.layers.items():
        rates = torch.cat(spikes[name]).double().mean(0)
        assert torch.equal(layer.neuron_rates(), rates)
        assert torch.equal(recording.rates()[name], rates.mean())


@pytest.mark.parametrize("dimensions", [1, 2])
def test_batch_norm_has_the_statistics_of_all_valid_steps(dimensions):
    kind = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d}[dimensions]
    net, alone = SpikingSequential(kind(F)), kind(F)
    x = torch.randn(B, T, F, *[3, 2][: 2 * (dimensions - 1)])
    y, _ = net(x, LENGTHS)
    rows = torch.cat([recording[:n] for recording, n in zip(x, LENGTHS, strict=True)])
    valid = valid_steps(LENGTHS, T)
    assert torch.equal(y[valid], alone(rows))
    assert not y[~valid].any()
    assert torch.equal(net[0].running_mean, alone.running_mean)
    assert torch.equal(net[0].running_var, alone.running_var)
    assert torch.equal(net.eval()(x, LENGTHS)[0][valid], alone.eval()(rows))


@pytest.mark.parametrize("between", ["batch norm", "dropout", "dropout of torch"])
def test_without_padding_a_batch_gives_the_bits_of_one_without_lengths(between):
    results = []
    for lengths in (None, torch.full((B,), T)):
        net = make_net(BETWEEN[between])
        prepare_net(net)
        torch.manual_seed(5)
        recording = net.record(draw_input(), lengths=lengths)
        recording.mem.square().mean().backward()
        gradients = [p.grad for p in net.parameters()]
        results.append([recording.mem, *recording.rates().values(), *gradients, *net.buffers()])
    assert all(map(torch.equal, *results))


@pytest.mark.parametrize("kind", [*NETS])
@pytest.mark.parametrize("checkpoint", [None, 4])
def test_two_halves_equal_the_whole(kind, checkpoint):
    x, half = draw_input(), 9
    parts = (
        [(x, LENGTHS)],
        [
            (x[:, :half], LENGTHS.clamp(max=half)),
            (x[:, half:], (LENGTHS - half).clamp(min=0)),
        ],
    )
    results = []
    for calls in parts:
        net = make_net(kind=kind, last="read-out", checkpoint=checkpoint)
        prepare_net(net, seed=3)
        mem = torch.cat([net(x, lengths)[1] for x, lengths in calls], 1)
        mean_over_steps(mem, LENGTHS).square().sum().backward()
        gradients = [p.grad for p in net.parameters() if p.grad is not None]
        results.append((mem[valid_steps(LENGTHS, T)], gradients))
    assert_close(results[1][0], results[0][0], STATE, "mem")
    assert_all_close(results[1][1], results[0][1], GRADIENT, "gradient")


@pytest.mark.parametrize("checkpoint", [None, 7])
def test_lists_of_events_have_lengths_too(checkpoint):
    x = padded(draw_input(), T, 0.0)
    results = [
        outcome(make_net(BETWEEN["dropout"], checkpoint=checkpoint), given, LENGTHS, record=False)
        for given in (x.to_sparse(), x)
    ]
    require_same(*results)


class LastStep(Prepared):
    """Adds the input of each recording's last step to all its steps."""

    def forward(self, x, lengths=None):
        if lengths is None:
            lengths = torch.full(x.shape[:1], x.shape[1])
        last = (lengths - 1).clamp(min=0)[:, None, None].expand(-1, -1, x.shape[2])
        return x + x.gather(1, last)


class Memory(nn.Module):
    """A module of torch that takes sequences."""

    def __init__(self):
        super().__init__()
        self.cells = nn.GRU(F, F, batch_first=True)
        self.seen = []

    def forward(self, x, lengths=None):
        self.seen.append(lengths)
        return self.cells(x)[0]


def test_a_module_whose_forward_has_lengths_gets_them():
    memory = Memory()
    net = SpikingSequential(memory, SpikingSequential(LastStep(), LIFSynapse(F, 3)), nn.Identity())
    x = draw_input()
    y, _ = net(x, LENGTHS)
    assert memory.seen[0] is LENGTHS
    for b, n in enumerate(LENGTHS):
        torch.testing.assert_close(y[b, :n], net(x[b : b + 1, :n])[0][0])
    assert memory.seen[1] is None
    assert net.record(x, lengths=LENGTHS).spk.equal(y)
    net.checkpoint = 8
    net(x, LENGTHS)
    assert memory.seen[-3].tolist() == [8, 4, 8, 1]
    assert memory.seen[-1].tolist() == [3, 0, 0, 0]


class Block(Prepared):
    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(F)

    def forward(self, x):
        return self.norm(x.flatten(0, 1)).reshape(x.shape)


def test_a_module_that_would_count_padding_is_rejected():
    net = SpikingSequential(Block())
    net(draw_input(), torch.full((B,), T))
    with pytest.raises(RuntimeError, match="Block holds a module that keeps statistics of its in"):
        net(draw_input(), LENGTHS)
    net.eval()(draw_input(), LENGTHS)
    with pytest.raises(
        TypeError, match="Tuple in a SpikingSequential must return a tensor, got tup"
    ):
        SpikingSequential(Tuple())(draw_input())


class Tuple(nn.Module):
    def forward(self, x, lengths=None):
        return x, lengths


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((4, F), r"got an input of shape \[4, 16\]: remove them for single"),
        ((4, 9, F), "from 0 to the 9 steps of the input, got 1 to 19"),
        ((3, T, F), r"lengths have the shape \[4\], expected \[3\]"),
    ],
)
def test_lengths_are_checked(shape, words):
    net = make_net()
    prepare_net(net)
    for call in (net, lambda *given: net.record(given[0], lengths=given[1])):
        with pytest.raises(ValueError, match=f"SpikingSequential: .*{words}"):
            call(torch.zeros(shape), LENGTHS)
    assert net[1].state is None


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_a_compiled_net_takes_lengths():
    torch._dynamo.reset()
    net = SpikingSequential(LastStep(), LIFSynapse(F, 4), LIFLayer(4, 10e-3))
    compiled = torch.compile(net, fullgraph=True, backend="eager")
    results = []
    for call in (net, compiled):
        net.zero_grad()
        prepare_net(net)
        spk, _ = call(draw_input(), LENGTHS)
        population_counts(spk, 2).sum().backward()
        results.append([spk, net[1].weight.grad])
    assert_all_close(*results, GRADIENT, "compiled")
    prepare_net(net)
    with pytest.raises(RuntimeError, match="lengths must be from 0 to the 19 steps of the input"):
        compiled(draw_input(), LENGTHS + 1)


def test_a_compiled_net_with_batch_norm_is_compiled_in_parts():
    net = SpikingSequential(nn.BatchNorm1d(F))
    expected = net(draw_input(), LENGTHS)[0]
    torch._dynamo.reset()
    with pytest.raises(Exception, match="compiled in parts: no fullgraph=True"):
        torch.compile(net, backend="eager", fullgraph=True)(draw_input(), LENGTHS)
    torch._dynamo.reset()
    assert torch.equal(torch.compile(net, backend="eager")(draw_input(), LENGTHS)[0], expected)


def test_the_example_of_the_docs_runs():
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")
    _, section = page.split("## Variable length")
    example = section.split("```python\n")[1].split("```")[0]
    names = {}
    exec(example, names)
    names["loss"].backward()
    assert names["net"][0].weight.grad.abs().sum() > 0
    assert names["error"] > 0
