"""
# 1. A spike and its gradient

You will run one spiking neuron, compute its steps yourself, and look at the gradient that trains
it. At the end you know why a spike has no useful derivative, which function takes its place, and
how to read the number that comes out. The [glossary](../../about/glossary.md) explains all terms.

![A membrane that spikes, and the surrogate below it](../../pictures/moving.gif)
"""

# %%
# ## Why spikes?
#
# A neuron of an ordinary net sends a number in every step, and each number is multiplied by a
# weight for every neuron that it reaches. A spiking neuron sends 0 nearly always and 1 now and
# then. A 0 costs nothing. A 1 costs one addition per connection, because the weight is added as it
# is. Between spikes the neuron remembers: its membrane is a state that decays slowly. So such nets
# suit small devices and signals over time. The price is a hard threshold in each neuron, which
# gradients cannot cross.
#
# ## One neuron, step by step
#
# The leaky integrate-and-fire (LIF) neuron has one state, the membrane v. In each step:
#
# 1. The membrane decays, and the input x is added: u = decay · v + x. The input is a *charge*: the
#    amount by which it moves the membrane.
# 2. If u is above the threshold, here 1, the neuron spikes: s = 1, otherwise s = 0.
# 3. A spike subtracts the threshold: v = u − s.

import math

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk.surrogate import atan, fast_sigmoid

decay = math.exp(-1e-3 / 20e-3)  # for a step of 1 ms and a time constant of 20 ms
v = 0.0
for step in range(5):
    u = decay * v + 0.3
    s = float(u > 1)
    v = u - s
    print(f"step {step}: u = {u:.3f}, spike {s:.0f}, v = {v:.3f}")

# %%
# The fourth charge makes it spike. Each rise is smaller than the one before, because a higher
# membrane leaks more. Without input, a membrane falls by 63 % in 20 ms.
#
# ## The same as a layer
#
# `LIFLayer` does this for whole sequences and many neurons. The input has the shape
# `[batch, time, neurons]`; so have the two results, spikes and membrane.

neuron = nw.LIFLayer(1, taus=20e-3, dt=1e-3, spike_grad=fast_sigmoid(slope=25.0))
nw.prepare_net(neuron)  # resets the state: once before each batch
spikes, membrane = neuron(torch.full((1, 5, 1), 0.3))
print("spikes:  ", spikes.flatten().tolist())
print("membrane:", [round(value, 3) for value in membrane.flatten().tolist()])

# %%
# Now a longer input: a charge of 0.07 in each step, and 0.12 from step 50 on.

drive = torch.full((1, 100, 1), 0.07)
drive[:, 50:] = 0.12
nw.prepare_net(neuron)
spikes, membrane = neuron(drive)
print("steps with a spike:", spikes.flatten().nonzero().flatten().tolist())

# %%
# The layer returns the membrane after the reset, which here is never above the threshold. A record
# also has the membrane before the reset, `u`, so that you see how it crosses.

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
# A spike subtracts the threshold, so what exceeds it is not lost, and a stronger drive means more
# spikes.
#
# ## How often does it spike?
#
# The 200 neurons of a layer get 200 constant drives for one second. Below a drive of 1 − decay the
# leak wins, and the neuron never spikes. Above, the rate grows with the drive.

drives = torch.linspace(0, 0.3, 200)
many = nw.LIFLayer(200, taus=20e-3, dt=1e-3)
rates = many(drives.expand(1, 1000, 200))[0].sum(1).flatten()  # spikes in 1 s
print(f"1 − decay = {1 - decay:.3f}; weakest drive with a spike {drives[rates > 0][0]:.3f}")
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(drives, rates)
axes.axvline(1 - decay, color="lightgray")
axes.set(xlabel="charge in each step", ylabel="spikes per second")

# %%
# For gradient descent, this curve is a staircase: flat between two jumps. Where it is flat, the
# derivative is 0, so backpropagation learns nothing.
#
# ## A derivative in its place
#
# With z the membrane minus the threshold, the derivative of the spike is 0 for every z but 0. A
# *surrogate* is a smooth derivative that replaces it when gradients are computed: it is large where
# the membrane was near the threshold. The wider a surrogate, the more steps pass a gradient; the
# narrower, the closer it is to the true derivative.

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
# Each curve shows, for each step, how the number of spikes would change with the input of the step.

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")


def gradient_of_inputs(**options):
    neuron = nw.LIFLayer(1, taus=20e-3, dt=1e-3, **options)
    x = drive.clone().requires_grad_()
    spikes, _ = neuron(x)
    spikes.sum().backward()
    first = x.grad[0, 0, 0]
    print(f"{int(spikes.sum())} spikes, gradient of the first input {first:.2f}: {options}")
    return x.grad.flatten()


for surrogate in (fast_sigmoid(slope=25.0), atan(alpha=2.0)):
    axes.plot(gradient_of_inputs(spike_grad=surrogate), label=str(surrogate))
axes.set(xlabel="step of the input", ylabel="gradient")
axes.legend()

# %%
# An early input acts on all later membranes, weakened by the leak. So the gradients are larger at
# the start, and a wide surrogate adds up contributions from steps far from a spike.
#
# ## How to read the number
#
# How many spikes does a larger first input make in fact? A small increase makes none, so a finite
# difference is 0. An increase by 1, as much as the threshold, makes one more.

for more in (0.001, 1.0):
    x = drive.clone()
    x[0, 0] += more
    print(f"first input + {more}: {int(nw.LIFLayer(1, taus=20e-3, dt=1e-3)(x)[0].sum())} spikes")
gradient_of_inputs(spike_grad=atan(alpha=2.0), detach_reset=False)

# %%
# The gradient of 8.64 is neither 0 nor 1. It leaves out that a spike subtracts the threshold, and
# so delays the next one: the reset is *detached*. With the reset included it is 0.80, near the true
# increase. Detached is the default because it is safer with steep surrogates
# ([Reset and detach](../../explanation/reset.md)). So a gradient is a direction in which to move,
# and its size is not a prediction. [Why a surrogate works](../../explanation/surrogates.md) says
# more, and [Which surrogate?](../../which-surrogate.md) measures the effect on training.
#
# ## Exercise
#
# Halve the time constant of the neuron above, which got 0.07 and then 0.12. How many spikes are
# left, and why? Decide before you read on.
#
# ## Answer
#
# A constant charge x lets the membrane rise to x / (1 − decay). Compare this with the threshold.

fast = nw.LIFLayer(1, taus=10e-3, dt=1e-3)
print("steps with a spike:", fast(drive)[0].flatten().nonzero().flatten().tolist())
for charge in (0.07, 0.12):
    print(f"charge {charge}: the membrane rises to {charge / (1 - math.exp(-0.1)):.2f}")

# %%
# The weak drive stays below the threshold for ever. A membrane that leaks faster remembers less.
# Next, you will train [a first net](plot_02_digits.md).
