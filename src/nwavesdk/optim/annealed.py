"""How a weight under `SignedBlocks` stands in its module: put in, found, taken out; copies, and `state_dict`.

While it stands, `state_dict` has the keys, their order and the weights of a plain module, and a weight that is loaded
is turned into s and m. torch gives the module a class of its own, on which this lives, so nothing is left after it.
"""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.optim.signed_blocks import SignedBlocks

__all__ = ["Annealed", "annealed_weights", "attach"]


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
    signed.order = next((one.signed.order for one in annealed_weights(module)), tuple(module._parameters))
    parametrize.register_parametrization(module, key, signed)
    cls: Any = type(module)
    plain: Any = parametrize.type_before_parametrizations(module)

    def copied(self: Any, memo: dict[int, Any]) -> Any:
        replica = memo[id(self)] = plain.__new__(type(self))
        plain.__setstate__(replica, deepcopy(plain.__getstate__(self), memo))
        return replica

    def saved(self: Any, *args: Any, prefix: str = "", keep_vars: bool = False, **kwargs: Any) -> Any:
        found = plain.state_dict(self, *args, prefix=prefix, keep_vars=keep_vars, **kwargs)
        _as_plain(self, found, prefix, keep_vars)
        return found

    def loaded(self: Any, state: Any, prefix: str, metadata: Any, strict: bool, missing: Any, *rest: Any) -> None:
        _as_parts(self, state, prefix, missing, rest[-1])
        plain._load_from_state_dict(self, state, prefix, metadata, strict, missing, *rest)

    if not hasattr(plain, "__deepcopy__"):  # torch's would not ask the module what of it can be copied
        cls.__deepcopy__ = copied
    cls.state_dict, cls._load_from_state_dict = saved, loaded


def annealed_weights(net: nn.Module) -> Iterator[Annealed]:
    """All weights of `net` that are annealed, in their order there."""
    for prefix, module in net.named_modules():
        for key, stack in _stacks(module).items():
            if isinstance(stack[0], SignedBlocks):
                name = f"{prefix}.{key}" if prefix else key
                yield Annealed(name, module, key, stack[0], stack.original0, stack.original1)


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
        first = {prefix + name: entries[prefix + name] for name in one.signed.order if prefix + name in entries}
    found.update(first | entries)
    for name in list(getattr(found, "_metadata", {})):
        if name.startswith(f"{prefix}parametrizations"):
            del found._metadata[name]


def _as_parts(module: nn.Module, state: Any, prefix: str, missing: list[str], errors: list[str]) -> None:
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
