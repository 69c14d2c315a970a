"""Which surrogates are compared: the default grid, what they are called, and how sharp they are."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

import torch

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, Surrogate, available

__all__ = ["Candidate", "Candidates", "by_name", "default_grid", "half_width", "told"]

Candidate = Surrogate | Sequence[Surrogate]
"""One surrogate for all layers, or one a layer."""

Candidates = Mapping[str, Candidate] | Sequence[Candidate]

SLOPES = (1.0, 2.0, 4.0, 8.0, 16.0, 25.0, 50.0, 100.0)
ALPHAS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def default_grid() -> tuple[Surrogate, ...]:
    """Fast sigmoids, arctangents and sigmoids, from gentle to steep.

    Example:
        >>> len(default_grid())
        22
    """
    return (*map(FastSigmoid, SLOPES), *map(ATan, ALPHAS), *map(Sigmoid, SLOPES))


def told(surrogate: Surrogate) -> str:
    """The surrogate as `parse` reads it, where it is one of the catalogue.

    Example:
        >>> told(FastSigmoid(25.0))
        'fast_sigmoid(slope=25)'
    """
    name = next((name for name, kind in available().items() if kind is type(surrogate)), None)
    if name is None or not is_dataclass(surrogate):
        return repr(surrogate)
    values = {field.name: getattr(surrogate, field.name) for field in fields(surrogate)}
    parameters = (f"{key}={v:g}" if isinstance(v, float) else f"{key}={v!r}" for key, v in values.items())
    return f"{name}({', '.join(parameters)})"


def by_name(candidates: Candidates | None, layers: int) -> dict[str, tuple[Surrogate, ...]]:
    """The candidates by name, each as one surrogate a layer.

    Raises:
        ValueError: There is none, two have one name, or one has another number of surrogates than there are layers.
        TypeError: One is no surrogate.
    """
    given = default_grid() if candidates is None else candidates
    pairs = given.items() if isinstance(given, Mapping) else [(_name(one), one) for one in given]
    found: dict[str, tuple[Surrogate, ...]] = {}
    for name, one in pairs:
        chosen = (one,) * layers if isinstance(one, Surrogate) else tuple(one)
        for surrogate in chosen:
            if not isinstance(surrogate, Surrogate):
                raise TypeError(f"a candidate is a surrogate, or one a layer, got {surrogate!r} in {name!r}.")
        if len(chosen) != layers:
            raise ValueError(f"candidate {name!r} has {len(chosen)} surrogates, the net has {layers} neuron layers.")
        if name in found:
            raise ValueError(f"there are two candidates {name!r}: give them as a dict with names of their own.")
        found[name] = chosen
    if not found:
        raise ValueError("there is no candidate: give at least one surrogate.")
    return found


def half_width(surrogate: Surrogate) -> float:
    """How wide the derivative is at half of its peak [units of the membrane]: the smaller, the steeper.

    Example:
        >>> half_width(FastSigmoid(2.0)) > half_width(FastSigmoid(3.0))
        True
    """
    z = torch.sinh(torch.linspace(-18.0, 18.0, 40_001, dtype=torch.float64)) / 1e4
    height = surrogate.derivative(z)
    high = z[height >= height.max() / 2]
    return (high[-1] - high[0]).item()


def _name(candidate: Candidate) -> str:
    if isinstance(candidate, Surrogate):
        return told(candidate)
    return " | ".join(told(one) if isinstance(one, Surrogate) else repr(one) for one in candidate)
