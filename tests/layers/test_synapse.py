"""`Synapse`: its contract; the product, bias and shapes; what a planned call obeys and costs."""

import copy
import cProfile
import itertools
import pickle
import pstats

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize, prune

from nwavesdk.layers import (
    H1v2Synapse,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    Synapse,
    find_edges,
    prepare_net,
)
from nwavesdk.solvers.sparse.limits import SparseLimits
from tolerances import GRADIENT, assert_all_close, assert_close

SYNAPSES = {
    "lif": lambda *sizes, **options: LIFSynapse(*sizes, bias=True, **options),
    "h1v1": lambda *sizes, **options: HWSynapse(*sizes, 4, 0.05, **options),
    "h1v2": lambda *sizes, **options: H1v2Synapse(*sizes, **options),
}


every_synapse = pytest.mark.parametrize("name", SYNAPSES)


def prepared(name, *sizes, **options):
    synapse = SYNAPSES[name](*sizes, **options)
    prepare_net(synapse)
    return synapse


def product(synapse, x):
    """The product as anyone would write it."""
    y = x @ synapse.effective_weight()
    return y if synapse.bias is None else y + synapse.bias


def test_product_bias_and_shapes():
    synapse = LIFSynapse(3, 5, bias=True)
    synapse.bias.data.fill_(0.25)
    x = torch.rand(2, 7, 3)
    torch.testing.assert_close(synapse(x), x @ synapse.weight + 0.25)
    assert synapse(x[0, 0]).shape == (1, 5)
    assert LIFSynapse(3, 5).bias is None
    assert repr(LIFSynapse(3, 5, product="dense")) == "LIFSynapse(3, 5, product='dense')"


class Shunted(Synapse):
    """A synapse whose charge is not a product with its weight."""

    def charge(self, spk, weight):
        return (spk @ weight).tanh()

    def forward(self, spk):
        return self.charge(spk, self.effective_weight())


def test_a_subclass_needs_no_product_to_be_a_synapse_of_a_net():
    net = SpikingSequential(Shunted(3, 5), LIFLayer(5, 10e-3))
    prepare_net(net)
    x = 3 * torch.rand(2, 7, 3)
    expected, _ = SpikingSequential(net[1])((x @ net[0].weight).tanh())
    prepare_net(net)
    assert torch.equal(net(x)[0], expected)
    (edge,) = find_edges(net).edges
    assert (edge.module, edge.target, edge.fan_in, net[0].fan_in) == (net[0], net[1], 3, 3)
    assert torch.equal(edge.effective_weight(), net[0].weight)
    assert repr(net[0]) == "Shunted(3, 5)"
    assert not net[0].takes_lists
    with pytest.raises(NotImplementedError, match="Synapse does not define charge"):
        Synapse(3, 5).charge(x, net[0].weight)


@every_synapse
@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 7, 3), (0, 3)])
def test_a_planned_call_equals_the_first_one(name, shape):
    synapse = prepared(name, 3, 5)
    x = torch.rand(shape)
    first = synapse(x)
    assert synapse._plans
    assert torch.equal(synapse(x), first)
    with torch.no_grad():
        assert torch.equal(synapse(x), first)
    with torch.inference_mode():
        assert torch.equal(synapse(x), first)


@every_synapse
def test_a_gradient_of_a_gradient_goes_through_planned_calls(name):
    synapse = prepared(name, 6, 5).double()
    x = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    synapse(x)
    results = []
    for call in (synapse, lambda x: product(synapse, x)):
        (grad,) = torch.autograd.grad(call(x).sin().sum(), x, create_graph=True)
        results.append(torch.autograd.grad(grad.square().sum(), (x, synapse.weight)))
    assert_all_close(*results, GRADIENT, name)


def halve_in_place(synapse):
    with torch.no_grad():
        synapse.weight.mul_(0.5)


def replace_data(synapse):
    synapse.weight.data = synapse.weight.data * 2


def load_state(synapse):
    state = {name: value + 0.125 for name, value in synapse.state_dict().items()}
    synapse.load_state_dict(state)


def replace_parameter(synapse):
    synapse.weight = nn.Parameter(torch.rand(6, 5))


def step_fused(synapse):
    synapse(torch.ones(2, 6)).sum().backward()
    torch.optim.Adam(synapse.parameters(), 0.01, fused=True).step()


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


CHANGES = {
    "in place": halve_in_place,
    "data": replace_data,
    "state dict": load_state,
    "another parameter": replace_parameter,
    "fused optimizer": step_fused,
    "pruned": lambda synapse: prune.random_unstructured(synapse, "weight", 0.5),
    "parametrized": lambda s: parametrize.register_parametrization(s, "weight", Doubled()),
    "frozen": lambda synapse: synapse.requires_grad_(False),
    "product": lambda synapse: setattr(synapse, "product", "sparse"),
}


@every_synapse
@pytest.mark.parametrize("change", CHANGES)
def test_planned_calls_obey_what_has_changed(name, change):
    synapse = prepared(name, 6, 5)
    x = torch.rand(4, 6, requires_grad=True)
    before = [synapse(x) for _ in range(2)][-1]
    CHANGES[change](synapse)
    prepare_net(synapse, seed=3)
    for _ in range(2):
        y = synapse(x)
        assert_close(y, product(synapse, x), GRADIENT, change)
        assert y.requires_grad
    is_changed = not torch.equal(y, before)
    assert is_changed or change in ("frozen", "product")
    parameters = [p for p in synapse.parameters() if p.requires_grad]
    assert all(g is not None for g in torch.autograd.grad(y.sum(), [x, *parameters]))


@every_synapse
def test_planned_calls_reject_what_first_calls_reject(name):
    words = []
    for is_planned in (False, True):
        synapse = prepared(name, 6, 5)
        x = torch.rand(4, 6)
        if is_planned:
            synapse(x)
        for bad in (torch.rand(4, 7), x.double(), x.long(), torch.rand(2, 2, 4, 6), x.to("meta")):
            with pytest.raises((TypeError, ValueError)) as caught:
                synapse(bad)
            words.append(str(caught.value))
        synapse.double()
        prepare_net(synapse)
        with pytest.raises(TypeError, match="has weights of torch.float64 and got an input of"):
            synapse(x)
        assert synapse(x.double()).dtype == torch.float64
    assert words[:5] == words[5:]


@every_synapse
def test_calls_that_are_not_plain_go_their_own_way_after_planned_ones(name):
    synapse = prepared(name, 6, 5)
    x = torch.rand(4, 6)
    y = [synapse(x) for _ in range(2)][-1]
    with torch.autocast("cpu", torch.bfloat16):
        cast = synapse(x)
        expected = x @ synapse.effective_weight()
    assert expected.dtype == torch.bfloat16
    assert_close(cast.float(), product(synapse, x), {torch.float32: 0.02}, "autocast")
    synapse.zero_grad()
    cast.float().sum().backward()
    assert synapse.weight.grad.dtype == torch.float32
    if name == "lif":  # the gradient of effective weights has no rule for vmap
        assert_close(torch.func.vmap(synapse)(x[:, None])[:, 0], y, GRADIENT, "vmap")
    marked = x.as_subclass(type("Marked", (torch.Tensor,), {}))
    assert_close(synapse(marked).as_subclass(torch.Tensor), y, GRADIENT, "subclass")


def test_a_subclass_may_change_weight_and_charge():
    class Masked(HWSynapse):
        def effective_weight(self):
            return super().effective_weight() * 0

    class Doubling(LIFSynapse):
        def charge(self, spk, weight):
            return 2 * super().charge(spk, weight)

    masked = Masked(6, 5)
    prepare_net(masked)
    doubling = Doubling(6, 5)
    x = torch.rand(4, 6)
    for _ in range(2):
        assert torch.equal(masked(x), torch.zeros(4, 5))
        assert torch.equal(doubling(x), 2 * (x @ doubling.weight))


def test_a_planned_call_takes_the_product_of_its_setting():
    synapse = LIFSynapse(64, 32)
    x = torch.rand(7, 64)
    exact = x.double() @ synapse.weight.double()
    results = []
    for synapse.product in ("dense", "sparse", "dense"):
        results.append([synapse(x) for _ in range(2)])
    assert all(torch.equal(*pair) for pair in results)
    assert torch.equal(results[0][0], results[2][0])
    assert not torch.equal(results[0][0], results[1][0])  # another order of the sums
    assert_close(results[1][0], exact.float(), GRADIENT, "sparse")


@pytest.mark.parametrize("shape", [(1, 40), (10, 40), (5, 20, 40)])
@every_synapse
@pytest.mark.parametrize("limits", list(itertools.product((0.0, 0.5), repeat=3)))
def test_values_and_gradients_are_right_for_any_limits(monkeypatch, name, limits, shape):
    synapse = prepared(name, 40, 20).double()
    prepare_net(synapse)
    size = torch.Size(shape).numel()
    counts = SparseLimits(*(int(d * size) if d else -1 for d in limits))
    monkeypatch.setattr("nwavesdk.solvers.sparse.product.sparse_limits", lambda *_: counts)
    parameters = [*synapse.parameters()]
    for density in (0.1, 0.9):
        x = (torch.rand(shape, dtype=torch.float64) < density).double().requires_grad_()
        counted = x.detach().clone().requires_grad_()
        counted.nonzeros = int(x.count_nonzero())
        up = torch.randn(*shape[:-1], 20, dtype=torch.float64)
        expected = torch.autograd.grad(product(synapse, x), (x, *parameters), up)
        for given in (x, counted):
            y = synapse(given)
            assert_close(y, product(synapse, x), GRADIENT, "with graph")
            with torch.no_grad():
                assert_close(synapse(given), y.detach(), GRADIENT, "without graph")
            got = torch.autograd.grad(y, (given, *parameters), up)
            assert_all_close(got, expected, GRADIENT, "gradient")


def test_a_synapse_has_at_most_eight_plans():
    synapse = LIFSynapse(3, 5)
    for batch in range(1, 30):
        synapse(torch.rand(batch, 3))
        assert 0 < len(synapse._plans) <= 8


@pytest.mark.parametrize(
    "make", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
)
def test_copies_carry_no_plan(make):
    synapse = prepared("h1v1", 3, 5)
    x = torch.rand(2, 3)
    y = synapse(x)
    replica = make(synapse)
    assert synapse._plans
    assert not replica._plans
    assert torch.equal(replica(x), y)


@every_synapse
def test_a_step_calls_few_python_functions(name):
    """Built-in functions do not count, and neither does a clock."""
    synapse = prepared(name, 40, 20)
    x = torch.rand(2, 40)
    for learns in (False, True):
        with torch.set_grad_enabled(learns):
            synapse(x)
            profile = cProfile.Profile(builtins=False)
            profile.enable()
            synapse(x)
            profile.disable()
        calls = sum(entry[1] for entry in pstats.Stats(profile).stats.values())
        assert calls <= 20, f"{name}, learns={learns}: {calls}"
