"""
# 12. Write your own neuron

You will write one step of a neuron as a Python function of three lines, watch how it spikes, train
it, and see which texts are rejected. The library derives the gradient and the compiled kernels from
the text of the function.
"""

# %%
# ## One step in three lines
#
# The arguments are the charge of the step, then the states, then the constants after `*`, each with
# its kind. This neuron adapts: its threshold rises with its spikes, by the state `a`.

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk.layers import PageError, Positive, Real, TimeConstant, decay, held, neuron, spike
from nwavesdk.loss import van_rossum_distance
from nwavesdk.surrogate import atan


@neuron
def AdaptiveLayer(
    x,
    v,
    a,
    *,
    tau: TimeConstant = 20e-3,
    tau_a: TimeConstant = 0.1,
    threshold: Positive = 1.0,
    kappa: Real = 2.0,
):
    """A leaky neuron whose threshold rises with its spikes."""
    u = decay(tau) * v + x
    s = spike(u - threshold - kappa * a)
    return s, u - threshold * held(s), decay(tau_a) * a + (1 - decay(tau_a)) * s


print(AdaptiveLayer(1, learn=("kappa", "tau_a")))

# %%
# `decay(tau)` is exp(−dt/τ). `spike(z)` is 1 where z > 0, with the gradient of a surrogate. No
# gradient flows through `held`, here through the reset.
#
# ## What it does
#
# The same constant drive, without and with adaptation. `record` has every state by its name.

drive = torch.full((1, 400, 1), 0.12)
figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, sharey=True, layout="constrained")
for axis, kappa in zip(axes, (0.0, 10.0), strict=True):
    single = nw.SpikingSequential(AdaptiveLayer(1, kappa=kappa))
    nw.prepare_net(single)
    record = single.record(drive).layers["0"]
    states = {name: value.flatten().detach() for name, value in record.states.items()}
    print(f"kappa {kappa:g}: {int(record.spk.sum())} spikes in 400 steps")
    axis.plot(states["v"], label="v, after its reset")
    axis.plot(1 + kappa * states["a"], label="threshold + kappa · a")
    axis.eventplot(record.spk.flatten().nonzero().flatten(), lineoffsets=2.6, linelengths=0.4)
    axis.set(title=f"kappa = {kappa:g}", ylabel="membrane")
axes[1].set_xlabel("time [ms]")
axes[0].legend(loc="center right")

# %%
# ## Learn its constants
#
# A teacher neuron has constants that the student does not know. Both get the same random charges.
# The student learns to spike when the teacher does; the van Rossum distance compares their spikes.

torch.manual_seed(0)
teacher = AdaptiveLayer(1, tau_a=0.05, kappa=4.0)
student = AdaptiveLayer(1, learn=("kappa", "tau_a"), spike_grad=atan(alpha=2.0))
charges = 0.2 * torch.rand(32, 300, 1)
nw.prepare_net(teacher)
wanted, _ = teacher(charges)
optimizer = torch.optim.Adam(student.parameters(), 0.05)
course = []
for step in range(121):
    nw.prepare_net(student)
    spikes, _ = student(charges)
    loss = van_rossum_distance(spikes, wanted, tau=20e-3)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    kappa, tau_a = student.constant("kappa").item(), student.constant("tau_a").item()
    course.append((loss.item(), kappa, 1e3 * tau_a))
    if step % 40 == 0:
        print(f"step {step:3}: distance {loss.item():.3f}, kappa {kappa:.2f}, tau_a {tau_a:.3f} s")

figure, axes = plt.subplots(1, 3, figsize=(8, 2.5), layout="constrained")
aims = {"distance": 0, "kappa": 4, "tau_a [ms]": 50}
for k, (label, aim) in enumerate(aims.items()):
    axes[k].plot([row[k] for row in course])
    axes[k].axhline(aim, color="lightgray")
    axes[k].set(xlabel="step", ylabel=label)

# %%
# Gray lines are the teacher. A learned constant stays in the range of its kind: `tau_a` is stored
# as its logarithm, so it remains above 0. In a net, the layer takes the place of any other. Initial
# weights for LIF neurons suit it times `nwavesdk.init.charge_gain(AdaptiveLayer)`.
#
# ## What is rejected
#
# A text that the library cannot differentiate is an error, when the function is defined.

try:

    @neuron
    def RectifiedLayer(x, v, *, tau: TimeConstant = 20e-3):
        u = max(decay(tau) * v + x, 0.0)
        return spike(u - 1), u

except PageError as error:
    print(error)

# %%
# `torch.maximum(u, 0.0)` is accepted. [Write your own neuron](../../your-neuron.md) lists every
# such error with its remedy, the words of a page, and what runs it on which device.
#
# ## Exercise
#
# Write a leaky neuron that resets to 0, not by subtraction. Does it spike more or less often?
#
# ## Answer


@neuron
def ZeroedLayer(x, v, *, tau: TimeConstant = 20e-3):
    u = decay(tau) * v + x
    s = spike(u - 1)
    return s, u * (1 - held(s))


for layer in (nw.LIFLayer(1, taus=20e-3), ZeroedLayer(1)):
    nw.prepare_net(layer)
    print(type(layer).__name__, int(layer(charges)[0].sum()), "spikes")
