"""
# 2. A first net: spoken digits

You will train a spiking net on spoken digits in a loop of your own. You will see how recordings
become batches, how a net is built from synapses and neurons, and what to do before each batch. The
[glossary](../../about/glossary.md) explains all terms.
"""

# %%
# ## Data
#
# The extra `demo` has 3,000 spoken digits: ten words, six speakers. A recording is a sequence of
# frames with 13 numbers each, which describe the spectrum of a short piece of sound. `choose_split`
# assigns each recording to the training, validation or test set, and `Standard` gives each feature
# the mean 0 and the deviation 1 of the training set.

import matplotlib.pyplot as plt
import torch

from nwavesdk.data import NetInput, Series, Standard, choose_split, load_digits
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential, prepare_net
from nwavesdk.loss import membrane_readout

digits = load_digits()
split = choose_split(digits.keys, digits.labels, digits.classes).indices
scaled = NetInput(standard=Standard.fit(digits.take(split.train)))
train, val = (Series(digits.take(part), scaled) for part in (split.train, split.val))
print(f"{len(train)} recordings to train on, {len(val)} to validate on")

# %%
# A batch pads its recordings to the longest one. `lengths` has the number of steps of each, so that
# padding never counts.

batch = val.batch(range(64))
print("input [batch, time, features]:", list(batch.x.shape))
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
image = axes.imshow(batch.x[0, : batch.lengths[0]].T.numpy(), aspect="auto", origin="lower")
figure.colorbar(image, label="standard deviations")
axes.set(xlabel="time [steps]", ylabel="feature", yticks=range(0, 13, 4))
axes.set_title(f"a spoken {digits.classes[batch.y[0]]}")

# %%
# ## Net
#
# A synapse turns spikes, or other values, into charges. A layer of neurons turns charges into
# spikes. Here the features drive the first layer without an encoding. The last layer does not
# spike: its ten membranes are leaky sums of what arrives, one for each digit. A step is 10 ms here,
# and the time constants let neurons remember for three to ten steps.

torch.manual_seed(0)
dt = 10e-3
net = SpikingSequential(
    LIFSynapse(13, 128),
    LIFLayer(128, taus=30e-3, dt=dt),
    LIFSynapse(128, 128),
    LIFLayer(128, taus=60e-3, dt=dt),
    LIFSynapse(128, 10),
    LILayer(10, tau=100e-3, dt=dt),
)
print(net)

# %%
# ## Training
#
# The loop is the one of any PyTorch net, with one line more: `prepare_net` sets all membranes to
# rest before each batch. Without it, a batch would begin with the membranes of the one before. A
# net that is never prepared starts each call at rest by itself, and the next two tutorials use
# that. From the first `prepare_net` on, it is up to you: see [nets](../../nets.md).
# The score of a class is the mean of its membrane over the valid steps. Accuracy is measured on the
# validation set, which the net never learns from.


def scores_of(batch):
    prepare_net(net)
    _, membranes = net(batch.x)
    return membrane_readout(membranes, "mean", batch.lengths)


@torch.no_grad()
def accuracy(batch):
    return float((scores_of(batch).argmax(1) == batch.y).float().mean())


optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
accuracies = [accuracy(val.whole())]
for epoch in range(5):
    for indices in torch.randperm(len(train)).split(64):
        batch = train.batch(indices)
        loss = torch.nn.functional.cross_entropy(scores_of(batch), batch.y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracies.append(accuracy(val.whole()))
    print(f"epoch {epoch + 1}: validation accuracy {accuracies[-1]:.3f}")

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(accuracies, "o-")
axes.axhline(0.1, color="lightgray")
axes.set(xlabel="epochs of training", ylabel="validation accuracy", ylim=(0, 1))

# %%
# The gray line is chance. `nwave train --out runs/digits --data digits` trains the same recordings
# with a complete recipe, which also saves the net and a [report](../../how-to/report.md). Next, you
# will [read what a net does](plot_03_read.md).
#
# ## Exercise
#
# Score a recording by its last valid step: `membrane_readout(membranes, "last", batch.lengths)`.
# What do you expect of words whose end is silent?
#
# <details><summary>Solution</summary>A membrane of the read-out forgets most of what
# came more than 100 ms before, so the last sounds decide. Five epochs reach 0.898 in place of
# 0.918: a small difference, and with one seed perhaps chance.</details>
