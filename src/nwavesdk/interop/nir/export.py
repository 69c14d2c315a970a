"""From a net to a NIR graph: the walk over its containers."""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk import __version__
from nwavesdk.internal.checks import choice, positive_number, shown, whole_number
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.draft import INPUT, GraphDraft, Signal, place_of, refusal
from nwavesdk.interop.nir.graph import (
    DISCRETIZATION_KEY,
    DISCRETIZATIONS,
    DT_KEY,
    INPUT_KEY,
    VERSION_KEY,
)
from nwavesdk.interop.nir.modules import Delay, SpikingGraph
from nwavesdk.interop.nir.neuron_nodes import Form, form_of, nodes_of
from nwavesdk.interop.nir.node import SUBTRACTION, Shape
from nwavesdk.interop.nir.plain_nodes import WRITERS, sum_of
from nwavesdk.interop.nir.sources import DELAYED_RESET, SOFT_RESET, check_allow
from nwavesdk.layers import Dropout, NeuronLayer, Synapse
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.layers.past import PastSynapse
from nwavesdk.net import Branches, Feedback, Residual, SpikingSequential, fold
from nwavesdk.net.container import Container

__all__ = ["Exported", "export_net"]

_NORMS = (_BatchNorm, SequenceNorm)

# Modules that take an input of any shape, or leave its shape to a module in them.
_SHAPELESS = (Container, nn.Sequential, nn.Identity, nn.Dropout, Dropout)


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

    draft = GraphDraft(shape, dt, discretization)
    walk = _Walk(draft, folded.kept, allowed, _last_module(folded.net))
    signal = walk.add("", folded.net, Signal((INPUT,), shape))
    if not draft.nodes:
        raise refusal("", type(net).__name__, "a net with at least one node", "add layers")
    metadata = {VERSION_KEY: __version__, DT_KEY: dt, DISCRETIZATION_KEY: discretization}
    if draft.input_shape != shape:
        metadata[INPUT_KEY] = np.array(shape)
    graph = draft.finish(signal, metadata)

    notes = [
        *draft.notes,
        *(f"{n} (a norm) is folded into the weights of {to}" for n, to in folded.folded.items()),
    ]
    soft = [name for name, node in draft.nodes.items() if node.reset == SUBTRACTION]
    if soft:
        notes.append(
            f"reset by subtraction in {', '.join(soft)}: nwavesdk reads it from the metadata with "
            f"--allow {SOFT_RESET} (allow={{{SOFT_RESET!r}}}); every other reader resets to 0 and "
            "gives other spikes"
        )
    return Exported(graph, tuple(notes))


def _common_dt(net: nn.Module, dt: float | None) -> float:
    """The step of a net.

    Raises:
        ValueError: If layers have different steps, or `dt` differs from theirs.
    """
    steps = {name: m.dt for name, m in net.named_modules() if isinstance(m, NeuronLayer)}
    if dt is not None:
        steps["dt"] = positive_number("to_nir", "dt", dt, "s")
    if len(set(steps.values())) != 1:
        raise ValueError(
            f"to_nir: got the steps {shown(steps)} [s], expected one, that of all layers: build "
            "them with the same dt, and give dt only for a net without neurons."
        )
    return next(iter(steps.values()))


def _input_shape(net: nn.Module, given: Sequence[int] | None) -> Shape:
    """The shape of a step of the input: the given one, or the one that the first module takes."""
    if given is not None:
        sizes = (given,) if isinstance(given, int) else given
        return tuple(whole_number("to_nir", "input_shape", size) for size in sizes)
    for module in net.modules():
        if isinstance(module, NeuronLayer):
            return module.features
        if isinstance(module, SpikingGraph) and module.shape:
            return module.shape
        if isinstance(module, Synapse) and module.step_axes == 1:
            return (module.nb_inputs,)
        if isinstance(module, nn.Linear):
            return (module.in_features,)
        if not isinstance(module, _SHAPELESS):
            break
    raise ValueError(
        "to_nir: the net does not decide the shape of its input: give input_shape, as in "
        "input_shape=(2, 34, 34) (channels, height, width)."
    )


def _last_module(net: nn.Module) -> nn.Module:
    """The module whose output is the output of the net, if the net ends in one."""
    while isinstance(net, nn.Sequential) and len(net):
        net = net[-1]
    return net


class _Walk:
    """Adds the nodes of a net, module by module.

    Args:
        draft: The graph.
        kept: For each norm that is not folded, the reason.
        allow: What is allowed that other readers do not know.
        last: The module whose output is the output of the net: as a LIF layer without reset, it is
            a read-out.
    """

    def __init__(
        self,
        draft: GraphDraft,
        kept: Mapping[str, str],
        allow: frozenset[str],
        last: nn.Module,
    ) -> None:
        self.draft = draft
        self.kept = kept
        self.allow = allow
        self.last = last
        self._paths: dict[int, str] = {}  # of modules with a state, by their id

    def add(self, path: str, module: nn.Module, signal: Signal) -> Signal:
        """Add a module that gets a signal; its output.

        Raises:
            ValueError: If NIR has nothing that is exactly this module.
        """
        if isinstance(module, NeuronLayer | PastSynapse | Delay):
            other = self._paths.setdefault(id(module), path)
            if other != path:
                got = f"the layer that is also module {shown(other)}"
                expected = "a separate layer, because nodes do not share their state"
                raise refusal(path, got, expected, "build two layers")

        form = form_of(module)
        if form is not None:
            return self._neurons(path, form, module, signal)
        if type(module) in WRITERS:
            return WRITERS[type(module)](self.draft, path, module, signal)
        for kind, method in _CONTAINERS.items():
            if isinstance(module, kind) and _runs_as(module, kind):
                result: Signal = method(self, path, module, signal)
                return result
        remedy = (
            "use modules that docs/nir.md lists, in SpikingSequential, Residual, Branches and "
            "Feedback, or write one step by nwave export --torch or --onnx"
        )
        expected = "a module that is exactly nodes of NIR"
        raise refusal(path, type(module).__name__, expected, self.kept.get(path, remedy))

    def _neurons(self, path: str, form: Form, layer: Any, signal: Signal) -> Signal:
        """The nodes of a layer of neurons, with its recurrent weights, which take one step."""
        if layer.recurrent_delays is not None:
            remedy = "leave recurrent_delays out, or use Feedback with a DelayedSynapse"
            expected = "recurrent weights that act one step later"
            raise refusal(path, "delays of recurrent weights", expected, remedy)
        if layer.features != signal.shape:
            got = f"an input of shape {list(signal.shape)}"
            expected = f"that of the neurons, {list(layer.features)}"
            raise refusal(path, got, expected, "give the input_shape of the net")
        is_recurrent = layer.layer_topology == "RC"
        if is_recurrent and len(signal.shape) != 1:
            got = f"recurrent weights of neurons {list(signal.shape)}"
            expected = "neurons in one dimension, because NIR cannot restore others"
            raise refusal(path, got, expected, "flatten the features before the layer")

        nodes = nodes_of(form, layer, place_of(path), self.draft.dt, self.draft.discretization)
        if nodes[0].reset == SUBTRACTION and SOFT_RESET not in self.allow:
            raise refusal(
                path,
                "a reset by subtraction",
                "one to a value, the only reset of NIR",
                'train with reset_mechanism="zero", or allow it with --allow soft-reset '
                '(allow={"soft-reset"}): other readers will then reset to 0',
            )
        if len(nodes) == 2 and layer is self.last and not is_recurrent:
            nodes = nodes[:1]
            self.draft.notes.append(
                f"{path} (LIFLayer without reset) is a read-out: the graph gives its membrane"
            )
        entry, out = self.draft.free_name(nodes[0].kind, path), signal
        names = [path, f"{path}_spikes" if path else ""]
        for name, node in zip(names, nodes, strict=False):
            out = self.draft.add_node(replace(node, module=path), name, out)
        if is_recurrent:
            # [from, to] becomes [to, from].
            matrix = layer.effective_recurrent_weights().detach().cpu().numpy().T.copy()
            name = f"{path}_recurrent" if path else "recurrent"
            self.draft.connect(self.draft.add("Linear", name, out, {"weight": matrix}), entry)
        return out

    def _in_order(self, path: str, net: nn.Module, signal: Signal) -> Signal:
        """The modules of a container that runs them one after the other."""
        for name, module in net._modules.items():
            assert module is not None
            signal = self.add(_join(path, name), module, signal)
        return signal

    def _residual(self, path: str, net: Residual, signal: Signal) -> Signal:
        body = self.add(_join(path, "body"), net.body, signal)
        if net.shortcut is not None:
            signal = self.add(_join(path, "shortcut"), net.shortcut, signal)
        return sum_of(path, [body, signal])

    def _branches(self, path: str, net: Branches, signal: Signal) -> Signal:
        parts = []
        for name, branch in net._modules.items():
            assert branch is not None
            parts.append(self.add(_join(path, name), branch, signal))
        if net.join == "add":
            return sum_of(path, parts)

        # Each part as some rows of the whole, by a Linear of zeros and ones: NIR only adds.
        if any(len(part.shape) != 1 for part in parts):
            got = "branches whose channels are concatenated"
            expected = "features in one dimension, or join='add'"
            raise refusal(path, got, expected, "flatten the branches first")
        ends = np.cumsum([part.shape[0] for part in parts])
        rows = np.split(np.eye(ends[-1], dtype=np.float32), ends[:-1], 1)
        placed = [
            self.draft.add("Linear", _join(path, f"join{number}"), part, {"weight": weight})
            for number, (part, weight) in enumerate(zip(parts, rows, strict=True))
        ]
        return sum_of(path, placed)

    def _feedback(self, path: str, net: Feedback, signal: Signal) -> Signal:
        late = self.draft.begin_cycle(signal.shape)
        out = self.add(_join(path, "body"), net.body, sum_of(path, [signal, late]))
        back = out
        if net.feedback is not None:
            back = self.add(_join(path, "feedback"), net.feedback, out)
        self.draft.end_cycle(path, late, back)
        return out

    def _graph(self, path: str, net: SpikingGraph, signal: Signal) -> Signal:
        """An imported graph."""
        signals = {"input": signal}
        cycles: list[tuple[Signal, str, bool]] = []
        for name in (*net.order, "output"):
            module = net._modules.get(name)
            takes_step = False
            parts = []
            for source in net.sources[name]:
                if (source, name) not in net.delayed:
                    parts.append(signals[source])
                    continue
                # A Delay in a cycle has given one of its steps to the edges into it.
                takes_step = isinstance(module, Delay)
                parts.append(self.draft.begin_cycle(net.step_shape(source)))
                cycles.append((parts[-1], source, takes_step))
            signals[name] = sum_of(path, parts)
            if takes_step and isinstance(module, Delay):
                steps = module.steps.cpu().numpy() + 1
                signals[name] = self.draft.delay(_join(path, name), signals[name], steps)
            elif module is not None:
                signals[name] = self.add(_join(path, name), module, signals[name])
        for late, source, has_delay in cycles:
            self.draft.end_cycle(path, late, signals[source], has_delay=has_delay)
        return signals["output"]


def _runs_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a subclass of a container runs its modules as the container does."""
    names = ("forward", "_run_inside", "_run_modules")
    return all(getattr(type(module), n, None) is getattr(kind, n, None) for n in names)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


_CONTAINERS: dict[type[nn.Module], Callable[..., Signal]] = {
    SpikingGraph: _Walk._graph,
    SpikingSequential: _Walk._in_order,
    nn.Sequential: _Walk._in_order,
    Residual: _Walk._residual,
    Branches: _Walk._branches,
    Feedback: _Walk._feedback,
}
