"""
# 14. Exchange nets through NIR

You will write a net as a NIR graph, which other libraries and chips read, compare every
spike of the file with the net, and read the file back. It needs the extra `interop`:
`pip install '.[interop]'`, in a clone. Without it, this page shows the code only.
"""

# %%
# ## Time has to be given
#
# [NIR](https://neuroir.org) describes neurons by equations that are continuous in time. A file says
# neither how long a step is nor how an equation is solved. For one step of dt, the decay of a
# membrane is exp(−dt/τ) by the exact solution, and 1 − dt/τ by Euler's.

import importlib.util
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import nwavesdk as nw
from nwavesdk import plot

tau = 20  # [ms]
dt = np.linspace(0.1, 10)
figure, axes = plt.subplots(figsize=(5, 2.5), layout="constrained")
axes.plot(dt, np.exp(-dt / tau), label="exact")
axes.plot(dt, 1 - dt / tau, label="Euler")
axes.set(xlabel="step dt [ms]", ylabel="decay for τ = 20 ms")
axes.legend()

# %%
# Libraries for training use one or the other. You say which one; nothing is guessed.
#
# ## A net that NIR has
#
# NIR resets to a value, so neurons need `reset_mechanism="zero"`. A reset by subtraction is an
# error, unless you allow it. The weights are random here; trained ones are written in the same way.

has_nir = importlib.util.find_spec("nir") is not None
if not has_nir:
    print("The package nir is missing: pip install '.[interop]'. Nothing below runs.")

torch.manual_seed(0)
net = nw.SpikingSequential(
    nw.LIFSynapse(16, 32),
    nw.LIFLayer(32, taus=20e-3, reset_mechanism="zero"),
    nw.LIFSynapse(32, 8),
    nw.LIFLayer(8, taus=10e-3, reset_mechanism="zero"),
)
x = torch.bernoulli(torch.full((1, 200, 16), 0.1))
nw.prepare_net(net)
spikes, _ = net(x)
print("spikes of the net:", int(spikes.sum()))

# %%
# ## Write, check, read
#
# `check` runs the graph with a second reader, NumPy in float64 straight from the equations, and
# compares all spikes of all layers.

if has_nir:
    import nir

    from nwavesdk.interop.nir import check, from_nir, to_nir

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "net.nir"
        nir.write(file, to_nir(net, discretization="exact"))
        print(check(file, dt=1e-3, discretization="exact", net=net, x=x))
        again = from_nir(file, dt=1e-3, discretization="exact")
    print(again)
    nw.prepare_net(again)
    print("spikes that differ:", int((again(x)[0] != spikes).sum()))

# %%
# ## The wrong method
#
# Read by Euler's method, the same file is another net: the decays differ, and so do spikes.

if has_nir:
    other = from_nir(to_nir(net, discretization="exact"), dt=1e-3, discretization="euler")
    nw.prepare_net(other)
    other_spikes, _ = other(x)
    print("spikes that differ:", int((other_spikes != spikes).sum()))

    figure, axes = plt.subplots(1, 2, figsize=(8, 2.5), sharey=True, layout="constrained")
    plot.raster(spikes[0], axes[0], dt=1e-3).set_title("exact, as exported")
    plot.raster(other_spikes[0], axes[1], dt=1e-3).set_title("Euler")

# %%
# ## Exercise
#
# Euler's error grows with dt/τ. Do neurons that are 10 or 100 times slower agree better?
#
# ## Answer

if has_nir:
    for tau in (0.01, 0.1, 1.0):
        layer = nw.LIFLayer(32, taus=tau, reset_mechanism="zero")
        graph = to_nir(nw.SpikingSequential(net[0], layer), discretization="exact")
        spikes = []
        for method in ("exact", "euler"):
            again = from_nir(graph, dt=1e-3, discretization=method)
            nw.prepare_net(again)
            spikes.append(again(x)[0])
        differences = int((spikes[0] != spikes[1]).sum())
        print(f"τ = {tau:g} s: {differences} differences, {int(spikes[0].sum())} spikes")
