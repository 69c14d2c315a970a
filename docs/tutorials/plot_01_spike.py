"""
# 1. A spike and its gradient

A spiking neuron adds up its input, and spikes when its membrane passes a threshold. That step has
no useful derivative: it is flat everywhere but at the threshold. A surrogate is a smooth derivative
that takes its place when gradients are computed. The spike itself stays exact.
"""

# %%
# ## A neuron
#
# A leaky integrate-and-fire (LIF) neuron with a time constant of 20 ms, in steps of 1 ms. Input has
# the shape `[batch, time, neurons]`; so have the two results, spikes and membrane.

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk.surrogate import atan, fast_sigmoid

neuron = nw.LIFLayer(1, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid(slope=25.0))
drive = torch.full((1, 100, 1), 0.07)
drive[:, 50:] = 0.12
nw.prepare_net(neuron)  # resets the state: once before each batch
spikes, membrane = neuron(drive)
print("steps with a spike:", spikes.flatten().nonzero().flatten().tolist())

# %%
# The threshold is 1. A spike subtracts it, so no charge is lost, and a stronger drive means more
# spikes.

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(membrane.flatten().detach())
axes.vlines(spikes.flatten().nonzero().flatten(), 1.05, 1.25, color="tab:orange")
axes.axhline(1, color="lightgray")
axes.set(xlabel="time [ms]", ylabel="membrane after its reset")

# %%
# ## A derivative in its place
#
# With z the membrane minus the threshold, the derivative of the spike is 0 for every z but 0.
# Surrogates replace it. The wider a surrogate, the more steps pass a gradient; the narrower, the
# closer it is to the true derivative.

z = torch.linspace(-1, 1, 401)
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
for surrogate in (fast_sigmoid(slope=25.0), fast_sigmoid(slope=5.0), atan(alpha=2.0)):
    axes.plot(z, surrogate.derivative(z), label=str(surrogate))
axes.set(xlabel="z = membrane − threshold", ylabel="derivative")
axes.legend()

# %%
# ## It acts in backward alone
#
# The same drive with two surrogates: the spikes are the same, to the bit. The gradients differ.

for surrogate in (fast_sigmoid(slope=25.0), atan(alpha=2.0)):
    neuron = nw.LIFLayer(1, taus=20e-3, dt=1e-3, spike_grad=surrogate)
    x = drive.clone().requires_grad_()
    nw.prepare_net(neuron)
    spikes, _ = neuron(x)
    spikes.sum().backward()
    first = x.grad[0, 0, 0]
    print(f"{surrogate}: {int(spikes.sum())} spikes, gradient of the first input {first:.3f}")

# %%
# Read as a sentence: by how much would the number of spikes grow if the first input were larger?
# The surrogate decides how much of the way to a spike counts. [Which
# surrogate?](../../which-surrogate.md) measures what that means for training.
