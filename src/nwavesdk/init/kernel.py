"""The postsynaptic potential of a layer's neurons, measured: what one unit of charge does to the membrane."""

import copy

import torch
from torch import Tensor

from nwavesdk.chip import Noise
from nwavesdk.layers import NeuronLayer

__all__ = ["free_membrane", "psp_kernel"]

_PROBE = 1e-3  # thresholds: far below a spike, and small against any curvature
_DECAYED = 1e-6
_CHUNK, _LONGEST = 256, 1 << 17


@torch.no_grad()
def psp_kernel(layer: NeuronLayer) -> Tensor:
    """Membrane after a charge of 1 in step 0, [steps, N] in float64, until a millionth of its peak is left.

    It is measured on a copy of the layer from rest without mismatch, so it knows nothing of the neuron's equations.

    Raises:
        RuntimeError: the membrane has not decayed after 131,072 steps.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> psp_kernel(LIFLayer(1, taus=1e-3))[:3].flatten()
        tensor([1.0000, 0.3679, 0.1353], dtype=torch.float64)
    """
    probe = _copy(layer)
    charge = _PROBE * probe.constants(torch.float64)[1]
    x = charge.new_zeros(1, _CHUNK, charge.numel())
    x[0, 0] = charge
    parts: list[Tensor] = []
    peak = 0.0
    while not parts or float(parts[-1][-1].abs().max()) > _DECAYED * peak:
        if len(parts) * _CHUNK >= _LONGEST:
            raise RuntimeError(
                f"{type(layer).__name__}: the membrane has not decayed {_LONGEST} steps after a charge: shorten taus, "
                f"or lengthen dt ({layer.dt:g} s)."
            )
        _, mem = probe(x.reshape(1, _CHUNK, *layer.features))
        parts.append(mem.reshape(_CHUNK, -1) / charge)
        peak = max(peak, float(parts[-1].abs().max()))
        x = torch.zeros_like(x)
    return torch.cat(parts)


@torch.no_grad()
def free_membrane(layer: NeuronLayer, cur: Tensor) -> Tensor:
    """Membrane [B, T, *features] under the charge `cur` if the threshold were out of reach; nothing is recurrent."""
    probe = _copy(layer)
    probe.thresholds.fill_(1e30)
    probe.prepare(Noise(ideal=True), keep_state=False)
    mem: Tensor = probe(cur)[1]
    return mem


def _copy(layer: NeuronLayer) -> NeuronLayer:
    probe = copy.deepcopy(layer)
    probe.solver = "auto"  # all give the same membrane, and this one asks nothing of the length
    probe.set_device("cpu")
    probe.prepare(Noise(ideal=True), keep_state=False)
    return probe
