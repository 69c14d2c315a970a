"""A net with noisy thresholds: samples of its spikes, and the net without noise.

A neuron spikes with the probability F(z), with z the argument of its spike. Its reset, and what
follows from the spike, are as in the net with hard thresholds.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from nwavesdk.layers import ChipInstance, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.surrogate import FastSigmoid, Surrogate
from research.fidelity.threshold_noise import ThresholdNoise

__all__ = ["LossOfEach", "NoisyNet", "Sample"]

LossOfEach = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`loss_fn(spk, mem, targets)`: from the outputs of a net for B recordings to B losses."""

_NUMBERS_PER_CHUNK = 1 << 22
"""Numbers in the input and the membranes of the passes that run together."""


class _Sampler(Surrogate):
    """Replaces a layer's surrogate in the reference solver: draws spikes and records their z."""

    formula: ClassVar[str] = "none: spikes are held fixed"

    def __init__(self, noise: ThresholdNoise, generator: torch.Generator) -> None:
        self.noise = noise
        self.generator = generator
        self.z: list[Tensor] = []
        self.spikes: list[Tensor] = []

    # Solvers store one spec per value forever, so equal noise must be equal: not one spec per net.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Sampler) and other.noise == self.noise

    def __hash__(self) -> int:
        return hash(self.noise)

    def derivative(self, z: Tensor) -> Tensor:
        return self.noise.density.derivative(z)

    def __call__(self, z: Tensor) -> Tensor:
        uniform = torch.rand(z.shape, generator=self.generator, dtype=z.dtype)
        spikes = (uniform < self.noise.probability(z.detach())).to(z.dtype)
        self.z.append(z)
        self.spikes.append(spikes)
        return spikes


@dataclass(frozen=True, eq=False)
class Sample:
    """Noisy passes of all recordings.

    Attributes:
        loss: Losses, [count, B].
        z: Argument of the spike at all sites (the steps of all noisy neurons), [count, B, K];
            with gradient.
        spikes: Spikes at all sites, [count, B, K].
        surprise: The random part of the spikes, s - F(z), [count, B, K]; without gradient.
    """

    loss: Tensor
    z: Tensor
    spikes: Tensor
    surprise: Tensor


class NoisyNet:
    """A copy of a net, in evaluation mode, whose neurons have noisy thresholds.

    A last layer without reset or without spikes is a read-out: its membrane is the output, it has
    no noise, and `loss_fn` gets NaN for its spikes.

    Args:
        net: A sequence of modules on the CPU, with at least one layer that is not a read-out. It is
            not changed.
        x: Recordings [B, T, *features].
        targets: Targets of the loss, [B, ...].
        loss_fn: `loss_fn(spk, mem, targets)`, one loss per recording.
        noise: Noise of every noisy neuron.
        seed: Seed of the samples, and of mismatch unless a `ChipInstance` is held on the net.

    Attributes:
        parameters: Names of the differentiated parameters: those that require a gradient and that
            affect what the noisy net returns.
        hidden: The weights at or before the last noisy layer, which act through noisy spikes.
        sites: Number of steps of all noisy neurons, K.
        size: Number of values in all parameters, P.
        surrogates: The net's own surrogates, one per layer with spikes.

    Raises:
        TypeError: If the net is not a `SpikingSequential`, or `x` or `targets` is not a tensor.
        ValueError: If there is no layer with noise or no parameter to differentiate, if shapes do
            not fit, if a value is not finite or not on the CPU, or if the loss is not one number
            per recording.
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
        _validate_inputs(net, x, targets, noise)
        self.x = x.detach()
        self.targets = targets
        self.loss_fn = loss_fn
        self.noise = noise
        self.net = _copy_for_evaluation(net, seed)
        modules = [*self.net.modules_in_order()]
        layers = [module for _, module in modules if isinstance(module, NeuronLayer)]
        self._layers = [layer for layer in layers if not layer.neuron.is_readout]
        self.surrogates = tuple(
            layer.spike_grad if layer.uses_spike_grad else FastSigmoid() for layer in self._layers
        )
        self._has_read_out = bool(modules) and _is_read_out(modules[-1][1])
        read_out = layers[-1] if self._has_read_out else None
        noisy = [layer for layer in self._layers if layer is not read_out]
        if not noisy:
            raise ValueError(
                "the net has no neuron layer before its read-out: no threshold can be noisy."
            )
        for layer in layers:
            layer.solver = "reference"
            layer.set_device("cpu")
        generator = torch.Generator().manual_seed(seed)
        self._samplers = [_Sampler(noise, generator) for _ in noisy]
        with torch.enable_grad():
            sample = self.sample(1)
        self._parameters = _parameters_with_effect(self.net, sample.z.sum() + sample.loss.sum())
        self.parameters = tuple(self._parameters)
        last = next(index for index, (_, module) in enumerate(modules) if module is noisy[-1])
        before_last = {
            f"{name}.{key}"
            for name, module in modules[: last + 1]
            for key, _ in module.named_parameters()
        }
        self.hidden = tuple(name for name in self.parameters if name in before_last)
        self.sites = sample.z.shape[2]
        self.size = sum(parameter.numel() for parameter in self._parameters.values())

    def sample(self, count: int) -> Sample:
        """Run `count` noisy passes of each recording together; see `chunk_sizes`."""
        for layer, sampler in zip(self._layers, self._samplers, strict=False):
            layer.spike_grad = sampler
        try:
            loss = self._losses_of_passes(count).reshape(count, -1)
            z = self._at_sites([sampler.z for sampler in self._samplers], count)
            spikes = self._at_sites([sampler.spikes for sampler in self._samplers], count)
        finally:
            for sampler in self._samplers:
                sampler.z = []
                sampler.spikes = []
        return Sample(loss.to(z), z, spikes, spikes - self.noise.probability(z.detach()))

    def _at_sites(self, recorded: list[list[Tensor]], count: int) -> Tensor:
        """Join the steps [count * B, N] of all layers to [count, B, K]."""
        layers = [torch.stack(steps, 1).flatten(1) for steps in recorded]
        return torch.cat(layers, 1).reshape(count, len(self.x), -1)

    def losses(self, samples: int) -> Tensor:
        """Return the losses of noisy passes, [samples, B]."""
        with torch.no_grad():
            return torch.cat([self.sample(part).loss for part in self.chunk_sizes(samples)])

    def surrogate_gradient(self, surrogates: Sequence[Surrogate]) -> tuple[float, Tensor]:
        """Return the mean loss without noise, and its gradient with these surrogates, flat [P].

        Args:
            surrogates: One per layer with spikes.
        """
        for layer, surrogate in zip(self._layers, surrogates, strict=True):
            layer.spike_grad = surrogate
        with torch.enable_grad():
            loss = self._losses_of_passes(1).mean()
            gradient = self.differentiate(loss)
        return loss.item(), gradient

    def differentiate(self, value: Tensor) -> Tensor:
        """Return the gradient of a number in all parameters, flat [P]; 0 where none arrives."""
        if not value.requires_grad:
            return torch.zeros(self.size, dtype=value.dtype)
        parameters = [*self._parameters.values()]
        gradients = torch.autograd.grad(
            value, parameters, allow_unused=True, materialize_grads=True
        )
        return torch.cat([gradient.flatten() for gradient in gradients])

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """Split [..., P] by the names of `parameters`."""
        sizes = [parameter.numel() for parameter in self._parameters.values()]
        return dict(zip(self.parameters, torch.split(flat, sizes, -1), strict=True))

    def chunk_sizes(self, count: int) -> list[int]:
        """Return how many passes to run together, `count` in all."""
        numbers_per_pass = len(self.x) * (self.sites + self.x[0].numel())
        largest = max(1, _NUMBERS_PER_CHUNK // numbers_per_pass)
        return [min(largest, count - start) for start in range(0, count, largest)]

    def _losses_of_passes(self, count: int) -> Tensor:
        """Return the losses of `count` passes of each recording, [count * B]."""
        prepare_net(self.net)
        spk, mem = self.net(_repeat(self.x, count))
        if self._has_read_out:
            spk = torch.full_like(spk, torch.nan)
        loss = self.loss_fn(spk, mem, _repeat(self.targets, count))
        is_tensor = isinstance(loss, Tensor)
        if not is_tensor or loss.shape != mem.shape[:1] or not loss.is_floating_point():
            shape = f"a {loss.dtype} of shape {list(loss.shape)}" if is_tensor else None
            raise ValueError(
                "loss_fn(spk, mem, targets) must return one floating-point loss for each of "
                f"{len(mem)} recordings, got {shape or type(loss).__name__}: "
                'use reduction="none", and no mean over recordings.'
            )
        if not loss.isfinite().all():
            raise ValueError(
                "loss_fn(spk, mem, targets) returned a loss that is not finite: for a read-out, a "
                "last layer without reset, it may use mem only; elsewhere spikes may be all 0."
            )
        return loss


def _validate_inputs(net: object, x: object, targets: object, noise: object) -> None:
    if not isinstance(net, SpikingSequential):
        raise TypeError(f"fidelity needs a SpikingSequential, got {type(net).__name__}.")
    if not isinstance(noise, ThresholdNoise):
        raise TypeError(
            f'noise must be a ThresholdNoise, as ThresholdNoise("normal", 0.3), got {noise!r}.'
        )
    if not isinstance(x, Tensor) or not isinstance(targets, Tensor):
        raise TypeError(
            f"x and targets must be tensors, got {type(x).__name__} and {type(targets).__name__}."
        )
    if x.ndim < 3 or 0 in x.shape:
        raise ValueError(
            f"fidelity needs sequences [B, T, *features], got an input of shape {list(x.shape)}."
        )
    if targets.ndim < 1 or len(targets) != len(x):
        raise ValueError(
            f"expected one target for each of {len(x)} recordings, "
            f"got targets of shape {list(targets.shape)}."
        )
    tensors = {"x": x, "targets": targets, **dict(net.named_parameters())}
    for name, tensor in (tensors | dict(net.named_buffers())).items():
        if tensor.device.type != "cpu":
            raise ValueError(
                f"fidelity is estimated on the CPU, got {name} on {tensor.device}: use net.cpu()."
            )
        if name != "targets" and not tensor.isfinite().all():
            raise ValueError(f"{name} is not finite: use weights and inputs that are.")


def _parameters_with_effect(net: nn.Module, value: Tensor) -> dict[str, nn.Parameter]:
    """Return the parameters that require a gradient and on which `value` depends."""
    trainable = {name: p for name, p in net.named_parameters() if p.requires_grad}
    if not trainable or not value.requires_grad:
        raise ValueError("no parameter of the net requires a gradient: nothing to compare.")
    gradients = torch.autograd.grad(value, [*trainable.values()], allow_unused=True)
    pairs = zip(trainable.items(), gradients, strict=True)
    return {name: parameter for (name, parameter), g in pairs if g is not None}


def _copy_for_evaluation(net: SpikingSequential, seed: int) -> SpikingSequential:
    """Copy the net without dropout, without checkpoints, and on one chip."""
    net = copy.deepcopy(net).eval()
    for module in net.modules():
        if isinstance(module, SpikingSequential):
            module.checkpoint = None  # backward would sample its chunks again
    if all(module.chip_noise is None for module in prepared_modules(net, "NoisyNet")):
        ChipInstance(seed).hold(net)
    return net


def _is_read_out(module: nn.Module) -> bool:
    if not isinstance(module, NeuronLayer):
        return False
    return module.neuron.is_readout or module.neuron.name == "lif_none"


def _repeat(values: Tensor, count: int) -> Tensor:
    """Repeat a batch `count` times."""
    return values.repeat(count, *[1] * (values.ndim - 1))
