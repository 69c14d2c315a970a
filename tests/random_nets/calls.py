"""Ways of calling a net, and the comparison of a call with the plain loop."""

import contextlib
import itertools
import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from nwavesdk.layers import LIFLayer, NeuronLayer
from nwavesdk.layers.masks import copy_module
from nwavesdk.net import Feedback, SpikingSequential, prepare_net, streaming
from tests.random_nets.composer import (
    CHANGES,
    MAX_STEPS,
    Chance,
    compose_net,
    draw_input,
    has_batch_norm,
)
from tests.random_nets.oracle import Trace, run_plainly

__all__ = ["find_disagreement"]

Outputs = tuple[Tensor, Tensor]

# Relative to the largest value, or to 1 if that is smaller.
TOLERANCE = {torch.float64: 1e-8, torch.float32: 1e-3}
MARGIN = {torch.float64: 1e-9, torch.float32: 1e-4}
# Of two norms of constant channels, 1e5.
MAX_GAIN = {torch.float64: 1e6, torch.float32: 1e3}


def call_whole(
    chance: Chance, net: SpikingSequential, x: Tensor, lengths: Tensor | None
) -> Outputs:
    return net(x) if lengths is None else net(x, lengths)


def call_record(chance, net, x, lengths):
    record = net.record(x, lengths=lengths, charges=chance.happens(0.5))
    return record.spk, record.mem


def call_time_first(chance, net, x, lengths):
    net.time_first = True
    try:
        spk, mem = net(x.transpose(0, 1), lengths)
    finally:
        net.time_first = False
    return spk.transpose(0, 1), mem.transpose(0, 1)


def call_in_thread(chance, net, x, lengths):
    outputs = []
    thread = threading.Thread(target=lambda: outputs.append(net(x, lengths)))
    thread.start()
    thread.join()
    return outputs[0]


def call_functional(chance, net, x, lengths):
    values = {name: p * 1.0 for name, p in net.named_parameters()}
    return torch.func.functional_call(net, values, (x, lengths))


def call_checkpointed(chance, net, x, lengths):
    return checkpoint(lambda x: net(x, lengths), x, use_reentrant=False)


def call_in_parts(chance, net, x, lengths):
    T = x.shape[1]
    cuts = sorted({0, T, *(chance.randint(0, T) for _ in range(3))})
    outputs = []
    with contextlib.nullcontext() if net._is_explicit else streaming(net):
        for start, stop in itertools.pairwise(cuts):
            rest = None if lengths is None else (lengths - start).clamp(0, stop - start)
            if stop - start == 1 and rest is None:
                outputs.append([y[:, None] for y in net.step(x[:, start])])
            else:
                outputs.append(net(x[:, start:stop], rest))
    spk, mem = zip(*outputs, strict=True)
    return torch.cat(spk, 1), torch.cat(mem, 1)


def call_compiled(chance, net, x, lengths):
    return torch.compile(net, backend="aot_eager", dynamic=False)(x, lengths)


def choose_call(chance: Chance, net: SpikingSequential, T: int, compiles: bool) -> Callable:
    ways = [call_whole, call_whole, call_record, call_time_first, call_in_thread]
    if not has_batch_norm(net) and T:
        ways += [call_in_parts, call_in_parts]
        if not net._is_explicit:
            ways.append(call_checkpointed)
    if net.checkpoint is None and not is_changed_by_torch(net):
        ways.append(call_functional)
    return call_compiled if compiles and chance.happens(0.03) else chance.choice(ways)


def is_changed_by_torch(net: nn.Module) -> bool:
    """Whether parameters are pruned or parametrized."""
    return any("_orig" in name or "parametrizations" in name for name, _ in net.named_parameters())


def find_disagreement(
    seed: int, compiles: bool = False, kernels: bool = True
) -> tuple[str | None, int]:
    """Make a net from a seed, call it several times, and compare each call with the plain loop.

    Args:
        seed: Any number.
        compiles: Whether some calls run in code that torch has compiled.
        kernels: Whether all layers may run on kernels, of which a new net needs some. If not, all
            but `LIFLayer` run on the reference.

    Returns:
        A text about the first disagreement, or None, and the number of calls that agreed.
    """
    chance = Chance(seed)
    torch.manual_seed(seed)
    net, shape = compose_net(chance)
    for layer in () if kernels else net.modules():
        if isinstance(layer, NeuronLayer) and not isinstance(layer, LIFLayer):
            layer.solver = "reference"
    dtype = torch.float64 if chance.happens(0.6) else torch.float32
    net = net.to(dtype).train(chance.happens(0.6))
    is_explicit = chance.happens(0.4)
    story, agreed = [], 0
    for _ in range(chance.randint(1, 4)):
        if chance.happens(0.6):
            change = chance.choice(CHANGES)
            story.append(change.__name__)
            net = change(chance, net) or net
        B, T = chance.choice([1, 2, 3, 8]), chance.choice([1, 2, 12, MAX_STEPS])
        if has_batch_norm(net):
            B, T = B + 1, T + 1 if T < MAX_STEPS else T
        elif chance.happens(0.05):
            B = 0
        if is_explicit:
            prepare_net(net)
        x = draw_input(chance, B, T, shape, dtype).requires_grad_()
        lengths = None
        has_feedback = any(isinstance(module, Feedback) for module in net.modules())
        if chance.happens(0.25) and not has_feedback and B and not has_batch_norm(net):
            lengths = torch.randint(0, T + 1, (B,))
        net.checkpoint = chance.randint(1, T) if chance.happens(0.2) else None
        call = choose_call(chance, net, T, compiles)
        story.append(f"{call.__name__} {list(x.shape)} {lengths} checkpoint={net.checkpoint}")
        try:
            difference = compare_call(chance, net, x, lengths, call)
        except Exception as error:  # anything that a call raises is a disagreement
            difference = f"{type(error).__name__}: {error}"
        if difference is not None:
            return f"seed {seed}: {difference}\n{net}\n" + "\n".join(story), agreed
        agreed += 1
    return None, agreed


def compare_call(
    chance: Chance, net: SpikingSequential, x: Tensor, lengths: Tensor | None, call: Callable
) -> str | None:
    """What differs between a call and the plain loop: a text, or None."""
    trace = Trace(lengths)
    # The plain loop has its own leaves, in float64.
    twin, leaf = plain_twin(net), x.detach().double().requires_grad_()
    expected = run_plainly(twin, leaf, trace)
    outputs = call(chance, net, x, lengths)
    if trace.margin < MARGIN[x.dtype] or trace.gain > MAX_GAIN[x.dtype]:
        return None
    valid = torch.ones_like(expected[0], dtype=torch.bool)
    if lengths is not None:
        steps = torch.arange(x.shape[1]) < lengths[:, None]
        valid &= steps.reshape(*steps.shape, *[1] * (valid.ndim - 2))
    for name, y, z in zip(("spikes", "membranes"), outputs, expected, strict=True):
        if error := difference_of(y.where(valid, 0), z.where(valid, 0)):
            return f"{name} {error}"
    for module, original in zip(twin.modules(), net.modules(), strict=True):
        for i, name in enumerate(("running_mean", "running_var")):
            if module in trace.statistics and (
                error := difference_of(getattr(original, name), trace.statistics[module][i])
            ):
                return f"{name} {error}"
    factors = [torch.randn_like(z) * valid * chance.choice([0, 1]) for z in expected]
    names = [name for name, p in net.named_parameters() if p.requires_grad]
    gradients = gradients_of(net, x, outputs, factors)
    plain_gradients = gradients_of(twin, leaf, expected, factors)
    scale = max([1.0, *(float(g.abs().max()) for g in plain_gradients if g.numel())])
    for name, g, h in zip(["x", *names], gradients, plain_gradients, strict=True):
        if error := difference_of(g, h, scale):
            return f"gradient of {name} {error}"
    return None


def plain_twin(net: nn.Module) -> nn.Module:
    """The net of the plain loop: a copy in float64 with the same parameters to learn."""
    twin = copy_module(net).double()
    for p, q in zip(net.parameters(), twin.parameters(), strict=True):
        q.requires_grad_(p.requires_grad)
    return twin


def gradients_of(
    net: nn.Module, x: Tensor, outputs: Outputs, factors: list[Tensor]
) -> list[Tensor]:
    """Gradients of a weighted sum of outputs by x and by all parameters that learn."""
    leaves = [x, *(p for p in net.parameters() if p.requires_grad)]
    loss = sum((y * factor).sum() for y, factor in zip(outputs, factors, strict=True))
    gradients = [None] * len(leaves)
    if loss.requires_grad:
        gradients = torch.autograd.grad(loss, leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, gradients, strict=True)]


def difference_of(values: Tensor, expected: Tensor, scale: float = 1.0) -> str | None:
    """A text if values differ, in shape or by more than the tolerance of their dtype."""
    if values.shape != expected.shape:
        return f"have the shape {list(values.shape)}, expected {list(expected.shape)}"
    if not values.numel():
        return None
    scale = max(scale, float(expected.detach().abs().max()))
    error = float((values.detach().double() - expected.detach()).abs().max()) / scale
    # Of NaN, no comparison is true.
    return None if error <= TOLERANCE[values.dtype] else f"differ by {error:.2g} of {scale:.2g}"
