"""`fold` moves norms into the weights and biases of the synapses before them.

In `eval()` a norm is `y = scale · x + shift` per channel. After a synapse of weight W and bias b,
that is a synapse of weight `scale · W` and bias `scale · b + shift`: the same function of real
numbers. Floating-point numbers round elsewhere, see `fold`.
"""

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.layers.masks import is_pruned
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.norms import SequenceNorm, scale_and_shift
from nwavesdk.layers.step_norms import StepNorm
from nwavesdk.layers.temporal_conv import TemporalConv
from nwavesdk.net.edges import Edge, find_edges
from nwavesdk.net.sequential import SpikingSequential, in_order
from nwavesdk.net.wiring import module_title

__all__ = ["Folded", "fold"]

_OTHER_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm, nn.RMSNorm, _InstanceNorm)
_NORMS = (_BatchNorm, SequenceNorm, *_OTHER_NORMS)


@dataclass(frozen=True, eq=False)
class Folded:
    """The result of `fold`.

    Attributes:
        net: A copy of the net, in which `nn.Identity` replaces each folded norm. Names of
            the other modules are unchanged.
        folded: For each folded norm, by its name in the net, the name of the synapse that has taken
            it in.
        kept: For each norm that is not folded, by its name, the reason.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, TimeBatchNorm
        >>> net = SpikingSequential(LIFSynapse(3, 8), TimeBatchNorm(8), LIFLayer(8, taus=10e-3))
        >>> result = fold(net.eval())
        >>> type(result.net[1]).__name__, result.net[0].bias.shape
        ('Identity', torch.Size([8]))
    """

    net: nn.Module
    folded: Mapping[str, str]
    kept: Mapping[str, str]


class _KeepError(Exception):
    """The reason why a norm is not folded."""


def fold(net: nn.Module, *, into_next: bool = False) -> Folded:
    """Move norms into the weights and biases of the synapses before them, in a copy of the net.

    It folds batch norms of torch and of this library that directly follow a synapse (`LIFSynapse`,
    `DelayedSynapse`, `TemporalConv`, `nn.Linear`, a convolution of torch) in a `SpikingSequential`
    or an `nn.Sequential`. `Folded.kept` has the reason for every other norm.

    The spikes of LIF neurons equal the spikes of `net.eval()` up to the first step in which |z| =
    |u - threshold| of some neuron is at most its

        bound[t] = decay · bound[t-1] + 8 · ε · (|v[t-1]| + |x[t]|)
                   + (2n + 16) · ε · (|scale| · (Σ_i |W_i · s_i[t]| + |b| + |μ|) + |β|)

    Here ε is half of `torch.finfo(dtype).eps`, s are the inputs of the synapse, n of them not 0, μ
    and β are the norm's mean and bias, and x is the charge.

    Args:
        net: Any module, in `eval()`.
        into_next: Whether a norm without a synapse before it, as between neurons and a read-out, is
            folded into the dense synapse, or the `TemporalConv` without a kernel, directly after
            it: y = W · (scale · s + shift) + b. In the first steps of a sequence, a convolution
            then also sums `shift` of steps before the first.

    Returns:
        The copy, and the names of the norms that were folded and that were not. Call `prepare_net`
        on the copy.

    Raises:
        TypeError: If `net` is not a module.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, TimeBatchNorm
        >>> net = SpikingSequential(LIFSynapse(3, 8), TimeBatchNorm(8), LIFLayer(8, taus=10e-3))
        >>> result = fold(net.eval())
        >>> result.folded, result.kept
        ({'1': '0'}, {})
        >>> fold(net.train()).kept
        {'1': 'it is in train() and has the statistics of each batch: call eval() first'}
    """
    if not isinstance(net, nn.Module):
        raise TypeError(f"fold takes a torch module, got {type(net).__name__}.")

    work = copy.deepcopy(net)
    names = {module: name for name, module in work.named_modules()}
    norms = [module for module in names if isinstance(module, _NORMS)]

    folder = _Folder(work, names, into_next)
    reasons = dict.fromkeys(norms, "its place in the order of the net is unknown")
    folded: dict[str, str] = {}

    for chain in _chains(work):
        for position, norm in enumerate(chain):
            if isinstance(norm, _NORMS):
                try:
                    folded[names[norm]] = folder.fold(chain, position)
                    del reasons[norm]
                except _KeepError as reason:
                    reasons[norm] = str(reason)

    for name in folded:
        parent, _, key = name.rpartition(".")
        work.get_submodule(parent)._modules[key] = nn.Identity().eval()

    return Folded(work, folded, {names[norm]: reason for norm, reason in reasons.items()})


def _chains(work: nn.Module) -> Iterator[list[nn.Module]]:
    """The modules of each container that runs them in order; inner containers unfold."""
    containers = [module for module in work.modules() if _runs_in_order(module)]

    # A container within a block of another kind, as in `Residual`, is a chain by itself.
    unfolded = {module for container in containers for module in container.children()}
    for container in containers:
        if container not in unfolded:
            yield [module for _, module in in_order(container, _runs_in_order)]


def _runs_in_order(module: nn.Module) -> bool:
    """Whether a module is a container whose `forward` runs its modules one after the other."""
    kind = SpikingSequential if isinstance(module, SpikingSequential) else nn.Sequential
    return isinstance(module, kind) and type(module).forward is kind.forward


class _Folder:
    """Folds single norms of a net in place."""

    def __init__(self, work: nn.Module, names: Mapping[nn.Module, str], into_next: bool) -> None:
        self.names = names
        self.into_next = into_next
        # How often each parameter and buffer is used; also of a module at two places.
        self.uses = Counter(
            tensor
            for _, module in work.named_modules(remove_duplicate=False)
            for tensor in _tensors_of(module)
        )
        self.edges = {edge.module: edge for edge in find_edges(work).edges if not edge.is_recurrent}

    def fold(self, chain: list[nn.Module], position: int) -> str:
        """Fold the norm at a position of a chain, and return the name of the synapse.

        Raises:
            _KeepError: With the reason, if the norm cannot be folded. Nothing has changed then.
        """
        norm: Any = chain[position]
        self._require_alone(norm, "it")

        scale, shift = _constant_scale_and_shift(norm)
        edge, is_next = self._synapse_beside(chain, position)
        title = module_title(edge.module_name, edge.module)
        self._require_alone(edge.module, title)

        if edge.profile is not None:
            raise _KeepError(f"{title} is of a chip, and has no bias: train the net without norms")

        rows, channels = edge.to_columns(edge.weight).shape
        if is_next:
            channels = rows // getattr(edge.module, "taps", 1)
        if len(scale) != channels:
            raise _KeepError(f"it has {len(scale)} channels, and {title} has {channels}")

        (_scale_and_shift_input if is_next else _scale_and_shift_charge)(edge, scale, shift)
        chain[position] = nn.Identity()
        return edge.module_name

    def _synapse_beside(self, chain: list[nn.Module], position: int) -> tuple[Edge, bool]:
        """The synapse that takes in the norm at `position`, and whether it is after the norm."""
        try:
            return self._synapse_before(chain, position), False
        except _KeepError:
            later = [m for m in chain[position + 1 :] if not isinstance(m, nn.Identity)]
            edge = self.edges.get(later[0]) if self.into_next and later else None
            if edge is None or not _has_row_per_input(edge):
                raise
            return edge, True

    def _synapse_before(self, chain: list[nn.Module], position: int) -> Edge:
        """The synapse whose output the norm at `position` takes."""
        for module in reversed(chain[:position]):
            if isinstance(module, nn.Identity):  # also a norm that was folded
                continue
            if module in self.edges:
                return self.edges[module]

            title = module_title(self.names[module], module)
            if isinstance(module, NeuronLayer):
                raise _KeepError(f"it follows neurons, {title}, and not a synapse")
            raise _KeepError(f"{title} is between it and the synapse before it")

        raise _KeepError("no synapse is before it in its container")

    def _require_alone(self, module: nn.Module, title: str) -> None:
        """Reject a module whose values are used or changed elsewhere, too."""
        for name in ("weight", "bias"):
            if is_pruned(module, name) or is_parametrized(module, name):
                raise _KeepError(
                    f"{title} has a pruned or parametrized {name}: call prune.remove or "
                    "remove_parametrizations first"
                )

        if any(self.uses[tensor] > 1 for tensor in _tensors_of(module)):
            raise _KeepError(f"{title} is used twice, or shares a parameter with another module")
        if module._forward_hooks or module._forward_pre_hooks:
            raise _KeepError(f"{title} has hooks, which would see other values")


def _tensors_of(module: nn.Module) -> list[Tensor]:
    """The parameters and buffers of the module itself."""
    values = (*module._parameters.values(), *module._buffers.values())
    return [value for value in values if value is not None]


def _constant_scale_and_shift(norm: Any) -> tuple[Tensor, Tensor]:
    """The norm as `scale · x + shift`, each float64 [C].

    Raises:
        _KeepError: If it is not such a function.
    """
    if isinstance(norm, _OTHER_NORMS):
        raise _KeepError(
            f"{type(norm).__name__} normalizes by the values of each call, which no weight can do"
        )

    if norm.training:
        raise _KeepError("it is in train() and has the statistics of each batch: call eval() first")
    if norm.running_mean is None:
        raise _KeepError("it has no running statistics: build it with track_running_stats=True")

    # In float64, so that only the final weight and bias are rounded.
    exact = copy.deepcopy(norm).double()
    with torch.no_grad():
        if isinstance(norm, _BatchNorm):
            mean, variance = exact.running_mean, exact.running_var
            return scale_and_shift(exact, mean, variance, exact.weight, exact.bias)

        if not isinstance(norm, StepNorm):
            scale, shift = exact.scale_and_shift(1)
            return scale, shift

        scales, shifts = exact.scale_and_shift(norm.max_steps)

    if bool((scales != scales[0]).any() or (shifts != shifts[0]).any()):
        raise _KeepError("its factors differ from step to step, and a synapse has one weight")
    return scales[0], shifts[0]


def _has_row_per_input(edge: Edge) -> bool:
    """Whether each input has its own rows of `to_columns`, one for each tap."""
    module = edge.module
    is_temporal = isinstance(module, TemporalConv) and not module.kernel and module.groups == 1
    return edge.is_dense or is_temporal


@torch.no_grad()
def _scale_and_shift_charge(edge: Edge, scale: Tensor, shift: Tensor) -> None:
    """Scale the weight and the bias of a synapse, and shift the bias."""
    bias = _bias_of(edge)
    bias = shift if bias is None else bias * scale + shift
    _set(edge, edge.to_columns(edge.weight.double()) * scale, bias)


@torch.no_grad()
def _scale_and_shift_input(edge: Edge, scale: Tensor, shift: Tensor) -> None:
    """Let a synapse scale and shift its inputs; each has a row for each tap."""
    bias = _bias_of(edge)
    columns = edge.to_columns(edge.weight.double())
    taps = len(columns) // len(scale)
    shift = shift.repeat_interleave(taps) @ columns
    columns = columns * scale.repeat_interleave(taps)[:, None]
    _set(edge, columns, shift if bias is None else bias + shift)


def _bias_of(edge: Edge) -> Tensor | None:
    """The bias of a synapse, float64 [C]."""
    bias: Any = edge.module.bias
    return None if bias is None else bias.double()


def _set(edge: Edge, columns: Tensor, bias: Tensor) -> None:
    """Set weight and bias of a synapse, which may have had no bias."""
    module: Any = edge.module
    weight = edge.weight
    weight.copy_(edge.from_columns(columns))

    if module.bias is None:
        module.bias = nn.Parameter(bias.to(weight.dtype), weight.requires_grad)
    else:
        module.bias.copy_(bias)
