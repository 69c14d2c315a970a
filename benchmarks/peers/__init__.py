"""Adapters of other spiking libraries, each running the same neurons.

An adapter is a module with `TIME_FIRST` and two functions for LIF neurons. `sequence(decay)`
returns `run(x, state) -> (spikes, state)` over a whole sequence in the library's own multi-step
form, and `step(decay)` the same for one time step. `x` is [T, B, N] with `TIME_FIRST`, otherwise
[B, T, N]; a state of None is rest. A library that needs a scaled input has `scale(decay)`.
`cell(decay)` is as `step`, but by the module that a user of the library calls in a loop over time;
`GRADIENT` is how its gradient differs from ours.

`NEURONS` has its other neurons by the name of our layer: functions that return a `PeerNeuron`. Its
constants make it our neuron with default constants where that is possible; `docs/neurons.md` says
where it is not. Libraries that are not installed are skipped.
"""

import importlib
import importlib.metadata
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

Run = Callable[[Tensor, Any], tuple[Tensor, Any]]

NAMES = ("snntorch", "spikingjelly", "norse", "sinabs")


@dataclass(frozen=True)
class PeerNeuron:
    """A neuron of a peer.

    Attributes:
        sequence: `run(x, state) -> (spikes, state)` over a sequence, as the peer does it.
        step: The same for one time step; None if `sequence` is not a loop of it.
        charge: The input of the peer's neuron from the input of ours.
    """

    sequence: Run
    step: Run | None = None
    charge: Callable[[Tensor], Tensor] = lambda x: x


@dataclass(frozen=True)
class PeerGradient:
    """How the gradient of a peer's `cell` differs from the gradient of our LIF neurons.

    Attributes:
        detach_reset: Whether the reset has no gradient, as by default in ours.
        slope: The surrogate is `fast_sigmoid(slope)`,
        factor: times this.
    """

    detach_reset: bool = True
    slope: float = 25.0
    factor: float = 1.0


def loop_of(step: Run, **options: Any) -> PeerNeuron:
    """Return a neuron whose sequences, time first, are a loop over its step."""

    def run(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        spikes = []
        for x_t in x:
            s, state = step(x_t, state)
            spikes.append(s)
        return torch.stack(spikes), state

    return PeerNeuron(run, step, **options)


def decay_of(tau: float) -> float:
    """Return the decay per step of 1 ms of a time constant [s]."""
    return math.exp(-1e-3 / tau)


def installed() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """Return the adapters by name, and the reason for each library that is missing."""
    adapters: dict[str, ModuleType] = {}
    missing: dict[str, str] = {}
    for name in NAMES:
        try:
            adapters[name] = importlib.import_module(f"benchmarks.peers.{name}")
        except Exception as error:  # whatever the reason, the other peers are measured
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return adapters, missing


def versions() -> dict[str, str]:
    """Return the version of each installed library."""
    by_name = {}
    for name in NAMES:
        try:
            by_name[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return by_name
