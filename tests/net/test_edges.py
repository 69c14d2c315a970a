import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

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
from nwavesdk.net.edges import watch_calls
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
        ("up.weight", (), None),
    ]  # fmt: skip
    assert net_edges.order == ()
    assert list(net_edges.layers) == ["out", "hidden"]
    assert net_edges.uncovered == ("", "scale")


def test_example_inputs_show_the_order_of_a_loop():
    net = Loop()
    prepare_net(net)
    net_edges = find_edges(net, torch.rand(2, 6, 5))
    assert wiring(net_edges) == [
        ("hidden.recurrent_weights", ("hidden",), "hidden"), ("up.weight", ("hidden",), "out"),
        ("readout.weight", ("out",), None),
    ]  # fmt: skip
    assert net_edges.order == ("hidden", "up", "out", "readout")
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
        "drop": Dropout(0.5), "gain": Gain(), "conv": nn.Conv1d(1, 1, 3),
        "normed": parametrizations.weight_norm(nn.Linear(2, 2, bias=False)),
    })  # fmt: skip
    assert find_edges(net).uncovered == ("gain", "conv", "normed")
    assert find_edges(net).parametrized == ("normed",)


def test_a_shared_module_is_one_edge():
    synapse = LIFSynapse(3, 3)
    net = nn.ModuleList([synapse, nn.ModuleList([synapse])])
    assert [edge.name for edge in find_edges(net).edges] == ["0.weight"]


def test_watched_calls_report_every_way_to_call_a_layer():
    synapse, layer = LIFSynapse(3, 2), LIFLayer(2, TAU)
    net = nn.ModuleList([synapse, layer])
    prepare_net(net)
    seen = []
    with watch_calls(
        net,
        lambda module, x, cur: seen.append((module, x.shape, cur.shape)),
        lambda module, cur, spk: seen.append((module, cur.shape, spk.shape)),
    ):
        cur = synapse(spk=torch.rand(1, 4, 3))
        layer(cur), layer.spikes(cur), layer.record(cur, charge=True)
    layer(synapse(torch.rand(1, 4, 3)))
    shape = torch.Size([1, 4, 2])
    assert seen == [(synapse, torch.Size([1, 4, 3]), shape), *[(layer, shape, shape)] * 3]


def test_what_is_not_a_module_has_no_edges():
    with pytest.raises(TypeError, match="expected a torch module with weights, got list"):
        find_edges([LIFSynapse(1, 1)])
