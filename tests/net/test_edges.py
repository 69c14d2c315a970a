import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from nwavesdk.layers import (
    Dropout,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    Prepared,
    SpikingSequential,
    find_edges,
    prepare_net,
)
from nwavesdk.net import Branches, Feedback, Residual
from nwavesdk.net.edges import connection_sparsity
from nwavesdk.optim import SignAnnealing

TAU = 10e-3


def wiring(net_edges):
    return [(edge.name, edge.sources, edge.target_name) for edge in net_edges.edges]


class Loop(nn.Module):
    """A net that a user wrote as a loop over time; `x @ first` is not a module of ours."""

    def __init__(self):
        super().__init__()
        self.out, self.readout = (
            LIFLayer(2, TAU),
            LIFSynapse(2, 4),
        )  # registered against the order of calls
        self.hidden, self.up = LIFLayer(3, TAU, layer_topology="RC"), LIFSynapse(3, 2)
        self.first = nn.Parameter(torch.ones(5, 3))
        self.scale = nn.Linear(4, 4)

    def forward(self, x):
        outputs = []
        for t in range(x.shape[1]):
            spk, _ = self.hidden(x[:, t] @ self.first)
            spk, _ = self.out(cur=self.up(spk))
            outputs.append(self.scale(self.readout(spk)))
        return torch.stack(outputs, 1)


def chip_net():
    return SpikingSequential(
        H1v1Frontend(4),
        H1v1Layer(4, TAU),
        H1v1Synapse(4, 3),
        H1v1Layer(3, TAU, layer_topology="RC"),
    )


def test_a_sequential_defines_sources_and_targets():
    net = SpikingSequential(
        LIFSynapse(3, 8), nn.BatchNorm1d(8), LIFLayer(8, TAU), Dropout(0.1),
        SpikingSequential(LIFSynapse(8, 8), LIFLayer(8, TAU, layer_topology="RC")),
        LIFSynapse(8, 2),
    )  # fmt: skip
    net_edges = find_edges(net)
    assert wiring(net_edges) == [
        ("0.weight", (), "2"),
        ("4.0.weight", ("2",), "4.1"),
        ("4.1.recurrent_weights", ("4.1",), "4.1"),
        ("5.weight", ("4.1",), None),
    ]
    assert [edge.target for edge in net_edges.edges] == [net[2], net[4][1], net[4][1], None]
    assert [edge.is_recurrent for edge in net_edges.edges] == [False, False, True, False]
    assert net_edges.order == ("0", "2", "4.0", "4.1", "5")
    assert net_edges.layers == {"2": net[2], "4.1": net[4][1]}
    assert net_edges.uncovered == ("1",)


def test_a_synapse_in_front_of_a_synapse_drives_no_layer():
    net = SpikingSequential(LIFLayer(3, TAU), LIFSynapse(3, 4), LIFSynapse(4, 2), LIFLayer(2, TAU))
    assert wiring(find_edges(net)) == [("1.weight", ("0",), None), ("2.weight", (), "3")]


def test_a_module_of_the_user_hides_the_order_inside_and_behind_it():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.synapse = LIFLayer(3, TAU), LIFSynapse(3, 3)

    net = SpikingSequential(LIFLayer(3, TAU), Block(), LIFSynapse(3, 3), Block(), LIFLayer(3, TAU))
    assert wiring(find_edges(net)) == [
        ("1.synapse.weight", (), None),
        ("2.weight", (), None),
        ("3.synapse.weight", (), None),
    ]


def test_weights_are_those_that_are_trained_and_those_that_act():
    net = chip_net()
    prepare_net(net, seed=0)
    net_edges = find_edges(net)
    assert [edge.name for edge in net_edges.edges] == [
        "0.weight",
        "2.weight",
        "3.recurrent_weights",
    ]
    assert [edge.fan_in for edge in net_edges.edges] == [1, 4, 3]
    assert {edge.profile.name for edge in net_edges.edges} == {"h1v1"}
    weights = [net[0].weight, net[2].weight, net[3].recurrent_weights]
    assert all(edge.weight is weight for edge, weight in zip(net_edges.edges, weights, strict=True))
    effective = [
        net[0].effective_weight(),
        net[2].effective_weight(),
        net[3].effective_recurrent_weights(),
    ]
    for edge, expected in zip(net_edges.edges, effective, strict=True):
        assert torch.equal(edge.effective_weight(), expected)
        assert edge.effective_weight().shape == edge.weight.shape
    assert find_edges(LIFSynapse(2, 3)).edges[0].profile is None


def test_an_effective_weight_of_a_chip_needs_prepare_net():
    with pytest.raises(RuntimeError, match="call prepare_net"):
        find_edges(H1v1Synapse(2, 3)).edges[0].effective_weight()


def test_a_loop_has_edges_of_unknown_order():
    net = Loop()
    net_edges = find_edges(net)
    assert wiring(net_edges) == [
        ("readout.weight", (), None), ("hidden.recurrent_weights", ("hidden",), "hidden"),
        ("up.weight", (), None), ("scale.weight", (), None),
    ]  # fmt: skip
    assert net_edges.order == ()
    assert list(net_edges.layers) == ["out", "hidden"]
    assert net_edges.uncovered == ("",)


def test_example_inputs_show_the_order_of_a_loop():
    net = Loop()
    prepare_net(net)
    net_edges = find_edges(net, torch.rand(2, 6, 5))
    assert wiring(net_edges) == [
        ("hidden.recurrent_weights", ("hidden",), "hidden"), ("up.weight", ("hidden",), "out"),
        ("readout.weight", ("out",), None), ("scale.weight", (), None),
    ]  # fmt: skip
    assert net_edges.order == ("hidden", "up", "out", "readout", "scale")
    assert net_edges.edges[1].target is net.out
    assert net_edges.edges[1].module is net.up
    assert net.hidden.state is None  # the net itself has not run
    assert "forward" not in vars(net.hidden)


def test_structure_and_run_agree_where_charges_arrive_unchanged():
    net = chip_net().eval()
    inputs = torch.rand(2, 5, 4)
    assert wiring(find_edges(net)) == wiring(find_edges(net, inputs))
    assert find_edges(net).order == find_edges(net, inputs).order


def test_a_run_follows_only_charges_that_arrive_unchanged():
    net = SpikingSequential(LIFSynapse(3, 4), nn.LayerNorm(4), LIFLayer(4, TAU))
    assert find_edges(net).edges[0].target_name == "2"
    assert find_edges(net, torch.rand(2, 5, 3)).edges[0].target_name is None


def test_modules_that_do_not_run_come_last():
    class Partly(nn.Module):
        def __init__(self):
            super().__init__()
            self.unused, self.synapse, self.layer = (
                LIFSynapse(2, 2),
                LIFSynapse(2, 2),
                LIFLayer(2, TAU),
            )

        def forward(self, x):
            return self.layer(self.synapse(x))

    net_edges = find_edges(Partly(), torch.rand(1, 3, 2))
    assert wiring(net_edges) == [("synapse.weight", (), "layer"), ("unused.weight", (), None)]


def test_a_synapse_that_drives_two_layers_is_an_error_of_the_run():
    class Fork(nn.Module):
        def __init__(self):
            super().__init__()
            self.synapse, self.left, self.right = (
                LIFSynapse(3, 4),
                LIFLayer(4, TAU),
                LIFLayer(4, TAU),
            )

        def forward(self, x):
            cur = self.synapse(x)
            return self.left(cur)[0] + self.right(cur)[0]

    assert wiring(find_edges(Fork())) == [("synapse.weight", (), None)]
    with pytest.raises(
        RuntimeError, match=r"LIFSynapse 'synapse' drives both LIFLayer 'left' and LIFLayer 'right'"
    ):
        find_edges(Fork(), torch.rand(2, 5, 3))


def test_annealed_weights_are_edges_and_their_parametrizations_are_covered():
    net = SpikingSequential(H1v2Synapse(10, 6), H1v2Layer(6, TAU, layer_topology="RC"))
    names = [edge.name for edge in find_edges(net).edges]
    SignAnnealing(net, total_epochs=3)
    net_edges = find_edges(net)
    assert [edge.name for edge in net_edges.edges] == names == ["0.weight", "1.recurrent_weights"]
    assert net_edges.uncovered == ()
    assert net_edges.parametrized == ("0", "1")
    assert net_edges.edges[0].fan_in == 10


def test_uncovered_modules_are_those_with_parameters_of_their_own():
    class Gain(Prepared):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(()))

    net = nn.ModuleDict({
        "flat": nn.Flatten(), "layer": LIFLayer(3, TAU, learn_taus=True),
        "drop": Dropout(0.5), "gain": Gain(), "norm": nn.BatchNorm1d(1),
        "lazy": nn.LazyLinear(3), "rnn": nn.RNN(2, 2),
        "normed": parametrizations.weight_norm(nn.Linear(2, 2, bias=False)),
    })  # fmt: skip
    assert find_edges(net).uncovered == ("gain", "norm", "lazy", "rnn")
    assert find_edges(net).parametrized == ("normed",)


def test_a_shared_module_is_one_edge():
    synapse = LIFSynapse(3, 3)
    net = nn.ModuleList([synapse, nn.ModuleList([synapse])])
    assert [edge.name for edge in find_edges(net).edges] == ["0.weight"]


def test_what_is_not_a_module_has_no_edges():
    with pytest.raises(TypeError, match="expected a torch module with weights, got list"):
        find_edges([LIFSynapse(1, 1)])


class ScaledNorm(Prepared):
    """A module of ours with a weight that connects nothing."""

    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        return x * self.weight


def test_modules_of_torch_are_edges_of_a_sequential():
    net = SpikingSequential(
        nn.Conv2d(2, 4, 3), ScaledNorm(6), LIFLayer((4, 6, 6), TAU), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(36, 5), LIFLayer(5, TAU), nn.Linear(5, 2, bias=False),
    )  # fmt: skip
    expected = [("0.weight", (), "2"), ("5.weight", ("2",), "6"), ("7.weight", ("6",), None)]
    assert wiring(find_edges(net)) == expected
    assert find_edges(net).order == ("0", "2", "5", "6", "7")
    assert find_edges(net).uncovered == ("1",)
    del net[1]
    by_run = find_edges(net, torch.rand(2, 3, 2, 8, 8))
    assert [edge.target_name for edge in by_run.edges] == ["1", "5", None]
    assert by_run.edges[2].sources == ("5",)


def test_a_sequential_inside_another_module_has_its_own_wiring():
    class Shortcut(nn.Module):
        def __init__(self, *modules):
            super().__init__()
            self.body = SpikingSequential(*modules)

        def forward(self, x):
            return x + self.body(x)[0]

    block = Shortcut(LIFSynapse(3, 3), LIFLayer(3, TAU))
    net = SpikingSequential(nn.Linear(3, 3), LIFLayer(3, TAU), block, LIFSynapse(3, 2))
    assert wiring(find_edges(net)) == [
        ("0.weight", (), "1"), ("2.body.0.weight", (), "2.body.1"), ("3.weight", (), None),
    ]  # fmt: skip


def test_containers_join_what_comes_out_of_their_parts():
    def layer(n):
        return LIFLayer(n, TAU)

    net = SpikingSequential(
        Branches(
            SpikingSequential(LIFSynapse(3, 4), layer(4)),
            SpikingSequential(nn.Linear(3, 4), layer(4)),
        ),
        Residual(LIFSynapse(8, 8), layer(8)),
        Residual(LIFSynapse(8, 5), shortcut=nn.Linear(8, 5)),
        layer(5),
        Feedback(LIFSynapse(5, 5), layer(5), LIFSynapse(5, 4), layer(4), feedback=LIFSynapse(4, 5)),
        LIFSynapse(4, 2),
    )
    inner = ("0.0.1", "0.1.1")
    assert wiring(find_edges(net)) == [
        ("0.0.0.weight", (), "0.0.1"), ("0.1.0.weight", (), "0.1.1"),
        ("1.body.0.weight", inner, "1.body.1"),
        ("2.body.0.weight", ("1.body.1", *inner), "3"),
        ("2.shortcut.weight", ("1.body.1", *inner), "3"),
        ("4.body.0.weight", (), "4.body.1"),  # spikes of 3 and charge that comes back
        ("4.body.2.weight", ("4.body.1",), "4.body.3"), ("4.feedback.weight", ("4.body.3",), None),
        ("5.weight", ("4.body.3",), None),
    ]  # fmt: skip
    x = torch.rand(2, 3, 3)
    assert find_edges(net).order == find_edges(net, x).order
    (back,) = find_edges(Feedback(LIFSynapse(3, 3), layer(3))).edges
    assert back.sources == ("body.1",)


CONVOLUTIONS = [
    nn.Conv1d(4, 6, 3, padding=1),
    nn.Conv2d(4, 6, (3, 2), stride=2, dilation=2, groups=2),
    nn.Conv3d(2, 4, 2),
    nn.ConvTranspose1d(4, 6, 3, stride=2),
    nn.ConvTranspose2d(4, 6, (4, 3), stride=(2, 3), groups=2),
    nn.ConvTranspose2d(4, 2, 5, stride=4, dilation=2),
]


@pytest.mark.parametrize("module", CONVOLUTIONS, ids=str)
def test_fan_in_and_columns_are_those_of_the_jacobian(module):
    """The most inputs of a target, and their weights, without a look at kernels."""
    axes = module.weight.ndim - 2
    sizes = (module.in_channels, *[12 if axes < 3 else 5] * axes)
    jacobian = torch.autograd.functional.jacobian(lambda x: module(x[None])[0], torch.rand(sizes))
    C_out = jacobian.shape[0]
    # One row for each target, [C_out, positions, inputs].
    rows = jacobian.reshape(C_out, -1, torch.rand(sizes).numel())
    (edge,) = find_edges(module).edges
    assert edge.fan_in == int((rows != 0).sum(-1).max())
    columns = edge.to_columns(edge.effective_weight())
    assert columns.shape[1] == C_out
    assert torch.equal(edge.from_columns(columns), edge.weight)
    for channel in range(C_out):
        # Over all positions, each weight of the channel appears.
        seen = rows[channel][rows[channel] != 0].unique()
        torch.testing.assert_close(seen, columns[:, channel].detach().unique())


def test_dense_edges_know_their_axes():
    linear, synapse, frontend = nn.Linear(3, 5), LIFSynapse(3, 5), H1v1Frontend(4)
    (edge,) = find_edges(linear).edges
    assert (edge.fan_in, edge.output_axis, edge.is_dense) == (3, 0, True)
    assert torch.equal(edge.to_columns(edge.weight), linear.weight.T)
    assert torch.equal(edge.from_columns(linear.weight.T), linear.weight)
    (edge,) = find_edges(synapse).edges
    assert (edge.fan_in, edge.output_axis, edge.is_dense) == (3, 1, True)
    assert torch.equal(edge.to_columns(edge.weight), synapse.weight)
    (edge,) = find_edges(frontend).edges
    assert (edge.fan_in, edge.output_axis, edge.is_dense) == (1, 0, False)
    assert not find_edges(nn.Conv1d(2, 2, 1)).edges[0].is_dense


def test_pruned_and_parametrized_weights_of_torch_are_those_that_act():
    linear = prune.random_unstructured(nn.Linear(8, 6), "weight", 0.5)
    conv = parametrizations.weight_norm(nn.Conv1d(2, 4, 3))
    net = nn.ModuleDict({"linear": linear, "conv": conv})
    first, second = find_edges(net).edges
    assert [*first.trained_parameters()] == ["linear.weight_orig"]
    assert [*second.trained_parameters()] == [
        f"conv.parametrizations.weight.original{i}" for i in (0, 1)
    ]
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)  # what torch has computed before is stale
    for edge in (first, second):
        x = torch.rand(3, 8) if edge is first else torch.rand(3, 2, 9)
        expected = edge.module(x)
        edge.effective_weight().sum().backward()
        assert all(p.grad is not None for p in edge.trained_parameters().values())
        function = nn.functional.linear if edge is first else nn.functional.conv1d
        y = function(x, edge.effective_weight(), edge.module.bias)
        torch.testing.assert_close(y, expected)
    assert wiring(find_edges(SpikingSequential(linear, LIFLayer(6, TAU)), torch.rand(2, 3, 8))) == [
        ("0.weight", (), "1")
    ]  # the copy that runs is of a pruned net, which torch does not copy


def test_connection_sparsity_counts_masks_and_quantized_zeros():
    net = SpikingSequential(
        nn.Conv1d(1, 2, 5), nn.Flatten(), H1v1Synapse(8, 4, 3, 0.05),
        H1v1Layer(4, TAU, layer_topology="RC"), nn.Linear(4, 2),
    )  # fmt: skip
    prune.l1_unstructured(net[0], "weight", 3)
    prune.l1_unstructured(net[3], "recurrent_weights", 4)
    net[2].weight.data = torch.linspace(-0.9, 0.9, 32).reshape(8, 4)
    prepare_net(net)  # mismatch moves all weights away from 0
    levels = 0.9 / 3  # three bits: from -3 to 3 steps
    zeros = (net[2].weight.abs() < levels / 2).float().mean().item()
    assert connection_sparsity(net) == {
        "0.weight": 0.3, "2.weight": zeros, "3.recurrent_weights": 0.25, "4.weight": 0.0
    }  # fmt: skip
    assert zeros > 0
