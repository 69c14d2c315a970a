"""Layers and nets that several tests use: every kind of neuron layer by name, and nets of chips."""

import torch

from nwavesdk.layers import (
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Frontend,
    H1v2Layer,
    H1v2Synapse,
    HWLayer,
    LIFLayer,
    SpikingSequential,
)
from nwavesdk.surrogate import atan

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
