"""Random nets, inputs, and changes of nets between two calls, from a seed."""

import copy
import pickle
import random

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from nwavesdk import layers
from nwavesdk.layers.masks import copy_module
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential
from nwavesdk.surrogate import atan, fast_sigmoid

__all__ = ["CHANGES", "Chance", "compose_net", "draw_input", "has_batch_norm"]

MAX_STEPS = 40


class Chance(random.Random):
    """A source of choices."""

    def happens(self, probability: float) -> bool:
        return self.random() < probability


def draw_values(chance: Chance, features: tuple[int, ...], low: float, high: float):
    """One number, one per channel, or one per neuron."""
    shapes = [(), features, (features[0], *[1] * (len(features) - 1))]
    values = low + (high - low) * torch.rand(chance.choice(shapes), dtype=torch.float64)
    return values if values.ndim else float(values)


def draw_neurons(chance: Chance, *features: int) -> nn.Module:
    def values(low, high):
        return draw_values(chance, features, low, high)

    def learned(*names):
        return tuple(name for name in names if chance.happens(0.4))

    options = {
        "spike_grad": chance.choice([None, atan(alpha=2.0), fast_sigmoid(5.0)]),
        "detach_reset": chance.happens(0.5),
    }
    if len(features) == 1 and chance.happens(0.3):
        options["layer_topology"] = "RC"
    if chance.happens(0.15):
        options["solver"] = chance.choice(["reference", "serial"])
    size = features if len(features) > 1 else features[0]
    tau, slow, threshold = values(2e-3, 30e-3), values(10e-3, 0.2), values(0.2, 1.0)
    kind = chance.choice(["lif", "lif", "lif", "alif", "adlif", "cuba", "if", "klif"])
    if kind == "lif":
        return layers.LIFLayer(
            size, tau, threshold, chance.choice(["subtraction", "zero", "none"]),
            learn_taus=chance.happens(0.4), learn_thresholds=chance.happens(0.4),
            max_loop_gain=None, **options,
        )  # fmt: skip
    if kind == "alif":
        learn = learned("tau", "tau_a", "threshold", "beta")
        constants = {"tau": tau, "tau_a": slow, "threshold": threshold, "beta": values(0.0, 1.0)}
        return layers.ALIFLayer(size, **constants, learn=learn, **options)
    if kind == "adlif":
        learn = learned("tau", "tau_w", "a", "b", "threshold")
        constants = {"tau": tau, "tau_w": slow, "threshold": threshold}
        constants |= {"a": values(-0.3, 0.3), "b": values(0.1, 0.5)}
        return layers.AdLIFLayer(size, **constants, learn=learn, **options)
    if kind == "cuba":
        learn = learned("tau", "tau_syn", "threshold")
        constants = {"tau": tau, "tau_syn": values(2e-3, 8e-3), "threshold": threshold}
        return layers.CubaLIFLayer(size, **constants, learn=learn, **options)
    if kind == "if":
        return layers.IFLayer(size, threshold=threshold, learn=learned("threshold"), **options)
    constants = {"tau": tau, "k": values(0.5, 2.0), "threshold": threshold}
    return layers.KLIFLayer(size, **constants, learn=learned("tau", "k", "threshold"), **options)


def draw_synapse(chance: Chance, inputs: int, outputs: int) -> nn.Module:
    bias = chance.happens(0.4)
    kind = chance.choice(["dense", "dense", "dense", "linear", "delayed", "taps"])
    if kind == "dense":
        product = chance.choice(["auto", "dense", "sparse"])
        return layers.LIFSynapse(inputs, outputs, bias=bias, product=product)
    if kind == "linear":
        return nn.Linear(inputs, outputs, bias=bias)
    if kind == "taps":
        taps, dilation = chance.randint(1, 4), chance.randint(1, 3)
        return layers.TemporalConv(inputs, outputs, taps=taps, dilation=dilation, bias=bias)
    per = chance.choice(["connection", "input"])
    learns = chance.happens(0.6)
    return layers.DelayedSynapse(
        inputs, outputs, chance.randint(1, 9), per=per, learn_delays=learns, bias=bias
    )


def draw_norm(chance: Chance, channels: int, of_images: bool) -> nn.Module:
    norm = chance.choice([
        nn.BatchNorm2d if of_images else nn.BatchNorm1d,
        layers.TimeBatchNorm,
        lambda c: layers.ThresholdBatchNorm(c, threshold=chance.uniform(0.5, 1.5)),
        lambda c: layers.StepBatchNorm(c, MAX_STEPS),
        lambda c: layers.TemporalEffectiveBatchNorm(c, MAX_STEPS),
    ])(channels)  # fmt: skip
    for value in (*norm.parameters(), norm.running_mean, norm.running_var):
        nn.init.uniform_(value, 0.5, 1.5)
    return norm


def draw_block(chance: Chance, inputs: int, depth: int) -> tuple[nn.Module, int]:
    """A part of a flat net, and its number of outputs."""
    outputs = chance.choice([1, 2, 3, 5, 8, 17])
    kind = chance.choice(["plain"] * (4 if depth < 2 else 1) + ["residual", "branches", "feedback"])
    if depth == 2 or kind == "plain":
        modules = [draw_synapse(chance, inputs, outputs)]
        if chance.happens(0.25):
            modules.append(draw_norm(chance, outputs, of_images=False))
        if chance.happens(0.9):
            modules.append(draw_neurons(chance, outputs))
        return SpikingSequential(*modules), outputs
    inner, size = draw_block(chance, inputs, depth + 1)
    if kind == "branches":
        join = chance.choice(["concatenate", "add"])
        other = SpikingSequential(draw_synapse(chance, inputs, size), draw_neurons(chance, size))
        return Branches(inner, other, join=join), size * (2 if join == "concatenate" else 1)
    if kind == "residual":
        return Residual(inner, shortcut=draw_synapse(chance, inputs, size)), size
    if has_batch_norm(inner):
        return inner, size
    return Feedback(inner, feedback=draw_synapse(chance, size, inputs)), size


def compose_net(chance: Chance) -> tuple[SpikingSequential, tuple[int, ...]]:
    """A net, and the shape of a step of its input."""
    modules: list[nn.Module] = []
    size = chance.choice([1, 2, 5, 16, 33])
    shape: tuple[int, ...] = (size,)
    if chance.happens(0.3):
        modules, shape, size = draw_image_modules(chance)
    for _ in range(chance.randint(1, 3)):
        block, size = draw_block(chance, size, 0)
        modules += (
            block if chance.happens(0.5) and isinstance(block, SpikingSequential) else [block]
        )
    if chance.happens(0.3):
        modules.append(layers.LILayer(size, tau=draw_values(chance, (size,), 2e-3, 30e-3)))
    return SpikingSequential(*modules), shape


def draw_image_modules(chance: Chance) -> tuple[list[nn.Module], tuple[int, ...], int]:
    """A convolution over images, what follows it, the shape of an image, and the outputs."""
    shape = chance.choice([1, 2, 4]), chance.randint(4, 9), chance.randint(4, 9)
    channels, stride, padding = (
        chance.choice([2, 4, 6]),
        chance.choice([1, 2]),
        chance.choice([0, 1]),
    )
    modules: list[nn.Module] = [nn.Conv2d(shape[0], channels, 3, stride, padding)]
    size = [(n + 2 * padding - 3) // stride + 1 for n in shape[1:]]
    if chance.happens(0.6):
        modules.append(draw_norm(chance, channels, of_images=True))
    modules.append(draw_neurons(chance, channels, *size))
    if min(size) >= 2 and chance.happens(0.6):
        modules.append(chance.choice([nn.MaxPool2d, nn.AvgPool2d])(2))
        size = [n // 2 for n in size]
    return [*modules, nn.Flatten()], shape, channels * size[0] * size[1]


def has_batch_norm(net: nn.Module) -> bool:
    return any(hasattr(module, "num_batches_tracked") for module in net.modules())


def draw_input(
    chance: Chance, B: int, T: int, shape: tuple[int, ...], dtype: torch.dtype
) -> Tensor:
    """Spikes or values of some density, in some order of memory."""
    x = (torch.rand(B, T, *shape) < chance.choice([0, 0.05, 0.3, 1.0])).to(dtype)
    if chance.happens(0.3):
        x = x * torch.randn(x.shape, dtype=dtype)
    layout = chance.choice(["plain", "time first", "held", "every second", "features first"])
    if layout == "time first":
        return x.transpose(0, 1).contiguous().transpose(0, 1)
    if layout == "held" and T:
        return x[:, :1].expand(B, T, *shape)
    if layout == "every second":
        return torch.stack([x, x], -1)[..., 0]
    if layout == "features first":
        return x.movedim(2, 0).contiguous().movedim(0, 2)
    return x


# Changes of a net between two calls.


class Scaled(nn.Module):
    def forward(self, value):
        return 0.9 * value


def step_optimizer(chance: Chance, net: nn.Module) -> None:
    parameters = [p for p in net.parameters() if p.requires_grad]
    for p in parameters:
        p.grad = torch.randn_like(p)
    if parameters:
        chance.choice([torch.optim.SGD, torch.optim.Adam])(parameters, lr=1e-2).step()
    net.zero_grad()


def load_values(chance: Chance, net: nn.Module) -> None:
    state = {name: value.clone() for name, value in net.state_dict().items()}
    for name, value in state.items():
        if value.is_floating_point() and "running" not in name:
            value.mul_(1.01)
    net.load_state_dict(state, assign=chance.happens(0.5))


def change_settings(chance: Chance, net: nn.Module) -> None:
    for module in net.modules():
        if hasattr(module, "spike_grad") and not module.neuron.is_readout:
            module.detach_reset = chance.happens(0.5)
            module.spike_grad = chance.choice([atan(alpha=2.0), fast_sigmoid(10.0)])
            module.dt = chance.choice([1e-3, 2e-3])


def replace_parameters(chance: Chance, net: nn.Module) -> None:
    for module in net.modules():
        for name, value in [*module._parameters.items()]:
            if value is not None and chance.happens(0.3):
                learns = chance.happens(0.8) and value.requires_grad
                setattr(module, name, nn.Parameter(1.01 * value.detach(), requires_grad=learns))


def prune_weights(chance: Chance, net: nn.Module) -> None:
    for module in net.modules():
        for name in "weight", "recurrent_weights":
            weight = module._parameters.get(name)
            if weight is not None and weight.ndim > 1 and chance.happens(0.3):
                prune.random_unstructured(module, name, 0.4)


def parametrize_values(chance: Chance, net: nn.Module) -> None:
    for module in [*net.modules()]:
        for name in "weight", "recurrent_weights", "thresholds", "log_tau", "bias":
            if module._parameters.get(name) is not None and chance.happens(0.2):
                parametrize.register_parametrization(module, name, Scaled())


def watch_modules(chance: Chance, net: nn.Module) -> None:
    for module in net.modules():
        if chance.happens(0.3):
            module.register_forward_hook(ignore_call)


def ignore_call(*_: object) -> None:
    """A hook that a pickle can have."""


def switch_mode(chance: Chance, net: nn.Module) -> None:
    net.train(chance.happens(0.5))


def copy_net(chance: Chance, net: nn.Module) -> nn.Module:
    return copy_module(net)


def pickle_net(chance: Chance, net: nn.Module) -> nn.Module:
    if any(parametrize.is_parametrized(module) for module in net.modules()):
        return copy.copy(net)  # torch rejects pickles of parametrized modules
    return pickle.loads(pickle.dumps(net))


CHANGES = [
    step_optimizer, load_values, change_settings, replace_parameters, prune_weights,
    parametrize_values, watch_modules, switch_mode, copy_net, pickle_net,
]  # fmt: skip
"""Functions of a source of choices and a net, which they change, or return changed."""
