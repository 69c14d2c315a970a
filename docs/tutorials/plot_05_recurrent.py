"""
# 5. Memory: recurrent and adaptive nets

You will train three nets on a task that cannot be solved from the present input alone. You will see
what recurrent weights, and neurons that adapt, add to plain LIF neurons.
"""

# %%
# ## A heartbeat to divide
#
# The task is that of the electrocardiograms of [your own data](../../data.md): name the segment of
# the beat for each step, P, PQ, QR, RS, ST or TP. The signal is flat in PQ, in TP and at the start
# of ST: to tell these apart, a net must remember what came before. This script makes its own beats:
# bumps for P, R, S and T, beats of different lengths, and noise.

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
    for place, width, height in BUMPS:
        signal = signal + height * torch.exp(-((phase - place) ** 2) / (2 * width**2))
    return signal[..., None], torch.bucketize(phase, ENDS, right=True)


# %%
# `encode_delta` turns the signal into spikes of two kinds: a spike of the first for each rise by
# 0.1, and one of the second for each fall by 0.1. Where the signal is flat, spikes are rare.

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
# 320 ms. `layer_topology="RC"` connects the neurons of a layer with each other, one step later.
# AdLIF neurons have a second, slower state: membrane and spikes drive it, and it works against the
# membrane. They take a current where LIF neurons take a charge, so their initial weights are
# larger: `charge_gain` measures by how much. The read-out forgets within a few steps, so the memory
# must be in the hidden layer.

taus = 0.02 * 16 ** torch.linspace(0, 1, 64)
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
# Each net is trained from the same three seeds, and predicts 200 recordings that it has not seen.
# The figure has the share of right steps of each segment, the mean of the seeds.

print(f"always {SEGMENTS[5]}: {(segment == 5).float().mean():.3f}")
recall = {}
for kind in ("LIF", "recurrent", "AdLIF"):
    by_seed = []
    for seed in (1, 2, 3):
        torch.manual_seed(seed)
        net = build(kind)
        train(net)
        with torch.no_grad():
            by_seed.append(net(spikes)[1].argmax(2) == segment)
    right = torch.stack(by_seed).float()
    recall[kind] = [right[:, segment == k].mean().item() for k in range(6)]
    print(kind, [round(share, 3) for share in right.mean((1, 2)).tolist()], "of all steps")

figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for place, (kind, values) in enumerate(recall.items()):
    axes.bar([k + 0.27 * (place - 1) for k in range(6)], values, 0.25, label=kind)
axes.set(xlabel="segment", xticks=range(6), xticklabels=SEGMENTS, ylabel="right steps [share]")
axes.set_ylim(0, 1.2)
axes.legend(ncols=3, loc="upper center")

# %%
# The recurrent net, with nine times the parameters, is ahead on each seed. Between LIF and AdLIF
# the seeds disagree, so this task does not show that adaptation helps; `a` was chosen in a few
# trials. `nwave train --out runs/ecg --data data/ecg-qtdb.npz` trains on real electrocardiograms.
# [Recurrence](../../recurrence.md) and [neurons](../../neurons.md) have details.
