"""
# 2. A first net: spoken digits

You will train a spiking net on spoken digits in a loop of your own. You will see how recordings
become batches, how a net is built, what to do before each batch, and how a trained net decides. The
[glossary](../../about/glossary.md) explains all terms.
"""

# %%
# ## Data
#
# The extra `demo` has 3,000 spoken digits: ten words, six speakers. A recording is a sequence of
# frames with 13 numbers each, which describe the spectrum of a short piece of sound.
#
# Two steps come before any training. `choose_split` assigns each recording to the training,
# validation or test set, the same for everyone. `Standard` shifts and scales each feature to the
# mean 0 and the deviation 1. It is fitted on the training set alone: numbers from the other sets
# would tell the net something about them.

import matplotlib.pyplot as plt
import torch

from nwavesdk import plot
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
print("lengths of the first recordings:", batch.lengths[:8].tolist())
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
image = axes.imshow(batch.x[0, : batch.lengths[0]].T.numpy(), aspect="auto", origin="lower")
figure.colorbar(image, label="standard deviations")
axes.set(xlabel="time [steps]", ylabel="feature", yticks=range(0, 13, 4))
axes.set_title(f"a spoken {digits.classes[batch.y[0]]}")

# %%
# ## Net
#
# A net alternates two kinds of layers. A *synapse* is a matrix of weights: it turns spikes, or
# other values, into charges. A layer of *neurons* turns charges into spikes, each neuron as in
# [tutorial 1](plot_01_spike.md). The features drive the first layer without an encoding, because a
# synapse takes any numbers.
#
# The last layer does not spike. `LILayer` is a leaky sum of its charges, one for each digit, and is
# called the *read-out*: a membrane is a better score than a few spikes, because it changes smoothly
# with every weight.
#
# The time constants are the memory of the net. A step is 10 ms here, so 30 ms let a neuron remember
# for about three steps, and 100 ms for ten.

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
# ## Once per batch
#
# A net has states: the membranes. `prepare_net` sets all of them to rest. From its first call on,
# the net keeps its membranes from call to call, so that a long recording can be given in pieces. A
# new batch without `prepare_net` would begin with the membranes of the one before:

with torch.no_grad():
    prepare_net(net)
    first = net(batch.x)[1]
    again = net(batch.x)[1]  # goes on from the membranes of the last call
    prepare_net(net)
    fresh = net(batch.x)[1]
print("same membranes, without prepare_net:", torch.equal(again, first))
print("same membranes, with prepare_net:", torch.equal(fresh, first))

# %%
# A net that is never prepared starts each call at rest by itself, and the next two tutorials use
# that ([nets](../../nets.md)).
#
# ## Training
#
# The loop is the one of any PyTorch net, with one line more. The score of a class is the mean of
# its membrane over the valid steps, so cross entropy applies as usual. Gradients flow backward
# through layers and through time, and through each spike by the surrogate of its layer, here the
# default. Accuracy is measured on the validation set, which the net never learns from.


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
# The gray line is chance.
#
# ## How it decides
#
# `record` runs the net and returns what each layer did. From top to bottom: the spikes of both
# hidden layers for one recording, and the ten membranes of the read-out. The membrane of one digit
# leaves the others while the word is spoken.

example = val.batch([3])
prepare_net(net)
with torch.no_grad():
    recording = net.record(example.x)
figure, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True, layout="constrained")
for ax, name in zip(axes, ("1", "3"), strict=False):
    plot.raster(recording.layers[name].spk[0], ax).set(title=f"layer {name}", xlabel="")
for digit, membrane in enumerate(recording.mem[0].T):
    is_right = digit == example.y[0]
    axes[2].plot(membrane, color="tab:orange" if is_right else "lightgray")
axes[2].set(title=f"read-out, orange: {digits.classes[example.y[0]]}", xlabel="step")
for name, rate in recording.rates().items():
    print(f"layer {name}: neurons spike in {rate:.1%} of the steps")

# %%
# Neurons fire in more than a quarter of the steps, because nothing in the loss asks for fewer
# spikes. The recipes of `nwave train` bound the rates ([Make a net
# sparse](../../how-to/sparse.md)).
#
# ## Where it fails
#
# An accuracy hides which words are confused. Count pairs of the right and the predicted digit:

whole = val.whole()
with torch.no_grad():
    predicted = scores_of(whole).argmax(1)
table = torch.zeros(10, 10)
for right, given in zip(whole.y, predicted, strict=True):
    table[right, given] += 1
wrong = table - table.diag().diag()
right, given = divmod(int(wrong.argmax()), 10)
print(f"{int(wrong.sum())} errors; most often {right} is taken for {given}: {int(wrong.max())}")
figure, axes = plt.subplots(figsize=(4, 3.2), layout="constrained")
axes.imshow(wrong.numpy(), cmap="Blues")
axes.set(xlabel="predicted", ylabel="right", title="errors", xticks=range(10), yticks=range(10))

# %%
# `nwave train --out runs/digits --data digits` trains the same recordings with a complete recipe,
# which also saves the net and a [report](../../how-to/report.md) with such a table.
#
# ## Exercise
#
# How much of a word does the trained net need? Let it decide after a tenth, two tenths, ... of each
# recording, without training it again. Hint: `membrane_readout` takes `lengths`.
#
# ## Answer
#
# The mean over the first steps needs shorter lengths only, and the net runs once.

with torch.no_grad():
    prepare_net(net)
    membranes = net(whole.x)[1]
heard = torch.arange(1, 11) / 10
course = []
for share in heard:
    lengths = (share * whole.lengths).long().clamp(min=1)
    guess = membrane_readout(membranes, "mean", lengths).argmax(1)
    course.append(float((guess == whole.y).float().mean()))
print("accuracy after 30 %, 60 % and all of a word:", *(f"{course[k]:.2f}" for k in (2, 5, 9)))
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(heard, course, "o-")
axes.set(xlabel="heard share of the recording", ylabel="accuracy", ylim=(0, 1))

# %%
# A spiking net decides at any time, which a device that must answer early can use. Next, you will
# [read a net](plot_03_read.md) that does not work.
