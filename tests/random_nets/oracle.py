"""The plain loop: what a net returns, in plain torch from the documented equations.

It reads settings and parameters of modules and runs none of their code. Where rounding decides,
such as at a threshold, two correct computations may differ. `Trace.margin` is the smallest
distance from such a decision.
"""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from nwavesdk.layers import DelayedSynapse, StepBatchNorm, TemporalConv, TimeBatchNorm
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential

__all__ = ["Trace", "run_plainly"]


@dataclass
class Trace:
    """What a pass of the plain loop reads and leaves.

    Attributes:
        lengths: Number of steps of each recording, or None.
        margin: Smallest distance of a value from a decision.
        gain: By how much norms of nearly constant channels multiply roundings, one after the other.
        statistics: Running mean and variance of each norm after the call.
        states: States of modules inside of `Feedback`, which runs step by step.
    """

    lengths: Tensor | None = None
    margin: float = math.inf
    gain: float = 1.0
    statistics: dict[nn.Module, list[Tensor]] = field(default_factory=dict)
    states: dict[nn.Module, object] = field(default_factory=dict)

    def decide(self, distance: Tensor) -> None:
        """Note how near values are to a decision."""
        if distance.numel():
            self.margin = min(self.margin, float(distance.detach().abs().min()))


class Spike(torch.autograd.Function):
    """1 where z > 0, with a surrogate derivative."""

    @staticmethod
    def forward(ctx, z, derivative):
        ctx.save_for_backward(z)
        ctx.derivative = derivative
        return (z > 0).to(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * ctx.derivative(z), None


def derivative_of(surrogate):
    if type(surrogate).__name__ == "FastSigmoid":
        return lambda z: 1 / (surrogate.slope * z.abs() + 1) ** 2
    alpha = surrogate.alpha
    return lambda z: alpha / 2 / (1 + (math.pi / 2 * alpha * z) ** 2)


def parameter(module, name):
    """A parameter; of a pruned module from its stored tensor and its mask."""
    if f"{name}_orig" in module._parameters:
        return module._parameters[f"{name}_orig"] * module._buffers[f"{name}_mask"]
    return getattr(module, name, None)


@dataclass
class Fire:
    """Spikes `fire(z)` of a layer, and `held(s)`: spikes as its reset sees them."""

    layer: nn.Module
    trace: Trace

    def __call__(self, z):
        self.trace.decide(z)
        return Spike.apply(z, derivative_of(self.layer.spike_grad))

    def held(self, s):
        return s.detach() if self.layer.detach_reset else s


# Neurons: one step from charge x and states v, w to the spike and the next states. `c` has the
# constants by name, `d` their decays exp(-dt / τ).


def lif(layer, x, v, w, c, d, fire):
    u = d["tau"] * v + x
    s = fire(u - c["threshold"])
    resets = {"subtraction": c["threshold"], "zero": u, "none": 0}
    return s, u - resets[layer.reset_mechanism] * fire.held(s), w


def alif(layer, x, v, w, c, d, fire):
    threshold = c["threshold"] + c["beta"] * w
    u = d["tau"] * v + (1 - d["tau"]) * x
    s = fire(u - threshold)
    return s, u - threshold * fire.held(s), d["tau_a"] * w + (1 - d["tau_a"]) * s


def adlif(layer, x, v, w, c, d, fire):
    u = d["tau"] * v + (1 - d["tau"]) * (x - w)
    s = fire(u - c["threshold"])
    return s, u - c["threshold"] * fire.held(s), d["tau_w"] * w + c["a"] * u + c["b"] * s


def cuba(layer, x, v, w, c, d, fire):
    current = d["tau_syn"] * w + x
    u = d["tau"] * v + current
    s = fire(u - c["threshold"])
    return s, u - c["threshold"] * fire.held(s), current


def integrate(layer, x, v, w, c, d, fire):
    s = fire(v + x - c["threshold"])
    return s, v + x - c["threshold"] * fire.held(s), w


def klif(layer, x, v, w, c, d, fire):
    u = c["k"] * (d["tau"] * v + (1 - d["tau"]) * x)
    # Of silence, u is exactly 0; of equal values after a norm, it is 0 or a rounding error.
    fire.trace.decide(u if fire.trace.statistics else u[u != 0])
    u = torch.where(u < 0, 0.0, u)
    s = fire(u - c["threshold"])
    return s, u * (1 - fire.held(s)), w


def readout(layer, x, v, w, c, d, fire):
    v = d["tau"] * v + x
    return v, v, w


STEPS = {
    "LIFLayer": lif,
    "ALIFLayer": alif,
    "AdLIFLayer": adlif,
    "CubaLIFLayer": cuba,
    "IFLayer": integrate,
    "KLIFLayer": klif,
    "LILayer": readout,
}


def name_of(module):
    return type(module).__name__.removeprefix("Parametrized")


def run_neurons(layer, x, trace):
    constants = layer.effective_constants(x.dtype)
    decays = {n: (-layer.dt / c).exp() for n, c in constants.items() if n.startswith("tau")}
    weights = parameter(layer, "recurrent_weights")
    fire, step = Fire(layer, trace), STEPS[name_of(layer)]
    zeros = torch.zeros_like(x[:, 0]) if x.shape[1] else x.new_zeros(len(x), *x.shape[2:])
    v, w, s = trace.states.get(layer, (zeros, zeros, zeros))
    spikes, membranes = [], []
    for t in range(x.shape[1]):
        charge = x[:, t]
        if weights is not None:
            charge = charge + (s.flatten(1) @ weights).reshape(charge.shape)
        s, v, w = step(layer, charge, v, w, constants, decays, fire)
        spikes.append(s)
        membranes.append(v)
    trace.states[layer] = v, w, s
    if not spikes:
        return x, x
    return torch.stack(spikes, 1), torch.stack(membranes, 1)


# Synapses, pools and norms, on sequences [B, T, *features].


def with_past(module, x, steps, trace):
    """The sequence after the inputs of earlier steps, [B, steps + T, ...]."""
    past = trace.states.get(module, x.new_zeros(len(x), steps, *x.shape[2:]))
    extended = torch.cat([past, x], 1)
    trace.states[module] = extended[:, extended.shape[1] - steps :]
    return extended


def run_delays(module, x, trace):
    D, T = module.max_delay, x.shape[1]
    extended = with_past(module, x, D, trace)
    scale = 2.0 ** math.ceil(math.log2(D))
    places = parameter(module, "scaled_delays").remainder(2 * D / scale)
    delays = scale * torch.where(places > D / scale, 2 * D / scale - places, places)
    if not module.training:
        delays = delays.detach().round()
    weight, y = parameter(module, "weight"), 0
    for k in range(D + 1):
        earlier = delays.detach().floor().clamp(max=D - 1)
        later_share = delays - earlier
        share = torch.where(earlier == k, 1 - later_share, 0.0)
        share = torch.where(earlier + 1 == k, later_share, share)
        y = y + extended[:, D - k : D - k + T] @ (share * weight)
    bias = parameter(module, "bias")
    return y if bias is None else y + bias


def run_taps(module, x, trace):
    T = x.shape[1]
    extended = with_past(module, x, (module.taps - 1) * module.dilation, trace)
    weight, y = parameter(module, "weight"), 0
    for k in range(module.taps):
        part = extended[:, k * module.dilation :][:, :T]
        y = (
            y
            + functional.conv1d(part.flatten(0, 1)[..., None], weight[:, :, k, None]).unflatten(
                0, x.shape[:2]
            )[..., 0]
        )
    bias = parameter(module, "bias")
    return y if bias is None else y + bias


def run_norm(module, x, trace):
    B, T, C = x.shape[:3]
    by_step = name_of(module) == "StepBatchNorm"
    valid = torch.ones(B, T, dtype=torch.bool)
    if trace.lengths is not None:
        valid = torch.arange(T) < trace.lengths[:, None]
    first = trace.states.get(module, 0)
    trace.states[module] = first + T
    steps = slice(first, first + T)
    if module.training:
        groups = [[t] for t in range(T)] if by_step else [range(T)]
        means, variances, running = [], [], []
        for steps_of_group in groups:
            values = [x[:, t][valid[:, t]].movedim(1, -1).reshape(-1, C) for t in steps_of_group]
            rows = torch.cat(values)
            means.append(rows.mean(0))
            variances.append(rows.var(0, unbiased=False))
            running.append((rows.mean(0).detach(), rows.var(0).detach()))
        mean, variance = torch.stack(means), torch.stack(variances)
        # Of a channel that is nearly constant, torch's sums decide the bits: where channels are
        # last in memory, it adds up the float32 values of a channel one after the other.
        trace.decide(variance.sqrt())
        trace.gain *= max(1.0, float((variance.detach() + module.eps).rsqrt().max()))
        old = [module.running_mean.clone(), module.running_var.clone()]
        for i, new in enumerate(zip(*running, strict=True)):
            place, value = (steps, torch.stack(new)) if by_step else (..., new[0])
            old[i][place] = (1 - module.momentum) * old[i][place] + module.momentum * value
        trace.statistics[module] = old
    else:
        mean, variance = module.running_mean, module.running_var
        mean, variance = (mean[steps], variance[steps]) if by_step else (mean[None], variance[None])

    def by_channel(values):
        return values.reshape(1, -1, C, *[1] * (x.ndim - 3))

    weight, bias = parameter(module, "weight"), parameter(module, "bias")
    weight = weight[steps] if by_step else weight[None]
    if name_of(module) == "ThresholdBatchNorm":
        weight = weight * module.alpha * module.threshold
    y = (x - by_channel(mean)) / (by_channel(variance) + module.eps).sqrt() * by_channel(weight)
    y = y if bias is None else y + by_channel(bias)
    if name_of(module) == "TemporalEffectiveBatchNorm":
        y = y * parameter(module, "step_factor")[steps].reshape(1, T, *[1] * (x.ndim - 2))
    if module.training:
        y = torch.where(valid.reshape(B, T, *[1] * (x.ndim - 2)), y, 0.0)
    return y


def run_image_module(module, x):
    rows = x.flatten(0, 1)
    if isinstance(module, nn.Conv2d):
        y = functional.conv2d(
            rows,
            parameter(module, "weight"),
            parameter(module, "bias"),
            module.stride,
            module.padding,
        )
    else:
        pool = functional.max_pool2d if isinstance(module, nn.MaxPool2d) else functional.avg_pool2d
        y = pool(rows, module.kernel_size, module.stride)
    return y.unflatten(0, x.shape[:2])


NORMS = nn.BatchNorm1d | nn.BatchNorm2d | TimeBatchNorm | StepBatchNorm


def run_plainly(module: nn.Module, x: Tensor, trace: Trace) -> tuple[Tensor, Tensor]:
    """Spikes and membranes of a module for a sequence [B, T, *features]."""
    if name_of(module) in STEPS:
        return run_neurons(module, x, trace)
    if isinstance(module, SpikingSequential):
        mem = x
        for inner in module:
            x, mem = run_plainly(inner, x, trace)
        return x, mem
    if isinstance(module, Feedback):
        return run_feedback(module, x, trace)
    if isinstance(module, Residual):
        y = run_plainly(module.body, x, trace)[0]
        y = y + (x if module.shortcut is None else run_plainly(module.shortcut, x, trace)[0])
    elif isinstance(module, Branches):
        parts = [run_plainly(inner, x, trace)[0] for inner in module.children()]
        y = torch.cat(parts, 2) if module.join == "concatenate" else sum(parts)
    elif isinstance(module, NORMS):
        y = run_norm(module, x, trace)
    elif isinstance(module, nn.Conv2d | nn.MaxPool2d | nn.AvgPool2d):
        y = run_image_module(module, x)
    elif isinstance(module, nn.Flatten):
        y = x.flatten(2)
    elif isinstance(module, DelayedSynapse):
        y = run_delays(module, x, trace)
    elif isinstance(module, TemporalConv):
        y = run_taps(module, x, trace)
    else:
        weight, bias = parameter(module, "weight"), parameter(module, "bias")
        y = x @ (weight.t() if isinstance(module, nn.Linear) else weight)
        y = y if bias is None else y + bias
    return y, y


def run_feedback(module, x, trace):
    outputs = []
    for t in range(x.shape[1]):
        step, back = x[:, t : t + 1], trace.states.get(module)
        if back is not None:
            if module.feedback is not None:
                back = run_plainly(module.feedback, back, trace)[0]
            step = step + back
        outputs.append(run_plainly(module.body, step, trace))
        trace.states[module] = outputs[-1][0]
    spikes, membranes = zip(*outputs, strict=True)
    return torch.cat(spikes, 1), torch.cat(membranes, 1)
