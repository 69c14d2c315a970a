"""`project`: every weight of a net moved to the nearest that its chip can hold."""

import torch
from torch import nn

from nwavesdk import chip
from nwavesdk.layers.prepare import Prepared

__all__ = ["project"]


@torch.no_grad()
def project(model: nn.Module, profile: chip.Profile | None = None) -> None:
    """Move weights in place to the nearest within the chip's range whose signs agree in each block.

    For nets that were trained without these limits; what a net loses by it, only a test tells. Call `prepare_net`
    afterwards. Modules that are not of a chip stay as they are.

    Args:
        model: Any net.
        profile: The chip. [each module's own]

    Raises:
        TypeError: `model` is no module.

    Example:
        >>> from nwavesdk.layers import HWSynapse
        >>> synapse = HWSynapse(3, 1)
        >>> synapse.weight.data = torch.tensor([[2.0], [0.5], [-0.25]])
        >>> project(synapse)
        >>> synapse.weight.data.flatten()
        tensor([0.9000, 0.5000, 0.0000])
    """
    for module in Prepared.within(model, "project"):
        own = getattr(module, "profile", None)
        if own is None:
            continue
        numbers = own if profile is None else profile
        limit = numbers.number("weight_limit")
        for name in ("weight", "recurrent_weights"):
            w = getattr(module, name, None)
            if w is not None:
                signed = (numbers.count("sign_block"), numbers.text("sign_axis"), limit)
                w.copy_(w.clamp(-limit, limit) if w.ndim < 2 else chip.project(w, *signed))
