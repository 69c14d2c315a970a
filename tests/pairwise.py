"""Pairwise covering: a few cases in which any two values of any two options occur together."""

from itertools import combinations, product
from typing import Any


def pairwise(**options: list[Any]) -> list[dict[str, Any]]:
    """Cases that cover every pair of values, chosen greedily from the full product of `options`.

    The order is deterministic, so test ids are stable. Up to two options are covered in full.

    Example:
        >>> cases = pairwise(neuron=["lif", "h1"], detach=[True, False], dtype=["f32", "f64"])
        >>> len(cases)  # of 8
        4
    """
    every_case = list(product(*(range(len(values)) for values in options.values())))

    def pairs(case: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
        # A pair is ((option, value), (option, value)), all of them as positions.
        return set(combinations(enumerate(case), min(2, len(options))))

    uncovered = set().union(*map(pairs, every_case))
    cases = []
    while uncovered:
        best = max(every_case, key=lambda case: len(pairs(case) & uncovered))
        uncovered -= pairs(best)
        chosen = zip(options.items(), best, strict=True)
        cases.append({name: values[position] for (name, values), position in chosen})
    return cases


def case_id(case: dict[str, Any]) -> str:
    """The name of a case in a test."""
    return "-".join(map(str, case.values())).replace("torch.", "")
