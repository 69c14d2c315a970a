"""Other spiking libraries, each as the same LIF neuron in its own terms; those that are not installed are left out.

An adapter is a module with `TIME_FIRST` and two functions. `sequence(decay)` gives `run(x, state) -> (spikes, state)`
over a whole sequence in the library's own multi-step form, `step(decay)` the same for one time step. `x` is [T, B, N]
where `TIME_FIRST`, else [B, T, N]; a state of None is rest. A library that wants its input larger has `scale(decay)`.
"""

import importlib
import importlib.metadata
from types import ModuleType

NAMES = ("snntorch", "spikingjelly", "norse", "sinabs")


def installed() -> tuple[dict[str, ModuleType], dict[str, str]]:
    """The adapters by name, and for each library that is missing why."""
    found, missing = {}, {}
    for name in NAMES:
        try:
            found[name] = importlib.import_module(f"benchmarks.peers.{name}")
        except (
            Exception
        ) as error:  # a peer that cannot be imported, for whatever reason, is left out and said so
            missing[name] = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return found, missing


def versions() -> dict[str, str]:
    """The version of each library that is installed."""
    told = {}
    for name in NAMES:
        try:
            told[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return told
