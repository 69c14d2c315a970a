"""How a weight under `SignedBlocks` is part of its module: attached, found, saved, detached.

While it is attached, `state_dict` has the keys, the order and the weights of a plain module, and a
weight that is loaded is split into s and m. torch gives a parametrized module its own class,
which holds all of this, so nothing remains after the weight is detached.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.net.edges import find_edges
from nwavesdk.optim.signed_blocks import SignedBlocks

__all__ = ["AnnealedWeight", "annealed_weights", "attach"]


@dataclass(frozen=True, eq=False)
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

        The class of the module and the order of its parameters are then those before `attach`.
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
                    edge.name, module, edge.key, stack[0], stack.original0, stack.original1
                )


def attach(module: nn.Module, key: str, signed: SignedBlocks) -> None:
    """Parametrize the weight `key` of a module by `signed`."""
    attached = next(annealed_weights(module), None)
    signed.order = tuple(module._parameters) if attached is None else attached.signed.order
    parametrize.register_parametrization(module, key, signed)
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
    """The annealed weights of the module itself, without those of its submodules."""
    return [weight for weight in annealed_weights(module) if weight.module is module]


def _join_parts(module: nn.Module, state: Any, prefix: str, keep_vars: bool) -> None:
    """Replace s and m by weights, in a state dict that is saved."""
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
