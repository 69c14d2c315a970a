"""The published recurrent net for electrocardiograms with a class per step, from our layers.

Run: nwave train --out runs/published-ecg --data ecg-qtdb.npz
    --net benchmarks/published_ecg.py:build --epochs 400 --batch-size 64 --learning-rate 1e-2
    --weight-decay 0 --label-smoothing 0 --spike-cost 0

The reference reports 85.9 % of steps right with 36 adaptive neurons. Constants are from its
code: time constants of 20 and 7 steps that are learned, a threshold of 0.01 that a rate of one
rises by 1.8, half of the derivative that the authors call multi-Gaussian, orthogonal recurrent
weights. What differs: the threshold of a spike is subtracted in the step of the spike, outputs
are leaky integrators without adaptation, all parameters have one learning rate, which follows one
cycle, and the epoch is selected on a validation set of 15 % of the training set.

References:
    Yin, Corradi and Bohte 2021, Accurate and efficient time-domain classification with adaptive
    spiking recurrent neural networks, doi:10.1038/s42256-021-00397-w.
"""

from torch import nn

from nwavesdk.layers import ALIFLayer, LIFSynapse, LILayer, SpikingSequential
from nwavesdk.surrogate import multi_gaussian
from nwavesdk.train import CompletedConfig

__all__ = ["build"]

HIDDEN = 36
# Time constants of the membrane and of the threshold [steps].
TAU = 20
TAU_THRESHOLD = 7


def build(inputs: tuple[int, ...], classes: int, config: CompletedConfig) -> nn.Module:
    """The net, whose scores `[B, T, classes]` are membranes of leaky integrators.

    Args:
        inputs: Shape of one step: the channels.
        classes: Number of classes.
        config: The config of the run, which has the time step.
    """
    dt = config.net.dt
    (n_in,) = inputs
    neurons = ALIFLayer(
        HIDDEN,
        tau=[TAU * dt] * HIDDEN,
        tau_a=[TAU_THRESHOLD * dt] * HIDDEN,
        threshold=0.01,
        beta=1.8,
        learn=("tau", "tau_a"),
        dt=dt,
        spike_grad=multi_gaussian(scale=0.5),
        layer_topology="RC",
    )
    nn.init.orthogonal_(neurons.recurrent_weights)
    # The membrane of a leaky integrator is the mean of its input times 1 / (1 - decay), about TAU.
    first = LIFSynapse(n_in, HIDDEN, bias=True)
    last = LIFSynapse(HIDDEN, classes, bias=True)
    nn.init.xavier_uniform_(first.weight)
    nn.init.xavier_uniform_(last.weight, gain=1 / TAU)
    outputs = LILayer(classes, tau=[TAU * dt] * classes, learn="tau", dt=dt)
    return SpikingSequential(first, neurons, last, outputs)
