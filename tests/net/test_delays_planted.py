"""Delays that made the data come back in training."""

import torch

from nwavesdk.layers import DelayedSynapse, LIFLayer, SpikingSequential, prepare_net
from nwavesdk.net import narrow_delays, rounding_change

INPUTS, OUTPUTS, MAX_DELAY, STEPS = 8, 6, 15, 150


def readout(**options):
    return SpikingSequential(
        DelayedSynapse(INPUTS, OUTPUTS, MAX_DELAY, **options),
        LIFLayer(OUTPUTS, taus=5e-3, reset_mechanism="none"),
    )


def error(net, teacher):
    """Squared distance of the membranes for new spikes, by the variance of the teacher's."""
    x = (torch.rand(16, 60, INPUTS) < 0.1).float()
    prepare_net(net)
    prepare_net(teacher)
    with torch.no_grad():
        expected = teacher(x)[1]
    return (net(x)[1] - expected).square().mean() / expected.var()


def test_planted_delays_come_back():
    torch.manual_seed(0)
    teacher = readout(learn_delays=False).eval()
    student = readout(interpolation="gaussian")
    optimizer = torch.optim.Adam(student.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=STEPS)
    for i in range(STEPS):
        narrow_delays(student, min(1, 2 * i / STEPS))
        loss = error(student, teacher)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()

    planted = teacher[0].weight.detach()
    matters = planted.abs() > 0.1 * planted.abs().max()
    distance = (student[0].delays - teacher[0].delays).abs()[matters]
    assert (distance <= 1).float().mean() >= 0.95
    # Rounded delays are the planted ones, so the error falls to the error of the weights.
    change = rounding_change(student, lambda net: error(net, teacher))
    assert change.rounded < 0.5 * change.interpolated < 0.01
