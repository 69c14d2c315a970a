"""From a net to a NIR graph: the walk over its containers."""

import copy
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk import __version__
from nwavesdk.internal.checks import choice, positive_number, shown, whole_number
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.draft import GraphDraft, Signal, refusal
from nwavesdk.interop.nir.graph import (
    DISCRETIZATION_KEY,
    DISCRETIZATIONS,
    DT_KEY,
    INPUT_KEY,
    VERSION_KEY,
    raw_graph,
)
from nwavesdk.interop.nir.modules import Delay, SpikingGraph
from nwavesdk.interop.nir.neuron_nodes import NEURONS, add_neurons
from nwavesdk.interop.nir.order import ordered
from nwavesdk.interop.nir.sources import DELAYED_RESET, SOFT_RESET, check_allow
from nwavesdk.interop.nir.synapse_nodes import PLAIN_MODULES, add_plain
from nwavesdk.layers import Dropout, NeuronLayer, Synapse
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.layers.past import PastSynapse
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential, fold

__all__ = ["Exported", "export_net"]

_NORMS = (_BatchNorm, SequenceNorm)


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported net.

    Attributes:
        graph: The `nir.NIRGraph`.
        notes: What a reader should know, one line each.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(LIFLayer(2, 20e-3))
        >>> exported = export_net(net, discretization="exact", allow={"soft-reset"})
        >>> [type(node).__name__ for node in exported.graph.nodes.values()]
        ['Input', 'LIF', 'Output']
    """

    graph: Any
    notes: tuple[str, ...]


def export_net(
    net: nn.Module,
    *,
    discretization: str,
    dt: float | None = None,
    input_shape: Sequence[int] | None = None,
    allow: Collection[str] = (),
) -> Exported:
    """As `to_nir`, with notes.

    Example:
        >>> from nwavesdk.layers import LIFLayer, SpikingSequential
        >>> net = SpikingSequential(LIFLayer(2, 20e-3))
        >>> notes = export_net(net, discretization="exact", allow={"soft-reset"}).notes
        >>> notes[0].partition(":")[0]
        'reset by subtraction in lif_0'
    """
    require("nir", "interop")
    if not isinstance(net, nn.Module):
        raise TypeError(f"to_nir takes a torch module, got {shown(net)}.")
    choice("to_nir", "discretization", discretization, DISCRETIZATIONS)
    allowed = check_allow(allow)
    if DELAYED_RESET in allowed:
        raise ValueError(f"to_nir: allow={DELAYED_RESET!r} is for imports: leave it out.")
    dt = _common_dt(net, dt)
    # In float64, so that folded weights are not rounded.
    has_norms = any(isinstance(module, _NORMS) for module in net.modules())
    folded = fold(copy.deepcopy(net).double() if has_norms else net)
    shape = _input_shape(folded.net, input_shape)
    metadata: dict[str, Any] = {
        VERSION_KEY: __version__,
        DT_KEY: dt,
        DISCRETIZATION_KEY: discretization,
    }
    for has_delays in (False, True):
        walk = _Walk(GraphDraft(dt, discretization, allowed), dict(folded.kept), has_delays)
        signal = walk.add("", folded.net, walk.draft.begin(shape), is_last=True)
        draft = walk.draft
        if not draft.nodes:
            raise refusal("", type(net).__name__, "a net with at least one node", "add layers")
        if draft.input_shape != shape:
            metadata[INPUT_KEY] = np.array(shape)
        graph = draft.finish(signal, metadata)
        if not walk.cuts - ordered(raw_graph(graph), dt, discretization).delayed:
            break
    for norm, synapse in folded.folded.items():
        draft.notes.append(f"{norm} (a norm) is folded into the weights of {synapse}")
    soft = [n for n, node in draft.nodes.items() if "nwavesdk_reset" in node.metadata]
    if soft:
        draft.notes.append(
            f"reset by subtraction in {', '.join(soft)}: nwavesdk reads it from the metadata with "
            f"--allow {SOFT_RESET} (allow={{{SOFT_RESET!r}}}); every other reader resets to 0 and "
            "gives other spikes"
        )
    return Exported(graph, tuple(draft.notes))


def _common_dt(net: nn.Module, dt: float | None) -> float:
    """The step of a net.

    Raises:
        ValueError: If layers have different steps, or another one than `dt`.
    """
    if dt is not None:
        dt = positive_number("to_nir", "dt", dt, "s")
    steps = {n: m.dt for n, m in net.named_modules() if isinstance(m, NeuronLayer)}
    if not steps and dt is None:
        raise ValueError("to_nir: dt is missing, and the net has no neurons with a step: give dt.")
    first = next(iter(steps.values()), dt)
    for name, step in steps.items():
        if step != first:
            raise ValueError(
                f"to_nir: module {shown(name)} has a step of {step:g} s, and another one "
                f"{first:g} s, expected one step in all layers: build them with the same dt."
            )
    assert first is not None
    if dt is not None and dt != first:
        raise ValueError(
            f"to_nir: dt must be that of the layers, {first:g} s, got {dt:g}: leave it out."
        )
    return first


def _input_shape(net: nn.Module, given: Sequence[int] | None) -> tuple[int, ...]:
    known = _first_features(net)
    if given is None:
        if known is None:
            raise ValueError(
                "to_nir: the net does not decide the shape of its input: give input_shape, as in "
                "input_shape=(2, 34, 34) (channels, height, width)."
            )
        return known
    shape = (given,) if isinstance(given, int) else tuple(given)
    return tuple(whole_number("to_nir", "input_shape", size) for size in shape)


def _first_features(module: nn.Module) -> tuple[int, ...] | None:
    """The shape of the input of a module, if it alone decides it."""
    if isinstance(module, NeuronLayer):
        return module.features
    if isinstance(module, Synapse) and module.step_axes == 1:
        return (module.nb_inputs,)
    if isinstance(module, nn.Linear):
        return (module.in_features,)
    if isinstance(module, SpikingGraph):
        return module.shape or None
    if isinstance(module, Residual | Feedback):
        return _first_features(module.body)
    inner = list(module.children())
    if isinstance(module, Branches):
        known = [shape for part in inner if (shape := _first_features(part)) is not None]
        return known[0] if known else None
    if isinstance(module, nn.Sequential):
        inner = [m for m in inner if not isinstance(m, nn.Identity | nn.Dropout | Dropout)]
        return _first_features(inner[0]) if inner else None
    return None


class _Walk:
    """Adds the nodes of a net, module by module.

    Args:
        draft: The graph.
        kept: For each norm that is not folded, the reason.
        has_delays: Whether each cycle of a container gets a Delay of one step; otherwise `cuts` has
            the edges that must pass on the step before.
    """

    def __init__(self, draft: GraphDraft, kept: dict[str, str], has_delays: bool) -> None:
        self.draft = draft
        self.kept = kept
        self.has_delays = has_delays
        self.cuts: set[tuple[str, str]] = set()
        self._markers = 0
        self._paths: dict[int, str] = {}  # of modules with a state, by their id

    def add(self, path: str, module: nn.Module, signal: Signal, *, is_last: bool) -> Signal:
        """Add a module that gets a signal; its output.

        Raises:
            ValueError: If NIR has nothing that is exactly this module.
        """
        self._require_own_state(path, module)
        if type(module) in NEURONS and isinstance(module, NeuronLayer):
            return add_neurons(self.draft, path, module, signal, is_last=is_last)
        if type(module) in PLAIN_MODULES:
            return add_plain(self.draft, path, module, signal)
        for kind, method in _CONTAINERS.items():
            if isinstance(module, kind) and _runs_as(module, kind):
                result: Signal = method(self, path, module, signal, is_last)
                return result
        raise self._unknown(path, module)

    def _require_own_state(self, path: str, module: nn.Module) -> None:
        """Reject a module with a state that is in the net twice: nodes do not share theirs."""
        if not isinstance(module, NeuronLayer | PastSynapse | Delay):
            return
        if id(module) in self._paths:
            raise refusal(
                path,
                f"the layer that is also module {shown(self._paths[id(module)])}",
                "a separate layer, because nodes do not share their state",
                "build two layers",
            )
        self._paths[id(module)] = path

    def _unknown(self, path: str, module: nn.Module) -> ValueError:
        got = f"{type(module).__name__}"
        if path in self.kept:
            return refusal(
                path, f"{got}, which is not folded", "a norm that can be", self.kept[path]
            )
        if isinstance(module, NeuronLayer):
            ours = sorted(kind.__name__ for kind in NEURONS if "NIR" not in kind.__name__)
            names = ", ".join(ours)
            remedy = "use one of these, or write one step by nwave export --torch or --onnx"
            has = f"{got}, a neuron that NIR does not have"
            return refusal(path, has, f"one of {names}", remedy)
        remedy = "use modules that NIR has, listed in docs/nir.md"
        if next(module.children(), None) is not None:
            remedy = "build it of SpikingSequential, Residual, Branches and Feedback"
        return refusal(path, got, "a module that is exactly nodes of NIR", remedy)

    def in_order(self, path: str, net: nn.Module, signal: Signal, is_last: bool) -> Signal:
        """The modules of a container that runs them one after the other."""
        modules = [(name, module) for name, module in net._modules.items() if module is not None]
        for place, (name, module) in enumerate(modules):
            ends = is_last and place == len(modules) - 1
            signal = self.add(_join(path, name), module, signal, is_last=ends)
        return signal

    def residual(
        self,
        path: str,
        net: Any,
        signal: Signal,
        is_last: bool,  # noqa: ARG002  # all methods of _CONTAINERS take it
    ) -> Signal:
        body = self.add(_join(path, "body"), net.body, signal, is_last=False)
        if net.shortcut is not None:
            signal = self.add(_join(path, "shortcut"), net.shortcut, signal, is_last=False)
        _require_equal(path, body, signal)
        return body.plus(signal)

    def branches(
        self,
        path: str,
        net: Any,
        signal: Signal,
        is_last: bool,  # noqa: ARG002  # all methods of _CONTAINERS take it
    ) -> Signal:
        parts = [
            self.add(_join(path, name), branch, signal, is_last=False)
            for name, branch in net._modules.items()
        ]
        if net.join == "concatenate":
            parts = self._concatenated(path, parts)
        total = parts[0]
        for part in parts[1:]:
            _require_equal(path, total, part)
            total = total.plus(part)
        return total

    def _concatenated(self, path: str, parts: list[Signal]) -> list[Signal]:
        """Each part as some rows of the whole, by a Linear of zeros and ones: NIR only adds."""
        if any(len(part.shape) != 1 for part in parts):
            raise refusal(
                path,
                "branches whose channels are concatenated",
                "features in one dimension, or join='add'",
                "flatten the branches first",
            )
        whole = np.eye(sum(part.shape[0] for part in parts), dtype=np.float32)
        placed = []
        start = 0
        for number, part in enumerate(parts):
            rows = whole[:, start : start + part.shape[0]].copy()
            start += part.shape[0]
            name = _join(path, f"join{number}")
            placed.append(self.draft.add("Linear", name, part, (len(whole),), weight=rows))
        return placed

    def feedback(self, path: str, net: Any, signal: Signal, is_last: bool) -> Signal:
        self._markers += 1
        marker = f"<feedback {self._markers}>"
        entered = Signal((*signal.names, marker), signal.shape)
        out = self.add(_join(path, "body"), net.body, entered, is_last=is_last)
        back = out
        if net.feedback is not None:
            back = self.add(_join(path, "feedback"), net.feedback, out, is_last=False)
        if marker in back.names or back.shape != signal.shape:
            raise refusal(
                path,
                f"a feedback of shape {list(back.shape)}",
                f"that of the input, {list(signal.shape)}, through at least one neuron layer",
                "change the body or the feedback",
            )
        self._close(path, marker, back)
        return out

    def _close(self, path: str, marker: str, back: Signal) -> None:
        """Let what a marker leads to get a signal one step later."""
        if self.has_delays:
            self.draft.replace_source(marker, self.draft.delay(_join(path, "step"), back, 1))
            return
        targets = [target for source, target in self.draft.edges if source == marker]
        self.cuts |= {(source, target) for source in back.names for target in targets}
        self.draft.replace_source(marker, back)

    def graph(self, path: str, net: SpikingGraph, signal: Signal, is_last: bool) -> Signal:
        """An imported graph."""
        signals = {"input": signal}
        steps: list[tuple[str, str]] = []  # markers, and what leads to them one step later
        delays: list[tuple[str, str]] = []  # the same, of Delays that hold this step
        for name in net.order:
            module = net._modules[name]
            assert module is not None
            names: list[str] = []
            is_held = False
            for source in net.sources[name]:
                if (source, name) not in net.delayed:
                    names += signals[source].names
                    continue
                self._markers += 1
                names.append(f"<step {self._markers}>")
                is_held = isinstance(module, Delay)
                (delays if is_held else steps).append((names[-1], source))
            at_once = [s for s in net.sources[name] if (s, name) not in net.delayed]
            shape = signals[at_once[0]].shape if at_once else _features_of(module)
            entered = Signal(names, shape)
            if is_held and isinstance(module, Delay):
                # The edge into it has taken one of its steps.
                held = module.steps.cpu().numpy() + 1
                signals[name] = self.draft.delay(_join(path, name), entered, held)
                continue
            ends = is_last and net.sources["output"] == (name,)
            signals[name] = self.add(_join(path, name), module, entered, is_last=ends)
        for marker, source in delays:
            self.draft.replace_source(marker, signals[source])
        for marker, source in steps:
            self._close(_join(path, source), marker, signals[source])
        total: Signal | None = None
        for source in net.sources["output"]:
            total = signals[source] if total is None else total.plus(signals[source])
        assert total is not None
        return total


def _runs_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a subclass of a container runs its modules as the container does."""
    names = ("forward", "_run_inside", "_run_modules")
    return all(getattr(type(module), n, None) is getattr(kind, n, None) for n in names)


def _features_of(module: nn.Module) -> tuple[int, ...]:
    shape = tuple(module.steps.shape) if isinstance(module, Delay) else _first_features(module)
    assert shape is not None
    return shape


def _require_equal(path: str, first: Signal, second: Signal) -> None:
    if first.shape != second.shape:
        raise refusal(
            path,
            f"outputs of shapes {list(first.shape)} and {list(second.shape)} that are added",
            "equal shapes",
            "change the sizes of the modules",
        )


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_CONTAINERS: dict[type[nn.Module], Callable[..., Signal]] = {
    SpikingGraph: _Walk.graph,
    SpikingSequential: _Walk.in_order,
    nn.Sequential: _Walk.in_order,
    Residual: _Walk.residual,
    Branches: _Walk.branches,
    Feedback: _Walk.feedback,
}
