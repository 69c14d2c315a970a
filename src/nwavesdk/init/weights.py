"""Weights by the charge that they are to give: through the chip's law and within its limit, or as they are.

Weights that a chip can hold from the first step of training on: within its limit, signs shared in its blocks.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from nwavesdk.chip import ChargeLaw, LinearCharge, Profile
from nwavesdk.internal.checks import positive_number
from nwavesdk.layers import NeuronLayer, find_edges
from nwavesdk.layers.edges import module_title

__all__ = [
    "charge_limit",
    "generator_for",
    "init_weights",
    "refuse_parametrized",
    "set_charges",
    "share_at_limit",
]


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
    return (
        float(law.charge(torch.tensor(limit, dtype=torch.float64)))
        if limit < math.inf
        else math.inf
    )


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
                f"{caller}: {module_title(name, module)} is parametrized (by SignAnnealing, for example) and does not keep "
                "what is written to its weights: initialize before that."
            )


def generator_for(seed: int | None) -> torch.Generator | None:
    """A generator of that seed on the CPU, so that weights are the same on every device; None: torch's global one."""
    return None if seed is None else torch.Generator().manual_seed(seed)


@torch.no_grad()
def init_weights(model: nn.Module, gain: float = 2.0, seed: int | None = None) -> None:
    """Draw all weights of chip synapses, and recurrent weights of chip layers, ready to be deployed.

    Charges are normal, of mean 0 and standard deviation gain/√N_in; in each block in which the chip shares signs
    (`sign_block` consecutive inputs in each column, or outputs in each row, by `sign_axis`) one sign is drawn. On the
    chip each charge becomes the weight that has it by the charge law, cut off at the limit. Front ends, and modules
    that are not of a chip, stay. The documentation of NWAVE names the function only; what it does here is our choice.

    Args:
        model: any module; all its submodules are visited.
        gain: standard deviation of a neuron's charge when all its inputs spike [normalized charge].
        seed: of the draws; None draws from torch's global generator.

    Raises:
        ValueError: `gain` is not a finite number above 0, or the model has no weights of a chip.
        RuntimeError: weights are parametrized.

    Example:
        >>> from nwavesdk.layers import HWSynapse
        >>> synapse = HWSynapse(5, 2)
        >>> init_weights(synapse, seed=0)
        >>> synapse.weight.detach().sign().abs().sum(), synapse.weight.detach().sign().sum(0).abs()
        (tensor(10.), tensor([5., 5.]))
    """
    gain = positive_number("init_weights", "gain", gain, "normalized charge")
    weights = [
        (edge, edge.profile)
        for edge in find_edges(model).edges
        if edge.profile is not None and edge.weight.ndim == 2
    ]
    if not weights:
        raise ValueError(
            f"init_weights: {type(model).__name__} has no weights of a chip, expected an H1v1Synapse or H1v2Synapse: "
            "for other nets use nwavesdk.init.fluct_init."
        )
    refuse_parametrized("init_weights", model)
    generator = generator_for(seed)
    for edge, profile in weights:
        rows, columns = edge.weight.shape
        sizes = torch.randn(rows, columns, generator=generator).abs() * (gain / math.sqrt(rows))
        set_charges(edge.module, sizes * _signs(rows, columns, profile, generator))


def _signs(rows: int, columns: int, profile: Profile, generator: torch.Generator | None) -> Tensor:
    """1 and -1, [rows, columns], the same in each of the chip's blocks; a last block may be shorter."""
    size, along = profile.count("sign_block"), 0 if profile.text("sign_axis") == "inputs" else 1
    blocks = [rows, columns]
    blocks[along] = math.ceil(blocks[along] / size)
    signs = 2.0 * torch.randint(2, blocks, generator=generator) - 1
    return signs.repeat_interleave(size, along)[:rows, :columns]
