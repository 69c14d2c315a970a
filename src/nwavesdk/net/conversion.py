"""Functions on whole nets: choose the solver, choose the modules for a chip, move weights in range.

`to_gpu` and `to_cpu` select NWAVE's solvers, `family_of` returns the modules of a chip, and
`project` moves all weights of a net to the nearest ones that its chip can store. A chip with other
neurons needs its modules in `layers`, and a family here.
"""

from typing import Any, NamedTuple

import torch
from torch import nn

from nwavesdk.chip import Profile, nearest_agreeing_weight
from nwavesdk.internal.checks import shown
from nwavesdk.layers.chip_layer import H1v1Layer, H1v2Layer
from nwavesdk.layers.chip_synapse import H1v1Frontend, H1v1Synapse, H1v2Frontend, H1v2Synapse
from nwavesdk.net.edges import find_edges

__all__ = ["Family", "family_of", "project", "to_cpu", "to_gpu"]


def to_gpu(model: nn.Module) -> nn.Module:
    """Choose NWAVE's parallel solvers, `device="gpu"`, for all neuron layers; moves no tensors.

    The net changes in place and is returned. To move the tensors, call `model.to("cuda")`. Layers
    with `compasso_spike_grad="fixed"` then have the gradient of `fast_sigmoid(25)`, and a warning
    reports this.

    Raises:
        ValueError: If a layer is recurrent. No layer has changed then.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> to_gpu(LIFLayer(3, taus=20e-3)).device
        'gpu'
    """
    return _set_device(model, "gpu")


def to_cpu(model: nn.Module) -> nn.Module:
    """Choose NWAVE's serial solver, `device="cpu"`, for all neuron layers; moves no tensors.

    The net changes in place and is returned; see `to_gpu`.

    Example:
        >>> from nwavesdk.layers import LIFLayer
        >>> to_cpu(LIFLayer(3, taus=20e-3, device="gpu")).device
        'cpu'
    """
    return _set_device(model, "cpu")


def _set_device(model: nn.Module, device: str) -> nn.Module:
    layers = find_edges(model).layers.values()
    for layer in layers:
        layer.check_device(device)

    # All layers have passed the check, so the call changes all of them or none.
    for layer in layers:
        layer.set_device(device)
    return model


class Family(NamedTuple):
    """The module classes of one kind of chip.

    Example:
        >>> from nwavesdk.chip import load_profile
        >>> from nwavesdk.layers import SpikingSequential
        >>> family = family_of(load_profile("h1v2"))
        >>> net = SpikingSequential(family.synapse(16, 4), family.layer(4, 20e-3))
        >>> type(net[0]).__name__
        'H1v2Synapse'
    """

    frontend: Any
    synapse: Any
    layer: Any


_FAMILIES = {
    "h1v1": Family(H1v1Frontend, H1v1Synapse, H1v1Layer),
    "h1v2": Family(H1v2Frontend, H1v2Synapse, H1v2Layer),
}


def family_of(profile: Profile) -> Family:
    """The module classes from which a net for this chip is built.

    Raises:
        TypeError: If it is not a profile.

    Example:
        >>> from nwavesdk.chip import load_profile
        >>> family_of(load_profile("h1v2")).layer.__name__
        'H1v2Layer'
    """
    if not isinstance(profile, Profile):
        raise TypeError(
            f"family_of takes a Profile, got {shown(profile)}: read one by load_profile."
        )
    return _FAMILIES[profile.text("neuron")]


@torch.no_grad()
def project(model: nn.Module, profile: Profile | None = None) -> None:
    """Move weights in place to the nearest in the chip's range whose signs agree in each block.

    Use it for nets that were trained without these limits, and test the net again: the accuracy
    may drop. Call `prepare_net` afterwards. Modules without a chip stay unchanged.

    Args:
        model: Any net.
        profile: The chip; None takes the chip of each module.

    Raises:
        TypeError: If `model` is not a module.
        RuntimeError: If a weight is parametrized.

    Example:
        >>> from nwavesdk.layers import HWSynapse
        >>> synapse = HWSynapse(3, 1)
        >>> synapse.weight.data = torch.tensor([[2.0], [0.5], [-0.25]])
        >>> project(synapse)
        >>> synapse.weight.data.flatten()
        tensor([0.9000, 0.5000, 0.0000])
    """
    for edge in find_edges(model).edges:
        if edge.profile is None:
            continue

        chip = profile or edge.profile
        limit = chip.number("weight_limit")
        weight = edge.weight

        # A front end [N] shares no signs.
        if weight.ndim < 2:
            edge.set_weight(weight.clamp(-limit, limit))
        else:
            block, axis = chip.count("sign_block"), chip.text("sign_axis")
            edge.set_weight(nearest_agreeing_weight(weight, block, axis, limit))
