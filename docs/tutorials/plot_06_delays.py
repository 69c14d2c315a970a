"""
# 6. Delays

Spikes take time from one neuron to the next, and a net can learn how long. You will hide delays in
data and find them again by gradient descent. You will see why a delay needs a wide view at first.
"""

# %%
# ## Why delays?
#
# A leaky neuron spikes when charges come together. Whether they do depends on when they leave *and*
# on how long they travel. With one delay per connection, a neuron can wait for a pattern in time:
# "A, then B ten steps later" reaches it as two charges in the same step, and every other order is
# too weak. A weight alone cannot do this; it only says how strong a spike is. So delays add a
# memory that needs no recurrent weights.
#
# ## A synapse with delays
#
# A spike of input i reaches neuron o after `delays[i, o]` steps. Between two whole steps, the spike
# is divided: here a delay of 2.25 steps brings 75 % after two steps and 25 % after three. The
# shares change smoothly with the delay, so a delay has a gradient and can be learned.

import matplotlib.pyplot as plt
import torch

from nwavesdk.layers import DelayedSynapse, LIFLayer, LILayer, SpikingSequential, prepare_net
from nwavesdk.net import narrow_delays, rounding_change

synapse = DelayedSynapse(1, 1, max_delay=5, delays=2.25)
torch.nn.init.ones_(synapse.weight)
prepare_net(synapse)
one_spike = torch.tensor([1.0, 0, 0, 0, 0]).reshape(1, 5, 1)
print([round(charge, 2) for charge in synapse(one_spike).flatten().tolist()])

# %%
# ## A neuron that waits for a pattern
#
# Two inputs, one neuron, and a charge of 0.6 from each. Input A is delayed by ten steps and input B
# is not. A at step 5 and B at step 15 meet, and the neuron spikes. In the other order, they arrive
# twenty steps apart, and the first charge has leaked away.

coincidence = SpikingSequential(
    DelayedSynapse(2, 1, max_delay=10, delays=torch.tensor([[10.0], [0.0]])),
    LIFLayer(1, taus=5e-3, dt=1e-3),
)
torch.nn.init.constant_(coincidence[0].weight, 0.6)
patterns = {"A, then B": (5, 15), "B, then A": (15, 5)}
figure, axes = plt.subplots(1, 2, figsize=(7, 2.3), sharey=True, layout="constrained")
for ax, (title, (a, b)) in zip(axes, patterns.items(), strict=True):
    pattern = torch.zeros(1, 40, 2)
    pattern[0, a, 0] = pattern[0, b, 1] = 1
    layer = coincidence.record(pattern).layers["1"]
    print(f"{title}: {int(layer.spk.sum())} spikes")
    ax.plot(layer.u.detach().flatten())
    ax.axhline(1, color="lightgray")
    ax.set(title=title, xlabel="step")
axes[0].set_ylabel("membrane")

# %%
# ## Planted delays
#
# Does learning find delays? On real data nobody knows the right ones, so plant some.
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
# The rest is a training loop as usual: weights and delays are parameters of the net, and Adam moves
# both. The two students differ in how a delay that is not whole is divided, and so in its gradient.
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
# A chip or a microcontroller stores a spike for a whole number of steps, so look at this number
# before you move a net there.
#
# [Delays](../../delays.md) has the equations, the same experiment with 5,000 connections, and what
# delays do for spoken words. In a recurrent layer, `recurrent_delays=` delays its own spikes.
#
# ## Exercise
#
# Are the weights or the delays more important? Take the Gaussian student, and set all of its delays
# to their mean. Then restore them, and set all weights to their mean size, with their signs. Which
# error is larger? Delays are stored in `scaled_delays`, in a unit that does not matter here.
#
# ## Answer

net = students["gaussian"]
delays, weights = net[0].scaled_delays.detach().clone(), net[0].weight.detach().clone()
same_size = weights.sign() * weights.abs().mean()
trials = {
    "as learned": (delays, weights),
    "one delay for all": (delays.mean().expand_as(delays), weights),
    "one size of weights for all": (delays, same_size),
}
with torch.no_grad():
    for name, (new_delays, new_weights) in trials.items():
        net[0].scaled_delays.copy_(new_delays)
        net[0].weight.copy_(new_weights)
        print(f"{name}: error {error(net):.1%} of the variance")

# %%
# Both matter, in this net the sizes of the weights more. An error of 100 % is as bad as a constant
# output. A net whose delays are all the same sees the same spikes in another order of time, which
# no weight can repair.
