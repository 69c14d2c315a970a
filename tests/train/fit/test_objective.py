"""The base of tasks: the scale of outputs that are membranes."""

import pytest
import torch

from nwavesdk.layers import LILayer, prepare_net
from nwavesdk.train.fit.objective import MembraneDecoder

TAU, DT = 20e-3, 1e-3


def test_outputs_have_the_deviation_of_independent_charges() -> None:
    layer = LILayer(1, tau=TAU, dt=DT)
    prepare_net(layer)
    charges = torch.randn(50, 2000, 1, generator=torch.Generator().manual_seed(0))
    mem, _ = layer(charges)
    outputs = MembraneDecoder(TAU, DT)(mem, mem)
    assert outputs[:, 200:].std().item() == pytest.approx(1, abs=0.02)
