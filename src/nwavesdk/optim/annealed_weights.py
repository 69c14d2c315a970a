"""A weight whose blocks share a soft sign: its formula, and how it is part of its module.

While a weight is attached, `state_dict` has the keys, the order and the weights of a plain module,
and a weight that is loaded is split into s and m. torch gives a parametrized module its own class,
which holds all of this, so nothing remains after the weight is detached.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.chip.signs import block_peaks, block_sums, repeat_over_blocks
from nwavesdk.net.edges import find_edges

__all__ = ["AnnealedWeight", "SignedBlocks", "annealed_weights", "attach"]


# |alpha · s| at the start of a block whose weights nearly agree: tanh(2) = 0.96.
_FIRMNESS = 2.0
# Smallest |alpha · s| at the start. At 0 a block would have no weights, and no gradient for m.
_MIN_SIGN = 0.2
# Smallest relative distance of a magnitude from 0 and from the limit at the start. Closer to these
# ends the sigmoid hardly learns.
_EDGE = 1e-3


class SignedBlocks(nn.Module):
    """A parametrization of a weight by one soft sign per block and one magnitude per weight.

        W = tanh(alpha · s) · limit · sigmoid(m)

    s has the shape of `nwavesdk.chip.signs.block_sums`, m the shape of the weight, [N_in, N_out].

    Args:
        shape: Shape of the weight, [N_in, N_out].
        block: Number of weights that share a sign.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`.
        limit: Largest magnitude.
        alpha: Steepness of the sign.

    Example:
        >>> signed = SignedBlocks((2, 1), block=5, axis="inputs", limit=0.9, alpha=0.5)
        >>> signed(*signed.right_inverse(torch.tensor([[0.3], [0.2]]))).flatten()
        tensor([0.3000, 0.2000])
    """

    def __init__(
        self, shape: tuple[int, ...], *, block: int, axis: str, limit: float, alpha: float
    ) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.block = block
        self.axis = axis
        self.limit = limit
        self.alpha = alpha
        # The order of the parameters of the module before it was parametrized.
        self.order: tuple[str, ...] = ()

    def forward(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W from s and m."""
        spread = self._spread(torch.tanh(self.alpha * sign))
        return spread * (self.limit * torch.sigmoid(magnitude))

    @torch.no_grad()
    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """The s and m of a weight: alpha · s = 2 Σw / Σ|w| of its block, and m so that |W| = |w|.

        |alpha · s| is at least 0.2. A block that agrees keeps its weights: its |s| grows as far as
        needed. In any other block all weights get the block's sign, and magnitudes are cut off at
        limit · tanh(alpha |s|). Magnitudes stay a thousandth away from the ends of their range.
        """
        # `balance`: from -1 to 1, where all weights of a block have one sign.
        positive = block_sums(weight.clamp(min=0), self.block, self.axis)
        negative = block_sums((-weight).clamp(min=0), self.block, self.axis)
        mass = positive + negative
        balance = torch.where(mass == 0, mass, (positive - negative) / mass)
        size = (_FIRMNESS * balance.abs()).clamp(min=_MIN_SIGN) / self.alpha

        # Where a block agrees, its largest weight w needs tanh(alpha |s|) >= √(|w| / limit).
        share = (weight.abs() / self.limit).clamp(max=1 - _EDGE)
        needed = torch.atanh(block_peaks(share, self.block, self.axis).sqrt()) / self.alpha
        agrees = (positive == 0) | (negative == 0)
        size = torch.where(agrees, torch.maximum(size, needed), size)

        reach = self._spread(torch.tanh(self.alpha * size))
        magnitude = torch.logit((share / reach).clamp(_EDGE, 1 - _EDGE / 2))
        return torch.where(balance < 0, -size, size), magnitude

    @torch.no_grad()
    def harden(self, alpha: float, sign: Tensor, magnitude: Tensor) -> None:
        """Set alpha, and m so that W stays the same, as far as tanh(alpha · |s|) · limit allows.

        With m unchanged, weights would grow with alpha, several times over in a whole schedule.
        """
        if alpha == self.alpha:
            return

        weight = self(sign, magnitude)
        self.alpha = alpha
        reach = self._spread(torch.tanh(alpha * sign.abs())) * self.limit
        # Not 0 / 0 where s is 0. Any other NaN must stay visible.
        share = torch.where(reach == 0, 0.5, weight.abs() / reach)
        magnitude.copy_(torch.logit(share.clamp(_EDGE / 10, 1 - _EDGE / 2)))

    @torch.no_grad()
    def decided_weight(self, sign: Tensor, magnitude: Tensor) -> Tensor:
        """W with its signs decided: sign(s) · limit · sigmoid(m), with + where s is 0."""
        signs = self._spread(torch.where(sign < 0, -1.0, 1.0).to(sign))
        return signs * (self.limit * torch.sigmoid(magnitude))

    def _spread(self, values: Tensor) -> Tensor:
        """One value per block, repeated over the weights of the block."""
        return repeat_over_blocks(values, self.shape, self.block, self.axis)

    def extra_repr(self) -> str:
        """For `print(model)`."""
        return (
            f"block={self.block}, axis={self.axis!r}, limit={self.limit:g}, alpha={self.alpha:.4g}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class AnnealedWeight:
    """One annealed weight of a net.

    Attributes:
        name: Name of the weight in the net.
        module: The module that has the weight.
        key: Name of the weight in the module.
        signed: The parametrization.
        sign: s, one number per block.
        magnitude: m, one number per weight.
    """

    name: str
    module: nn.Module
    key: str
    signed: SignedBlocks
    sign: nn.Parameter
    magnitude: nn.Parameter

    def detach(self) -> None:
        """Replace it by a plain parameter with decided signs.

        The module has its class and the order of its parameters from before `attach` again.
        """
        module: Any = self.module
        weight = self.signed.decided_weight(self.sign, self.magnitude)
        plain_class = parametrize.type_before_parametrizations(module)

        del module.parametrizations[self.key]
        if len(module.parametrizations):
            delattr(type(module), self.key)
        else:
            # remove_parametrizations of torch would delete the property from the class, which
            # copies of the module share.
            del module.parametrizations
            module.__class__ = plain_class

        module.register_parameter(self.key, nn.Parameter(weight, self.magnitude.requires_grad))
        for name in self.signed.order:
            if name in module._parameters:
                module._parameters[name] = module._parameters.pop(name)


def annealed_weights(net: nn.Module) -> Iterator[AnnealedWeight]:
    """All annealed weights of `net`, in the order of its modules."""
    for edge in find_edges(net).edges:
        module: Any = edge.module
        if parametrize.is_parametrized(module, edge.key):
            stack = module.parametrizations[edge.key]
            if isinstance(stack[0], SignedBlocks):
                yield AnnealedWeight(
                    name=edge.name,
                    module=module,
                    key=edge.key,
                    signed=stack[0],
                    sign=stack.original0,
                    magnitude=stack.original1,
                )


def attach(module: nn.Module, key: str, signed: SignedBlocks) -> None:
    """Parametrize the weight `key` of a module by `signed`."""
    attached = next(annealed_weights(module), None)
    signed.order = tuple(module._parameters) if attached is None else attached.signed.order
    parametrize.register_parametrization(module, key, signed)

    # The parametrized module has a class of its own, so other modules keep their methods.
    cls: Any = type(module)
    plain: Any = parametrize.type_before_parametrizations(module)

    def save_weights(
        self: Any, *args: Any, prefix: str = "", keep_vars: bool = False, **kwargs: Any
    ) -> Any:
        state = plain.state_dict(self, *args, prefix=prefix, keep_vars=keep_vars, **kwargs)
        _join_parts(self, state, prefix, keep_vars)
        return state

    def load_weights(
        self: Any, state: Any, prefix: str, metadata: Any, strict: bool, missing: Any, *rest: Any
    ) -> None:
        _split_weights(self, state, prefix, missing, rest[-1])
        plain._load_from_state_dict(self, state, prefix, metadata, strict, missing, *rest)

    cls.state_dict = save_weights
    cls._load_from_state_dict = load_weights


def _part_names(prefix: str, key: str) -> tuple[str, str]:
    """Names of s and m in the state of the parametrized module."""
    return f"{prefix}parametrizations.{key}.original0", f"{prefix}parametrizations.{key}.original1"


def _weights_of(module: nn.Module) -> list[AnnealedWeight]:
    """The annealed weights of the module itself, without the weights of its submodules."""
    return [weight for weight in annealed_weights(module) if weight.module is module]


def _join_parts(module: nn.Module, state: Any, prefix: str, keep_vars: bool) -> None:
    """Replace s and m by weights, in a state dict that is saved."""
    # The entries of the module are taken out, and put back in the order of a plain module.
    entries = {name: state.pop(name) for name in list(state) if name.startswith(prefix)}
    first: dict[str, Tensor] = {}
    for annealed in _weights_of(module):
        for part in _part_names(prefix, annealed.key):
            del entries[part]
        weight = annealed.signed(annealed.sign, annealed.magnitude)
        entries[prefix + annealed.key] = weight if keep_vars else weight.detach()
        names = [prefix + name for name in annealed.signed.order]
        first = {name: entries[name] for name in names if name in entries}
    state.update(first | entries)

    for name in list(getattr(state, "_metadata", {})):
        if name.startswith(f"{prefix}parametrizations"):
            del state._metadata[name]


def _split_weights(
    module: nn.Module, state: Any, prefix: str, missing: list[str], errors: list[str]
) -> None:
    """Replace weights by s and m, in a state dict that is loaded."""
    for annealed in _weights_of(module):
        name = prefix + annealed.key
        weight = state.pop(name, None)
        # Without a weight of the right shape, s and m keep their values, and the error is reported.
        parts = (annealed.sign.detach(), annealed.magnitude.detach())
        if weight is None:
            missing.append(name)
        elif weight.shape != annealed.magnitude.shape:
            # The words of torch for the same error.
            errors.append(
                f"size mismatch for {name}: copying a param with shape {weight.shape} from "
                f"checkpoint, the shape in current model is {annealed.magnitude.shape}."
            )
        else:
            parts = annealed.signed.right_inverse(weight.to(annealed.magnitude))
        state.update(zip(_part_names(prefix, annealed.key), parts, strict=True))
