"""Adapters of other spiking libraries, each running the same LIF neuron.

An adapter is a module with `TIME_FIRST` and two functions. `sequence(decay)` returns
`run(x, state) -> (spikes, state)` over a whole sequence in the library's own multi-step form, and
`step(decay)` the same for one time step. `x` is [T, B, N] with `TIME_FIRST`, otherwise [B, T, N]; a
state of None is rest. A library that needs a scaled input has `scale(decay)`. Libraries that are
not installed are skipped.
"""

import importlib
import importlib.metadata
from types import ModuleType

NAMES = ("snntorch", "spikingjelly", "norse", "sinabs")


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
