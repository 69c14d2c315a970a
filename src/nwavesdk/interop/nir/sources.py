"""The conventions of files of other libraries that differ from NIR.

A source turns the graph of a library's exporter into a NIR graph that computes the same as the
library. `docs/nir.md` lists them, with the versions that tests compare step by step: a change needs
a test with the version, and the row in that table.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from nwavesdk.internal.checks import choice
from nwavesdk.interop.nir.graph import DISCRETIZATIONS, NirGraph
from nwavesdk.interop.nir.node import SUBTRACTION, Array, NirNode, node_error

__all__ = ["ALLOWED", "SOURCES", "SourceLibrary", "apply_source"]

SOFT_RESET, DELAYED_RESET = "soft-reset", "delayed-reset"
ALLOWED = (SOFT_RESET, DELAYED_RESET)
"""The names for `allow`."""

# The step that snnTorch writes into every file, whatever the step of the net.
SNNTORCH_STEP = 1e-4

TIMES = ("tau", "tau_mem", "tau_syn")


@dataclass(frozen=True, kw_only=True)
class SourceLibrary:
    """A library whose exporter has its own conventions.

    Attributes:
        title: The library, as it writes its name.
        version: The version that was checked.
        discretization: The discretization of its neurons.
        notes: The differences of its files from NIR; `{dt}` is the length of a step [s].
        time_factor: From dt [s] to the factor that converts time constants of its files to seconds.
        translate: From a node, with time constants in seconds, and dt to the node of NIR that
            computes the same.
        first_feature: Index of the first dimension of inputs and outputs that is not a batch.
        resets: Whether its spikes subtract the threshold: `"value"` never, `"subtraction"` always,
            `"either"` if the file does not record it.
        spikes_at_threshold: Whether a membrane at its threshold spikes.
    """

    title: str
    version: str
    discretization: str
    notes: tuple[str, ...] = ()
    time_factor: Callable[[float], float] = lambda _: 1.0
    translate: Callable[[NirNode, float], NirNode] = lambda node, _: node
    first_feature: int = 0
    resets: str = "value"
    spikes_at_threshold: bool = False


def apply_source(graph: NirGraph, source: str | None, allow: frozenset[str]) -> None:
    """Translate a graph from the conventions of its source to NIR, with a note for each change.

    Raises:
        ValueError: If the source is unknown, has another discretization, or needs something to be
            allowed.
    """
    discretization = choice("NIR", "discretization", graph.discretization, DISCRETIZATIONS)
    if DELAYED_RESET in allow and (source != "snntorch" or SOFT_RESET not in allow):
        raise ValueError(
            f'NIR: allow={DELAYED_RESET!r} needs source="snntorch" and {SOFT_RESET!r} in allow: '
            "pass them, or remove it."
        )

    marked = [name for name, node in graph.nodes.items() if node.reset == SUBTRACTION]
    for name in marked:
        _require_soft(graph.nodes[name], "a reset by subtraction in its metadata", allow)
    if source is None:
        if marked:
            names = ", ".join(marked)
            graph.notes.append(f"reset by subtraction, by the metadata of nwavesdk: {names}")
        return

    convention = SOURCES[choice("NIR", "source", source, tuple(SOURCES))]
    if discretization != convention.discretization:
        raise ValueError(
            f"NIR: the neurons of {source} {convention.version} need "
            f"discretization={convention.discretization!r}, got {discretization!r}: pass the "
            "first, or remove source."
        )
    _translate(graph, convention, allow)


def _translate(graph: NirGraph, source: SourceLibrary, allow: frozenset[str]) -> None:
    """Change the shapes and nodes of a graph from the conventions of a source to NIR."""
    dt = graph.dt
    graph.notes += [f"{source.title} {note.format(dt=dt)}" for note in source.notes]
    graph.shape_in = graph.shape_in[source.first_feature :] or graph.shape_in
    graph.shape_out = graph.shape_out[source.first_feature :] or graph.shape_out

    is_soft = source.resets == "subtraction" or (source.resets == "either" and SOFT_RESET in allow)
    for name, node in graph.nodes.items():
        times = {k: a * source.time_factor(dt) for k, a in node.arrays.items() if k in TIMES}
        node = source.translate(node.with_arrays(**times), dt)

        if is_soft and "v_reset" in node.arrays:
            _require_soft(node, f"a neuron that subtracts its threshold in {source.title}", allow)
            amount = node.arrays["v_threshold"]
            # snnTorch subtracts the threshold in the next step, after the decay of that step. Here,
            # the amount is subtracted now and then decays, so it is larger by one decay.
            if DELAYED_RESET in allow and node.kind != "IF":
                amount = amount / (1 - dt / _membrane_tau(node))
            node = replace(node.with_arrays(amount=amount), reset=SUBTRACTION)
        graph.nodes[name] = _at_threshold(node) if source.spikes_at_threshold else node

    if is_soft:
        when = "in the step after the spike" if DELAYED_RESET in allow else "in its step"
        graph.notes.append(f"a spike subtracts the threshold, {when}, as allowed")
    elif source.resets == "either":
        graph.notes.append(
            f"{source.title} writes a reset to zero for each of its resets: read as one; for a net "
            'with reset_mechanism="subtract", its default, allow soft-reset'
        )
    if source.spikes_at_threshold:
        graph.notes.append(f"a membrane at its threshold spikes, as in {source.title}")
    if source.title == "snnTorch":
        _delay_biases(graph)


def _require_soft(node: NirNode, got: str, allow: frozenset[str]) -> None:
    if SOFT_RESET not in allow:
        raise node_error(
            node.owner,
            got,
            "a reset to a value, the only reset of NIR",
            f"read it with allow={{{SOFT_RESET!r}}} (--allow {SOFT_RESET})",
        )


def _at_threshold(node: NirNode) -> NirNode:
    """The neuron with a threshold that is lower by one float32.

    NIR spikes above the threshold. With the lower threshold, a membrane at the original threshold
    spikes, too.
    """
    key = "threshold" if node.kind == "Threshold" else "v_threshold"
    if key not in node.arrays:
        return node
    threshold = node.arrays[key].astype(np.float32)
    lower = np.nextafter(threshold, np.float32(-np.inf))
    return node.with_arrays(**{key: lower.astype(np.float64)})


def _delay_biases(graph: NirGraph) -> None:
    """Let a bias of recurrent weights act from the first step on, as in snnTorch's RLeaky.

    The edge from the weights to the neurons closes the cycle, so in the first step it passes on 0,
    and not the bias. With a Delay before the weights, the edge into the Delay passes on 0 instead,
    and the weights return the bias.
    """
    for name in [name for name, node in graph.nodes.items() if node.kind == "Affine"]:
        sources = graph.sources(name)
        if len(sources) == 1 and (name, sources[0]) in graph.edges:
            delays = np.full(len(graph.nodes[name].arrays["bias"]), graph.dt)
            graph.insert_before(
                name, f"{name}.last", NirNode(kind="Delay", arrays={"delay": delays})
            )


def _membrane_tau(node: NirNode) -> Array:
    return node.arrays["tau_mem" if node.kind.startswith("Cuba") else "tau"]


def _translate_norse(node: NirNode, dt: float) -> NirNode:
    # In a step, NIR adds dt · r · x to an IF membrane, and dt / tau_syn · w_in · x to a current.
    if node.kind == "IF":
        return node.with_arrays(r=node.arrays["r"] / dt)
    if node.kind == "CubaLIF":
        return node.with_arrays(w_in=node.arrays["tau_syn"] / dt)
    return node


def _translate_sinabs(node: NirNode, dt: float) -> NirNode:
    return node.with_arrays(r=node.arrays["r"] / dt) if node.kind == "IF" else node


def _translate_rockpool(node: NirNode, dt: float) -> NirNode:
    """Check r, which Rockpool writes from its own dt, and replace it by the gain of its neurons."""
    if node.kind not in ("LI", "LIF", "CubaLI", "CubaLIF"):
        return node

    tau, r = _membrane_tau(node), node.arrays["r"]
    written = tau * np.exp(-dt / tau) / dt
    if not np.allclose(r, written, rtol=1e-3):
        raise node_error(
            node.owner,
            f"r of {r.flat[0]:.6g}",
            f"{written.flat[0]:.6g}, which Rockpool writes for a dt of {dt:g} s",
            "pass the dt of the net, or remove source",
        )

    # In NIR, an input of 1 adds share · r to the membrane, with share = 1 - decay. In Rockpool, it
    # adds 1 to a membrane, and the decay to a current, which is also the node LI.
    share = -np.expm1(-dt / tau)
    if "tau_syn" in node.arrays:
        decay = np.exp(-dt / node.arrays["tau_syn"])
        return node.with_arrays(r=1 / share, w_in=decay / (1 - decay))
    return node.with_arrays(r=np.exp(-dt / tau) / share if node.kind == "LI" else 1 / share)


SOURCES = {
    "norse": SourceLibrary(
        title="Norse",
        version="1.1.0",
        discretization="euler",
        notes=(
            "writes the batch as a dimension of inputs and outputs: left out",
            "writes time constants times dt: divided by the dt of {dt:g} s, which must be the dt "
            "passed to its to_nir",
            "writes r of IF as a charge per step, and an input of CubaLIF as a jump of the "
            "current: read as r / dt and w_in = tau_syn / dt",
        ),
        time_factor=lambda dt: 1 / dt,
        translate=_translate_norse,
        first_feature=1,
    ),
    "rockpool": SourceLibrary(
        title="Rockpool",
        version="3.1.0",
        discretization="exact",
        notes=(
            "writes the batch as dimensions of inputs and outputs: left out",
            "writes r = tau · exp(-dt/tau) / dt: read as an input of 1 that raises the membrane by "
            "1, or the current by its decay; at most one spike per step (max_spikes_per_dt=1); "
            "biases and recurrent weights are not in its files",
        ),
        translate=_translate_rockpool,
        first_feature=-1,
        resets=SUBTRACTION,
        spikes_at_threshold=True,
    ),
    "sinabs": SourceLibrary(
        title="sinabs",
        version="3.1.3",
        discretization="exact",
        notes=(
            "writes time constants in steps: read as steps of {dt:g} s; inputs are scaled by "
            "1 - decay (norm_input=True), at most one spike per step (spike_fn=SingleSpike)",
        ),
        time_factor=lambda dt: dt,
        translate=_translate_sinabs,
        resets=SUBTRACTION,
        spikes_at_threshold=True,
    ),
    "snntorch": SourceLibrary(
        title="snnTorch",
        version="1.0.0",
        discretization="euler",
        notes=(
            f"writes time constants for a step of {SNNTORCH_STEP:g} s: decays are kept, and times "
            "are scaled to a step of {dt:g} s",
        ),
        time_factor=lambda dt: dt / SNNTORCH_STEP,
        resets="either",
    ),
    "spikingjelly": SourceLibrary(
        title="SpikingJelly", version="2.0.0", discretization="euler", spikes_at_threshold=True
    ),
}
"""The libraries by their name for `source`."""
