"""Neuron layers of the chips: time constants, mismatch, and the same numbers on every solver."""

import pytest
import torch

from layers.nets import CHIPS, chip_net
from nwavesdk.layers import H1v1Layer, H1v2Layer, HWLayer, prepare_net
from nwavesdk.layers.noise import Noise
from pairwise import pairwise
from tolerances import GRADIENT, assert_close

DRIVES = {
    "one step": lambda: 4 * torch.rand(3, 1, 16, dtype=torch.float64),
    "1000 steps": lambda: 4 * torch.rand(2, 1000, 16, dtype=torch.float64),
    "batch of one": lambda: 4 * torch.rand(1, 40, 16, dtype=torch.float64),
    "no spikes": lambda: torch.zeros(2, 40, 16, dtype=torch.float64),
    "all spikes": lambda: torch.full((2, 40, 16), 1e3, dtype=torch.float64),
}


def run_on_chip_5(net, x):
    """Spikes of every layer and all gradients on chip number 5."""
    x = x.clone().requires_grad_()
    prepare_net(net, seed=5)
    recording = net.record(x)
    (
        recording.mem.square().mean() + sum(layer.spk.mean() for layer in recording.layers.values())
    ).backward()
    grads = {"x": x.grad, **{name: p.grad for name, p in net.named_parameters()}}
    net.zero_grad(set_to_none=True)
    return [layer.spk.detach() for layer in recording.layers.values()], grads


@pytest.mark.parametrize(
    "case", pairwise(chip=[*CHIPS], topology=["FF", "RC"], drive=[*DRIVES]), ids=str
)
def test_spikes_and_gradients_with_mismatch_and_quantization_are_the_same_on_every_solver(case):
    chip, topology, drive = case.values()
    nets = [chip_net(chip, topology=topology, solver="reference").double()]
    solvers = ["serial"] if topology == "RC" else ["serial", "compasso"]
    for solver in solvers:
        nets.append(
            chip_net(chip, topology=topology, solver=solver, compasso_spike_grad="layer").double()
        )
        nets[-1].load_state_dict(nets[0].state_dict())
    x = DRIVES[drive]()
    spikes, grads = run_on_chip_5(nets[0], x)
    total = sum(s.sum() for s in spikes)
    assert total == 0 if drive == "no spikes" else total > 0
    if drive == "all spikes":
        assert bool((spikes[0] == 1).all())
    for net in nets[1:]:
        other_spikes, other_grads = run_on_chip_5(net, x)
        for s, expected in zip(other_spikes, spikes, strict=True):
            assert torch.equal(s, expected)
        for name, expected in grads.items():
            assert_close(other_grads[name], expected, GRADIENT, name)


def test_h1v2_taus_snap_to_the_nearest_of_the_chip_by_ratio():
    """11.27 ms: by difference 10 ms would be nearer than 12.6."""
    layer = H1v2Layer(4, torch.tensor([0.0005, 0.0206, 0.5, 11.27e-3]))
    torch.testing.assert_close(layer.taus, torch.tensor([0.001, 0.02, 0.2, 12.6e-3]))


def test_more_leak_current_is_a_shorter_time_constant():
    layer = H1v1Layer(8, taus=20e-3, ileak_mismatch=True)
    prepare_net(layer, seed=3)
    expected = 20e-3 / torch.exp(0.1 * Noise.of(3, 0).normal((8,)))
    assert torch.allclose(layer.effective_constants()["tau"].float(), expected)


def test_leak_mismatch_spreads_taus_and_h1v2_also_thresholds():
    for make, spread in ((HWLayer, 0.0), (H1v2Layer, 0.02)):
        layer = make(5000, 20e-3, ileak_mismatch=True)
        prepare_net(layer, seed=0)
        decay, threshold = layer.constants()
        assert (-1e-3 / decay.log()).log().std().item() == pytest.approx(0.1, rel=0.05)
        assert threshold.std().item() == pytest.approx(spread, rel=0.05, abs=1e-7)
