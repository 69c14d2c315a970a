"""
# 11. CPU, GPU and comPaSSo

You will run one net with two solvers, serial and parallel over time, and see that spikes and
training are the same. You will know what `device=` means, and what moves tensors. This page is the
counterpart of NWAVE's tutorial of portability between CPU and GPU. It runs on a CPU: no GPU was
tried.
"""

# %%
# ## Two settings with similar names
#
# `device="cpu"` or `"gpu"` of a layer is NWAVE's choice of a solver, and moves no tensor.
# `net.to("cuda")` is torch's, and moves tensors. Each solver runs on both kinds of tensors.
#
# The serial solver goes through time step by step. comPaSSo splits the sequence into chunks, runs
# them in parallel, and proves that the spikes equal the spikes of the serial solver.

import copy

import matplotlib.pyplot as plt
import torch

import nwavesdk as nw
from nwavesdk import plot
from nwavesdk.layers import LILayer
from nwavesdk.loss import membrane_cross_entropy
from nwavesdk.surrogate import atan

torch.manual_seed(0)
where = "cuda" if torch.cuda.is_available() else "cpu"
print("tensors are on:", where)
serial = nw.SpikingSequential(
    nw.LIFSynapse(8, 16),
    nw.LIFLayer(16, taus=10e-3, spike_grad=atan(), compasso_spike_grad="layer"),
    nw.LIFSynapse(16, 2),
    LILayer(2, tau=10e-3),
).to(where, torch.float64)
parallel = nw.to_gpu(copy.deepcopy(serial))  # device="gpu" of all layers, in place
parallel.load_state_dict(serial.state_dict())  # both have the same keys
print("device:", serial[1].device, "and", parallel[1].device)

# %%
# By default the gradient on `device="gpu"` uses `fast_sigmoid(25)`, as NWAVE documents.
# `compasso_spike_grad="layer"` keeps the surrogate of the layer, so both nets learn the same.
#
# ## Which solver runs
#
# `device="gpu"` takes comPaSSo where a cost model predicts that it is faster. On CPU tensors the
# serial solver is faster, so it runs there. `solver="compasso"` forces the other one. For the
# comparison, force it.

labels = torch.arange(4, device=where) % 2
active = torch.arange(8, device=where) % 2 == labels[:, None, None]
x = torch.bernoulli((0.05 + 0.03 * active).expand(4, 2000, 8)).double()

nw.prepare_net(parallel)
parallel(x)
print("chosen:", parallel[1].last_solver)
parallel[1].solver = "compasso"
nw.prepare_net(parallel)
parallel(x)
print("forced:", parallel[1].last_solver)

# %%
# ## The same training
#
# comPaSSo adds up gradients in another order, so their last bits may differ. In float64 that is
# little.


def train(net):
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    losses = []
    for _ in range(10):
        nw.prepare_net(net)
        recording = net.record(x)
        loss = membrane_cross_entropy(recording.mem, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, recording.layers["1"].spk


serial_losses, serial_spikes = train(serial)
parallel_losses, parallel_spikes = train(parallel)
print("ran:", serial[1].last_solver, "and", parallel[1].last_solver)
differences = [abs(a - b) for a, b in zip(serial_losses, parallel_losses, strict=True)]
print(f"loss from {serial_losses[0]:.3f} to {serial_losses[-1]:.3f}")
print(f"largest difference of the losses: {max(differences):.1e}")
print(
    "spikes:",
    int(serial_spikes.sum()),
    "that differ:",
    int((serial_spikes != parallel_spikes).sum()),
)

figure, axes = plt.subplots(figsize=(5, 2.5), layout="constrained")
axes.plot(serial_losses, linewidth=5, color="lightgray", label="serial")
axes.plot(parallel_losses, label="comPaSSo")
axes.set(xlabel="step", ylabel="loss")
axes.legend()

figure, axes = plt.subplots(1, 2, figsize=(8, 2.5), sharey=True, layout="constrained")
for axis, spikes, title in zip(
    axes, (serial_spikes, parallel_spikes), ("serial", "comPaSSo"), strict=True
):
    plot.raster(spikes[0, :200], axis, dt=1e-3).set_title(title)

# %%
# ## What is known about a GPU
#
# The kernels for a GPU are tested with an interpreter and by compilation, and have not run on a GPU
# yet. [Running a net](../../running.md) has a table of what runs where.
# [comPaSSo](../../compasso.md) has the proof, and tables of how many steps depend on each other.
# Recurrent layers run on all solvers but comPaSSo: `to_gpu` rejects them.
#
# ## Exercise
#
# comPaSSo relies on resets being rare. Are its spikes still right when all inputs spike always?
#
# ## Answer

parallel.load_state_dict(serial.state_dict())
always = torch.ones_like(x)
both = []
for net in (serial, parallel):
    nw.prepare_net(net)
    both.append(net.record(always).layers["1"].spk)
print(f"{both[0].mean():.0%} of steps spike, different: {int((both[0] != both[1]).sum())}")
