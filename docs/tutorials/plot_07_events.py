"""
# 7. Convolution on events

An event camera reports where the light changes, pixel by pixel, and nothing else. You will make
such events, train a spiking convolutional net on them, and let it decide frame by frame.
"""

# %%
# ## Events
#
# Three shapes move over 16 × 16 pixels, each from a random place in a random direction. A pixel
# that gets brighter makes an ON event, one that gets darker an OFF event; 1 % of all pixels make
# one by chance. The frames are `[batch, time, 2, height, width]`: ON, then OFF.

import matplotlib.pyplot as plt
import torch
from torch import nn

from nwavesdk import plot
from nwavesdk.init import fan_in_init
from nwavesdk.layers import LIFLayer, LILayer, SpikingSequential
from nwavesdk.net import streaming

SHAPES = ["square", "disk", "cross"]
STEPS, SIZE, DT = 16, 16, 10e-3


def draw_batch(count):
    label = torch.randint(len(SHAPES), (count,))
    angle = 2 * torch.pi * torch.rand(count, 1)
    direction = torch.stack([angle.cos(), angle.sin()])
    time = torch.arange(STEPS + 1) - STEPS / 2
    center = 6 + 4 * torch.rand(2, count, 1) + 0.5 * direction * time  # [2, B, T + 1]
    pixel = torch.arange(SIZE)
    x = (pixel - center[0, ..., None]).abs()[:, :, None, :]
    y = (pixel - center[1, ..., None]).abs()[:, :, :, None]
    square = (x < 3.5) & (y < 3.5)
    disk = x**2 + y**2 < 4**2
    cross = ((x < 1.5) | (y < 1.5)) & (x < 4.5) & (y < 4.5)
    bright = torch.stack([square, disk, cross])[label, torch.arange(count)].int()
    change = bright.diff(dim=1)
    events = torch.stack([change > 0, change < 0], 2)
    return (events | (torch.rand(events.shape) < 0.01)).float(), label


torch.manual_seed(0)
events, label = draw_batch(3 * 64)
print(f"{list(events.shape)}, of which {events.mean():.1%} are events")
figure, axes = plt.subplots(3, 1, figsize=(7, 4), layout="constrained")
for shape, ax in enumerate(axes):
    plot.event_frames(events[label == shape][0], ax, dt=DT, n_pictures=8)
    ax.set(ylabel=SHAPES[shape])
axes[-1].set(xlabel="start of each picture [s]")

# %%
# ## Net
#
# Convolutions and pooling of torch work unchanged: they have no time, so they see each step by
# itself. The membranes of the neurons connect the steps. A layer of neurons
# takes the shape of a step, here `(channels, height, width)`. Torch draws weights too small for
# rare spikes; `fan_in_init` draws larger ones.

net = SpikingSequential(
    nn.Conv2d(2, 8, 5, padding=2),
    LIFLayer((8, SIZE, SIZE), taus=30e-3, dt=DT),
    nn.MaxPool2d(2),
    nn.Conv2d(8, 16, 3, padding=1),
    LIFLayer((16, SIZE // 2, SIZE // 2), taus=30e-3, dt=DT),
    nn.AvgPool2d(2),
    nn.Flatten(),
    nn.Linear(16 * 4 * 4, len(SHAPES)),
    LILayer(len(SHAPES), tau=100e-3, dt=DT),
)
fan_in_init(net, seed=0)

# %%
# ## Training
#
# Each batch has new events, so the net cannot memorize them.

optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
losses = []
for _ in range(60):
    events, label = draw_batch(32)
    loss = nn.functional.cross_entropy(net(events)[1].mean(1), label)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
print(f"loss of the first ten batches {sum(losses[:10]) / 10:.2f}, ", end="")
print(f"of the last ten {sum(losses[-10:]) / 10:.2f}")

# %%
# ## Frame by frame
#
# A camera never stops. Within `streaming(net)`, each call of `net.step` takes one frame and goes on
# from the membranes of the last one. The decision after each frame is the largest sum of the
# membranes so far.

events, label = draw_batch(300)
accuracies = []
with torch.no_grad(), streaming(net):
    total = 0
    for frame in events.unbind(1):
        total = total + net.step(frame)[1]
        accuracies.append((total.argmax(1) == label).float().mean().item())
print(f"accuracy after the first frame {accuracies[0]:.2f}, after the last {accuracies[-1]:.2f}")

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(torch.arange(1, STEPS + 1) * DT, accuracies, "o-")
axes.axhline(1 / 3, color="lightgray")
axes.set(xlabel="time seen [s]", ylabel="accuracy", ylim=(0, 1.05))

# %%
# The gray line is chance. Recordings of a camera train the same way:
# `nwave train --out runs/nmnist --data data/nmnist-small --split recording --folds 5` is N-MNIST,
# and [your own data](../../data.md) has the formats of events. See
# [convolutions](../../convolution.md) for kernels over time, too.
#
# ## Exercise
#
# Does the net use the order of the frames? Shuffle the time of all recordings and compare.
#
# ## Answer

with torch.no_grad():
    for name, order in {"in order": torch.arange(STEPS), "shuffled": torch.randperm(STEPS)}.items():
        guess = net(events[:, order])[1].mean(1).argmax(1)
        print(f"{name}: accuracy {(guess == label).float().mean():.2f}")
