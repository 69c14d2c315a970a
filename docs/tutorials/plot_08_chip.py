"""
# 8. From a wav folder to a chip

You will read a folder of wavs through the filters of a chip, train a net within the limits of
H1v2, test it on simulated chips, and write the chip file. This page is the counterpart of NWAVE's
tutorials of an H1v1 model, of an H1v2 model, and of audio on both.
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
from nwavesdk import deploy
from nwavesdk.init import fluct_init
from nwavesdk.loss import rate_cross_entropy
from nwavesdk.optim import SignAnnealing

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

data = nw.NWaveDataGen(
    data_parent=folder, recording_duration_s=0.1, chip="h1v2", test=0.4, cache=False
)
train, _, test = data.dataloaders()
(x, y), (x_test, y_test) = train.dataset.tensors, test.dataset.tensors
gain = 1 / x.quantile(0.99)
x, x_test = gain * x, gain * x_test
print(f"{len(x)} recordings for training, {len(x_test)} for the test, {list(x.shape[1:])} each")
figure, axes = plt.subplots(1, 3, figsize=(8, 2.5), sharey=True, layout="constrained")
for label, axis in enumerate(axes):
    axis.imshow(x[y == label][0].T, origin="lower", aspect="auto", cmap="Blues")
    axis.set(title=data.channels.classes[label], xlabel="time [ms]")
axes[0].set_ylabel("filter")

# %%
# ## A net of the chip's parts
#
# Weights have a range, 5 bits, and one sign for 5 inputs in a row, which `SignAnnealing` decides.
# Time constants snap to those of the chip. `prepare_net` draws a mismatch, so each batch gets
# another chip. The output has 4 neurons per class.

torch.manual_seed(0)
net = nw.SpikingSequential(
    nw.H1v2Frontend(16, quantization_bits=5),
    nw.H1v2Layer(16, taus=20e-3, ileak_mismatch=True),
    nw.H1v2Synapse(16, 30, quantization_bits=5),
    nw.H1v2Layer(30, taus=20e-3, ileak_mismatch=True),
    nw.H1v2Synapse(30, 12, quantization_bits=5),
    nw.H1v2Layer(12, taus=20e-3, ileak_mismatch=True),
)
print(fluct_init(net, x[:27]))
annealing = SignAnnealing(net, total_epochs=20)  # before the optimizer
optimizer = torch.optim.Adam(net.parameters(), 0.03)
for epoch in range(1, 21):
    annealing.step(net, epoch)
    for batch in torch.randperm(len(x)).split(27):
        nw.prepare_net(net)
        loss = rate_cross_entropy(net(x[batch])[0], y[batch], num_classes=3)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
annealing.finish()
print(f"loss of the last batch: {loss.item():.3f}")

# %%
# ## Check, map, test on many chips

print("broken limits:", deploy.find_violations(net))
print(deploy.place_layers(net))
series = deploy.draw_series(net, x_test, y_test, n_classes=3, n=100)
print(series)
figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
axes.hist(series.accuracy, bins=np.arange(0.5, 1.03, 0.02))
axes.axvline(series.designed, color="tab:orange", label="without mismatch")
axes.set(xlabel="accuracy", ylabel="number of chips")
axes.legend()

# %%
# ## The chip file
#
# It has integer weights, the placement, and the numbers of the chip, of which many are assumed.

deploy.export(net, folder / "chip.safetensors", about={"gain": gain.item()})
copy = deploy.load_export(folder / "chip.safetensors")
with nw.ChipInstance(None).on(net):  # the chip as designed, without mismatch
    nw.prepare_net(net)
    recording = net.record(x_test)
print("spikes that differ:", int((copy(x_test)[0] != recording.spk).sum()))
print(deploy.get_chip_consumption(net, recording, dt=1e-3))
temporary.cleanup()

# %%
# For H1v1, take `chip="h1v1"` and the three classes with H1v1 in their names. Its neurons reset to
# 0 and take any time constant. Its weights act in a non-linear way and have a mismatch, `stddev`.
# [From a net to the chip](../../chip.md) compares both chips, and has the same steps as commands.
