"""
# 8. From a wav folder to a chip

You will read a folder of wavs through the filters of a chip, train a net within the limits of
H1v2, test it on simulated chips, and write the chip file. This page is the counterpart of NWAVE's
tutorials of an H1v1 model, of an H1v2 model, and of audio on both. As commands:

```sh
nwave train --out runs/tones --chip h1v2 --data FOLDER --duration 0.1 --level as_is
nwave check runs/tones && nwave map runs/tones  # broken limits; layers on cores
nwave chips runs/tones                          # accuracy on simulated chips
nwave export runs/tones                         # the chip file
```
"""

# %%
# ## A folder of wavs
#
# One subfolder per class: here tones of three bands in noise. Your own recordings replace them.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch

import nwavesdk as nw

temporary = tempfile.TemporaryDirectory()
folder = Path(temporary.name)
bands = {"low": (300, 600), "middle": (700, 1400), "high": (1600, 3000)}  # [Hz]
draw = np.random.default_rng(0)
seconds = np.arange(1600) / 16_000
for name, (lowest, highest) in bands.items():
    (folder / name).mkdir(parents=True)
    for index in range(60):
        tone = np.sin(2 * np.pi * draw.uniform(lowest, highest) * seconds)
        sound = 0.3 * tone + 0.7 * draw.standard_normal(1600)
        soundfile.write(folder / name / f"{index}.wav", sound.clip(-1, 1), 16_000)

# %%
# ## Through the filters of the chip
#
# The chip has 16 band-pass filters, rectified and averaged over steps of 1 ms. Their values are
# small, and weights on the chip are bounded: choose a gain on the training set.

choices = {"recording_duration_s": 0.1, "chip": "h1v2", "test": 0.4, "cache": False}
data = nw.NWaveDataGen(data_parent=folder, **choices)
train, _, test = data.dataloaders()
(x, y), (x_test, y_test) = train.dataset.tensors, test.dataset.tensors
gain = 1 / x.quantile(0.99)
x, x_test = gain * x, gain * x_test
print(f"{len(x)} recordings for training, {len(x_test)} for the test, {list(x.shape[1:])} each")
figure, axes = plt.subplots(1, 3, figsize=(8, 2.5), sharey=True, layout="constrained")
for label, axis in enumerate(axes):
    axis.imshow(x[y == label][0].T.numpy(), origin="lower", aspect="auto", cmap="Blues")
    axis.set(title=data.channels.classes[label], xlabel="time [ms]", ylabel="filter")

# %%
# ## A net of the chip's parts
#
# Weights have a range, 5 bits, and one sign for 5 inputs in a row, which `SignAnnealing` decides.
# Time constants snap to the values of the chip. `prepare_net` draws a mismatch, so each batch gets
# another chip. `fluct_init` prints the wanted distance of membranes from threshold (`xi`, in their
# standard deviations), the measured one, the share of neurons whose mean weight was `raised`
# because they were dead, and how often each layer ran for this (`passes`).

torch.manual_seed(0)
net = nw.SpikingSequential(
    nw.H1v2Frontend(16, quantization_bits=5),
    nw.H1v2Layer(16, taus=20e-3, ileak_mismatch=True),
    nw.H1v2Synapse(16, 30, quantization_bits=5),
    nw.H1v2Layer(30, taus=20e-3, ileak_mismatch=True),
    nw.H1v2Synapse(30, 12, quantization_bits=5),
    nw.H1v2Layer(12, taus=20e-3, ileak_mismatch=True),  # 4 per class
)
print(nw.init.fluct_init(net, x[:27]))
annealing = nw.optim.SignAnnealing(net, total_epochs=20)  # before the optimizer
optimizer = torch.optim.Adam(net.parameters(), 0.03)
for epoch in range(1, 21):
    annealing.step(net, epoch)
    for batch in torch.randperm(len(x)).split(27):
        nw.prepare_net(net)
        loss = nw.loss.rate_cross_entropy(net(x[batch])[0], y[batch], num_classes=3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
annealing.finish()

# %%
# ## Check, map, test on many chips

print("broken limits:", nw.deploy.find_violations(net))
print(nw.deploy.place_layers(net))
series = nw.deploy.draw_series(net, x_test, y_test, n_classes=3, n=100)
print(series)
figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
axes.hist(series.accuracy, bins=np.arange(0.5, 1.03, 0.02))
axes.axvline(series.designed, color="tab:orange")
axes.set(xlabel="accuracy; orange: without mismatch", ylabel="number of chips")

# %%
# ## The chip file
#
# It has integer weights, the placement, and the parameters of the chip, many of them assumed.

nw.deploy.export(net, folder / "chip.safetensors", about={"gain": gain.item()})
copy = nw.deploy.load_export(folder / "chip.safetensors")
with nw.ChipInstance(None).on(net):  # as designed, without mismatch
    nw.prepare_net(net)
    recording = net.record(x_test)
print("spikes that differ:", int((copy(x_test)[0] != recording.spk).sum()))
print(nw.deploy.get_chip_consumption(net, recording, dt=1e-3))
temporary.cleanup()

# %%
# ## Exercise
#
# A listener steps back, and every sound is half as loud. How many of the chips still hear it well?
#
# ## Answer

print(nw.deploy.draw_series(net, 0.5 * x_test, y_test, n_classes=3, n=100))

# %%
# For H1v1, take `chip="h1v1"` and classes with H1v1 in their names, and pass `stddev=0.02` to each
# synapse and to the front end: by default, weights have no mismatch.
# [From a net to the chip](../../chip.md) compares both chips.
