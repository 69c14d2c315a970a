"""All delays of a net: the width of their Gaussians, and the effect of rounding them."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nwavesdk.layers.delays import DelayedSynapse
from nwavesdk.layers.prepare import prepared_modules
from nwavesdk.layers.recurrent_delays import RecurrentDelays
from nwavesdk.net.calls import in_eval, replaced

__all__ = ["RoundingChange", "narrow_delays", "rounding_change"]


def _delayed_modules(model: nn.Module, caller: str) -> list[DelayedSynapse | RecurrentDelays]:
    """All modules of a net that have delays.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If it has no delays.
    """
    modules = prepared_modules(model, caller)
    delayed = [module for module in modules if isinstance(module, DelayedSynapse | RecurrentDelays)]
    if not delayed:
        raise ValueError(
            f"{caller}: {type(model).__name__} has no delays, expected a DelayedSynapse in it, "
            "or a layer with recurrent_delays."
        )
    return delayed


def narrow_delays(model: nn.Module, progress: float) -> None:
    """Set the width of all Gaussians of a net; see `DelayedSynapse.narrow`.

    Args:
        model: Any module.
        progress: Share of the narrowing, from 0 to 1, such as `min(1, 4 * epoch / epochs)`.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If it has no delays, or `progress` is not from 0 to 1.

    Example:
        >>> from nwavesdk.layers import DelayedSynapse
        >>> synapse = DelayedSynapse(3, 5, max_delay=24, interpolation="gaussian")
        >>> narrow_delays(synapse, 0.5)
        >>> round(synapse.width, 2)
        2.45
    """
    for module in _delayed_modules(model, "narrow_delays"):
        module.narrow(progress)


class RoundingChange(NamedTuple):
    """A measure of a net in `eval()` with delays between steps, and in whole steps.

    Attributes:
        interpolated: The measure with delays between steps.
        rounded: The measure with delays in whole steps, as in `eval()`.
        distance: Mean distance of delays from whole steps [steps].

    Example:
        >>> synapse = DelayedSynapse(1, 1, max_delay=3, delays=1.5)
        >>> def steps_reached(net):
        ...     return net(torch.eye(1, 4)[..., None]).count_nonzero()
        >>> change = rounding_change(synapse, steps_reached)
        >>> change.interpolated, change.rounded, change.distance
        (2.0, 1.0, 0.5)
    """

    interpolated: float
    rounded: float
    distance: float


@torch.no_grad()
def rounding_change(
    model: nn.Module, measure: Callable[[nn.Module], float | Tensor]
) -> RoundingChange:
    """Measure a net in `eval()` with and without rounding its delays to whole steps.

    The modes of all modules are as before afterwards.

    Args:
        model: Any module with delays.
        measure: Computes a number of the net, such as its accuracy on a set.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If it has no delays.

    Example:
        >>> from nwavesdk.layers import DelayedSynapse, prepare_net
        >>> synapse = DelayedSynapse(1, 1, max_delay=3, delays=1.25)
        >>> x = torch.tensor([1.0, 0, 0, 0]).reshape(1, 4, 1)
        >>> def largest_charge(net):
        ...     prepare_net(net)
        ...     return round(float(net(x).abs().max() / net.weight.abs()), 3)
        >>> rounding_change(synapse, largest_charge)
        RoundingChange(interpolated=0.75, rounded=1.0, distance=0.25)
    """
    delayed = _delayed_modules(model, "rounding_change")
    distances = [(module.delays - module.delays.round()).abs().flatten() for module in delayed]

    values = []
    with in_eval(model):
        for interpolates in (True, False):
            with replaced([(module, "interpolates_in_eval", interpolates) for module in delayed]):
                values.append(float(measure(model)))

    return RoundingChange(values[0], values[1], float(torch.cat(distances).mean()))
