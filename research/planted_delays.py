"""Do delays that made the data come back in training? With linear and Gaussian interpolation.

    python -m research.planted_delays [--inputs N] [--outputs N] [--max-delay N] [--steps N]

The data are the membranes of a read-out behind a `DelayedSynapse` with random weights and whole
delays, for random spikes at a density of 10 %, new ones in every step. A net of the same structure
learns weights and delays from random ones. A connection counts if its planted weight is above a
tenth of the largest. The table is printed as Markdown.
"""

import argparse
import time
from functools import partial

import torch
from torch import Tensor, nn

from nwavesdk.layers import DelayedSynapse, LIFLayer, SpikingSequential
from nwavesdk.net import narrow_delays, rounding_change

BATCH = 32
DENSITY = 0.1
LEARNING_RATE = 0.15
NARROWING = 0.5, 0.9
"""Shares of the training at which the Gaussian begins to shrink, and is half a step wide.

A weight that begins with the wrong sign pushes its delay to the wrong end. It must be right before
the Gaussian is too narrow to see the other end.
"""


def readout(inputs: int, outputs: int, max_delay: int, **options: object) -> SpikingSequential:
    """A net whose membrane is a leaky sum of delayed spikes."""
    return SpikingSequential(
        DelayedSynapse(inputs, outputs, max_delay, **options),  # type: ignore[arg-type]  # options of the caller
        LIFLayer(outputs, taus=5e-3, reset_mechanism="none"),
    )


def relative_error(net: nn.Module, teacher: SpikingSequential) -> Tensor:
    """Squared distance of the membranes for new spikes, by the variance of the teacher's."""
    synapse = teacher[0]
    assert isinstance(synapse, DelayedSynapse)
    x = (torch.rand(BATCH, 4 * synapse.max_delay, synapse.nb_inputs) < DENSITY).float()
    with torch.no_grad():
        expected: Tensor = teacher(x)[1]
    membrane: Tensor = net(x)[1]
    return (membrane - expected).square().mean() / expected.var()


def train(student: SpikingSequential, teacher: SpikingSequential, steps: int) -> None:
    """Teach the student for `steps` batches, and narrow its Gaussians."""
    optimizer = torch.optim.Adam(student.parameters())
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=steps)
    begin, end = NARROWING
    for i in range(steps):
        narrow_delays(student, min(1, max(0, i / steps - begin) / (end - begin)))
        loss = relative_error(student, teacher)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not type it
        optimizer.step()
        schedule.step()


def recovered(student: SpikingSequential, teacher: SpikingSequential) -> float:
    """Share of the planted delays that the student has within one step."""
    learned, planted = student[0], teacher[0]
    assert isinstance(learned, DelayedSynapse)
    assert isinstance(planted, DelayedSynapse)
    size = planted.weight.detach().abs()
    distance = (learned.delays - planted.delays).detach().abs()[size > 0.1 * size.max()]
    return float((distance <= 1).double().mean())


def main() -> None:
    """Print one row per interpolation."""
    parser = argparse.ArgumentParser(prog="python -m research.planted_delays")
    parser.add_argument("--inputs", type=int, default=100)
    parser.add_argument("--outputs", type=int, default=50)
    parser.add_argument("--max-delay", type=int, default=25)
    parser.add_argument("--steps", type=int, default=800)
    args = parser.parse_args()
    sizes = args.inputs, args.outputs, args.max_delay
    print("| interpolation | within one step | error | error in whole steps | seconds |")
    print("|---|---|---|---|---|")
    for interpolation in ("linear", "gaussian"):
        torch.manual_seed(0)
        teacher = readout(*sizes, learn_delays=False).eval()
        student = readout(*sizes, interpolation=interpolation)
        start = time.perf_counter()
        train(student, teacher, args.steps)
        seconds = time.perf_counter() - start
        change = rounding_change(student, partial(relative_error, teacher=teacher))
        print(
            f"| {interpolation} | {recovered(student, teacher):.1%} | {change.interpolated:.2%} | "
            f"{change.rounded:.2%} | {seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
