"""The same net with `device="cpu"` and `device="gpu"`: equal spikes and equal training curves.

Run: python examples/cpu_and_gpu.py

`device` is NWAVE's choice of a solver, not torch's device: serial, or comPaSSo, parallel over
time. Tensors may be on the CPU or on a CUDA device with either. By default `device="gpu"` uses
the gradient of fast_sigmoid(25), as NWAVE documents. With `compasso_spike_grad="layer"` it uses
the layer's own surrogate, and both nets learn equally.
"""

import torch

from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net, to_gpu
from nwavesdk.surrogate import atan

TENSORS = "cuda" if torch.cuda.is_available() else "cpu"
STEPS = 2000


def build() -> SpikingSequential:
    """Build a net that separates two classes of spike trains by the membrane of a read-out."""
    torch.manual_seed(0)
    options = {"solver": "auto", "compasso_spike_grad": "layer", "spike_grad": atan()}
    return SpikingSequential(
        LIFSynapse(8, 16),
        LIFLayer(16, taus=10e-3, **options),
        LIFSynapse(16, 2),
        LIFLayer(2, taus=10e-3, reset_mechanism="none", **options),
    ).to(TENSORS, torch.float64)


def train(net: SpikingSequential) -> tuple[list[float], torch.Tensor]:
    """Train briefly; return the losses and the last spikes of the hidden layer."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    g = torch.Generator().manual_seed(1)
    labels = torch.arange(8) % 2
    losses = []
    for _ in range(8):
        rates = 0.05 + 0.1 * (torch.arange(8) % 2 == labels[:, None, None])
        x = (torch.rand(8, STEPS, 8, generator=g) < rates).double().to(TENSORS)
        prepare_net(net)
        record = net.record(x)
        loss = torch.nn.functional.cross_entropy(record.mem.mean(1), labels.to(TENSORS))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses, record.layers["1"].spk


def main() -> None:
    """Train both nets and compare them."""
    serial = build()
    parallel = to_gpu(build())
    parallel.load_state_dict(serial.state_dict())  # both have the same keys
    for layer in (parallel[1], parallel[3]):
        layer.solver = "compasso"  # even where the serial solver is faster, as on CPU tensors
    losses, spikes = train(serial)
    other_losses, other_spikes = train(parallel)
    print(f"solvers     {serial[1].last_solver:>12} {parallel[1].last_solver:>12}")
    for k, (a, b) in enumerate(zip(losses, other_losses, strict=True)):
        print(f"loss {k}      {a:12.9f} {b:12.9f}")
    print(f"spikes      {int(spikes.sum()):12} {int(other_spikes.sum()):12}")
    print("spikes that differ:", int((spikes != other_spikes).sum()))


if __name__ == "__main__":
    main()
