"""Weights by the charge that they give: through the chip's charge law and within its limit.

`init_weights` draws weights that a chip can hold from the first step of training on.
"""

import math

import torch
from torch import Tensor, nn

from nwavesdk.chip import ChargeLaw, LinearCharge, Profile
from nwavesdk.internal.checks import positive_number, seed_number
from nwavesdk.layers import NetEdges, NeuronLayer, find_edges
from nwavesdk.layers.masks import is_pruned
from nwavesdk.net.wiring import module_title

__all__ = [
    "charge_limit",
    "generator_for",
    "init_weights",
    "reject_parametrized",
    "set_charges",
    "share_at_limit",
]


@torch.no_grad()
def init_weights(model: nn.Module, gain: float = 2.0, seed: int | None = None) -> None:
    """Draw the weights of all chip synapses, and the recurrent weights of chip layers.

    Charges are normal, with mean 0 and standard deviation gain/√N_in. In each block in which the
    chip shares signs (`sign_block` consecutive inputs in each column, or outputs in each row, by
    `sign_axis`) one sign is drawn. Each charge becomes the weight that gives it by the charge law,
    cut off at the limit. Front ends, and modules without a chip, do not change. NWAVE's
    documentation gives only the name of the function; what it does here is our choice.

    Args:
        model: Any module.
        gain: Standard deviation of a neuron's charge when all its inputs spike [normalized
            charge].
        seed: Seed of the draws; None draws from torch's global generator.

    Raises:
        ValueError: If `gain` is not a finite number above 0, or the model has no weights of a chip.
        RuntimeError: If weights are parametrized.

    Example:
        >>> from nwavesdk.layers import HWSynapse
        >>> synapse = HWSynapse(5, 2)
        >>> init_weights(synapse, seed=0)
        >>> synapse.weight.detach().sign().abs().sum(), synapse.weight.detach().sign().sum(0).abs()
        (tensor(10.), tensor([5., 5.]))
    """
    gain = positive_number("init_weights", "gain", gain, "normalized charge")
    net = find_edges(model)
    weights = [
        (edge, edge.profile)
        for edge in net.edges
        if edge.profile is not None and edge.weight.ndim == 2
    ]
    if not weights:
        raise ValueError(
            f"init_weights: {type(model).__name__} has no weights of a chip, expected an "
            "H1v1Synapse or H1v2Synapse: for other nets use nwavesdk.init.fluct_init."
        )
    reject_parametrized("init_weights", model, net)
    generator = generator_for(seed)
    for edge, profile in weights:
        N_in, N_out = edge.weight.shape
        sizes = torch.randn(N_in, N_out, generator=generator).abs() * (gain / math.sqrt(N_in))
        set_charges(edge.module, sizes * _draw_signs(N_in, N_out, profile, generator))


def _draw_signs(
    N_in: int, N_out: int, profile: Profile, generator: torch.Generator | None
) -> Tensor:
    """1 and -1, [N_in, N_out], equal within each of the chip's blocks; the last may be shorter."""
    size = profile.count("sign_block")
    axis = 0 if profile.text("sign_axis") == "inputs" else 1
    blocks = [N_in, N_out]
    blocks[axis] = math.ceil(blocks[axis] / size)
    signs = 2.0 * torch.randint(2, blocks, generator=generator) - 1
    return signs.repeat_interleave(size, axis)[:N_in, :N_out]


def set_charges(module: nn.Module, charges: Tensor) -> None:
    """Set the weights of a module, or a layer's recurrent ones, by their charges.

    Args:
        module: A synapse, front end, linear layer, convolution or neuron layer.
        charges: In the shape of the weight. Pruned weights stay 0.
    """
    law, limit = _law_and_limit(module)
    key = "recurrent_weights" if isinstance(module, NeuronLayer) else "weight"
    # A pruned weight is computed from the tensor that is trained.
    weight = module.get_parameter(f"{key}_orig" if is_pruned(module, key) else key)
    with torch.no_grad():
        weight.copy_(law.weight(charges.to(weight)).clamp(-limit, limit))


def charge_limit(module: nn.Module) -> float:
    """The largest charge that a weight can give; infinite for modules without a chip."""
    law, limit = _law_and_limit(module)
    return float(law.charge(torch.tensor(limit, dtype=torch.float64)))


def share_at_limit(module: nn.Module, weight: Tensor) -> float:
    """Share of the weights that are cut off at the chip's limit."""
    _, limit = _law_and_limit(module)
    return float((weight.detach().abs() >= limit * (1 - 1e-6)).double().mean())


def _law_and_limit(module: nn.Module) -> tuple[ChargeLaw, float]:
    """The chip's charge law and its largest weight."""
    profile = getattr(module, "profile", None)
    if isinstance(profile, Profile):
        return profile.charge_law, profile.number("weight_limit")
    return LinearCharge(), math.inf


def reject_parametrized(caller: str, model: nn.Module, net: NetEdges) -> None:
    """Raise a RuntimeError where a module computes its weights, because it would overwrite ours."""
    for name in net.parametrized:
        raise RuntimeError(
            f"{caller}: {module_title(name, model.get_submodule(name))} is parametrized (by "
            "SignAnnealing, for example) and does not keep what is written to its weights: "
            "initialize before."
        )


def generator_for(seed: int | None) -> torch.Generator | None:
    """A generator on the CPU, so that weights are the same on every device.

    None for torch's global generator.
    """
    if seed is None:
        return None
    return torch.Generator().manual_seed(seed_number("initial weights", seed))
