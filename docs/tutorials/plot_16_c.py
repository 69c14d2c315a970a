"""
# 16. A net as C

You will train a net, export it as C for a microcontroller, let its self-test prove that it computes
the same, and run it. Then you see what it costs next to a convolutional net, and where it
loses. The program runs on this machine; it needs a C compiler, and no device.
"""

# %%
# ## Train
#
# On a shell, these are `nwave train --out runs/digits --epochs 6` and
# `nwave export runs/digits --c firmware`.
# The built-in digits are features of spoken digits. Some epochs are enough here.

import shutil
import subprocess
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch

import nwavesdk as nw
from nwavesdk.interop.c import export_c
from nwavesdk.net import quantize
from nwavesdk.train import Run

home = Path(tempfile.mkdtemp())
run = Run.new(home / "digits", {"learning": {"epochs": 6}})
result = run.train()
print(f"validation accuracy {result['val_accuracy']:.4f}")

# %%
# ## Round
#
# A microcontroller adds small integers. `quantize` returns a net whose inputs and weights have 8
# bits. It is a net like any other, so you can count how many recordings it gets right. The step of
# the inputs comes from the training set.

net = run.trained().net.net
train, validation = (part.batch(range(len(part))) for part in (run.data.train, run.data.val))
rounded = quantize(net, train.x)


def accuracy(net):
    """The fraction of validation recordings whose mean score is largest for their class."""
    nw.prepare_net(net.eval())
    with torch.no_grad():
        scores, _ = net(validation.x)
    valid = torch.arange(scores.shape[1]) < validation.lengths[:, None]
    guessed = (scores * valid[:, :, None]).sum(1).argmax(1)
    return (guessed == validation.y).float().mean().item()


print(f"float {accuracy(net):.4f}, rounded {accuracy(rounded):.4f}")

# %%
# ## Export
#
# `export_c` writes the rounded net as C99, and counts its costs before anything is compiled. A
# weight behind spikes costs an addition, and only where there is a spike. Look at the first layer:
# it gets values, so it multiplies, and takes nearly all of the work.

firmware = home / "firmware"
export = export_c(rounded, firmware, validation.x, lengths=validation.lengths)
print(export)

# %%
# ## Prove it
#
# The folder has a program that compares every membrane, spike and output of three recordings and of
# random probes with the net in Python, to the bit. Run it on your device, with your compiler.

compiler = shutil.which("cc")
if compiler is None:
    print("There is no C compiler here. The rest of this page shows the code only.")


def build(program):
    """Compile a program of the folder."""
    command = [compiler, "-std=c99", "-O2", "-I.", "net.c", f"{program}.c", "-lm", "-o", program]
    subprocess.run(command, cwd=firmware, check=True)


if compiler is not None:
    build("selftest")
    test = subprocess.run(firmware / "selftest", capture_output=True, text=True)
    print(test.stdout.splitlines()[-1])

# %%
# ## Run it
#
# `example.c` reads frames as text and prints the outputs of each step.

if compiler is not None:
    build("example")
    frames = validation.x[0, : validation.lengths[0]].numpy()
    text = "\n".join(" ".join(f"{value:.9g}" for value in frame) for frame in frames)
    lines = subprocess.run(firmware / "example", input=text, capture_output=True, text=True).stdout
    outputs = np.array([line.split() for line in lines.splitlines()[:-1]], dtype=float)

    figure, axes = plt.subplots(figsize=(6, 2.5), layout="constrained")
    axes.plot(outputs.cumsum(axis=0))
    axes.set(xlabel="frame", ylabel="sum of outputs")
    print("class:", outputs.sum(0).argmax(), "of the recording:", int(validation.y[0]))

# %%
# ## What it costs, and where it loses
#
# A net for 12 spoken words after a whole training, next to a convolutional net in 8-bit C with the
# same loops, on a Cortex-M4
# ([the commands](../../how-to/microcontroller.md#costs-on-a-cortex-m4)):
#
# | | spiking net | CNN |
# |---|--:|--:|
# | accuracy of float nets on unseen speakers, % (3 seeds) | 98.0 ± 0.4 | 98.3 ± 1.0 |
# | parameters | 43,716 | 45,996 |
# | instructions per frame | 48,900 | 155,300 |
# | flash, bytes | 50,200 | 50,300 |
# | RAM, bytes | 5,756 | 13,944 |
#
# The CNN is faster with weights of 16 bits: 124,100 instructions, for twice the flash. Its rows as
# 8-bit values would need about the RAM of the spiking net. On a desktop in batches, `net(x)` is
# faster than the C program. And the first layer multiplies: a sensor with events has no such layer.
#
# **Exercise.** Pass `weight_bits=4` to `quantize`. What happens to the accuracy and to the flash?
# [From a run to a microcontroller](../../how-to/microcontroller.md) has the details.
