"""
# 10. Pattern generation with a recurrent net

You will train a recurrent net of H1v2 neurons to draw a curve over time from frozen noise, within
the limits of the chip. This page is the counterpart of NWAVE's tutorial of recurrent pattern
generation on H1v2.
"""

# %%
# ## The curve, and an input that means nothing
#
# The input is frozen noise: random spikes that are drawn once. It only makes the net move. The
# curve has to come from the net.

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk import deploy, plot
from nwavesdk.encoding import RateDecoder
from nwavesdk.init import fluct_init
from nwavesdk.layers import H1v2Frontend, H1v2Layer, H1v2Synapse
from nwavesdk.metrics import mse, r2
from nwavesdk.optim import SignAnnealing

torch.manual_seed(0)
steps = 200
seconds = torch.arange(steps) * 1e-3
curve = torch.sin(2 * torch.pi * 5 * seconds) + 0.5 * torch.sin(2 * torch.pi * 10 * seconds)
target = curve[None, :, None]  # [batch, time, values]
noise = (torch.rand(1, steps, 16) < 0.05).float()

# %%
# ## A net for one core
#
# `layer_topology="RC"` connects the neurons of a layer with each other. On the chip recurrence does
# not leave a core, and the largest core of H1v2 has 100 neurons.
#
# A spike cannot be negative. So half of the 40 output neurons add to the value, and the other half
# subtract. `RateDecoder` filters the difference with a time constant of 20 ms. It runs on a
# computer next to the chip.

net = nw.SpikingSequential(
    H1v2Frontend(16, quantization_bits=5, init=1.5),
    H1v2Layer(16, taus=20e-3),
    H1v2Synapse(16, 100, quantization_bits=5),
    H1v2Layer(100, taus=20e-3, layer_topology="RC", quantization_bits=5),
    H1v2Synapse(100, 40, quantization_bits=5),
    H1v2Layer(40, taus=20e-3),
)
decoder = RateDecoder(1, tau=20e-3, scale=10.0, is_signed=True)


def generate():
    nw.prepare_net(net)
    nw.prepare_net(decoder)
    recording = net.record(noise)
    return decoder(recording.spk), recording


# %%
# ## Train
#
# `alpha=0.8` gives a fifth of the variance of each membrane to the recurrent weights. Gradients
# through them are bounded by default: see [recurrence](../../recurrence.md).

fluct_init(net, noise, alpha=0.8)
annealing = SignAnnealing(net, total_epochs=150)
optimizer = torch.optim.Adam(net.parameters(), 0.03)
before = generate()[0].detach()
losses = []
for epoch in range(1, 151):
    annealing.step(net, epoch)
    loss = mse(generate()[0], target).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    losses.append(loss.item())
    if epoch % 50 == 0:
        print(f"epoch {epoch}: mean squared error {loss.item():.3f}")
annealing.finish()
output, recording = generate()
print(f"R² before {r2(before, target).item():.2f}, after {r2(output, target).item():.2f}")

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
axes.plot(curve, color="lightgray", linewidth=4, label="target")
axes.plot(before.flatten(), color="tab:orange", label="before training")
axes.plot(output.detach().flatten(), label="after training")
axes.set(xlabel="time [ms]", ylabel="value")
axes.legend(loc="lower left")

# %%
# ## What the neurons do
#
# The first rows of the output add, the last ones subtract.

figure, axes = plt.subplots(2, 1, figsize=(7, 4), sharex=True, layout="constrained")
for axis, name, title in zip(axes, ("3", "5"), ("recurrent", "output"), strict=True):
    plot.raster(recording.layers[name].spk[0], axis, dt=1e-3)
    axis.set_title(title)

# %%
# ## It fits the chip

print("broken limits:", deploy.find_violations(net))
print(deploy.place_layers(net))

# %%
# The score says how well the net reproduces this one curve, and nothing about other data. The same
# by a command, for a curve in `y` of a `.npz` file ([tasks](../../tasks.md)):
# `nwave train --data pattern.npz --chip h1v2 --epochs 300 --hidden 100`.
#
# ## Exercise
#
# Is the curve in the net alone? Give the trained net other noise.
#
# ## Answer

noise = (torch.rand(1, steps, 16) < 0.05).float()
print(f"R² with other noise {r2(generate()[0], target).item():.2f}")
