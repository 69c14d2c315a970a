"""
# 6. Delays

Spikes take time from one neuron to the next, and a net can learn how long. You will hide delays in
data and find them again by gradient descent. You will see why a delay needs a wide view at first.
"""

# %%
# ## A synapse with delays
#
# A spike of input i reaches neuron o after `delays[i, o]` steps. Between two whole steps, the spike
# is divided: here a delay of 2.25 steps brings 75 % after two steps and 25 % after three.

import matplotlib.pyplot as plt
import torch

from nwavesdk.layers import DelayedSynapse, LILayer, SpikingSequential, prepare_net
from nwavesdk.net import narrow_delays, rounding_change

synapse = DelayedSynapse(1, 1, max_delay=5, delays=2.25)
torch.nn.init.ones_(synapse.weight)
prepare_net(synapse)
one_spike = torch.tensor([1.0, 0, 0, 0, 0]).reshape(1, 5, 1)
print([round(charge, 2) for charge in synapse(one_spike).flatten().tolist()])

# %%
# ## Planted delays
#
# A teacher has random weights and random whole delays of up to 15 steps, from 20 inputs to 10
# leaky sums. A student of the same structure sees the same random spikes, and learns to have the
# same membranes. It is never given the delays.

MAX_DELAY = 15


def build(**options):
    return SpikingSequential(DelayedSynapse(20, 10, MAX_DELAY, **options), LILayer(10, tau=5e-3))


torch.manual_seed(0)
teacher = build(learn_delays=False).eval()


def error(net):
    """Squared distance of the membranes for new spikes, by the variance of the teacher's."""
    spikes = (torch.rand(16, 60, 20) < 0.1).float()
    with torch.no_grad():
        wanted = teacher(spikes)[1]
    return (net(spikes)[1] - wanted).square().mean() / wanted.var()


# %%
# ## Two students
#
# The gradient of a `"linear"` delay compares two neighboring steps. It cannot see that the right
# one is far away. A `"gaussian"` delay spreads each spike over many steps: it begins as wide as
# half of the largest delay, and `narrow_delays` shrinks it to half a step. Keep it wide until the
# weights have their signs: a wrong sign pushes a delay away from where it belongs.


def train(net, batches=300):
    optimizer = torch.optim.Adam(net.parameters())
    cycle = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.15, total_steps=batches)
    errors = []
    for batch in range(batches):
        narrow_delays(net, min(1, max(0, batch / batches - 0.5) / 0.4))
        loss = error(net)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        cycle.step()
        errors.append(loss.item())
    return errors


students = {name: build(interpolation=name) for name in ("linear", "gaussian")}
errors = {name: train(net) for name, net in students.items()}

figure, axes = plt.subplots(figsize=(7, 2.5), layout="constrained")
for name in students:
    axes.semilogy(errors[name], label=name)
axes.set(xlabel="batches", ylabel="error / variance")
axes.legend()

# %%
# As long as the Gaussian is wide, it smears the spikes, so its error is the larger one. It becomes
# the smaller one as soon as the Gaussian is narrow.
#
# ## Did the delays come back?
#
# A connection whose weight is nearly 0 has no delay that matters, so only those with a weight above
# a tenth of the largest count.

planted = teacher[0].delays
size = teacher[0].weight.detach().abs()
counts = size > 0.1 * size.max()
figure, axes = plt.subplots(1, 2, figsize=(7, 3.4), layout="constrained", sharey=True)
for ax, (name, net) in zip(axes, students.items(), strict=True):
    learned = net[0].delays.detach()
    share = ((learned - planted).abs() <= 1)[counts].float().mean()
    print(f"{name}: {share:.1%} of {int(counts.sum())} delays are within one step")
    ax.plot([0, MAX_DELAY], [0, MAX_DELAY], color="lightgray")
    ax.plot(planted[counts], learned[counts], ".")
    ax.set(xlabel="planted delay [steps]", title=name, aspect="equal")
axes[0].set_ylabel("learned delay [steps]")

# %%
# The points far from the line are delays that stay at a wrong place.
#
# ## Whole steps
#
# Hardware delays by whole steps, and so does `eval()`. What does rounding cost?

for name, net in students.items():
    change = rounding_change(net, error)
    print(f"{name}: error {change.interpolated:.2%}, with whole steps {change.rounded:.2%}")

# %%
# [Delays](../../delays.md) has the equations, the same experiment with 5,000 connections, and what
# delays do for spoken words. In a recurrent layer, `recurrent_delays=` delays its own spikes.
