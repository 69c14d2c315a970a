"""The surrogates that a scan compares: the default grid, and the names of candidates."""

from collections.abc import Mapping, Sequence

from nwavesdk.surrogate import ATan, FastSigmoid, Sigmoid, Surrogate, available

__all__ = [
    "SLOPES",
    "Candidate",
    "Candidates",
    "default_grid",
    "name_candidates",
    "surrogate_label",
]

# One surrogate for all layers, or one for each layer.
Candidate = Surrogate | Sequence[Surrogate]

# Candidates with names from the caller, or without names.
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


def surrogate_label(surrogate: Surrogate) -> str:
    """The surrogate as a short text, such as for the rows of a table.

    `parse` reads this text if the surrogate is in the catalogue; otherwise, the text is its `repr`.
    Unlike in `surrogate.text`, numbers are rounded.

    Example:
        >>> surrogate_label(FastSigmoid(25.0))
        'fast_sigmoid(slope=25)'
    """
    names = {kind: name for name, kind in available().items()}
    name = names.get(type(surrogate))
    if name is None:
        return repr(surrogate)
    parameters = ", ".join(f"{key}={value:g}" for key, value in surrogate.parameters.items())
    return f"{name}({parameters})"


def name_candidates(
    candidates: Candidates | None, current: Sequence[Surrogate]
) -> dict[str, tuple[Surrogate, ...]]:
    """The candidates by name, each with one surrogate for each layer.

    Args:
        candidates: The candidates. [the default grid, and `current` if the grid lacks it]
        current: The net's present surrogates, by layer.

    Raises:
        ValueError: If two candidates have the same name.
        TypeError: If a candidate is not a surrogate.
    """
    if candidates is None:
        present = current[0] if len({*current}) == 1 else tuple(current)
        candidates = [*default_grid(), *([] if present in default_grid() else [present])]

    if not isinstance(candidates, Mapping):
        names = [
            surrogate_label(candidate)
            if isinstance(candidate, Surrogate)
            else " | ".join(map(surrogate_label, candidate))
            for candidate in candidates
        ]
        repeated = next((name for name in names if names.count(name) > 1), None)
        if repeated is not None:
            raise ValueError(
                f"there are two candidates {repeated!r}: pass a dict with their names."
            )
        candidates = dict(zip(names, candidates, strict=True))

    named = {
        name: (chosen,) * len(current) if isinstance(chosen, Surrogate) else tuple(chosen)
        for name, chosen in candidates.items()
    }
    for name, chosen in named.items():
        other = next((entry for entry in chosen if not isinstance(entry, Surrogate)), None)
        if other is not None:
            raise TypeError(
                f"a candidate is a surrogate, or one for each layer, got {other!r} in {name!r}."
            )
    return named
