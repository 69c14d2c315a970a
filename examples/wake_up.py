"""A deep net that is silent with default weights spikes after `fluct_init`, and can learn.

Run: python examples/wake_up.py

Six layers of an H1v2 chip receive 16 channels of sparse, weak events. With default weights spikes
vanish from layer to layer, and so does the gradient on its way back.
"""

import torch

from nwavesdk.init import fluct_init
from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential, prepare_net

DEPTH = 6
WIDTH = 48


def build() -> SpikingSequential:
    """Build six layers of 48 neurons."""
    torch.manual_seed(0)
    modules = []
    for k in range(DEPTH):
        modules += [H1v2Synapse(WIDTH if k else 16, WIDTH), H1v2Layer(WIDTH, taus=5e-3)]
    return SpikingSequential(*modules)


def measure(net: SpikingSequential, x: torch.Tensor) -> list[tuple[float, int, float]]:
    """Return rate, dead neurons and gradient norm of each layer.

    The gradient is of a loss on the spikes of the last layer.
    """
    prepare_net(net)
    record = net.record(x)
    net.zero_grad()
    (record.spk.mean() - 0.05).square().backward()
    synapses = (module for module in net if isinstance(module, H1v2Synapse))
    return [
        (
            layer.spk.mean().item(),
            int((layer.spk.sum((0, 1)) == 0).sum()),
            synapse.weight.grad.norm().item(),
        )
        for layer, synapse in zip(record.layers.values(), synapses, strict=True)
    ]


def main() -> None:
    """Measure before and after, and print both."""
    net = build()
    x = 0.3 * (torch.rand(8, 200, 16, generator=torch.Generator().manual_seed(1)) < 0.05).float()
    before = measure(net, x)
    report = fluct_init(net, x, seed=0)
    after = measure(net, x)
    print(report, end="\n\n")
    print("         default weights             fluct_init")
    print("layer    rate  dead  gradient        rate  dead  gradient")
    for k, (a, b) in enumerate(zip(before, after, strict=True)):
        print(f"{k + 1:5}  {a[0]:.4f}  {a[1]:4}  {a[2]:.2e}      {b[0]:.4f}  {b[1]:4}  {b[2]:.2e}")
    print("dead neurons:", sum(dead for _, dead, _ in after))


if __name__ == "__main__":
    main()
