"""
# 3. Read a net: raster, traces, diagnosis

You will look into a net: which neurons spike and when, what their membranes do, and how much
gradient reaches each layer. You will find out why a net does not learn, and fix it.
"""

# %%
# ## Why look inside?
#
# A net of ordinary neurons nearly always learns something. A spiking net can be silent: if the
# charges of a layer never reach the threshold, it sends nothing, the next layer gets nothing, and
# the output never changes. The loss alone does not show this. It only stays where it is, as it
# would with a learning rate that is too small. A look at the spikes takes seconds and shows the
# difference.
#
# ## A net that does not work
#
# Twenty inputs spike at random in 5 % of all steps, far more sparsely than the features of the
# digits. The labels are random, too, so a net can only memorize the recordings. The weights
# are as large as in `torch.nn.Linear`, a common way to begin.

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
fan_in_init(net, gain=0.58, seed=0)  # normal weights, deviation 0.58/√inputs: as in nn.Linear

# %%
# A rough calculation says what to expect. One step brings one spike from 20 inputs at 5 %. Its
# weight has a deviation of 0.58/√20, which is 0.13. Even the sum over the 10 ms that a membrane
# remembers stays far below the threshold of 1 in most cases.
#
# ## Raster and rates
#
# `net.record` runs one pass and returns what each layer of neurons did, by its name in the net. The
# first index of its tensors is the recording of the batch. A *raster* has a mark for each spike:
# time from left to right, and a row for each neuron.


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
# Read a raster from left to right in the order of the layers. Empty rows are silent neurons, full
# rows are neurons that always fire, and columns are neurons that fire together. A working net has
# scattered marks in every layer. This one has a few in the first layer, and none behind it.
#
# ## Traces
#
# A record also has the membranes. Here are three neurons of the first layer. The dashed line is
# the threshold, and a mark above it is a spike. The membranes mostly stay far below.

plt.figure(figsize=(7, 2.8), layout="constrained")
layer = recording.layers["1"]
plot.membranes(layer.mem[0, :, :3], plt.gca(), spikes=layer.spk[0, :, :3], threshold=1.0, dt=1e-3)

# %%
# Three neurons are few. A histogram of all membranes shows how far the whole layer is from its
# threshold, at 1:

figure, axes = plt.subplots(figsize=(7, 2.3), layout="constrained")
for name in ("1", "3", "5"):
    values = recording.layers[name].u.flatten().detach()
    axes.hist(values, bins=100, range=(-1.5, 1.5), histtype="step", label=f"layer {name}", log=True)
axes.axvline(1, color="lightgray")
axes.set(xlabel="membrane before the reset", ylabel="number")
axes.legend()

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
        print(
            f"layer {layer.layer}: {layer.dead:.0%} dead, {layer.saturated:.0%} saturated, "
            f"{layer.starved:.0%} starved"
        )
    for finding in health.findings:
        print("found:", finding.text)
    return health


health = diagnose()
print("remedy:", *health.findings[0].remedy.split("; "), sep="\n  ")

# %%
# A [dead](../../about/glossary.md) neuron never spikes in the batch. A saturated one fires in
# nearly all steps. A starved one receives nearly no gradient, so its weights hardly change. The 0 %
# starved of the silent layers is not good news: a surrogate passes a gradient to a silent neuron,
# but the weights that it feeds get none, without spikes to multiply.
#
# ## Remedy
#
# The diagnosis names `fluct_init`. It draws the weights of each layer by what arrives there, such
# that the membranes fluctuate around rest and pass the threshold now and then. It needs a batch of
# real inputs, because their rates decide how large weights must be.


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
after = list(train())
print("loss every 20 steps:", before[19::20], "with the remedy:", after[19::20])
figure, axes = plt.subplots(figsize=(7, 2.3), layout="constrained")
axes.plot(before, label="weights as of nn.Linear")
axes.plot(after, label="fluct_init")
axes.axhline(torch.tensor(5.0).log(), color="lightgray")
axes.set(xlabel="step of the optimizer", ylabel="loss", ylim=(0, None))
axes.legend()

# %%
# The silent net stays at the loss of chance, log 5 (gray), until Adam has made its weights large
# enough. A net with spikes in each layer learns from the first step.
#
# If neurons spike but stay starved, a wider surrogate helps: [next](plot_04_surrogate.md). For a
# folder of `nwave train`, `nwave diagnose RUN` does all this, and
# [Fix a net that does not learn](../../how-to/silent-net.md) lists symptoms with their remedies.
#
# ## Exercise
#
# Weights can also be too large. Draw them with `gain=10`. What do you expect in the raster, and
# what does the diagnosis find?
#
# ## Answer

fan_in_init(net, gain=10, seed=0)
draw_rasters(net.record(spikes))
diagnose()

# %%
# The opposite fault: neurons fire in nearly all steps. A spike that always comes carries as little
# as a spike that never comes. Good rates are between the two, and a few percent are enough.
