"""Nets of chip modules for the tests of this folder."""

import torch

from nwavesdk.chip import load_profile
from nwavesdk.layers import SpikingSequential, family_of, project


def chip_net(
    chip="h1v2", sizes=(50, 20), n_inputs=16, bits=5, mismatch=False, recurrent=(), frontend=True
):
    """Front end and its neurons, then a synapse and a layer for each of `sizes`.

    The chip can store the weights.
    """
    profile = load_profile(chip)
    family = family_of(profile)
    noisy = {"stddev": 0.05} if mismatch and profile.text("neuron") == "h1v1" else {}
    modules = []
    before = n_inputs
    if frontend:
        modules += [
            family.frontend(n_inputs, bits, **noisy),
            family.layer(n_inputs, 20e-3, ileak_mismatch=mismatch),
        ]
    for i, size in enumerate(sizes):
        within = {"layer_topology": "RC", "quantization_bits": bits, "stddev": noisy.get("stddev")}
        options = within if i in recurrent else {}
        modules.append(family.synapse(before, size, bits, **noisy))
        modules.append(family.layer(size, 10e-3, ileak_mismatch=mismatch, **options))
        before = size
    net = SpikingSequential(*modules)
    project(net)
    return net.eval()


def sound(*shape):
    """Values like rectified channels: mostly small, never negative."""
    return 2 * torch.rand(*shape) ** 3
