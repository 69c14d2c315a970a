"""Weights by the charge that they are to give: through the chip's law and within its limit, or as they are."""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import ChargeLaw, LinearCharge, Profile
from nwavesdk.init.pairs import title
from nwavesdk.layers import NeuronLayer

__all__ = ["charge_limit", "generator_for", "refuse_parametrized", "set_charges", "share_at_limit"]


def set_charges(module: nn.Module, charges: Tensor) -> None:
    """Give the weights of a synapse or front end, or the recurrent ones of a layer, the charges [N_in, N_out]."""
    law, limit = _law(module)
    weight = module.recurrent_weights if isinstance(module, NeuronLayer) else module.weight
    assert isinstance(weight, Tensor)
    with torch.no_grad():
        weight.copy_(law.weight(charges.to(weight)).clamp(-limit, limit))


def charge_limit(module: nn.Module) -> float:
    """The largest charge of a weight; infinite off the chip."""
    law, limit = _law(module)
    return float(law.charge(torch.tensor(limit, dtype=torch.float64))) if limit < math.inf else math.inf


def share_at_limit(module: nn.Module, weight: Tensor) -> float:
    """Share of the weights that are cut off at the chip's limit."""
    return float((weight.detach().abs() >= _law(module)[1] * (1 - 1e-6)).double().mean())


def _law(module: nn.Module) -> tuple[ChargeLaw, float]:
    profile = getattr(module, "profile", None)
    if isinstance(profile, Profile):
        return profile.charge_law, profile.number("weight_limit")
    return LinearCharge(), math.inf


def refuse_parametrized(caller: str, model: nn.Module) -> None:
    """Raise a RuntimeError where weights are computed from others, which would overrule what is written to them."""
    for name, module in model.named_modules():
        if is_parametrized(module):
            raise RuntimeError(
                f"{caller}: {title(name, module)} is parametrized (by SignAnnealing, for example) and does not keep "
                "what is written to its weights: initialize before that."
            )


def generator_for(seed: int | None) -> torch.Generator | None:
    """A generator of that seed on the CPU, so that weights are the same on every device; None: torch's global one."""
    return None if seed is None else torch.Generator().manual_seed(seed)
