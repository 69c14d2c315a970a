"""Layers and nets that several tests use: every kind of neuron layer by name, and nets of chips."""

import torch

from nwavesdk.layers import (
    AdLIFLayer,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    LIFLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom

TAUS = 15e-3

LAYERS = {
    "lif_subtraction": lambda n, **k: LIFLayer(n, TAUS, **k),
    "lif_zero": lambda n, **k: LIFLayer(n, TAUS, reset_mechanism="zero", **k),
    "lif_none": lambda n, **k: LIFLayer(n, TAUS, reset_mechanism="none", **k),
    "h1v1": lambda n, **k: HWLayer(n, TAUS, **k),
    "h1v2": lambda n, **k: H1v2Layer(n, TAUS, **k),
}
RESET = {
    "lif_subtraction": "subtraction",
    "lif_zero": "zero",
    "lif_none": "none",
    "h1v1": "zero",
    "h1v2": "subtraction",
}
CLAMPED = {"h1v1", "h1v2"}
# For tests of recurrence in which the reset does not matter: fewer kernels are compiled.
RECURRENT_KINDS = ["lif_subtraction", "h1v1"]


def run(module, x):
    """A call after `prepare_net`."""
    prepare_net(module)
    return module(x)


def drive(*shape, dtype=torch.float32):
    return 0.5 * torch.randn(*shape, dtype=dtype) + 0.1


CHIPS = {
    "h1v1": (H1v1Frontend, H1v1Synapse, H1v1Layer),
    "h1v2": (H1v2Frontend, H1v2Synapse, H1v2Layer),
}


def chip_net(chip, bits=5, mismatch=True, topology="FF", **layer_options):
    frontend, synapse, layer = CHIPS[chip]
    noisy = {"stddev": 0.05} if mismatch and chip == "h1v1" else {}
    options = {"ileak_mismatch": mismatch, "spike_grad": atan(), **layer_options}
    hidden = dict(options)
    if topology == "RC":
        hidden |= {
            "layer_topology": "RC",
            "quantization_bits": bits,
            "stddev": 0.05 if mismatch else None,
        }
    return SpikingSequential(
        frontend(16, quantization_bits=bits, **noisy), layer(16, 20e-3, **options),
        synapse(16, 12, quantization_bits=bits, **noisy), layer(12, 10e-3, **hidden),
        synapse(12, 6, quantization_bits=bits, **noisy), layer(6, 10e-3, **options),
    )  # fmt: skip


def by_channel(features, low, high):
    return torch.linspace(low, high, features[0]).reshape(-1, *[1] * (len(features) - 1))


def by_neuron(features, low, high):
    return torch.linspace(low, high, torch.Size(features).numel()).reshape(features)


# Layers of these features that run in different ways.
VARIANTS = {
    "lif": lambda f: LIFLayer(f, TAUS),
    "zero": lambda f: LIFLayer(f, TAUS, 0.8, "zero"),
    "channel": lambda f: LIFLayer(f, by_channel(f, 5e-3, 30e-3), by_channel(f, 0.6, 1.2)),
    "neuron": lambda f: LIFLayer(f, by_neuron(f, 5e-3, 30e-3), by_neuron(f, 0.6, 1.2)),
    "learned": lambda f: LIFLayer(
        f,
        by_channel(f, 5e-3, 30e-3),
        by_neuron(f, 0.6, 1.2),
        learn_taus=True,
        learn_thresholds=True,
    ),
    "shared": lambda f: LIFLayer(f, TAUS, learn_taus=True, learn_thresholds=True),
    "readout": lambda f: LIFLayer(f, TAUS, reset_mechanism="none"),
    "several states": lambda f: AdLIFLayer(f, tau=by_channel(f, 5e-3, 2e-2), learn="tau"),
    "chip": lambda f: H1v1Layer(f, TAUS, ileak_mismatch=True),
    "recurrent": lambda f: LIFLayer(f, TAUS, layer_topology="RC"),
    "without a formula": lambda f: LIFLayer(
        f, TAUS, spike_grad=custom(lambda z: 1 / (1 + 9 * z.abs()))
    ),
    "half saved": lambda f: LIFLayer(f, by_channel(f, 5e-3, 9e-3), saved_dtype="bfloat16"),
    "reference": lambda f: LIFLayer(f, by_channel(f, 5e-3, 9e-3), solver="reference"),
    "parallel": lambda f: LIFLayer(f, by_channel(f, 5e-3, 9e-3), device="gpu"),
}
