"""Exported nets equal the reader in NumPy; what NIR does not have is refused by name."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from interop.nir.graphs import DT, SHAPES, nets
from nwavesdk.interop.nir import Scale, check, export_net, from_nir, graph_bytes, to_nir
from nwavesdk.layers import (
    AdLIFLayer,
    DelayedSynapse,
    Dropout,
    H1v1Layer,
    LIFLayer,
    LIFSynapse,
    StepBatchNorm,
    TimeBatchNorm,
)
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential

pytestmark = pytest.mark.interop

ZERO: dict[str, Any] = {"reset_mechanism": "zero"}
SHORT = {"batch": 2, "steps": 30}
NAMES = (
    *("dense", "no reset", "soft", "recurrent", "feedback", "residual feedback", "branches"),
    *("branch feedback", "feedback of a residual", "feedback of spikes without reset"),
    *("norms", "delays", "taps", "images", "spike images", "image taps"),
)


@pytest.mark.parametrize("discretization", ["exact", "euler"])
@pytest.mark.parametrize("name", NAMES)
def test_a_net_equals_the_reader_of_its_file(name: str, discretization: str, tmp_path: Any) -> None:
    net = nets()[name]
    allow = {"soft-reset"} if name == "soft" else set()
    exported = export_net(
        net, discretization=discretization, input_shape=SHAPES.get(name), allow=allow
    )
    path = tmp_path / "net.nir"
    path.write_bytes(graph_bytes(exported.graph))
    options: dict[str, Any] = {"dt": DT, "discretization": discretization, "allow": allow}
    options |= SHORT
    found = check(path, **options, net=net)
    assert found.is_equal, found
    assert found.spikes > 10
    imported = check(path, **options)
    assert imported.is_equal, imported
    # An import has the threshold of a max pool as a separate layer.
    n_more = imported.spikes - found.spikes
    assert n_more > 0 if name == "spike images" else n_more == 0


def test_there_is_a_test_of_every_net() -> None:
    assert set(nets()) == set(NAMES)


def test_a_cycle_that_readers_would_cut_elsewhere_gets_a_delay_of_one_step() -> None:
    graphs = {
        name: to_nir(net, discretization="exact") for name, net in nets().items() if "feed" in name
    }
    delays = {
        n: [m.delay[0] for m in g.nodes.values() if type(m).__name__ == "Delay"]
        for n, g in graphs.items()
    }
    late = {"branch feedback", "feedback of a residual"}
    assert delays == {name: [DT] if name in late else [] for name in delays}
    assert len(delays) == 5


def test_a_signal_that_comes_back_past_all_layers_gets_a_delay() -> None:
    body = Residual(LIFSynapse(3, 3), lif())
    net = SpikingSequential(LIFSynapse(3, 3), Feedback(body), lif())
    graph = to_nir(net, discretization="exact")
    assert "step_delay" in graph.nodes
    assert check(graph, dt=DT, discretization="exact", net=net).is_equal


def test_time_constants_are_those_of_the_discretization() -> None:
    layer = LIFLayer(2, [10e-3, 20e-3], dt=2e-3, **ZERO)
    decay = np.exp([-0.2, -0.1])
    exact = to_nir(layer, discretization="exact").nodes["lif"]
    np.testing.assert_allclose(exact.tau, [10e-3, 20e-3], rtol=1e-12)
    np.testing.assert_allclose(exact.r, 1 / (1 - decay), rtol=1e-12)
    euler = to_nir(layer, discretization="euler").nodes["lif"]
    np.testing.assert_allclose(1 - 2e-3 / euler.tau, decay, rtol=1e-12)
    np.testing.assert_allclose(euler.r, euler.tau / 2e-3, rtol=1e-12)


def test_the_metadata_have_the_step_and_the_reset() -> None:
    net = SpikingSequential(LIFSynapse(3, 4), LIFLayer(4, 20e-3, dt=2e-3))
    graph = to_nir(net, discretization="exact", allow={"soft-reset"})
    assert graph.metadata["nwavesdk_dt"] == 2e-3
    assert graph.metadata["nwavesdk_discretization"] == "exact"
    assert graph.nodes["lif_1"].metadata == {
        "nwavesdk_module": "1",
        "nwavesdk_reset": "subtraction",
    }
    assert not graph.nodes["lif_1"].v_reset.any()
    with pytest.raises(ValueError, match=r"node 'lif_1' .* a reset by subtraction .*soft-reset"):
        from_nir(graph, dt=2e-3, discretization="exact")


def test_notes_name_what_a_reader_should_know() -> None:
    soft = export_net(LIFLayer(2, 1e-2), discretization="exact", allow={"soft-reset"})
    assert "every other reader resets to 0 and gives other spikes" in soft.notes[-1]
    readout = export_net(LIFLayer(2, 1e-2, reset_mechanism="none"), discretization="exact")
    assert "is a read-out: the graph gives its membrane" in readout.notes[0]
    delays = DelayedSynapse(3, 3, 4, delays=1.4).eval()
    rounded = export_net(delays, discretization="exact", dt=DT)
    assert "delays are rounded to whole steps, as in eval()" in rounded.notes[0]
    images = export_net(
        nn.Conv2d(1, 1, (2, 3)), discretization="exact", dt=DT, input_shape=(1, 4, 4)
    )
    assert "nir.read(file, type_check=False)" in images.notes[0]
    assert list(images.graph.nodes["conv2d"].output_type["output"]) == [1, 3, 2]


def test_two_edges_between_the_same_nodes_get_a_scale() -> None:
    net = Residual(nn.Identity(), LIFSynapse(3, 3), nn.Identity())
    doubled = SpikingSequential(
        LIFSynapse(3, 3), Residual(nn.Identity()), LIFLayer(3, 1e-2, **ZERO)
    )
    graph = to_nir(doubled, discretization="exact")
    assert sum(type(node).__name__ == "Scale" for node in graph.nodes.values()) == 1
    assert check(graph, dt=DT, discretization="exact", net=doubled).is_equal
    graph = to_nir(net, discretization="exact", dt=DT, input_shape=(3,))
    assert check(graph, dt=DT, discretization="exact").is_equal


def lif(n: int = 3, **options: Any) -> LIFLayer:
    return LIFLayer(n, 1e-2, **{**ZERO, **options})


class Own(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = lif()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(x)[0]


class Doubled(Residual):
    def _run_inside(self, x: torch.Tensor, run: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return super()._run_inside(2 * x, run)


def interpolated() -> DelayedSynapse:
    synapse = DelayedSynapse(3, 3, 4, delays=1.5)
    synapse.interpolates_in_eval = True
    return synapse


def step_norm() -> StepBatchNorm:
    norm = StepBatchNorm(3, max_steps=4)
    norm.running_mean[1] += 1
    return norm


REFUSED = {
    "Doubled, expected": lambda: Doubled(LIFSynapse(3, 3)),
    "a reset by subtraction, expected a reset to a value": lambda: LIFLayer(3, 1e-2),
    "AdLIFLayer, expected a module": lambda: AdLIFLayer(3),
    "H1v1Layer, expected a module": lambda: SpikingSequential(H1v1Layer(3, 1e-2)),
    "delays of recurrent weights": lambda: lif(layer_topology="RC", recurrent_delays=3),
    "recurrent weights of neurons [3, 2]": lambda: LIFLayer(
        (3, 2), 1e-2, layer_topology="RC", **ZERO
    ),
    "StepBatchNorm, expected a module": lambda: SpikingSequential(
        LIFSynapse(3, 3), step_norm(), lif()
    ),
    "LayerNorm, expected a module": lambda: SpikingSequential(LIFSynapse(3, 3), nn.LayerNorm(3)),
    "a max pool of values that are not spikes": lambda: SpikingSequential(
        nn.MaxPool2d(2), nn.Flatten(), LIFSynapse(4, 3)
    ),
    "Unflatten within the net": lambda: SpikingSequential(
        LIFSynapse(3, 4), nn.Unflatten(1, (2, 2)), LIFLayer((2, 2), 1e-2, **ZERO)
    ),
    "a mean that does not divide": lambda: nn.AvgPool2d(2, padding=1, count_include_pad=False),
    "padding_mode='circular'": lambda: nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular"),
    "Own, expected": lambda: SpikingSequential(LIFSynapse(3, 3), Own()),
    "delays between two steps": lambda: SpikingSequential(interpolated(), lif()),
    "an input of shape [4]": lambda: SpikingSequential(LIFSynapse(3, 4), lif(3)),
    "neurons with and without a leak": lambda: LIFLayer(2, [1e-2, 1e30], **ZERO),
    "branches whose channels are concatenated": lambda: Branches(nn.Conv1d(3, 3, 1), nn.Identity()),
    "outputs of shapes [4] and [3]": lambda: Residual(LIFSynapse(3, 4)),
    "outputs of shapes [3] and [4]": lambda: Feedback(LIFSynapse(3, 4), lif(4)),
    "the layer that is also module '0'": lambda: SpikingSequential(*[lif(3)] * 2),
}


@pytest.mark.parametrize("expected", list(REFUSED))
def test_what_nir_does_not_have_is_refused_by_name(expected: str) -> None:
    make = REFUSED[expected]

    shape = None
    if expected.startswith(("a max", "a mean")):
        shape = (1, 4, 4)
    elif expected.startswith(("padding", "branches")):
        shape = (3, 5)
    with pytest.raises(
        ValueError, match=r"^to_nir: (module '[\w.]+'|the net): got .*, expected .*: "
    ) as error:
        to_nir(make(), discretization="exact", dt=DT, input_shape=shape)
    assert expected in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("net", "options", "match"),
    [
        (
            lif(),
            {"discretization": "rk4"},
            "discretization must be one of 'exact', 'euler', got 'rk4'",
        ),
        (lif(), {"dt": 2e-3}, r"got the steps {'': 0\.001, 'dt': 0\.002} \[s\], expected the same"),
        (
            SpikingSequential(lif(), lif(dt=2e-3)),
            {},
            r"got the steps {'0': 0\.001, '1': 0\.002} \[s\], expected the same",
        ),
        (
            nn.Linear(3, 3),
            {},
            r"got the steps {} \[s\], expected the same .* pass dt only for a net without",
        ),
        (
            nn.Conv1d(1, 1, 1),
            {"dt": DT},
            "does not decide the shape of its input: pass input_shape",
        ),
        (
            lif(),
            {"allow": {"soft"}},
            "allow must be one of 'soft-reset', 'delayed-reset', got 'soft'",
        ),
        (lif(), {"input_shape": (0,)}, "input_shape must be a whole number of at least 1, got 0"),
        (nn.Identity(), {"dt": DT, "input_shape": (3,)}, "a net with at least one node"),
    ],
)
def test_wrong_arguments_end_in_one_line(
    net: nn.Module, options: dict[str, Any], match: str
) -> None:
    with pytest.raises(ValueError, match=match):
        to_nir(net, **{"discretization": "exact", **options})


def test_something_else_than_a_module_is_an_error() -> None:
    with pytest.raises(TypeError, match="to_nir takes a torch module, got 3"):
        to_nir(3, discretization="exact")  # type: ignore[arg-type]  # the error is tested


def test_a_net_in_train_is_exported_as_in_eval() -> None:
    norm = TimeBatchNorm(3)
    norm.running_mean += 0.5
    net = SpikingSequential(DelayedSynapse(3, 3, 4, delays=1.4), Dropout(0.5), norm, lif())
    exported = export_net(net, discretization="exact")
    assert net[1].training
    assert "delays are rounded" in exported.notes[0]
    assert check(exported.graph, dt=DT, discretization="exact", net=net).is_equal
    assert graph_bytes(exported.graph) == graph_bytes(to_nir(net.eval(), discretization="exact"))


def test_the_net_is_not_changed() -> None:
    net = nets()["norms"]
    before = {name: value.clone() for name, value in net.state_dict().items()}
    to_nir(net, discretization="exact")
    after = net.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_scale_and_names_of_modules_are_kept() -> None:
    from collections import OrderedDict

    net = SpikingSequential(
        OrderedDict(dense=LIFSynapse(3, 4), scale=Scale(torch.rand(4)), hidden=lif(4))
    )
    graph = to_nir(net, discretization="euler")
    assert list(graph.nodes) == ["input", "dense", "scale", "hidden", "output"]
    assert check(graph, dt=DT, discretization="euler", net=net).is_equal
