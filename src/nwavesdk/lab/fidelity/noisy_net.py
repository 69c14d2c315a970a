"""A net with noisy thresholds, and the gradient of its expected loss by likelihood ratios, without bias.

A neuron spikes with the probability F(z), z = u - θ; what it does then, reset and all that follows, is the hard net's.
Its expected loss J is smooth in the weights. With the spikes of a sample held fixed the membranes are differentiable,
and

    ∇J = E[(L - c) ∇ log P(s)  +  ∇C  +  ∇L],    log P(s) = Σ log F(±z)

over all sites, that is neurons and steps (+ where there is a spike). ∇L is what the loss depends on weights by other
ways than spikes: a read-out's. The control c = b + Σ a (s - F(z)) takes most of the noise out: a and b are regressed
for each recording on samples of their own, and as (s - F) has no correlation with ∇ log P of any other site, what it
adds to the first term has the expectation -∇C, C = Σ a F(z). So there is no bias, whatever a and b are.

References:
    R. J. Williams, "Simple statistical gradient-following algorithms for connectionist reinforcement learning", 1992,
    doi:10.1007/BF00992696. S. Gu, S. Levine, I. Sutskever, A. Mnih, "MuProp", 2016, arXiv:1511.05176 (a control that is
    linear in the samples).
"""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from nwavesdk.lab.fidelity.threshold_noise import ThresholdNoise
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import Surrogate

__all__ = ["LossOfEach", "NoisyNet"]

LossOfEach = Callable[[Tensor, Tensor, Tensor], Tensor]
"""`loss_fn(spk, mem, targets)`, from what the net returns for B recordings to B losses."""

_AT_ONCE = 1 << 22  # sites whose membranes are held at a time
_RIDGE = 1e-3  # of a site's mean variance: what a site that hardly ever varies may weigh


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
        return hash(self.noise)  # solvers keep one spec of each value for good, so there must not be one a net

    def derivative(self, z: Tensor) -> Tensor:
        return self.noise.density.derivative(z)

    def __call__(self, z: Tensor) -> Tensor:
        chance = torch.rand(z.shape, generator=self.generator, dtype=z.dtype)
        spikes = (chance < self.noise.probability(z.detach())).to(z.dtype)
        self.z.append(z)
        self.spikes.append(spikes)
        return spikes

    def take(self) -> tuple[Tensor, Tensor]:
        """The z and the spikes of the sequence that was run, [rows, T * N]; they are forgotten here."""
        both = torch.stack(self.z, 1).flatten(1), torch.stack(self.spikes, 1).flatten(1)
        self.z, self.spikes = [], []
        return both


@dataclass(frozen=True)
class _Sample:
    """What `rows` noisy passes gave: losses [count, B], z and spikes of all sites [count, B, K]."""

    loss: Tensor
    z: Tensor
    spikes: Tensor


@dataclass(frozen=True)
class _Control:
    """`offset` [B] and `slope` [B, K] of c = offset + Σ slope (s - F)."""

    offset: Tensor
    slope: Tensor


class NoisyNet:
    """A copy of a net whose neurons have noisy thresholds; a last layer without reset is a read-out and stays as it is.

    Args:
        net: A row of modules on CPU, with at least one layer that is no read-out; it stays as it is, in its mode.
        x: Recordings [B, T, *features].
        targets: What the loss compares with, [B, ...].
        loss_fn: `loss_fn(spk, mem, targets)`, one loss for each recording; of a read-out it may use `mem` alone.
        noise: Of every noisy neuron.
        seed: Of the samples, and of mismatch (see `prepare_net`), which is the same in all of them.

    Attributes:
        parameters: Names of the parameters that are differentiated: those that require a gradient and on which what the
            noisy net returns depends.
        hidden: Those of them that act through noisy spikes; a read-out's do not.
        explained: Share of the loss's variance over samples that the control explains, 0 to 1; NaN before `fit`.

    Raises:
        TypeError: The net is no `SpikingSequential`.
        ValueError: There is no layer to be noisy, or the loss is not one number for each recording.
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
        if not isinstance(net, SpikingSequential):
            raise TypeError(f"NoisyNet needs a SpikingSequential, got {type(net).__name__}.")
        self.x, self.targets, self.loss_fn, self.noise, self.seed = x, targets, loss_fn, noise, seed
        self.net = copy.deepcopy(net)
        self._generator = torch.Generator().manual_seed(seed)
        self._samplers, before = self._make_noisy()
        with torch.enable_grad():
            sample = self._run(1)
        given = {n: p for n, p in self.net.named_parameters() if p.requires_grad}
        found = torch.autograd.grad(sample.z.sum() + sample.loss.sum(), [*given.values()], allow_unused=True)
        self._parameters = {n: p for (n, p), g in zip(given.items(), found, strict=True) if g is not None}
        self.parameters = tuple(self._parameters)
        self.hidden = tuple(name for name in self.parameters if name in before)
        self.sites, self.size = sample.z.shape[2], sum(p.numel() for p in self._parameters.values())
        self._control: _Control | None = None
        self.explained = math.nan

    def _make_noisy(self) -> tuple[list[_Sampler], set[str]]:
        """Samplers in the layers, and the names of the parameters up to the last of these."""
        rows = [*self.net.rows()]
        layers = [(place, row) for place, (_, row) in enumerate(rows) if isinstance(row, NeuronLayer)]
        if layers and layers[-1][1].neuron.name == "lif_none":
            layers.pop()
        if not layers:
            raise ValueError("the net has no neuron layer before its read-out: there is no threshold to be noisy.")
        samplers = []
        for _, layer in layers:
            samplers.append(_Sampler(self.noise, self._generator))
            layer.spike_grad, layer.solver = samplers[-1], "reference"
            layer.set_device("cpu")
        last = layers[-1][0]
        return samplers, {f"{name}.{key}" for name, row in rows[: last + 1] for key, _ in row.named_parameters()}

    def fit(self, samples: int | None = None) -> None:
        """Regress the control of each recording on samples that are used for nothing else.

        Args:
            samples: Of each recording. [3 for each site, and 200]
        """
        count, B, K = samples or 3 * self.sites + 200, len(self.x), self.sites
        both, own = torch.zeros(B, K, K, dtype=torch.float64), torch.zeros(B, K, dtype=torch.float64)
        losses, total = [], 0
        with torch.no_grad():
            centre = self._run(max(2, min(count, self._most()))).loss.mean(0)
            for part in self._parts(count):
                sample = self._run(part)
                surprise, loss = self._surprise(sample).transpose(0, 1), sample.loss - centre
                both += surprise.transpose(1, 2) @ surprise
                own += (surprise.transpose(1, 2) @ loss.t()[..., None]).squeeze(2)
                losses.append(loss)
                total += part
            loss = torch.cat(losses).double()
            diagonal = both.diagonal(dim1=1, dim2=2)
            ridge = _RIDGE * diagonal.mean(1, keepdim=True) + torch.finfo(torch.float64).tiny
            factor = torch.linalg.cholesky(both + torch.diag_embed(ridge.expand(B, K)))
            slope = torch.cholesky_solve(own[..., None], factor).squeeze(2)
            self._control = _Control(centre + loss.mean(0).to(centre), slope.to(self.x.dtype))

    def gradients(self, samples: int, blocks: int = 20) -> Tensor:
        """Estimates of ∇J, each without bias and independent of the others, [blocks, P]; see `split`.

        Args:
            samples: Of each recording, in all blocks together.
            blocks: How many estimates; their spread is the error of their mean.
        """
        if self._control is None:
            self.fit()
        each = max(1, samples // blocks)
        found, left, whole = [], 0.0, 0.0
        for _ in range(blocks):
            total: Tensor | float = 0.0
            for part in self._parts(each):
                gradient, residual, variance = self._estimate(part)
                total = total + gradient.double() * (part / each)
                left, whole = left + residual * part, whole + variance * part
            found.append(total)
        self.explained = 1 - left / whole if whole else math.nan
        return torch.stack(found)  # type: ignore[arg-type]  # each block has a part

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """[..., P] by the names of `parameters`."""
        sizes = [p.numel() for p in self._parameters.values()]
        return dict(zip(self.parameters, torch.split(flat, sizes, -1), strict=True))

    def losses(self, samples: int) -> Tensor:
        """Losses of noisy passes, [samples, B]."""
        with torch.no_grad():
            return torch.cat([self._run(part).loss for part in self._parts(samples)])

    def _estimate(self, count: int) -> tuple[Tensor, float, float]:
        """The mean gradient of so many samples of each recording; variances of what the control leaves, and in all."""
        assert self._control is not None
        with torch.enable_grad():
            sample, slope = self._run(count), self._control.slope
            chance = self.noise.probability(sample.z)
            with torch.no_grad():
                free = sample.loss - self._control.offset
                rest = free - (self._surprise(sample) * slope).sum(2)
            score = self.noise.log_probability(sample.z, sample.spikes).sum(2)
            whole = rest * score + (slope * chance).sum(2) + sample.loss
            found = torch.autograd.grad(whole.mean(), [*self._parameters.values()])
        flat = torch.cat([g.flatten() for g in found])
        return flat, rest.square().mean().item(), free.square().mean().item()

    def _surprise(self, sample: _Sample) -> Tensor:
        """What chance has added, s - F(z), at all sites."""
        return sample.spikes - self.noise.probability(sample.z.detach())

    def _run(self, count: int) -> _Sample:
        """So many noisy passes of each recording."""
        B = len(self.x)
        prepare_net(self.net, self.seed)
        spk, mem = self.net(self.x.repeat(count, *[1] * (self.x.ndim - 1)))
        loss = self.loss_fn(spk, mem, self.targets.repeat(count, *[1] * (self.targets.ndim - 1)))
        if loss.shape != (count * B,):
            raise ValueError(
                f"loss_fn(spk, mem, targets) must give one loss for each of {count * B} recordings, got the shape "
                f'{list(loss.shape)}: use reduction="none", and no mean over recordings.'
            )
        z, spikes = (torch.cat(sites, 1).reshape(count, B, -1) for sites in zip(*self._taken(), strict=True))
        return _Sample(loss.reshape(count, B), z, spikes)

    def _taken(self) -> list[tuple[Tensor, Tensor]]:
        return [sampler.take() for sampler in self._samplers]

    def _most(self) -> int:
        return max(1, _AT_ONCE // (len(self.x) * self.sites))

    def _parts(self, count: int) -> list[int]:
        most = self._most()
        return [min(most, count - done) for done in range(0, count, most)]
