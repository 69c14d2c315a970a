"""What the files of other libraries mean, where it is not what NIR says.

Each function turns the graph of a library's exporter into one that means in NIR what the library
computes. `docs/nir.md` lists them, with the versions that tests compare step by step.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace

import numpy as np

from nwavesdk.internal.checks import choice, shown
from nwavesdk.interop.nir.graph import DISCRETIZATIONS, RawGraph
from nwavesdk.interop.nir.node import SUBTRACTION, Array, Node

__all__ = ["ALLOWED", "SOURCES", "Source", "apply_source", "check_allow", "require_reset"]

SOFT_RESET, DELAYED_RESET = "soft-reset", "delayed-reset"
ALLOWED = (SOFT_RESET, DELAYED_RESET)
"""What `allow` may name."""

# The step that snnTorch writes into every file, whatever the step of the net.
SNNTORCH_STEP = 1e-4

TIMES = ("tau", "tau_mem", "tau_syn")


@dataclass(frozen=True)
class Source:
    """A library whose exporter has its own conventions.

    Attributes:
        name: Its name for `source`.
        version: The version that was checked.
        discretization: The one that its neurons have.
        read: Turns its graph into one that means the same in NIR.
    """

    name: str
    version: str
    discretization: str
    read: Callable[[RawGraph, float, frozenset[str]], None]


def check_allow(allow: Collection[str]) -> frozenset[str]:
    """The argument `allow` as a set.

    Raises:
        TypeError: If it is not a collection.
        ValueError: If it names something unknown.
    """
    if not isinstance(allow, Collection):
        raise TypeError(
            f"NIR: allow is {shown(allow)}, expected a set of {' and '.join(map(repr, ALLOWED))}."
        )
    names = [allow] if isinstance(allow, str) else list(allow)
    for name in names:
        choice("NIR", "allow", name, ALLOWED)
    return frozenset(names)


def apply_source(
    raw: RawGraph, source: str | None, dt: float, discretization: str, allow: frozenset[str]
) -> None:
    """Give a graph the meaning of its source, with a note for each change.

    Raises:
        ValueError: If the source is unknown, has another discretization, or needs something to be
            allowed.
    """
    choice("NIR", "discretization", discretization, DISCRETIZATIONS)
    if source is None:
        if DELAYED_RESET in allow:
            raise ValueError(
                f'NIR: allow={DELAYED_RESET!r} has no effect without source="snntorch": leave it '
                "out."
            )
        return
    convention = SOURCES[choice("NIR", "source", source, tuple(SOURCES))]
    if discretization != convention.discretization:
        raise ValueError(
            f"NIR: the neurons of {source} {convention.version} are those of "
            f"discretization={convention.discretization!r}, got {discretization!r}: give the "
            "former, or leave source out."
        )
    if DELAYED_RESET in allow and (source != "snntorch" or SOFT_RESET not in allow):
        raise ValueError(
            f'NIR: allow={DELAYED_RESET!r} takes source="snntorch" and {SOFT_RESET!r}, the '
            "default of snnTorch, got something else: leave it out, or give all of them."
        )
    convention.read(raw, dt, allow)


def require_reset(raw: RawGraph, allow: frozenset[str]) -> None:
    """Reject neurons that our own metadata mark as subtracting, unless that is allowed.

    Raises:
        ValueError: If there is one.
    """
    marked = [name for name, node in raw.nodes.items() if node.reset == SUBTRACTION]
    if not marked:
        return
    if SOFT_RESET not in allow:
        raise ValueError(
            f"NIR: node {shown(marked[0])} has a reset by subtraction in the metadata of nwavesdk, "
            f"which NIR does not have: read it with allow={{{SOFT_RESET!r}}} (--allow "
            f"{SOFT_RESET})."
        )
    raw.notes.append(f"reset by subtraction, by the metadata of nwavesdk: {', '.join(marked)}")


def _scale_times(node: Node, factor: float) -> Node:
    arrays = {k: a * factor if k in TIMES else a for k, a in node.arrays.items()}
    return replace(node, arrays=arrays)


def _change(node: Node, **arrays: Array) -> Node:
    return replace(node, arrays={**node.arrays, **arrays})


def _subtract(node: Node, amount: Array | None = None) -> Node:
    value = node.arrays["v_threshold"] if amount is None else amount
    return replace(_change(node, amount=value), reset=SUBTRACTION)


def _at_threshold(node: Node) -> Node:
    """A neuron that spikes at its threshold, in float32: its threshold is one float lower."""
    key = "threshold" if node.kind == "Threshold" else "v_threshold"
    if key not in node.arrays:
        return node
    threshold = node.arrays[key]
    if node.reset == SUBTRACTION and "amount" not in node.arrays:
        node = _change(node, amount=threshold)
    lower = np.nextafter(threshold.astype(np.float32), np.float32(-np.inf))
    return _change(node, **{key: lower.astype(np.float64)})


def _read_snntorch(raw: RawGraph, dt: float, allow: frozenset[str]) -> None:
    raw.notes.append(
        f"snnTorch writes time constants for a step of {SNNTORCH_STEP:g} s: decays are kept, and "
        f"times are those of a step of {dt:g} s"
    )
    for name, node in raw.nodes.items():
        node = _scale_times(node, dt / SNNTORCH_STEP)
        if node.kind in ("LIF", "CubaLIF") and SOFT_RESET in allow:
            amount = node.arrays["v_threshold"]
            if DELAYED_RESET in allow:
                tau = node.arrays["tau" if node.kind == "LIF" else "tau_mem"]
                amount = amount / (1 - dt / tau)
            node = _subtract(node, amount)
        raw.nodes[name] = node
    if SOFT_RESET in allow:
        when = "in the step after the spike" if DELAYED_RESET in allow else "in its step"
        raw.notes.append(f"a spike subtracts the threshold, {when}, as allowed")
    else:
        raw.notes.append(
            "snnTorch writes a reset to zero for each of its resets: read as one; for a net with "
            'reset_mechanism="subtract", its default, allow soft-reset'
        )
    # A bias of recurrent weights acts in the first step, too: RLeaky gives silence to them then.
    for name in [n for n, node in raw.nodes.items() if node.kind == "Affine"]:
        before = [a for a, b in raw.edges if b == name]
        if len(before) == 1 and (name, before[0]) in raw.edges:
            delay = Node("Delay", {"delay": np.full(len(raw.nodes[name].arrays["bias"]), dt)})
            raw.insert_before(name, f"{name}.last", delay)


def _read_norse(raw: RawGraph, dt: float, allow: frozenset[str]) -> None:
    _reject_soft(raw, "norse", allow)
    raw.notes.append("Norse writes the batch as a dimension of inputs and outputs: left out")
    for name, shape in raw.shapes.items():
        raw.shapes[name] = shape[1:] if shape is not None and len(shape) > 1 else shape
    raw.notes.append(
        f"Norse writes time constants times dt: divided by the dt of {dt:g} s, which must be the "
        "one given to its to_nir"
    )
    for name, node in raw.nodes.items():
        node = _scale_times(node, 1 / dt)
        if node.kind == "IF":
            node = _change(node, r=node.arrays["r"] / dt)
            raw.notes.append(f"{name} (IF): r is a charge per step in Norse, not per second")
        if node.kind == "CubaLIF":
            node = _change(node, w_in=node.arrays["tau_syn"] / dt)
            raw.notes.append(f"{name} (CubaLIF): an input is a jump of the current in Norse")
        raw.nodes[name] = node


def _read_sinabs(raw: RawGraph, dt: float, allow: frozenset[str]) -> None:
    raw.notes.append(
        f"sinabs writes time constants in steps: read as steps of {dt:g} s; inputs are scaled by "
        "1 - decay (norm_input=True), at most one spike per step (spike_fn=SingleSpike)"
    )
    raw.notes.append("a membrane at its threshold spikes, as in sinabs")
    for name, node in raw.nodes.items():
        node = _scale_times(node, dt)
        if node.kind in ("IF", "LIF"):
            _require_soft(name, node, "sinabs", allow)
            node = _subtract(node)
        if node.kind == "IF":
            node = _change(node, r=node.arrays["r"] / dt)
        raw.nodes[name] = _at_threshold(node)
    raw.notes.append("a spike subtracts the threshold, as allowed")


def _read_spikingjelly(raw: RawGraph, dt: float, allow: frozenset[str]) -> None:  # noqa: ARG001
    _reject_soft(raw, "spikingjelly", allow)
    raw.notes.append("a membrane at its threshold spikes, as in SpikingJelly")
    for name, node in raw.nodes.items():
        raw.nodes[name] = _at_threshold(node)


def _read_rockpool(raw: RawGraph, dt: float, allow: frozenset[str]) -> None:
    raw.notes.append("Rockpool writes the batch as dimensions of inputs and outputs: left out")
    for name, shape in raw.shapes.items():
        raw.shapes[name] = shape and shape[-1:]
    raw.notes.append(
        "Rockpool writes r = tau · exp(-dt/tau) / dt: read as an input of 1 that raises the "
        "membrane by 1, or the current by its decay; at most one spike per step "
        "(max_spikes_per_dt=1); biases and recurrent weights are not in its files"
    )
    for name, node in raw.nodes.items():
        tau = node.arrays.get("tau_mem", node.arrays.get("tau"))
        if tau is None:
            continue
        written = tau * np.exp(-dt / tau) / dt
        if not np.allclose(node.arrays["r"], written, rtol=1e-3):
            raise ValueError(
                f"NIR: node {shown(name)} ({node.kind}): r is {node.arrays['r'].flat[0]:.6g}, and "
                f"Rockpool writes {written.flat[0]:.6g} for a dt of {dt:g} s: give the dt of the "
                "net, or leave source out."
            )
        if node.kind in ("LIF", "CubaLIF"):
            _require_soft(name, node, "Rockpool", allow)
            node = _subtract(node)
        node = _change(node, r=1 / -np.expm1(-dt / tau))
        if "tau_syn" in node.arrays:
            decay = np.exp(-dt / node.arrays["tau_syn"])
            node = _change(node, w_in=decay / (1 - decay))
        elif node.kind == "LI":
            node = _change(node, r=np.exp(-dt / tau) / -np.expm1(-dt / tau))
        raw.nodes[name] = _at_threshold(node)


def _require_soft(name: str, node: Node, who: str, allow: frozenset[str]) -> None:
    if SOFT_RESET not in allow:
        raise ValueError(
            f"NIR: node {shown(name)} ({node.kind}): neurons of {who} subtract their threshold, "
            f"which its file calls a reset to zero: read it with allow={{{SOFT_RESET!r}}} "
            f"(--allow {SOFT_RESET}), or leave source out to read what the file says."
        )


def _reject_soft(raw: RawGraph, source: str, allow: frozenset[str]) -> None:
    marked = any(node.reset == SUBTRACTION for node in raw.nodes.values())
    if SOFT_RESET in allow and not marked:
        raise ValueError(
            f"NIR: allow={SOFT_RESET!r} has no effect with source={source!r}, whose files have no "
            "reset by subtraction: leave it out."
        )


SOURCES = {
    source.name: source
    for source in (
        Source("norse", "1.1.0", "euler", _read_norse),
        Source("rockpool", "3.1.0", "exact", _read_rockpool),
        Source("sinabs", "3.1.3", "exact", _read_sinabs),
        Source("snntorch", "1.0.0", "euler", _read_snntorch),
        Source("spikingjelly", "2.0.0", "euler", _read_spikingjelly),
    )
}
"""The libraries by their name for `source`."""
