"""Domains of Ray Tune, such as `tune.loguniform(1e-3, 1e-1)`, as dimensions of a search."""

from collections.abc import Mapping
from typing import Any

from nwavesdk.analysis.tune.space import Dimension
from nwavesdk.internal.checks import shown

__all__ = ["split_domains"]


def split_domains(config: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Dimension]]:
    """The fixed values of a config, and the dimensions of what varies.

    Args:
        config: Values, domains of `ray.tune`, or `Dimension`, by name.

    Raises:
        ValueError: If a domain is of a kind that is not searched, or out of its range; the text
            names its key.
    """
    fixed: dict[str, Any] = {}
    space: dict[str, Dimension] = {}
    for name, value in config.items():
        if isinstance(value, Dimension):
            space[name] = value
        elif _is_domain(value):
            space[name] = Dimension.of(_content(name, value), f"HPOWrapper: {name}")
        elif isinstance(value, Mapping) and "grid_search" in value:
            raise ValueError(
                f"HPOWrapper: {name} is a grid, which the sampler does not try in full: use "
                "tune.choice."
            )
        else:
            fixed[name] = value
    return fixed, space


def _is_domain(value: object) -> bool:
    """Whether a value is a domain of Ray Tune, which need not be imported."""
    return any(kind.__module__ == "ray.tune.search.sample" for kind in type(value).__mro__)


def _content(name: str, domain: Any) -> dict[str, Any]:
    """The content of a dimension for a domain."""
    kind = type(domain).__name__
    if kind == "Categorical":
        return {"choices": list(domain.categories)}
    sampler = domain.get_sampler()
    step = None
    if type(sampler).__name__ == "Quantized":
        step, sampler = sampler.q, sampler.get_sampler()
    distribution = type(sampler).__name__.lstrip("_")
    if kind not in ("Float", "Integer") or distribution not in ("Uniform", "LogUniform"):
        raise ValueError(
            f"HPOWrapper: {name} is {shown(domain)}, expected tune.choice, uniform, loguniform, "
            "quniform, randint, lograndint or qrandint."
        )
    low, high = domain.lower, domain.upper
    is_log = distribution == "LogUniform"
    if kind == "Float":
        low, high = float(low), float(high)
    elif step is None:
        high -= 1  # of Ray's integers, the upper end is excluded
    content = {"low": low, "high": high, "log": is_log}
    # A step on a logarithmic scale is rounding, which a sampler does not need.
    if step is not None and not is_log and step != 1:
        content["step"] = step
    return content
