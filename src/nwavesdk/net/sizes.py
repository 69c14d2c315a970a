"""Sizes of modules: shapes of their inputs and outputs, for `print` and for errors."""

from typing import Any

from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy

from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.synapse import Synapse

__all__ = ["count_parameters", "describe_module", "require_matching_sizes"]


def describe_module(name: str, module: nn.Module | None, *, is_container: bool) -> str:
    """A module of a container, as `print` shows it."""
    text = f"({name}): {module!r}"
    if module is None or is_container:
        return text

    features = _features(module)
    notes = [str(list(features[1]))] if features else []
    notes += [count_parameters(module)] if next(module.parameters(), None) is not None else []
    return text + (f"  # {', '.join(notes)}" if notes else "")


def count_parameters(module: nn.Module) -> str:
    """The number of parameters of a module, as text."""
    count = sum(parameter.numel() for parameter in module.parameters() if not is_lazy(parameter))
    return f"{count:,} parameter{'' if count == 1 else 's'}"


def _features(module: nn.Module) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """The shapes of a step of input and output, if the module alone decides them."""
    if isinstance(module, NeuronLayer):
        return module.features, module.features
    if isinstance(module, Synapse) and module.step_axes == 1:
        return (module.nb_inputs,), (module.nb_outputs,)
    if isinstance(module, nn.Linear):
        return (module.in_features,), (module.out_features,)
    return None


def require_matching_sizes(
    before: nn.Module, module: nn.Module, x: Tensor, error: Exception
) -> None:
    """Name both modules if `module` raised `error` because the output `x` of `before` does not fit.

    Raises:
        ValueError: If the sizes do not match.
    """
    wanted = _unmet_size(module, x)
    if wanted is None:
        return

    raise ValueError(
        f"{_title(module)} takes {wanted}, but {_title(before)} before it returns "
        f"{list(x.shape[2:] or x.shape[1:])}: the sizes of consecutive layers must match."
    ) from error


def _unmet_size(module: nn.Module, x: Tensor) -> str | None:
    """The size that the module takes, as text; None if `x` fits, or if the size is unknown."""
    features = _features(module)
    if features is not None:
        expected = features[0]
        fits = tuple(x.shape[x.ndim - len(expected) :]) == expected
        return None if fits else str(list(expected))

    if isinstance(module, _ConvNd):
        channels: Any = module.in_channels
        axes = len(module.kernel_size) + 1
        fits = x.ndim >= axes and x.shape[-axes] == channels
    else:
        channels = getattr(module, "num_features", None)
        # The channels of a sequence are axis 2, and of one step axis 1.
        fits = type(channels) is not int or channels in x.shape[1:3]

    return None if fits else f"{channels} channels"


def _title(module: nn.Module) -> str:
    """A module as errors name it: its class and its sizes."""
    inputs, outputs = _features(module) or ((), ())
    # A neuron layer has one size.
    sizes = inputs if isinstance(module, NeuronLayer) else inputs + outputs
    return type(module).__name__ + (f"({', '.join(map(str, sizes))})" if sizes else "")
