"""A net with noisy thresholds: samples of what it fires, and what it is without noise under any surrogate.

A neuron spikes with the probability F(z), z = u - θ; what it does then, reset and all that follows, is the hard net's.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nwavesdk.layers import ChipInstance, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.layers.prepare import Prepared
from nwavesdk.surrogate import FastSigmoid, Surrogate
from research.fidelity.threshold_noise import ThresholdNoise

__all__ = ["LossOfEach", "NoisyNet", "Sample"]

LossOfEach = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`loss_fn(spk, mem, targets)`, from what the net returns for B recordings to B losses."""

_AT_ONCE = 1 << 22  # numbers in the input and the membranes of the passes that are run at a time


class _Sampler(Surrogate):
    """Takes the place of a layer's surrogate in the reference solver: spikes by chance, and notes at which z."""

    formula: ClassVar[str] = "none: spikes are held fixed"

    def __init__(self, noise: ThresholdNoise, generator: torch.Generator) -> None:
        self.noise, self.generator = noise, generator
        self.z: list[Tensor] = []
        self.spikes: list[Tensor] = []

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sampler) and other.noise == self.noise

    def __hash__(self) -> int:
        return hash(
            self.noise
        )  # solvers keep one spec of each value for good, so there must not be one a net

    def derivative(self, z: Tensor) -> Tensor:
        return self.noise.density.derivative(z)

    def __call__(self, z: Tensor) -> Tensor:
        chance = torch.rand(z.shape, generator=self.generator, dtype=z.dtype)
        spikes = (chance < self.noise.probability(z.detach())).to(z.dtype)
        self.z.append(z)
        self.spikes.append(spikes)
        return spikes


@dataclass(frozen=True, eq=False)
class Sample:
    """Noisy passes of all recordings.

    Attributes:
        loss: [count, B].
        z: Membrane minus threshold at all sites, the steps of all noisy neurons, [count, B, K]; with gradient.
        spikes: There, [count, B, K].
        surprise: What chance has added, s - F(z), [count, B, K]; no gradient.
    """

    loss: Tensor
    z: Tensor
    spikes: Tensor
    surprise: Tensor


class NoisyNet:
    """A copy of a net, in evaluation mode, whose neurons have noisy thresholds.

    A last layer without reset is a read-out: its membrane counts, it is not noisy, and for spikes `loss_fn` gets NaN
    from it.

    Args:
        net: A row of modules on the CPU, with at least one layer that is no read-out; it stays as it is.
        x: Recordings [B, T, *features].
        targets: What the loss compares with, [B, ...].
        loss_fn: `loss_fn(spk, mem, targets)`, one loss for each recording.
        noise: Of every noisy neuron.
        seed: Of the samples; and of mismatch, unless a `ChipInstance` is held on the net.

    Attributes:
        parameters: Names of the parameters that are differentiated: those that require a gradient and on which what the
            noisy net returns depends.
        hidden: Those of them that stand at or before the last noisy layer, and so act through noisy spikes.
        sites: Steps of all noisy neurons, K.
        size: Numbers in all parameters, P.
        surrogates: The net's own, one for each neuron layer.

    Raises:
        TypeError: The net is no `SpikingSequential`, or something is no tensor.
        ValueError: There is no layer to be noisy or nothing to differentiate, shapes do not fit, something is not
            finite or not on the CPU, or the loss is not one number for each recording.
    """

    def __init__(
        self,
        net: SpikingSequential,
        x: Tensor,
        targets: Tensor,
        loss_fn: LossOfEach,
        noise: ThresholdNoise,
        seed: int = 0,
    ) -> None:
        _check(net, x, targets, noise)
        self.x, self.targets, self.loss_fn, self.noise = x.detach(), targets, loss_fn, noise
        self.net = _copied(net, seed)
        rows = [*self.net.modules_in_order()]
        self._layers = [row for _, row in rows if isinstance(row, NeuronLayer)]
        self.surrogates = tuple(
            one.spike_grad if one.uses_spike_grad else FastSigmoid() for one in self._layers
        )
        self._reads_out = (
            bool(self._layers)
            and self._layers[-1] is rows[-1][1]
            and _without_reset(self._layers[-1])
        )
        noisy = self._layers[:-1] if self._reads_out else self._layers
        if not noisy:
            raise ValueError(
                "the net has no neuron layer before its read-out: there is no threshold to be noisy."
            )
        for layer in self._layers:
            layer.solver = "reference"
            layer.set_device("cpu")
        generator = torch.Generator().manual_seed(seed)
        self._samplers = [_Sampler(noise, generator) for _ in noisy]
        last = next(place for place, (_, row) in enumerate(rows) if row is noisy[-1])
        before = {
            f"{name}.{key}" for name, row in rows[: last + 1] for key, _ in row.named_parameters()
        }
        with torch.enable_grad():
            sample = self.sample(1)
        given = {name: p for name, p in self.net.named_parameters() if p.requires_grad}
        whole = sample.z.sum() + sample.loss.sum()
        if not given or not whole.requires_grad:
            raise ValueError(
                "no parameter of the net requires a gradient: there is nothing to compare."
            )
        found = torch.autograd.grad(whole, [*given.values()], allow_unused=True)
        self._parameters = {
            name: p for (name, p), g in zip(given.items(), found, strict=True) if g is not None
        }
        self.parameters = tuple(self._parameters)
        self.hidden = tuple(name for name in self.parameters if name in before)
        self.sites, self.size = sample.z.shape[2], sum(p.numel() for p in self._parameters.values())

    def sample(self, count: int) -> Sample:
        """So many noisy passes of each recording at once; see `parts`."""
        for layer, sampler in zip(self._layers, self._samplers, strict=False):
            layer.spike_grad = sampler
        try:
            loss = self._loss(count).reshape(count, -1)
            sites = [(torch.stack(one.z, 1), torch.stack(one.spikes, 1)) for one in self._samplers]
        finally:
            for one in self._samplers:
                one.z, one.spikes = [], []
        z, spikes = (
            torch.cat([s.flatten(1) for s in all_of], 1).reshape(count, len(self.x), -1)
            for all_of in zip(*sites, strict=True)
        )
        return Sample(loss.to(z), z, spikes, spikes - self.noise.probability(z.detach()))

    def losses(self, samples: int) -> Tensor:
        """Losses of noisy passes, [samples, B]."""
        with torch.no_grad():
            return torch.cat([self.sample(part).loss for part in self.parts(samples)])

    def surrogate_gradient(self, surrogates: Sequence[Surrogate]) -> tuple[float, Tensor]:
        """The mean loss without noise, and its gradient with these surrogates, one a neuron layer, flat [P]."""
        for layer, surrogate in zip(self._layers, surrogates, strict=True):
            layer.spike_grad = surrogate
        with torch.enable_grad():
            loss = self._loss(1).mean()
            found = self.differentiate(loss)
        return loss.item(), found

    def differentiate(self, value: Tensor) -> Tensor:
        """The gradient of a number in all parameters, flat [P]; 0 where none arrives."""
        if not value.requires_grad:
            return torch.zeros(self.size, dtype=value.dtype)
        own = [*self._parameters.values()]
        found = torch.autograd.grad(value, own, allow_unused=True)
        return torch.cat(
            [
                (torch.zeros_like(p) if g is None else g).flatten()
                for p, g in zip(own, found, strict=True)
            ]
        )

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """[..., P] by the names of `parameters`."""
        sizes = [p.numel() for p in self._parameters.values()]
        return dict(zip(self.parameters, torch.split(flat, sizes, -1), strict=True))

    def parts(self, count: int) -> list[int]:
        """Passes to run at a time, `count` in all."""
        most = max(1, _AT_ONCE // (len(self.x) * (self.sites + self.x[0].numel())))
        return [min(most, count - done) for done in range(0, count, most)]

    def _loss(self, count: int) -> Tensor:
        """Losses of so many passes of each recording, [count * B]."""
        prepare_net(self.net)
        spk, mem = self.net(self.x.repeat(count, *[1] * (self.x.ndim - 1)))
        if self._reads_out:
            spk = torch.full_like(spk, torch.nan)
        loss = self.loss_fn(spk, mem, self.targets.repeat(count, *[1] * (self.targets.ndim - 1)))
        if (
            not isinstance(loss, Tensor)
            or loss.shape != mem.shape[:1]
            or not loss.is_floating_point()
        ):
            got = (
                f"a {loss.dtype} of shape {list(loss.shape)}"
                if isinstance(loss, Tensor)
                else type(loss).__name__
            )
            raise ValueError(
                f"loss_fn(spk, mem, targets) must give one loss, a floating number, for each of {len(mem)} recordings, "
                f'got {got}: use reduction="none", and no mean over recordings.'
            )
        if not loss.isfinite().all():
            raise ValueError(
                "loss_fn(spk, mem, targets) gave a loss that is not finite: of a read-out, a last layer without reset, "
                "it may use mem alone; elsewhere spikes may be all 0."
            )
        return loss


def _check(net: object, x: object, targets: object, noise: object) -> None:
    if not isinstance(net, SpikingSequential):
        raise TypeError(f"fidelity is that of a SpikingSequential, got {type(net).__name__}.")
    if not isinstance(noise, ThresholdNoise):
        raise TypeError(
            f'noise is a ThresholdNoise, as ThresholdNoise("normal", 0.3), got {noise!r}.'
        )
    if not isinstance(x, Tensor) or not isinstance(targets, Tensor):
        raise TypeError(
            f"x and targets are tensors, got {type(x).__name__} and {type(targets).__name__}."
        )
    if x.ndim < 3 or 0 in x.shape:
        raise ValueError(
            f"fidelity needs sequences [B, T, *features], got an input of shape {list(x.shape)}."
        )
    if targets.ndim < 1 or len(targets) != len(x):
        raise ValueError(
            f"there is one target for each of {len(x)} recordings, got the shape {list(targets.shape)}."
        )
    tensors = {
        "x": x,
        "targets": targets,
        **dict(net.named_parameters()),
        **dict(net.named_buffers()),
    }
    for name, tensor in tensors.items():
        if tensor.device.type != "cpu":
            raise ValueError(
                f"fidelity is estimated on the CPU, got {name} on {tensor.device}: use net.cpu()."
            )
        if name != "targets" and not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite: go back to weights that are.")


def _copied(net: SpikingSequential, seed: int) -> SpikingSequential:
    """A copy without dropout, in one piece, and on one chip."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, SpikingSequential):
            module.checkpoint = None  # its chunks would be sampled again in backward
    if all(module.chip_noise is None for module in net.modules() if isinstance(module, Prepared)):
        ChipInstance(seed).hold(net)
    return net


def _without_reset(layer: nn.Module) -> bool:
    return isinstance(layer, NeuronLayer) and layer.neuron.name == "lif_none"
