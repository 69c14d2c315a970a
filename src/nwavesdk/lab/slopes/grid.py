"""Which surrogates are compared: the default grid, and what they are called."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, Surrogate, available

__all__ = ["Candidate", "Candidates", "by_name", "default_grid", "told"]

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


def by_name(candidates: Candidates | None, own: Sequence[Surrogate]) -> dict[str, tuple[Surrogate, ...]]:
    """The candidates by name, each as one surrogate a layer.

    Args:
        candidates: As given; None: the default grid, and the net's own surrogates where they are not in it.
        own: The net's own, by layer.

    Raises:
        ValueError: There is none, two have one name, or one has another number of surrogates than there are layers.
        TypeError: One is no surrogate.
    """
    layers, given = len(own), candidates
    if given is None:
        alike = own[0] if len({*own}) == 1 else tuple(own)
        given = [*default_grid(), *([] if alike in default_grid() else [alike])]
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


def _name(candidate: Candidate) -> str:
    if isinstance(candidate, Surrogate):
        return told(candidate)
    return " | ".join(told(one) if isinstance(one, Surrogate) else repr(one) for one in candidate)
