"""
# 1. A spike and its gradient

A spiking neuron adds up its input, and spikes when its membrane passes a threshold. That step has
no useful derivative: it is flat everywhere but at the threshold. A surrogate is a smooth derivative
that takes its place when gradients are computed. The spike itself stays exact. The
[glossary](../../about/glossary.md) explains all terms.
"""

# %%
# ## A neuron
#
# A leaky integrate-and-fire (LIF) neuron with a time constant of 20 ms, in steps of 1 ms. Input has
# the shape `[batch, time, neurons]`; so have the two results, spikes and membrane. The input of a
# step is a *charge*: what it adds to the membrane. Between inputs the membrane falls, or leaks, by
# 63 % in 20 ms. A charge in each step is a *drive*: 0.07 here, and 0.12 from step 50 on.

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
# spikes. The layer returns the membrane after this reset, which here is never above the threshold.
# `record` also has the membrane before it, `u`, where you see how it crosses.

nw.prepare_net(neuron)
layer = nw.SpikingSequential(neuron).record(drive).layers["0"]
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(layer.u.flatten(), ".-", label="before the reset")
axes.plot(layer.mem.flatten(), "--", label="after it")
axes.vlines(layer.spk.flatten().nonzero().flatten(), 1.1, 1.3, color="tab:red", label="spike")
axes.axhline(1, color="lightgray")
axes.set(xlabel="time [ms]", ylabel="membrane", ylim=(-0.05, 1.8))
axes.legend(ncols=3, loc="upper left")

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


def gradient_of_first_input(**options):
    neuron = nw.LIFLayer(1, taus=20e-3, dt=1e-3, **options)
    x = drive.clone().requires_grad_()
    spikes, _ = neuron(x)
    spikes.sum().backward()
    print(
        f"{int(spikes.sum())} spikes, gradient of the first input {x.grad[0, 0, 0]:.2f}: {options}"
    )


for surrogate in (fast_sigmoid(slope=25.0), atan(alpha=2.0)):
    gradient_of_first_input(spike_grad=surrogate)

# %%
# ## What the number means
#
# How many spikes does a larger first input make in fact? A small increase makes none, so a finite
# difference is 0. An increase by 1, as much as the threshold, makes one more.

for more in (0.001, 1.0):
    x = drive.clone()
    x[0, 0] += more
    print(f"first input + {more}: {int(nw.LIFLayer(1, taus=20e-3, dt=1e-3)(x)[0].sum())} spikes")
gradient_of_first_input(spike_grad=atan(alpha=2.0), detach_reset=False)

# %%
# The gradient of 8.64 is neither 0 nor 1. It leaves out that a spike subtracts the threshold, and
# so makes the next one later: the reset is *detached*. With the reset included it is 0.80, near the
# true increase. Detached is the default because it is safer with steep surrogates
# ([Reset and detach](../../explanation/reset.md)). So a gradient is a direction in which to move,
# and its size is not a prediction. [Why a surrogate works](../../explanation/surrogates.md) says
# more, and [Which surrogate?](../../which-surrogate.md) measures what it means for training.
#
# ## Exercise
#
# Halve the time constant. How many spikes are left, and why?
#
# <details><summary>Solution</summary>Three, all after step 50. A constant charge x lets the
# membrane rise to x / (1 − exp(−dt/τ)). With 10 ms that is 0.74 for a charge of 0.07, which is
# below the threshold, and 1.26 for 0.12. A membrane that leaks faster remembers less.</details>
