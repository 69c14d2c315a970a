"""Gradients from a recorded pass equal the gradients of whole passes under autograd."""

import pytest
import torch
from torch.nn.utils import prune

from analysis.slopes.nets import (
    CANDIDATES,
    N,
    by_layer,
    chip_net,
    input_charge,
    lif_net,
    loss_fn,
    whole_pass,
)
from layers.pages import AdaptiveLayer, LILayer
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.net import Branches, Feedback, Residual, record
from nwavesdk.surrogate import atan, fast_sigmoid
from tolerances import GRADIENT, assert_close

# Each net with the candidates that are tried on it. Most run on the reference, because each
# surrogate is another kernel to compile, and the solvers' tests cover the kernels.
PLAIN = {"solver": "reference"}
NETS = {
    "subtraction": (lambda: lif_net(True), ("steep", "mixed")),
    "subtraction, full": (lambda: lif_net(False, **PLAIN), ("custom",)),
    "zero": (lambda: lif_net(False, reset_mechanism="zero", **PLAIN), ("gentle",)),
    "none": (lambda: lif_net(True, reset_mechanism="none", **PLAIN), ("atan",)),
    "recurrent": (lambda: lif_net(False, layer_topology="RC"), ("gentle",)),
    "recurrent, detached": (lambda: lif_net(True, layer_topology="RC", **PLAIN), ("sigmoid",)),
    "comPaSSo": (
        lambda: lif_net(True, solver="compasso", compasso_spike_grad="layer"),
        ("steep", "mixed"),
    ),
    "bfloat16": (lambda: lif_net(True, saved_dtype="bfloat16"), ("steep",)),
    "h1v1": (lambda: chip_net(1, False, **PLAIN), ("atan",)),
    "h1v2": (lambda: chip_net(2, True, **PLAIN), ("sigmoid", "mixed")),
    "h1v2 recurrent": (lambda: chip_net(2, False, "RC", **PLAIN), ("custom",)),
}


@pytest.mark.parametrize("name", NETS)
def test_gradients_are_those_of_whole_passes(name):
    make, names = NETS[name]
    net = make().double().eval()
    x = input_charge()
    recorded = RecordedPass(net, x, loss_fn, seed=4)
    assert all(record.spk.sum() for record in recorded.records), "a silent layer tests nothing"

    for candidate in names:
        chosen = by_layer(CANDIDATES[candidate])
        gradients = dict(recorded.gradients(chosen))
        expected = whole_pass(net, x, chosen, seed=4)
        for name, charge in zip(recorded.names, expected, strict=True):
            assert_close(gradients[name], charge, GRADIENT, f"charge of layer {name}")


class Crossed(torch.nn.Module):
    """A net of a user, with two paths, a shared synapse and an inner membrane."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.out = (LIFLayer(n, 8e-3) for n in (5, 5, 4))
        self.up, self.shared = LIFSynapse(N, 5), LIFSynapse(5, 5)
        self.join, self.behind = torch.nn.Linear(10, 4), torch.nn.Linear(4, 3)

    def forward(self, x):
        spk, mem = self.first(self.up(x))
        later, _ = self.second(self.shared(spk))
        spk, _ = self.out(self.join(torch.cat([later, mem + self.shared(spk)], -1)))
        return self.behind(spk)


def branched():
    block = Residual(LIFSynapse(8, 8), LIFLayer(8, 8e-3), LIFSynapse(8, 8), LIFLayer(8, 8e-3))
    sides = [SpikingSequential(LIFSynapse(N, 4), LIFLayer(4, tau)) for tau in (5e-3, 20e-3)]
    return SpikingSequential(Branches(*sides), block, torch.nn.Linear(8, 3), LIFLayer(3, 8e-3))


def adjacent():
    """The spikes of the first layer are the charge of the second one, the same tensor."""
    return SpikingSequential(
        LIFSynapse(N, 5), LIFLayer(5, 8e-3), torch.nn.Identity(), LIFLayer(5, 8e-3)
    )


def pruned():
    """Convolved, delayed and pruned charges."""
    net = SpikingSequential(
        torch.nn.Unflatten(1, (1, N)), torch.nn.Conv1d(1, 2, 3), LIFLayer((2, N - 2), 8e-3),
        torch.nn.Flatten(), torch.nn.Linear(2 * (N - 2), 4),
        LIFLayer(4, 8e-3, layer_topology="RC"), DelayedSynapse(4, 3, 3), LIFLayer(3, 8e-3),
    )  # fmt: skip
    for index, key in ((1, "weight"), (4, "weight"), (5, "recurrent_weights"), (6, "weight")):
        prune.l1_unstructured(net[index], key, 0.4)
    return net


@pytest.mark.parametrize("make", [Crossed, branched, adjacent, pruned])
def test_layers_may_be_connected_in_any_way(make):
    torch.manual_seed(1)
    net = make().double()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(2)
    x = input_charge()

    def loss_of(spk, mem):
        return loss_fn(spk[..., :3], mem[..., :3])

    recorded = RecordedPass(net, x, loss_of)
    assert all(layer.spk.any() for layer in recorded.records)
    compare_with_autograd(recorded, net, x, loss_of)


def compare_with_autograd(recorded, net, x, loss):
    """Compare the gradients of all charges with a whole pass under autograd."""
    chosen = [fast_sigmoid(2 + index) for index in range(len(recorded.names))]
    gradients = dict(recorded.gradients(chosen))
    assert [*gradients] == [*reversed(recorded.names)]

    for name, surrogate in zip(recorded.names, chosen, strict=True):
        net.get_submodule(name).spike_grad = surrogate
    prepare_net(net)
    recording = record(net, x.requires_grad_(), charges=True)
    for layer in recording.layers.values():
        layer.cur.retain_grad()
    loss(recording.spk, recording.mem).backward()

    for name, charge in gradients.items():
        assert_close(charge, recording.layers[name].cur.grad, GRADIENT, name)


def test_read_outs_pass_gradients_and_have_no_surrogate():
    net = SpikingSequential(
        LIFSynapse(N, 5),
        AdaptiveLayer(5, tau=8e-3),
        LIFSynapse(5, 4),
        LILayer(4),
        LIFSynapse(4, 4),
        AdaptiveLayer(4, tau=8e-3),
        LIFSynapse(4, 2),
        LILayer(2),
    ).double()
    x = input_charge()
    for layer in (net[1], net[3], net[5], net[7]):
        layer.solver = "reference"
    recorded = RecordedPass(net, x, loss_fn)
    assert recorded.names == ("1", "5")
    compare_with_autograd(recorded, net, x, loss_fn)


def test_other_modules_with_parameters_are_listed_as_uncovered():
    net = lif_net().double().eval()
    net.insert(5, torch.nn.LayerNorm(5).double())
    assert RecordedPass(net, input_charge(), loss_fn).uncovered == ("5",)


def test_invalid_nets_inputs_and_losses_are_refused():
    net = lif_net().double().eval()
    x = input_charge()
    with pytest.raises(TypeError, match="recorded in a torch module, got 'net'"):
        RecordedPass("net", x, loss_fn)

    steps = Feedback(LIFSynapse(N, N), LIFLayer(N, 8e-3)).double()
    synapse = SpikingSequential(LIFSynapse(N, 3)).double()
    for given, charge, loss, words in (
        (steps, x, loss_fn, "Feedback runs 'body.1' step by step"),
        (net, x[0], loss_fn, r"sequences \[B, T, \*features\], got an input of shape \[40, 6\]"),
        (synapse, x, loss_fn, "no neuron layer"),
        (net, x, lambda *_: torch.zeros(()), "depends on the outputs of the net"),
        (
            *(net, x, lambda *_: torch.zeros((), requires_grad=True)),
            "the loss does not depend on the net's neuron layers",
        ),
    ):
        with pytest.raises(ValueError, match=words):
            RecordedPass(given, charge, loss)
    with pytest.raises(ValueError, match="has 3 neuron layers, got 2 surrogates"):
        next(RecordedPass(net, x, loss_fn).gradients([atan(2)] * 2))
