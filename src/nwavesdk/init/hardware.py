"""Weights that a chip can hold from the first step of training on: within its limit, signs shared in its blocks."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.chip import Profile
from nwavesdk.init.charge import generator_for, refuse_parametrized, set_charges
from nwavesdk.layers import H1v1Layer, H1v1Synapse, H1v2Layer, H1v2Synapse
from nwavesdk.layers.checks import positive

__all__ = ["init_weights"]


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
    gain = positive("init_weights", "gain", gain, "normalized charge")
    chips = [m for m in model.modules() if isinstance(m, H1v1Synapse | H1v2Synapse)
             or (isinstance(m, H1v1Layer | H1v2Layer) and m.recurrent_weights is not None)]  # fmt: skip
    if not chips:
        raise ValueError(
            f"init_weights: {type(model).__name__} has no weights of a chip, expected an H1v1Synapse or H1v2Synapse: "
            "for other nets use nwavesdk.init.fluct_init."
        )
    refuse_parametrized("init_weights", model)
    generator = generator_for(seed)
    for module in chips:
        weight = module.weight if isinstance(module, H1v1Synapse | H1v2Synapse) else module.recurrent_weights
        assert isinstance(weight, Tensor)
        rows, columns = weight.shape
        sizes = torch.randn(rows, columns, generator=generator).abs() * (gain / math.sqrt(rows))
        set_charges(module, sizes * _signs(rows, columns, module.profile, generator))


def _signs(rows: int, columns: int, profile: Profile, generator: torch.Generator | None) -> Tensor:
    """1 and -1, [rows, columns], the same in each of the chip's blocks; a last block may be shorter."""
    size, along = profile.count("sign_block"), 0 if profile.text("sign_axis") == "inputs" else 1
    blocks = [rows, columns]
    blocks[along] = math.ceil(blocks[along] / size)
    signs = 2.0 * torch.randint(2, blocks, generator=generator) - 1
    return signs.repeat_interleave(size, along)[:rows, :columns]
