"""The C function of a step has the bits of the serial solver, for every neuron."""

import ctypes
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.c.compilers import GCC, compile_c, needs_gcc
from nwavesdk.interop.c.step_text import step_function
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.catalogue import available_neurons, find_neuron

N_NEURONS, STEPS = 32, 400


def _layer(name: str) -> NeuronLayer:
    neuron = find_neuron(name)
    known = {"tau": 20e-3, "taus": 20e-3}
    values = {c.name: known[c.name] for c in neuron.constants.values() if c.name in known}
    return neuron.build(N_NEURONS, values, (), dt=1e-3)


def _drive(layer: NeuronLayer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A charge to which about 5 % of the steps spike, and the spikes and membranes of the layer."""
    rng = np.random.default_rng(0)
    best = None
    for gain in 10.0 ** np.arange(-2, 4, 0.2):
        x = rng.standard_normal((STEPS, N_NEURONS)).clip(0) * gain
        x = (x * (rng.random(x.shape) < 0.3)).astype(np.float32)
        with torch.no_grad():
            spk, mem = (y[0].numpy() for y in layer(torch.from_numpy(x)[None]))
        if not np.isfinite(mem).all():
            break
        distance = abs((spk > 0).mean() - 0.05)
        if best is None or distance < best[0]:
            best = distance, x, spk, mem
    assert layer.last_solver == "serial"
    return best[1:]


@needs_gcc
@pytest.mark.parametrize("name", available_neurons())
def test_a_step_has_the_bits_of_the_serial_solver(name: str, tmp_path: Path) -> None:
    layer = _layer(name)
    x, spk, mem = _drive(layer)
    step = layer.neuron.step
    states = np.repeat(np.float32(step.initial)[:, None], N_NEURONS, axis=1)
    with torch.no_grad():
        constants = np.stack([c.numpy() for c in layer.constants()]).astype(np.float32)

    pointers = [f"states + {k} * n + i" for k in range(len(states))]
    values = [f"constants[{k} * n + i]" for k in range(len(constants))]
    call = ", ".join(["x[t * n + i]", *pointers, *values])
    source = f"""#include "nwave_rt.h"
{step_function(layer.neuron, "step")}
void run(int steps, int n, const float *x, float *states, const float *constants, float *s,
         float *v)
{{
    for (int t = 0; t < steps; t++)
        for (int i = 0; i < n; i++) {{
            s[t * n + i] = step({call});
            v[t * n + i] = states[i];
        }}
}}
"""
    library = compile_c(tmp_path, {"step.c": source}, [GCC, "-O2", "-shared", "-fPIC"], "step.so")
    spikes, membranes = np.zeros_like(x), np.zeros_like(x)
    arrays = [x, states, constants, spikes, membranes]
    pointers = [ctypes.c_void_p(array.ctypes.data) for array in arrays]
    ctypes.CDLL(str(library)).run(STEPS, N_NEURONS, *pointers)

    if not layer.neuron.is_readout:
        assert 0.002 < (spk > 0).mean() < 0.9
    np.testing.assert_array_equal(spikes.view(np.uint32), spk.view(np.uint32))
    np.testing.assert_array_equal(membranes.view(np.uint32), mem.view(np.uint32))
