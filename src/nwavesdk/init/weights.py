"""Weights without a search: through the charge law of a chip, by fan-in, and to read-outs.

`init_weights` draws weights that a chip can hold from the first step of training on.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import ChargeLaw, LinearCharge, Profile
from nwavesdk.init.driven import first_batches
from nwavesdk.internal.checks import positive_number, seed_number
from nwavesdk.layers import NetEdges, NeuronLayer, prepare_net
from nwavesdk.layers.masks import is_pruned
from nwavesdk.net.edges import Edge, find_edges
from nwavesdk.net.wiring import module_title

__all__ = [
    "charge_limit",
    "fan_in_init",
    "generator_for",
    "init_weights",
    "readout_init",
    "reject_parametrized",
    "set_charges",
    "share_at_limit",
]


@torch.no_grad()
def init_weights(model: nn.Module, gain: float = 2.0, seed: int | None = None) -> None:
    """Draw the weights of all chip synapses, and the recurrent weights of chip layers.

    Charges are normal, with mean 0 and standard deviation gain/√N_in, and one sign in each block of
    the chip. Each charge becomes a weight by the charge law, cut off at the limit. Front ends do
    not change. NWAVE documents only the name of the function.

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
    """Set the weights of a module, or the recurrent weights of a layer, by their charges.

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
    """The charge of the largest weight; infinite for modules without a chip."""
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
    """Raise a RuntimeError if a module computes its weights and would overwrite initial weights."""
    for name in net.parametrized:
        raise RuntimeError(
            f"{caller}: {module_title(name, model.get_submodule(name))} is parametrized (by "
            "SignAnnealing, for example) and would overwrite initial weights: initialize before."
        )


def generator_for(seed: int | None) -> torch.Generator | None:
    """A generator on the CPU, so that weights are the same on every device.

    None for torch's global generator.
    """
    if seed is None:
        return None
    return torch.Generator().manual_seed(seed_number("initial weights", seed))


@torch.no_grad()
def fan_in_init(model: nn.Module, gain: float = 2.0, seed: int | None = None) -> None:
    """Draw normal weights of mean 0 and standard deviation gain/√fan_in; set biases to 0.

    The fan-in is the number of inputs of a neuron, in a convolution C_in / groups · kernel. Inputs
    of rate ν then give a charge of standard deviation gain · √ν [thresholds], in layers of any
    size.

    Weak inputs with time constants of a few steps, or average pooling, need a gain of 3:
    `docs/convolution.md`. New `LIFSynapse`, `DelayedSynapse` and `TemporalConv` modules have such
    weights.

    Recurrent weights, front ends and the synapses of chips (see `init_weights`) do not change.
    `fluct_init` suits neurons of any kind.

    Args:
        model: Any module; its `nn.Linear`, convolutions and synapses are initialized.
        gain: Standard deviation of a neuron's charge when all its inputs spike [thresholds].
        seed: Seed of the draws; None draws from torch's global generator.

    Raises:
        TypeError: If `model` is not a module.
        ValueError: If `gain` is not a finite number above 0, or the model has no such weights.
        RuntimeError: If weights are parametrized.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(nn.Conv2d(2, 16, 5), LIFLayer((16, 28, 28), taus=10e-3))
        >>> fan_in_init(net, seed=0)
        >>> round(net[0].weight.std().item() * 50**0.5, 1), net[0].bias.any().item()
        (2.0, False)
    """
    gain = positive_number("fan_in_init", "gain", gain, "thresholds")
    net = find_edges(model)

    # The weights of front ends have one dimension, because each neuron has one weight.
    edges = [
        edge
        for edge in net.edges
        if edge.profile is None and not edge.is_recurrent and edge.weight.ndim > 1
    ]
    if not edges:
        raise ValueError(
            f"fan_in_init: {type(model).__name__} has no dense weights, convolutions or delays "
            "without a chip: for chips use nwavesdk.init.weights.init_weights."
        )
    reject_parametrized("fan_in_init", model, net)

    generator = generator_for(seed)
    for edge in edges:
        (weight,) = edge.trained_parameters().values()
        drawn = torch.randn(weight.shape, generator=generator)
        weight.copy_(drawn * (gain / math.sqrt(edge.fan_in)))
        bias = getattr(edge.module, "bias", None)
        if isinstance(bias, Tensor):
            bias.zero_()


_OWNER = "readout_init"


@torch.no_grad()
def readout_init(
    model: nn.Module, inputs: Any, std: float = 0.3, *, max_batches: int = 8
) -> dict[str, float]:
    """Scale the weights to each read-out until its membranes have the deviation `std` on `inputs`.

    Weights that are large enough for spikes make the membranes of a read-out far too large. With
    the default, a cross-entropy of them begins near ln(number of classes), the value of a random
    guess. Call the function after the rest of the net is initialized.

    Args:
        model: Any module in which `LILayer` or another read-out takes the charge of a synapse.
        inputs: A batch [B, T, ...], or batches, as for `fluct_init`.
        std: Root mean square of the membranes over recordings, steps and outputs [membrane].
        max_batches: Largest number of batches of `inputs`.

    Returns:
        The factor of each weight, by its name.

    Raises:
        TypeError: If `model` or `inputs` has another type.
        ValueError: If an argument is out of its range, or the model has no read-out.
        RuntimeError: If weights are parametrized, or a read-out stays silent.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential
        >>> hidden = LIFSynapse(8, 50), LIFLayer(50, 10e-3)
        >>> net = SpikingSequential(*hidden, LIFSynapse(50, 3), LILayer(3, tau=20e-3))
        >>> x = torch.rand(4, 60, 8, generator=torch.Generator().manual_seed(0))
        >>> factors = readout_init(net, x, std=0.5)
        >>> prepare_net(net)
        >>> round(net(x)[1].square().mean().sqrt().item(), 2)
        0.5
    """
    std = positive_number(_OWNER, "std", std, "membrane")
    batches = first_batches(_OWNER, model, inputs, max_batches)

    net = find_edges(model, batches[0][:1])
    edges = [
        edge for edge in net.edges if edge.target is not None and edge.target.neuron.is_readout
    ]
    if not edges:
        raise ValueError(
            f"{_OWNER}: {type(model).__name__} has no read-out that takes the charge of a synapse "
            "unchanged, expected a LILayer, for example: for outputs that spike use "
            "nwavesdk.init.fluct_init."
        )
    reject_parametrized(_OWNER, model, net)

    factors = {}
    for name, size in _membrane_sizes(model, edges, batches).items():
        if not size:
            raise RuntimeError(
                f"{_OWNER}: the read-out {name} stays at 0, expected inputs that reach it: "
                "initialize the layers before it first, with nwavesdk.init.fluct_init."
            )

        for edge in edges:
            if edge.target_name == name:
                _scale(edge, std / size)
                factors[edge.name] = std / size
    return factors


def _membrane_sizes(model: nn.Module, edges: list[Edge], batches: list[Tensor]) -> dict[str, float]:
    """Root mean square of the membranes of each read-out, by its name."""
    work = copy.deepcopy(model).eval()
    squares: dict[str, list[Tensor]] = {str(edge.target_name): [] for edge in edges}

    def watch(name: str) -> Any:
        def keep(_: nn.Module, __: object, output: tuple[Tensor, Tensor]) -> None:
            squares[name].append(output[1].double().square().flatten())

        return keep

    for name in squares:
        work.get_submodule(name).register_forward_hook(watch(name))
    for x in batches:
        prepare_net(work)
        work(x)
    return {name: math.sqrt(torch.cat(parts).mean()) for name, parts in squares.items()}


def _scale(edge: Edge, factor: float) -> None:
    for parameter in edge.trained_parameters().values():
        parameter.mul_(factor)
    bias = getattr(edge.module, "bias", None)
    if isinstance(bias, Tensor):
        bias.mul_(factor)
