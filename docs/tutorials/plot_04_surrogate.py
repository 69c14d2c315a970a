"""
# 4. Which surrogate, and which slope?

You will measure what the width of a surrogate does to the gradients of a deep net. You will train
with three surrogates from the same seeds, and judge whether a difference is more than chance.
"""

# %%
# ## Why it matters
#
# A surrogate replaces the derivative of a spike, as [tutorial 1](plot_01_spike.md) shows for one
# neuron. In a net, the gradient of a weight in the first layer is a product with one surrogate
# derivative for each layer on the way down. If these factors are small, little arrives; if they are
# large, the product explodes. The forward pass does not depend on the surrogate at all. So the
# surrogate is a setting of the learning rule alone, like a learning rate, and it can be chosen by
# measuring gradients.
#
# ## Width
#
# The [width](../../about/glossary.md) of a surrogate is the distance between the two points where
# it has half of its height, in units of the membrane.

import matplotlib.pyplot as plt
import torch

from nwavesdk.analysis import compare_pairs, derivative_shape, scan_slopes
from nwavesdk.data import NetInput, Series, Standard, choose_split, load_digits
from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential
from nwavesdk.loss import membrane_cross_entropy, membrane_readout
from nwavesdk.surrogate import atan, fast_sigmoid

surrogates = [fast_sigmoid(slope=25.0), fast_sigmoid(slope=2.0), atan(alpha=2.0)]
z = torch.linspace(-2, 2, 801)
figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
for surrogate in surrogates:
    print(f"{surrogate}: width {derivative_shape(surrogate).half_width:.2f}")
    axes.plot(z, surrogate.derivative(z), label=str(surrogate))
axes.set(xlabel="z = membrane − threshold", ylabel="derivative")
axes.legend(loc="upper left")

# %%
# `slope` and `alpha` are parameters of two formulas, so equal numbers do not mean equal widths.
# Compare widths, or better, gradients.
#
# ## A deep net
#
# A net of six hidden layers learns 512 of the spoken digits of [tutorial 2](plot_02_digits.md).

digits = load_digits()
split = choose_split(digits.keys, digits.labels, digits.classes).indices
scaled = NetInput(standard=Standard.fit(digits.take(split.train)))
train = Series(digits.take(split.train), scaled)
val = Series(digits.take(split.val), scaled).whole()
batches = [train.batch(range(start, start + 64)) for start in range(0, 512, 64)]


def build(surrogate, dt=10e-3):
    modules = []
    for inputs in (13, 48, 48, 48, 48, 48):
        modules += [LIFSynapse(inputs, 48), LIFLayer(48, 50e-3, dt=dt, spike_grad=surrogate)]
    return SpikingSequential(*modules, LIFSynapse(48, 10), LILayer(10, tau=100e-3, dt=dt))


def loss_of(_, mem):
    return membrane_cross_entropy(mem, batches[0].y, lengths=batches[0].lengths)


# %%
# Where are the membranes, seen from the threshold? A membrane at z gets the factor that the
# surrogate has at z. The histogram is of all membranes of one batch, and the shaded range is half
# of the width of `fast_sigmoid(slope=25)` to each side: hardly any membrane is inside.

torch.manual_seed(0)
net = build(fast_sigmoid())
recording = net.record(batches[0].x)
distances = torch.cat([layer.u.detach().flatten() for layer in recording.spiking.values()]) - 1
half = derivative_shape(surrogates[0]).half_width / 2
print(f"{(distances.abs() < half).float().mean():.1%} of the membranes are in the shaded range")
figure, axes = plt.subplots(figsize=(7, 2.3), layout="constrained")
axes.hist(distances.numpy(), bins=120, range=(-3, 3), histtype="step")
axes.axvspan(-half, half, color="tab:orange", alpha=0.4)
axes.set(xlabel="z = membrane − threshold", ylabel="number", yticks=[])

# %%
# ## Slopes and depth
#
# Spikes do not depend on the surrogate. So `scan_slopes` runs the net forward once, and measures
# for each slope how much gradient arrives at each layer. The first layer is at the left, and the
# gradient comes from the right.

candidates = [fast_sigmoid(slope) for slope in (1.0, 2.0, 5.0, 10.0, 25.0, 100.0)]
scan = scan_slopes(net, batches[0].x, loss_of, candidates, lengths=batches[0].lengths)
figure, axes = plt.subplots(figsize=(7, 2.8), layout="constrained")
for surrogate, norm in zip(candidates, scan.norm / scan.norm[:, -1:], strict=True):
    axes.semilogy(range(1, 7), norm, "o-", label=f"slope {surrogate.slope:g}")
    print(f"{surrogate}: the first layer gets {norm[0]:.2g} times the gradient of the last")
axes.set(xlabel="hidden layer", ylabel="gradient / last layer's")
axes.legend(ncols=2)

# %%
# With a narrow `fast_sigmoid` the gradient vanishes on its way down; with a wide one it grows. Look
# for a line that is nearly flat: then all layers learn at about the same pace. `nwave slopes`
# chooses a slope for each layer of a run in this way ([Slopes](../../slopes.md)).
#
# ## Same seeds, three surrogates
#
# A gradient that arrives is not yet a better accuracy, so train. A seed decides the initial weights
# and the order of the batches. Accuracies of two seeds differ, often by more than accuracies of two
# surrogates. All surrogates therefore get the same seeds, and are compared seed by seed.


def train_once(surrogate, seed, epochs=4):
    torch.manual_seed(seed)
    net = build(surrogate)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for _ in range(epochs):
        for index in torch.randperm(len(batches)):
            x, y, lengths = batches[index]
            loss = membrane_cross_entropy(net(x)[1], y, lengths=lengths)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        scores = membrane_readout(net(val.x)[1], "mean", val.lengths)
    return (scores.argmax(1) == val.y).float().mean().item()


accuracies = [[train_once(surrogate, seed) for seed in range(4)] for surrogate in surrogates]
figure, axes = plt.subplots(figsize=(7, 2.2), layout="constrained")
for row, of_seeds in enumerate(accuracies):
    axes.plot(of_seeds, [row] * 4, "o")
    print(surrogates[row], "by seed:", ", ".join(f"{value:.3f}" for value in of_seeds))
axes.axvline(0.1, color="lightgray")
axes.set(xlabel="validation accuracy by seed; gray: chance", xlim=(0, 1), ylim=(-0.5, 2.5))
axes.set_yticks(range(3), map(str, surrogates))

# %%
# ## More than chance?
#
# `compare_pairs` takes differences seed by seed. Their intervals (Student's t) hold for all three
# pairs together with 95 % confidence. An interval that contains 0 shows no difference, which does
# not mean that there is none: four seeds find large ones only.

arms = dict(zip(map(str, surrogates), accuracies, strict=True))
for pair in compare_pairs(arms):
    print(f"{pair.first} minus {pair.second}: {pair.low:+.3f} to {pair.high:+.3f}")

# %%
# All this holds for one net, one task and one learning rate, tuned for no surrogate.
# [Which surrogate?](../../which-surrogate.md) has more of each. For real nets of
# such a depth, see [Train a deep net](../../how-to/deep-nets.md).
#
# ## Exercise
#
# `atan` keeps its area when `alpha` grows, so its peak rises; `fast_sigmoid` keeps its peak. Scan
# `atan(2)`, `atan(10)` and `atan(50)`, from wide to narrow. Does a narrow one make the gradient
# vanish, too?
#
# ## Answer

wide_to_narrow = [atan(alpha) for alpha in (2.0, 10.0, 50.0)]
scan = scan_slopes(net, batches[0].x, loss_of, wide_to_narrow, lengths=batches[0].lengths)
for surrogate, norm in zip(wide_to_narrow, scan.norm, strict=True):
    ratio = float(norm[0] / norm[-1])
    print(f"{surrogate}: the first layer gets {ratio:.2g} times the gradient of the last")

# %%
# No: the narrower, the more arrives. Few membranes are near the threshold, but their factors are
# large, and a few large numbers decide a norm. So such a gradient is large and rough. "Narrow" and
# "small" are two properties of a surrogate, and both matter.
