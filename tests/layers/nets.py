"""Layers of every kind, by name, for laws that all of them must keep."""

import torch

from nwavesdk.layers import H1v2Layer, HWLayer, LIFLayer

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


def drive(*shape, dtype=torch.float32):
    return 0.5 * torch.randn(*shape, dtype=dtype) + 0.1
