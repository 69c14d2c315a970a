"""A weight whose blocks share a soft sign: the formula and its inverse, as torch's parametrizations take them.

How a weight under `SignedBlocks` stands in its module: put in, found, taken out; copies, and `state_dict`.

While it stands, `state_dict` has the keys, their order and the weights of a plain module, and a weight that is loaded
is turned into s and m. torch gives the module a class of its own, on which this lives, so nothing is left after it.


A guard for parameters that were replaced: an optimizer that still holds one would train nothing, silently.
"""

import weakref
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from nwavesdk.chip.signs import block_peaks, block_sums, over_blocks
from nwavesdk.layers.edges import find_edges

__all__ = ["Annealed", "SignedBlocks", "annealed_weights", "attach", "guard_replaced"]

FIRMNESS = 2.0
"""|alpha · s| at the start of a block whose weights nearly agree; tanh of it is 0.96."""

LEAST_SIGN = 0.2
"""Smallest |alpha · s| at the start: a block at 0 would have no weights, and no gradient for their magnitudes."""

EDGE = 1e-3
"""How far a magnitude stays from 0 and from the limit at the start, relative to it: sigmoid hardly learns there."""


class SignedBlocks(nn.Module):
    """The parametrization.

        W = tanh(alpha · s) · limit · sigmoid(m)

    s is one number a block, in the shape of `nwavesdk.chip.signs.block_sums`, m one a weight, [N_in, N_out].

    Args:
        shape: of the weight, [N_in, N_out].
        block: weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`.
        limit: largest magnitude.
        alpha: steepness of the sign.

    Example:
        >>> signed = SignedBlocks((2, 1), block=5, axis="inputs", limit=0.9, alpha=0.5)
        >>> signed(*signed.right_inverse(torch.tensor([[0.3], [0.2]]))).flatten()
        tensor([0.3000, 0.2000])
    """

    def __init__(
        self, shape: tuple[int, ...], block: int, axis: str, limit: float, alpha: float
    ) -> None:
        super().__init__()
        self.shape, self.block, self.axis, self.limit, self.alpha = (
            tuple(shape),
            block,
            axis,
            limit,
            alpha,
        )
        self.order: tuple[str, ...] = ()  # of the parameters of its module, as it was

    def forward(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W from s and m."""
        return self._over(torch.tanh(self.alpha * sign)) * (self.limit * torch.sigmoid(magnitude))

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Find s and m of a weight: alpha · s = 2 Σw / Σ|w| of its block, at least 0.2 in size; m so that |W| = |w|.

        A block that agrees keeps its weights, for which |s| grows as far as needed. In a block that does not, all get
        its sign, and magnitudes beyond limit · tanh(alpha |s|) are cut off there. Magnitudes stay a thousandth off the
        ends of their range.
        """
        above, below = (
            block_sums(side.clamp(min=0), self.block, self.axis) for side in (weight, -weight)
        )
        mass = above + below
        balance = torch.where(mass == 0, mass, (above - below) / mass)
        size = (FIRMNESS * balance.abs()).clamp(min=LEAST_SIGN) / self.alpha
        share = (weight.abs() / self.limit).clamp(max=1 - EDGE)
        needed = torch.atanh(block_peaks(share, self.block, self.axis).sqrt()) / self.alpha
        size = torch.where((above == 0) | (below == 0), torch.maximum(size, needed), size)
        reach = self._over(torch.tanh(self.alpha * size))
        return torch.where(balance < 0, -size, size), torch.logit(
            (share / reach).clamp(EDGE, 1 - EDGE / 2)
        )

    @torch.no_grad()
    def harden(self, alpha: float, sign: Tensor, magnitude: Tensor) -> None:
        """Set alpha, and m so that W stays what it is, as far as tanh(alpha · |s|) · limit reaches.

        Otherwise weights would grow with alpha by themselves, several times over in a whole schedule.
        """
        if alpha == self.alpha:
            return
        weight = self(sign, magnitude)
        self.alpha = alpha
        reach = self._over(torch.tanh(alpha * sign.abs())) * self.limit
        share = torch.where(
            reach == 0, 0.5, weight.abs() / reach
        )  # not 0 / 0; other NaN must be seen
        magnitude.copy_(torch.logit(share.clamp(EDGE / 10, 1 - EDGE / 2)))

    @torch.no_grad()
    def hard(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W with its signs decided: sign(s) · limit · sigmoid(m), + where s is 0."""
        return self._over(torch.where(sign < 0, -1.0, 1.0).to(sign)) * (
            self.limit * torch.sigmoid(magnitude)
        )

    def _over(self, values: Tensor) -> Tensor:
        return over_blocks(values, self.shape, self.block, self.axis)

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return (
            f"block={self.block}, axis={self.axis!r}, limit={self.limit:g}, alpha={self.alpha:.4g}"
        )


@dataclass(frozen=True, eq=False)
class Annealed:
    """One weight of a net that is annealed.

    Attributes:
        name: of the weight in the net.
        module: whose it is.
        key: under which name the module has it.
        signed: its parametrization.
        sign: s, one a block.
        magnitude: m, one a weight.
    """

    name: str
    module: nn.Module
    key: str
    signed: SignedBlocks
    sign: nn.Parameter
    magnitude: nn.Parameter

    def detach(self) -> None:
        """Put a plain parameter in its place, with decided signs; class and order of parameters are as they were."""
        module, key, order = self.module, self.key, self.signed.order
        weight = self.signed.hard(self.sign, self.magnitude)
        plain, stacks = parametrize.type_before_parametrizations(module), _stacks(module)
        del stacks[key]
        if len(stacks):
            delattr(type(module), key)
        else:  # torch's removal would take the property off the class, which copies of the module share
            del module.parametrizations
            module.__class__ = plain
        module.register_parameter(key, nn.Parameter(weight, self.magnitude.requires_grad))
        for name in order:
            if name in module._parameters:
                module._parameters[name] = module._parameters.pop(name)


def attach(module: nn.Module, key: str, signed: SignedBlocks) -> None:
    """Put the weight `key` of a module under `signed`."""
    signed.order = next(
        (one.signed.order for one in annealed_weights(module)), tuple(module._parameters)
    )
    parametrize.register_parametrization(module, key, signed)
    cls: Any = type(module)
    plain: Any = parametrize.type_before_parametrizations(module)

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        replica = memo[id(self)] = plain.__new__(type(self))
        plain.__setstate__(replica, deepcopy(plain.__getstate__(self), memo))
        return replica

    def saved(
        self: Any, *args: Any, prefix: str = "", keep_vars: bool = False, **kwargs: Any
    ) -> Any:
        found = plain.state_dict(self, *args, prefix=prefix, keep_vars=keep_vars, **kwargs)
        _as_plain(self, found, prefix, keep_vars)
        return found

    def loaded(
        self: Any, state: Any, prefix: str, metadata: Any, strict: bool, missing: Any, *rest: Any
    ) -> None:
        _as_parts(self, state, prefix, missing, rest[-1])
        plain._load_from_state_dict(self, state, prefix, metadata, strict, missing, *rest)

    if not hasattr(
        plain, "__deepcopy__"
    ):  # torch's would not ask the module what of it can be copied
        cls.__deepcopy__ = copied
    cls.state_dict, cls._load_from_state_dict = saved, loaded


def annealed_weights(net: nn.Module) -> Iterator[Annealed]:
    """All weights of `net` that are annealed, in their order there."""
    for edge in find_edges(net).edges:
        if parametrize.is_parametrized(edge.module, edge.key):
            stack = _stacks(edge.module)[edge.key]
            if isinstance(stack[0], SignedBlocks):
                yield Annealed(
                    edge.name, edge.module, edge.key, stack[0], stack.original0, stack.original1
                )


def _stacks(module: nn.Module) -> Any:
    return module.parametrizations if parametrize.is_parametrized(module) else {}


def _own(module: nn.Module) -> list[Annealed]:
    """The annealed weights of the module itself."""
    return [one for one in annealed_weights(module) if one.module is module]


def _parts(prefix: str, key: str) -> tuple[str, str]:
    """Names of s and m in the state of the parametrized module."""
    return f"{prefix}parametrizations.{key}.original0", f"{prefix}parametrizations.{key}.original1"


def _as_plain(module: nn.Module, found: Any, prefix: str, keep_vars: bool) -> None:
    """In a state dict, put weights where s and m are."""
    entries = {name: found.pop(name) for name in list(found) if name.startswith(prefix)}
    first: dict[str, Tensor] = {}
    for one in _own(module):
        for part in _parts(prefix, one.key):
            del entries[part]
        weight = one.signed(one.sign, one.magnitude)
        entries[prefix + one.key] = weight if keep_vars else weight.detach()
        first = {
            prefix + name: entries[prefix + name]
            for name in one.signed.order
            if prefix + name in entries
        }
    found.update(first | entries)
    for name in list(getattr(found, "_metadata", {})):
        if name.startswith(f"{prefix}parametrizations"):
            del found._metadata[name]


def _as_parts(
    module: nn.Module, state: Any, prefix: str, missing: list[str], errors: list[str]
) -> None:
    """In a state dict that is being loaded, put s and m where weights are."""
    for one in _own(module):
        name, parts = prefix + one.key, _parts(prefix, one.key)
        weight, new = state.pop(name, None), (one.sign.detach(), one.magnitude.detach())
        if weight is None:
            missing.append(name)
        elif weight.shape != one.magnitude.shape:
            errors.append(
                f"size mismatch for {name}: copying a param with shape {weight.shape} from checkpoint, "
                f"the shape in current model is {one.magnitude.shape}."
            )
        else:
            new = one.signed.right_inverse(weight.to(one.magnitude))
        state.update(zip(parts, new, strict=True))


def guard_replaced(parameters: Iterable[nn.Parameter], owner: str) -> RemovableHandle:
    """Make every optimizer that holds one of `parameters` raise a RuntimeError in its next step.

    They are held weakly: as a rule all are gone when the optimizer is built, and a step then costs nothing.

    Args:
        parameters: that no longer belong to their net.
        owner: who replaced them, for the error.

    Returns:
        A handle whose `remove()` ends it.
    """
    replaced = [weakref.ref(parameter) for parameter in parameters]

    def check(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        alive = {id(parameter) for ref in replaced if (parameter := ref()) is not None}
        if alive and any(
            id(p) in alive for group in optimizer.param_groups for p in group["params"]
        ):
            raise RuntimeError(
                f"{type(optimizer).__name__} holds weights that {owner} has replaced since, and would train nothing: "
                f"build {owner} before the optimizer."
            )

    return register_optimizer_step_pre_hook(check)
