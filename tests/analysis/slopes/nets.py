"""Nets of three neuron layers for the tests of this folder, and whole passes through them."""

import copy

import torch

from nwavesdk.layers import (
    Dropout,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    H1v2Layer,
    H1v2Synapse,
    LIFLayer,
    LIFSynapse,
    NeuronLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid, sigmoid

B, T, N = 3, 40, 6
CANDIDATES = {
    "steep": fast_sigmoid(50),
    "gentle": fast_sigmoid(2),
    "atan": atan(3),
    "sigmoid": sigmoid(8),
    "custom": custom(lambda z: torch.exp(-z * z)),
    "mixed": [fast_sigmoid(5), atan(2), sigmoid(4)],
}


def lif_net(detach_reset=True, **options):
    """LIF layers with a bias, dropout, a nested net and a linear module of torch between them."""
    options = {"spike_grad": atan(1.5), "detach_reset": detach_reset, **options}
    first, second, third = (LIFLayer(n, taus=8e-3, **options) for n in (12, 9, 5))
    return SpikingSequential(
        LIFSynapse(N, 12, bias=True),
        first,
        Dropout(0.3),
        SpikingSequential(LIFSynapse(12, 9), second),
        torch.nn.Linear(9, 5, bias=False),
        third,
    )


def chip_net(version, detach_reset, topology="FF", solver="auto"):
    layer = {1: H1v1Layer, 2: H1v2Layer}[version]
    synapse = {1: H1v1Synapse, 2: H1v2Synapse}[version]
    weights = {"quantization_bits": 5} | ({"stddev": 0.05} if version == 1 else {})
    options = {"ileak_mismatch": True, "detach_reset": detach_reset, "layer_topology": topology}
    options |= {"solver": solver} | ({"quantization_bits": 5} if topology == "RC" else {})
    return SpikingSequential(
        H1v1Frontend(N, init=0.6) if version == 1 else synapse(N, N, **weights),
        layer(N, 10e-3, **options),
        synapse(N, 9, **weights),
        layer(9, 10e-3, **options),
        synapse(9, 5, **weights),
        layer(5, 10e-3, **options),
    )


def loss_fn(spk, mem):
    ramp = torch.linspace(-1, 1, spk.numel(), dtype=spk.dtype).reshape(spk.shape)
    return (spk * ramp).sum() + (mem * ramp.flip(1)).pow(2).sum()


def input_charge():
    return 1.5 * torch.rand(B, T, N, dtype=torch.float64)


def by_layer(candidate):
    """One surrogate for each layer."""
    return candidate if isinstance(candidate, list) else [candidate] * 3


def whole_pass(net, x, surrogates, seed):
    """∂L/∂charges by layer, from one pass under autograd."""
    net = copy.deepcopy(net)
    modules = [
        (name, module)
        for name, module in net.named_modules()
        if name and not isinstance(module, SpikingSequential)
    ]
    charges = []

    def keep_gradient(_module, _inputs, output):
        output.retain_grad()
        charges.append(output)

    chosen = iter(surrogates)
    for index, (_, module) in enumerate(modules):
        if isinstance(module, NeuronLayer):
            module.spike_grad = next(chosen)
            # The output of the module before a layer is its charge.
            modules[index - 1][1].register_forward_hook(keep_gradient)
    prepare_net(net, seed=seed)
    loss_fn(*net(x)).backward()
    return [charge.grad.reshape(B, T, -1) for charge in charges]
