"""
# 9. Regression: values in each step

You will read two values from spikes in every step: where something is, and how fast it moves. The
output is the membrane of a read-out, and the score is R².
"""

# %%
# ## Spikes of a population
#
# A point moves along a line. Each of 40 sensors has a place that it prefers, and spikes with a
# probability that falls with the distance. The speed is in no single spike: the net has to compare
# the present with the past.

import math

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk import plot
from nwavesdk.encoding import encode_population
from nwavesdk.init import fluct_init, readout_init
from nwavesdk.layers import LILayer
from nwavesdk.metrics import mse, r2


def draw_recordings(n):
    seconds = torch.arange(400) * 1e-3
    rate = 1 + 2 * torch.rand(n, 1)  # [Hz]
    phase = 2 * math.pi * (rate * seconds + torch.rand(n, 1))
    position = 0.5 + 0.4 * torch.sin(phase)
    speed = 0.4 * 2 * math.pi * rate * torch.cos(phase)  # [1/s]
    chance = 0.5 * encode_population(position[..., None], 40)
    return torch.bernoulli(chance), torch.stack([position, speed], dim=2)


torch.manual_seed(0)
x, target = draw_recordings(96)
x_test, target_test = draw_recordings(32)
mean, deviation = target.mean((0, 1)), target.std((0, 1))
print("spikes", tuple(x.shape), "targets", tuple(target.shape))

figure, axes = plt.subplots(3, 1, figsize=(7, 5), sharex=True, layout="constrained")
plot.raster(x[0], axes[0], dt=1e-3).set(xlabel="", ylabel="sensor")
axes[1].plot(target[0, :, 0])
axes[1].set_ylabel("place")
axes[2].plot(target[0, :, 1])
axes[2].set(xlabel="time [ms]", ylabel="speed [1/s]")

# %%
# ## A net with two time constants
#
# Half of the hidden neurons forget within 10 ms, the other half within 100 ms: the difference of
# the present and the past is the speed. `LILayer` is a leaky integrator, which does not spike. Its
# membranes are the output. `readout_init` scales the weights to it, so that training begins with
# values of the size of the targets.

taus = torch.cat([torch.full((50,), 10e-3), torch.full((50,), 100e-3)])
net = nw.SpikingSequential(
    nw.LIFSynapse(40, 100),
    nw.LIFLayer(100, taus=taus),
    nw.LIFSynapse(100, 2),
    LILayer(2, tau=30e-3),
)
fluct_init(net, x)
readout_init(net, x, std=1.0)

# %%
# ## Train
#
# Targets are learned without units: minus their mean, divided by their deviation, both of the
# training set. Otherwise the value with the larger unit would decide the loss.

wanted = (target - mean) / deviation
optimizer = torch.optim.Adam(net.parameters(), 0.01)
losses = []
for epoch in range(25):
    for batch in torch.randperm(len(x)).split(32):
        nw.prepare_net(net)
        _, membrane = net(x[batch])
        loss = mse(membrane, wanted[batch]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 5 == 4:
        print(f"epoch {epoch + 1}: mean squared error {loss.item():.3f}, in deviations")

# %%
# ## Score
#
# R² is 1 for a perfect prediction, and 0 for one that always gives the mean.

nw.prepare_net(net)
with torch.no_grad():
    output = deviation * net(x_test)[1] + mean
for name, score in zip(("place", "speed"), r2(output, target_test).tolist(), strict=True):
    print(f"R² of {name} on 32 new recordings: {score:.3f}")

figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for axis, k, name in zip(axes, (0, 1), ("place", "speed [1/s]"), strict=True):
    axis.plot(target_test[0, :, k], color="lightgray", linewidth=4, label="target")
    axis.plot(output[0, :, k], label="net")
    axis.set_ylabel(name)
axes[0].legend(loc="upper right")
axes[1].set_xlabel("time [ms]")

# %%
# The read-out smooths over its time constant, 30 ms. A shorter one follows faster, and is noisier.
#
# With data in files, `nwave train --data FILE.npz` finds that the targets are values:
# [tasks](../../tasks.md) has the formats, losses and scores.
#
# ## Exercise
#
# Which of the two values needs the slow neurons? Cut their weights to the output, and score again.
#
# ## Answer

with torch.no_grad():
    net[2].weight[50:] = 0  # [inputs, outputs]
    nw.prepare_net(net)
    scores = r2(deviation * net(x_test)[1] + mean, target_test).tolist()
print("without slow neurons: R² of place {:.2f}, of speed {:.2f}".format(*scores))
