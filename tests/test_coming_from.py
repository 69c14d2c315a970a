"""The pages in `docs/coming-from`: their scripts run, and what they call equal is equal.

Each page runs where its library is installed.
"""

import contextlib
import io
import re
import runpy
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from nwavesdk.layers import LIFLayer
from nwavesdk.surrogate import atan, parse, single_exponential
from tolerances import GRADIENT, assert_close

FOLDER = Path(__file__).parents[1] / "docs" / "coming-from"
N = 64


def blocks(page, language):
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    return "\n\n".join(re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL))


def rows(page, head):
    """The cells of the table that begins with this one."""
    text = (FOLDER / f"{page}.md").read_text(encoding="utf-8")
    table = text.partition(f"| {head} of ")[2].partition("\n\n")[0]
    return [re.findall(r"`([^`]*)`", row) for row in table.splitlines()[2:]]


@pytest.fixture(scope="module")
def scripts(tmp_path_factory):
    """Run the code of a page once; its names and what it printed."""
    finished = {}

    def run(page):
        pytest.importorskip(page)
        if page not in finished:
            path = tmp_path_factory.mktemp("pages") / f"from_{page}.py"
            path.write_text(blocks(page, "python"), encoding="utf-8")
            output = io.StringIO()
            with contextlib.redirect_stdout(output):
                names = runpy.run_path(str(path))
            finished[page] = names, output.getvalue()
        return finished[page]

    return run


PAGES = ["snntorch", "spikingjelly", "norse", "sinabs"]


@pytest.mark.parametrize("page", PAGES)
def test_both_nets_have_the_same_spikes_and_gradients(page, scripts):
    names, output = scripts(page)
    assert output == blocks(page, "text")
    assert output.startswith("spikes that differ: 0\n")
    assert 0 < names["spk"].mean() < 0.5
    assert len(names["pairs"]) == 4
    for theirs, ours in names["pairs"]:
        assert theirs.any()
        assert_close(ours, theirs, GRADIENT, "gradient of a parameter")


def over_time(step, x):
    """Spikes [B, T, N] of `step(x_t, state) -> (spikes, state)`; the state is None at rest."""
    state, spikes = None, []
    for x_t in x.unbind(1):
        spk, state = step(x_t, state)
        spikes.append(spk)
    return torch.stack(spikes, 1)


RUN = {
    "snntorch": over_time,
    "spikingjelly": lambda node, x: over_time(lambda x_t, _: (node(x_t), None), x),
    "norse": over_time,
    "sinabs": lambda layer, x: layer(x),
}
"""How the neurons of a library run over a sequence [B, T, N]."""
SURROGATE = {
    "snntorch": "atan(2)",
    "spikingjelly": "sigmoid(4)",
    "norse": "fast_sigmoid(1)",
    "sinabs": "single_exponential()",
}


def spikes_and_gradient(run, x):
    leaf = x.clone().requires_grad_()
    spikes = run(leaf)
    upstream = torch.rand(spikes.shape, generator=torch.Generator().manual_seed(1))
    return spikes.detach(), torch.autograd.grad(spikes, leaf, upstream)[0]


def assert_same(theirs, ours, x):
    expected, got = spikes_and_gradient(theirs, x), spikes_and_gradient(ours, x)
    assert 0.01 < expected[0].mean() < 0.99
    assert torch.equal(got[0], expected[0])
    assert_close(got[1], expected[1], GRADIENT, "gradient of the input")


@pytest.mark.parametrize(
    ("page", "row"), [(page, row) for page in PAGES for row in rows(page, "neuron")]
)
def test_a_pair_of_neurons(page, row, scripts):
    names = scripts(page)[0] | {"N": N}
    theirs, ours, charge = row
    node, layer = eval(theirs, names), eval(ours, names)
    layer.spike_grad, layer.solver = parse(SURROGATE[page]), "reference"
    x = 0.6 * (torch.rand(4, 100, N) - 0.1)
    x = x / eval(charge, names | {"x": 1.0})  # our input, at which neurons fire and pause
    assert_same(lambda x: RUN[page](node, x), lambda x: layer(eval(charge, names | {"x": x}))[0], x)


@pytest.mark.parametrize(
    ("page", "row"), [(page, row) for page in PAGES for row in rows(page, "call")]
)
def test_a_pair_of_calls(page, row, scripts):
    theirs, ours = (torch.as_tensor(eval(call, scripts(page)[0])).squeeze() for call in row)
    assert theirs.any()
    assert_close(ours.float().detach(), theirs.float().detach(), GRADIENT, row[0])


RECURRENT = {"layer_topology": "RC", "solver": "reference"}


RESETS = rows("snntorch", "recurrent neuron")


def recurrent_pair(names, reset, neuron, **options):
    """An `RLeaky` and its page, with the same weights and biases."""
    node = eval(f"snn.RLeaky(0.9, linear_features=N, learn_beta=True, {reset})", names | {"N": N})
    torch.nn.init.normal_(node.recurrent.weight, std=0.15)
    if neuron != "LIFLayer":
        options |= {"beta": 0.9, "bias": node.recurrent.bias.detach(), "learn": ("beta", "bias")}
    layer = names[neuron](N, spike_grad=atan(), **options, **RECURRENT)
    layer.recurrent_weights.data.copy_(node.recurrent.weight.T)
    return node, layer


def recurrent_step(node):
    def step(x_t, state):
        spk, mem = node(x_t, *(state or (torch.zeros_like(x_t), torch.zeros_like(x_t))))
        return spk, (spk, mem)

    return step


@pytest.mark.parametrize("row", RESETS, ids=lambda row: row[1])
def test_recurrent_neurons_of_snntorch(row, scripts):
    node, layer = recurrent_pair(scripts("snntorch")[0], *row[:2])
    x = 0.8 * (torch.rand(4, 50, N) - 0.4)
    assert_same(lambda x: over_time(recurrent_step(node), x), lambda x: layer(x)[0], x)
    upstream = torch.rand(x.shape)
    (over_time(recurrent_step(node), x) * upstream).sum().backward()
    (layer(x)[0] * upstream).sum().backward()
    weights = node.recurrent.weight.grad.T
    assert_close(layer.recurrent_weights.grad, weights, GRADIENT, "recurrent weights")
    assert_close(layer.bias.grad, node.recurrent.bias.grad, GRADIENT, "bias")
    assert_close(layer.beta.grad, node.beta.grad, GRADIENT, "beta")


def test_lif_layers_as_recurrent_neurons_of_snntorch(scripts):
    names, _ = scripts("snntorch")
    x = 0.8 * (torch.rand(4, 50, N) - 0.4)

    def both(reset, **options):
        node, layer = recurrent_pair(
            *(names, f'reset_mechanism="{reset}"', "LIFLayer"),
            **{"taus": names["tau_of"](0.9), "reset_mechanism": reset, **options},
        )
        bias = node.recurrent.bias.detach()
        theirs = spikes_and_gradient(lambda x: over_time(recurrent_step(node), x), x)
        return theirs, spikes_and_gradient(lambda x: layer(x + bias)[0], x)

    (spikes, gradient), exact = both("none", max_loop_gain=None)
    assert torch.equal(exact[0], spikes)
    assert_close(exact[1], gradient, GRADIENT, "gradient of the input")
    (spikes, gradient), bounded = both("none")
    assert torch.equal(bounded[0], spikes)
    assert (bounded[1] - gradient).norm() > 0.1 * gradient.norm()
    theirs, ours = both("zero", max_loop_gain=None)
    assert not torch.equal(ours[0], theirs[0])


@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_the_same_training_as_snntorch(reset, scripts):
    names, _ = scripts("snntorch")
    torch.manual_seed(0)
    node = names["snn"].Leaky(0.9, learn_beta=True, reset_mechanism=reset)
    neuron = names["LeakyLayer" if reset == "subtract" else "LeakyZeroLayer"]
    layer = neuron(N, beta=0.9, spike_grad=atan(), learn="beta", solver="reference")
    linear = torch.nn.Linear(20, N)
    nets = [torch.nn.Sequential(linear, node), torch.nn.Sequential(deepcopy(linear), layer)]
    runs = [lambda x: over_time(node, nets[0][0](x)), lambda x: layer(nets[1][0](x))[0]]
    optimizers = [torch.optim.Adam(net.parameters(), 1e-2) for net in nets]
    for _ in range(12):
        node.reset_mem()
        x, wanted = 4 * torch.rand(4, 20, 20), torch.rand(4, 20, N)
        spikes = [run(x) for run in runs]
        assert 0.01 < spikes[0].mean() < 0.9
        assert torch.equal(*spikes)
        for spk, optimizer in zip(spikes, optimizers, strict=True):
            optimizer.zero_grad()
            ((spk - wanted) ** 2).mean().backward()
            optimizer.step()
    assert abs(layer.beta.item() - 0.9) > 0.01
    assert_close(layer.beta, node.beta, GRADIENT, "beta")


def test_recurrent_neurons_of_sinabs(scripts):
    names, _ = scripts("sinabs")
    weights = torch.nn.Linear(N, N, bias=False)
    torch.nn.init.normal_(weights.weight, std=0.05)
    once = {"spike_fn": names["SingleSpike"], "norm_input": False}
    node = names["sl"].LIFRecurrent(20.0, weights, **once)
    options = {"detach_reset": False, "spike_grad": single_exponential(), "max_loop_gain": None}
    layer = LIFLayer(N, 20e-3, **options, **RECURRENT)
    layer.recurrent_weights.data = weights.weight.detach().T.clone()
    assert_same(node, lambda x: layer(x)[0], 0.4 * (torch.rand(4, 50, N) - 0.1))


# What the pages report on states and constants.


def test_states_of_snntorch():
    snn = pytest.importorskip("snntorch")
    utils = pytest.importorskip("snntorch.utils")
    node = snn.Leaky(0.9)
    _, mem = node(torch.full((4, 3), 0.5))
    assert mem.all()
    assert not node(torch.zeros(2, 3), mem)[1].any()  # another batch size

    nested, other, net = (snn.Leaky(0.9, init_hidden=True) for _ in range(3))
    for layer in (nested, other, net):
        layer(torch.full((1, 1), 0.5))
    utils.reset(torch.nn.Sequential(torch.nn.Sequential(nested)))
    assert nested.mem.item() == 0.5
    utils.reset(torch.nn.Sequential(net))
    assert other.mem.item() == 0

    node = snn.Leaky(1.2, learn_beta=True)
    node(torch.ones(1), torch.ones(1))[1].backward()
    assert node.beta.grad == 0
    assert node(torch.ones(1, dtype=torch.float64))[0].dtype == torch.float32


def test_states_of_spikingjelly():
    neuron = pytest.importorskip("spikingjelly.activation_based.neuron")
    node = neuron.LIFNode(step_mode="m")
    node(torch.full((5, 4, 3), 0.5))
    first = node.v[0].clone()
    node(torch.full((5, 2, 3), 0.5))  # another batch size
    assert torch.equal(node.v[0], first)
    node(torch.full((5, 2, 3), 0.5))
    assert (node.v[0] > first).all()

    node = neuron.LIFNode()
    node(torch.ones(5, 4, 3))
    assert node.v.shape == (5, 4, 3)
    assert neuron.IFNode()(torch.ones(1)) == 1  # at the threshold


def test_constants_of_norse():
    norse = pytest.importorskip("norse.torch")
    assert not list(norse.LIF().parameters())


def test_states_and_constants_of_sinabs():
    layers = pytest.importorskip("sinabs.layers")
    layer = layers.LIF(20.0)
    assert layer.tau_mem.requires_grad
    layer(torch.rand(4, 10, 3))
    before = layer.v_mem.detach() * layer.alpha_mem_calculated.detach()
    layer(torch.zeros(2, 1, 3))  # another batch size
    drawn = layer.v_mem.detach()[:, None] == before
    assert drawn.all(2).any(1).all()
