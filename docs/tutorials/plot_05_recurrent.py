"""
# 5. Memory: recurrent and adaptive nets

You will train three nets on a task that cannot be solved from the present input alone. You will see
what recurrent weights, and neurons that adapt, add to plain LIF neurons.
"""

# %%
# ## Three kinds of memory
#
# An input that looks the same now can mean different things, depending on what came before. A net
# needs a memory to tell them apart. A spiking net has up to three:
#
# - The **membrane** forgets with its time constant: after 100 ms, a membrane with 20 ms keeps less
#   than 1 % of what it had, and a membrane with 320 ms keeps 73 %.
# - **Recurrent weights** send the spikes of a layer back to it, one step later. The layer can then
#   keep a pattern going, or switch between patterns, for much longer than a membrane remembers.
# - A neuron that **adapts** has a second, slower state. It remembers how active the neuron was.
#
# ## A heartbeat to divide
#
# The task is as with the electrocardiograms of [your own data](../../data.md): name the segment of
# the beat for each step, P, PQ, QR, RS, ST or TP. The signal is flat in PQ, in TP and at the start
# of ST: to tell these apart, a net must remember what came before. This script makes its own
# beats: bumps for P, R, S and T, beats of different lengths, and noise.

import matplotlib.pyplot as plt
import torch

from nwavesdk.encoding import encode_delta
from nwavesdk.init import charge_gain
from nwavesdk.layers import AdLIFLayer, LIFLayer, LIFSynapse, LILayer, SpikingSequential

SEGMENTS = ["P", "PQ", "QR", "RS", "ST", "TP"]
ENDS = torch.tensor([0.12, 0.20, 0.24, 0.28, 0.60, 1.0])  # of the segments [share of a beat]
BUMPS = [(0.06, 0.02, 0.2), (0.24, 0.012, 1.0), (0.27, 0.012, -0.4), (0.5, 0.04, 0.3)]
STEPS, DT = 200, 10e-3


def draw_batch(count):
    beat = 0.6 + 0.5 * torch.rand(count, 1)  # length of a beat [s]
    phase = (torch.arange(STEPS) * DT / beat + torch.rand(count, 1)) % 1
    signal = 0.02 * torch.randn(count, STEPS)
    for center, width, height in BUMPS:
        signal = signal + height * torch.exp(-((phase - center) ** 2) / (2 * width**2))
    return signal[..., None], torch.bucketize(phase, ENDS, right=True)


# %%
# ## From a signal to spikes
#
# `encode_delta` turns the signal into spikes of two kinds: a spike of the first for each rise by
# 0.1, and one of the second for each fall by 0.1. Where the signal is flat, spikes are rare: there
# the net must know from its memory where in the beat it is.

torch.manual_seed(0)
signal, segment = draw_batch(200)
spikes = encode_delta(signal, threshold=0.1)
time = torch.arange(STEPS) * DT
figure, axes = plt.subplots(3, 1, figsize=(7, 4), sharex=True, layout="constrained")
axes[0].plot(time, signal[0])
axes[0].set(ylabel="signal")
axes[1].plot(time, spikes[0], label=["up", "down"])
axes[1].set(ylabel="spikes per step")
axes[1].legend()
axes[2].step(time, segment[0])
axes[2].set(xlabel="time [s]", yticks=range(6), yticklabels=SEGMENTS, ylabel="segment")

# %%
# ## Three nets
#
# They differ in the hidden layer alone. All have 64 neurons with membrane time constants from 20 to
# 320 ms, so that some neurons follow fast changes and others remember a whole beat. The figure
# shows how three of these membranes forget a charge.

taus = 0.02 * 16 ** torch.linspace(0, 1, 64)
figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
for tau in taus[[0, 32, 63]].tolist():
    axes.plot(time[:100], torch.exp(-time[:100] / tau), label=f"{1e3 * tau:.0f} ms")
axes.set(xlabel="time since the charge [s]", ylabel="membrane")
axes.legend(title="time constant")

# %%
# `layer_topology="RC"` connects the neurons of a layer with each other, one step later: 64 × 64
# more weights. AdLIF neurons have a second state: membrane and spikes drive it, and it works
# against the membrane. They take a current where LIF neurons take a charge, so their initial
# weights are larger: `charge_gain` measures by how much. The read-out forgets within a few steps,
# so the memory must be in the hidden layer.

gain = charge_gain(lambda n: AdLIFLayer(n, tau=80e-3, tau_w=200e-3, a=0.1, dt=DT))


def build(kind):
    first = LIFSynapse(2, 64)
    hidden = LIFLayer(64, taus=taus, dt=DT)
    if kind == "recurrent":
        hidden = LIFLayer(64, taus=taus, dt=DT, layer_topology="RC")
    if kind == "AdLIF":
        hidden = AdLIFLayer(64, tau=taus, tau_w=200e-3, a=0.1, dt=DT)
        first.weight.data *= gain
    return SpikingSequential(first, hidden, LIFSynapse(64, 6), LILayer(6, tau=20e-3, dt=DT))


# %%
# Every step has a label, and new beats are drawn for each batch, so the net cannot memorize them.
# In a recurrent layer, gradients pass the recurrent weights in each step back in time, where they
# could grow without limit; `LIFLayer` bounds this growth ([Recurrence](../../recurrence.md)).


def train(net, batches=45):
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(batches):
        signal, segment = draw_batch(32)
        _, scores = net(encode_delta(signal, threshold=0.1))
        loss = torch.nn.functional.cross_entropy(scores.flatten(0, 1), segment.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


# %%
# ## Which memory helps?
#
# Each net is trained from the same three seeds, and predicts 200 recordings that it has not seen.
# The figure has the share of right steps of each segment, the mean of the seeds.

print(f"always {SEGMENTS[5]}: {(segment == 5).float().mean():.3f}")
recall, trained = {}, {}
for kind in ("LIF", "recurrent", "AdLIF"):
    by_seed = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        net = build(kind)
        train(net)
        with torch.no_grad():
            by_seed.append(net(spikes)[1].argmax(2) == segment)
    trained[kind] = net  # of the last seed
    right = torch.stack(by_seed).float()
    recall[kind] = [right[:, segment == k].mean().item() for k in range(6)]
    print(kind, [round(share, 3) for share in right.mean((1, 2)).tolist()], "of all steps")

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for group, (kind, values) in enumerate(recall.items()):
    axes.bar([k + 0.27 * (group - 1) for k in range(6)], values, 0.25, label=kind)
axes.set(xlabel="segment", xticks=range(6), xticklabels=SEGMENTS, ylabel="right steps [share]")
axes.set_ylim(0, 1.2)
axes.legend(ncols=3, loc="upper center")

# %%
# The recurrent net, with nine times the parameters, is ahead on each seed. Between LIF and AdLIF
# the seeds disagree, so this task does not show that adaptation helps; `a` was chosen in a few
# trials.
#
# ## One recording
#
# A mean hides how errors look. Here is one recording, with the segments that two nets predict. The
# gray line is the truth. The LIF net takes PQ for TP: both are flat, and what came before is
# forgotten. The recurrent net keeps them apart.

figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for ax, kind in zip(axes, ("LIF", "recurrent"), strict=True):
    with torch.no_grad():
        predicted = trained[kind](spikes[:1])[1][0].argmax(1)
    ax.step(time, segment[0], color="lightgray", linewidth=4)
    ax.step(time, predicted, linewidth=1)
    ax.set(title=kind, yticks=range(6), yticklabels=SEGMENTS)
axes[1].set_xlabel("time [s]")

# %%
# `nwave train --out runs/ecg --data data/ecg-qtdb.npz` trains on real electrocardiograms.
# [Recurrence](../../recurrence.md) and [neurons](../../neurons.md) have details.
#
# ## Exercise
#
# Does the trained recurrent net use its recurrent weights, or does it work without them? Set
# `recurrent_weights` of its layer to 0 and measure again. Which segments suffer most? Guess
# before you read on.
#
# ## Answer

net = trained["recurrent"]
intact = net[1].recurrent_weights.detach().clone()
with torch.no_grad():
    for name, weights in (("intact", intact), ("cut", 0 * intact)):
        net[1].recurrent_weights.copy_(weights)
        right = net(spikes)[1].argmax(2) == segment
        shares = [f"{SEGMENTS[k]} {right[segment == k].float().mean():.2f}" for k in range(6)]
        print(f"{name}: {right.float().mean():.3f} of all steps;", ", ".join(shares))

# %%
# The rest of the net was trained with the loop, so cutting it is not the same as training without
# it, which the net called LIF was. To find out what a part of a net does, remove it and measure
# each class.
