"""
# 3. Read a net: raster, traces, diagnosis

You will look into a net: which neurons spike and when, what their membranes do, and how much
gradient reaches each layer. You will find out why a net does not learn, and fix it.
"""

# %%
# ## A net that does not work
#
# Twenty inputs spike at random in 5 % of all steps, far more sparsely than the features of the
# digits. The labels are random, too, so a net can only memorize the recordings. The weights
# are as large as those of `torch.nn.Linear`, a common way to begin.

import matplotlib.pyplot as plt
import torch

from nwavesdk import plot
from nwavesdk.analysis import examine
from nwavesdk.init import fan_in_init, fluct_init
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential
from nwavesdk.loss import membrane_cross_entropy

torch.manual_seed(0)
spikes = (torch.rand(32, 100, 20) < 0.05).float()
labels = torch.randint(5, (32,))
modules = []
for inputs in (20, 40, 40):
    modules += [LIFSynapse(inputs, 40), LIFLayer(40, taus=10e-3, dt=1e-3)]
# The last layer is a read-out: it does not spike, and its membranes are the output.
net = SpikingSequential(*modules, LIFSynapse(40, 5), LILayer(5, tau=20e-3, dt=1e-3))
fan_in_init(net, gain=0.58, seed=0)  # normal weights, deviation 0.58/√inputs: that of nn.Linear

# %%
# ## Raster and rates
#
# `net.record` runs one pass and returns what each layer of neurons did, by its name in the net. The
# first index of its tensors is the recording of the batch.


def draw_rasters(recording):
    axes = plt.subplots(1, 4, figsize=(9, 2.5), layout="constrained")[1]
    plot.raster(spikes[0], axes[0], dt=1e-3).set_title("input")
    for name, ax in zip(("1", "3", "5"), axes[1:], strict=True):
        plot.raster(recording.layers[name].spk[0], ax, dt=1e-3).set_title(f"layer {name}")


recording = net.record(spikes)
draw_rasters(recording)
for name, rate in recording.rates().items():
    print(f"layer {name}: {rate:.4f} spikes per step and neuron")

# %%
# ## Traces
#
# A record also has the membranes. Here are three neurons of the first layer. The dashed line is
# the threshold, and a mark above it is a spike. The membranes mostly stay far below.

plt.figure(figsize=(7, 2.8), layout="constrained")
layer = recording.layers["1"]
plot.membranes(layer.mem[0, :, :3], plt.gca(), spikes=layer.spk[0, :, :3], threshold=1.0, dt=1e-3)

# %%
# ## Diagnosis
#
# Silence is one fault; a second one is invisible in a raster: too little gradient. `examine` runs
# one batch and measures spikes and the gradient of a loss in each layer. It compares both with
# limits, and names a remedy for everything that it finds.


def loss_of(_, mem):
    return membrane_cross_entropy(mem, labels)


def diagnose():
    health = examine(net, spikes, loss_of)
    for layer in health.layers:
        print(f"layer {layer.layer}: {layer.dead:.0%} dead, {layer.starved:.0%} starved")
    for finding in health.findings:
        print("found:", finding.text)
    return health


health = diagnose()
print("remedy:", *health.findings[0].remedy.split("; "), sep="\n  ")

# %%
# A [dead](../../about/glossary.md) neuron never spikes in the batch. A starved one receives nearly
# no gradient, so its weights hardly change. "0% starved" is not good news here: a surrogate passes
# a gradient to a silent neuron, but the weights that it feeds get none, without spikes to multiply.
#
# ## Remedy
#
# The diagnosis names `fluct_init`. It draws the weights of each layer by what arrives there, such
# that the membranes fluctuate around rest and pass the threshold now and then.


def train():
    optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(60):
        loss = loss_of(*net(spikes))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        yield round(loss.item(), 2)


before = list(train())
fluct_init(net, spikes, seed=0)
draw_rasters(net.record(spikes))
diagnose()
print("loss every 20 steps:", before[19::20], "with the remedy:", list(train())[19::20])

# %%
# The silent net stays at the loss of chance, log 5, until Adam has made its weights large enough.
# If neurons spike but stay starved, a wider surrogate helps: [next](plot_04_surrogate.md).
#
# **Exercise.** What does the diagnosis find with `gain=10`?
# <details><summary>Solution</summary>The opposite fault: up to 30 % of a layer's neurons are
# saturated. They fire in at least 90 % of the steps, and carry as little as silent ones.</details>
