"""The nets to measure, as nets of this library."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.instrument import Outcome, spike_count_loss
from nwavesdk.layers import (
    AdLIFLayer,
    LIFLayer,
    LIFSynapse,
    NeuronLayer,
    SpikingSequential,
    prepare_net,
)

TAU = 20e-3
# Share of pixels of an N-MNIST frame that have events, and of these with two events: the mean over
# ../shared/data/nmnist-small.tar.gz at 25 frames per recording.
DENSITY, TWICE = 0.043, 0.6


@dataclass(frozen=True)
class ConvNet:
    """2-12C5-MP2-24C3-AP2-10 on frames of N-MNIST's size, with LIF neurons after each layer."""

    B: int = 32
    T: int = 25
    size: int = 34

    name = "conv"

    @property
    def title(self) -> str:
        """What is measured."""
        return f"2-12C5-MP2-24C3-AP2-10, LIF, T = {self.T}, B = {self.B}"

    @property
    def sizes(self) -> tuple[tuple[int, int, int], tuple[int, int, int], int]:
        """Shapes of the neurons after both convolutions, and inputs of the last layer."""
        first = self.size - 4
        second = first // 2 - 2
        return (12, first, first), (24, second, second), 24 * (second // 2) ** 2

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Frames [B, T, 2, H, W] with numbers of events, and labels [B]."""
        draw = torch.Generator().manual_seed(3)
        shape = (self.B, self.T, 2, self.size, self.size)
        noise = torch.rand(shape, generator=draw)
        frames = (noise < DENSITY).float() + (noise < DENSITY * TWICE).float()
        return frames, torch.randint(0, 10, (self.B,), generator=draw)

    def weights(self) -> list[Tensor]:
        """The weights of both convolutions and of the last layer [N_out, N_in]."""
        draw = torch.Generator().manual_seed(2)
        shapes = ((12, 2, 5, 5), (24, 12, 3, 3), (10, self.sizes[2]))
        scales = (0.25, 0.1, 0.08)
        pairs = zip(shapes, scales, strict=True)
        return [_round_to_grid(torch.randn(s, generator=draw) * k) for s, k in pairs]

    def build_net(self, solver: str = "auto", **options: Any) -> SpikingSequential:
        """The net."""
        first, second, inputs = self.sizes
        net = SpikingSequential(
            nn.Conv2d(2, 12, 5, bias=False),
            LIFLayer(first, TAU, solver=solver),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, bias=False),
            LIFLayer(second, TAU, solver=solver),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(inputs, 10, bias=False),
            LIFLayer(10, TAU, solver=solver),
            **options,
        )
        for parameter, weight in zip(net.parameters(), self.weights(), strict=True):
            parameter.data.copy_(weight)
        return net

    def products(self, x: Tensor) -> Callable[[], object]:
        """Its convolutions and pools alone, channels-last: forward and backward."""
        parts = nn.Sequential(
            nn.Conv2d(2, 12, 5, bias=False),
            nn.MaxPool2d(2),
            nn.Conv2d(12, 24, 3, bias=False),
            nn.AvgPool2d(2),
        ).to(memory_format=torch.channels_last)
        frames = x.flatten(0, 1).contiguous(memory_format=torch.channels_last)
        grad = torch.ones_like(parts(frames))

        def call() -> None:
            parts.zero_grad()
            parts(frames).backward(grad)

        return call


@dataclass(frozen=True)
class RecurrentNet:
    """Two recurrent layers of adLIF neurons, and one without recurrence."""

    B: int = 64
    T: int = 100
    sizes: tuple[int, ...] = (700, 128, 128, 20)

    name = "recurrent"

    @property
    def title(self) -> str:
        """What is measured."""
        return f"{'-'.join(map(str, self.sizes))}, recurrent adLIF, T = {self.T}, B = {self.B}"

    def draw_data(self) -> tuple[Tensor, Tensor]:
        """Spikes [B, T, N_in] at 3 %, and labels [B]."""
        draw = torch.Generator().manual_seed(3)
        x = (torch.rand(self.B, self.T, self.sizes[0], generator=draw) < 0.03).float()
        return x, torch.randint(0, self.sizes[-1], (self.B,), generator=draw)

    def weights(self) -> list[Tensor]:
        """For each layer, its weights [N_in, N_out] and, except the last one, [N_out, N_out]."""
        draw = torch.Generator().manual_seed(2)
        weights = []
        for n_in, n_out, scale in zip(self.sizes, self.sizes[1:], (50.0, 25.0, 25.0), strict=False):
            weights.append(torch.randn(n_in, n_out, generator=draw) * scale * n_in**-0.5)
            weights.append(torch.randn(n_out, n_out, generator=draw) * 4.0 * n_out**-0.5)
        return [_round_to_grid(weight) for weight in weights[:-1]]

    def build_net(self, solver: str = "auto", **options: Any) -> SpikingSequential:
        """The net."""
        modules: list[nn.Module] = []
        weights = iter(self.weights())
        pairs = [*zip(self.sizes, self.sizes[1:], strict=False)]
        for n_in, n_out in pairs:
            synapse = LIFSynapse(n_in, n_out)
            synapse.weight.data.copy_(next(weights))
            topology = "FF" if len(modules) == 2 * len(pairs) - 2 else "RC"
            layer = AdLIFLayer(n_out, layer_topology=topology, solver=solver)
            if layer.recurrent_weights is not None:
                layer.recurrent_weights.data.copy_(next(weights))
            modules += [synapse, layer]
        return SpikingSequential(*modules, **options)


def _round_to_grid(weights: Tensor) -> Tensor:
    """Round to multiples of 3 / 2¹³: sums over spikes are exact in any order, and never 1.

    At the threshold, which is 1, some libraries spike and some do not.
    """
    return (weights * 8192 / 3).round() * 3 / 8192


Net = ConvNet | RecurrentNet
NETS: dict[str, Net] = {net.name: net for net in (ConvNet(), RecurrentNet())}


def training_step(net: SpikingSequential, x: Tensor, labels: Tensor) -> Callable[[], Outcome]:
    """Forward, loss and backward of a net of this library."""

    def call() -> Outcome:
        net.zero_grad()
        prepare_net(net)
        spk, _ = net(x)
        torch.autograd.backward(spike_count_loss(spk, labels))
        gradients = {name: p.grad for name, p in net.named_parameters() if p.grad is not None}
        return Outcome(spk.detach(), gradients)

    return call


def firing_rates(net: SpikingSequential, x: Tensor) -> dict[str, float]:
    """Spikes per neuron and step of each layer."""
    prepare_net(net)
    with torch.no_grad():
        rates = net.record(x).rates()
    names = {name for name, module in net.named_modules() if isinstance(module, NeuronLayer)}
    return {name: float(rate) for name, rate in rates.items() if name in names}
