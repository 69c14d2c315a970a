"""From a net to a NIR graph.

`export_net` folds norms into weights. Then `_Walk.add` goes through the modules in the order in
which the net runs them. For each module it adds nodes to a `GraphDraft`, and returns the signal
behind the module, which is the input of the next one:

    module                     nodes added by       table
    a layer of neurons         `_Walk._neurons`     `FORMS` in `neuron_nodes`
    a module without neurons   a function           `NODE_WRITERS` in `plain_nodes`
    a container                a method of `_Walk`  `_CONTAINERS`, below

A new module is a row in one of these tables. A row of `FORMS` also serves the import, which takes
the first row that fits. A module whose state is of another class also goes into the check in `add`.
A node must compute exactly the same as its module; for everything else, `add` raises an error that
names the module.
"""

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from nwavesdk.internal.checks import choice, positive_number, shown, whole_number
from nwavesdk.internal.imports import require
from nwavesdk.internal.version import __version__
from nwavesdk.interop.nir.draft import INPUT, GraphDraft, ModuleDraft, Signal
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
from nwavesdk.interop.nir.plain_nodes import NODE_WRITERS
from nwavesdk.interop.nir.sources import ALLOWED, SOFT_RESET
from nwavesdk.layers import NeuronLayer
from nwavesdk.layers.norms import SequenceNorm
from nwavesdk.layers.past import PastSynapse
from nwavesdk.net import Feedback, SpikingSequential, fold
from nwavesdk.net.container import Container
from nwavesdk.net.structure import Joined

__all__ = ["Exported", "export_net"]

_NORMS = (_BatchNorm, SequenceNorm)


@dataclass(frozen=True, eq=False)
class Exported:
    """An exported net.

    Attributes:
        graph: The `nir.NIRGraph`.
        notes: Remarks for readers of the graph, one line each.

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
    allowed = frozenset(choice("to_nir", "allow", name, ALLOWED) for name in allow)
    dt = _common_dt(net, dt)

    # Norms are folded in float64, so that the weights are not rounded.
    net = copy.deepcopy(net).eval()
    has_norms = any(isinstance(module, _NORMS) for module in net.modules())
    folded = fold(net.double() if has_norms else net)
    shape = _input_shape(folded.net, input_shape)

    draft = GraphDraft(shape, dt, discretization)
    walk = _Walk(folded.kept, allowed, _last_module(folded.net))
    entry = ModuleDraft(draft, "", folded.net, Signal((INPUT,), shape))
    signal = walk.add(entry)
    if not draft.nodes:
        raise entry.refusal(type(net).__name__, "a net with at least one node", "add layers")

    # `draft.input_shape` differs if the net begins with Unflatten.
    metadata = {VERSION_KEY: __version__, DT_KEY: dt, DISCRETIZATION_KEY: discretization}
    if draft.input_shape != shape:
        metadata[INPUT_KEY] = np.array(shape)
    graph = draft.finish(signal, metadata)

    notes = [
        *draft.notes,
        *(
            f"{norm} (a norm) is folded into the weights of {synapse}"
            for norm, synapse in folded.folded.items()
        ),
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
            f"to_nir: got the steps {shown(steps)} [s], expected the same step in all layers: "
            "build them with the same dt, and pass dt only for a net without neurons."
        )
    return next(iter(steps.values()))


def _input_shape(net: nn.Module, given: Sequence[int] | None) -> Shape:
    """The shape of a step of the input: the given shape, or the shape that the net takes.

    Raises:
        ValueError: If the first module takes inputs of several shapes, as a convolution does.
    """
    if given is not None:
        sizes = (given,) if isinstance(given, int) else given
        return tuple(whole_number("to_nir", "input_shape", size) for size in sizes)

    module: Any = net
    while isinstance(module, Container | nn.Sequential) and not getattr(module, "shape", ()):
        module = next(module.children(), None)

    for name in ("features", "shape", "nb_inputs", "in_features"):
        sizes = getattr(module, name, ())
        # A convolution over pixels takes images of any size.
        if sizes and getattr(module, "step_axes", 1) == 1:
            return sizes if isinstance(sizes, tuple) else (sizes,)

    raise ValueError(
        "to_nir: the net does not decide the shape of its input: pass input_shape, as in "
        "input_shape=(2, 34, 34) (channels, height, width)."
    )


def _last_module(net: nn.Module) -> nn.Module:
    """The module at the end of a net, within sequential containers."""
    while isinstance(net, nn.Sequential) and len(net):
        net = net[-1]
    return net


class _Walk:
    """Adds the nodes of a net, module by module; see the module docstring.

    A method for a container gets the container and its input as a `ModuleDraft`, calls `add` for
    the modules in it, and returns the output of the container.

    Args:
        unfolded_norms: The reason for each norm that is not folded, by its name.
        allow: The extensions of NIR that are allowed.
        last: The module at the end of the net. If it is a LIF layer without reset, it is a
            read-out.
    """

    def __init__(
        self, unfolded_norms: Mapping[str, str], allow: frozenset[str], last: nn.Module
    ) -> None:
        self.unfolded_norms = unfolded_norms
        self.allow = allow
        self.last = last
        self._paths: dict[int, str] = {}  # of modules with a state, by their id

    def add(self, entry: ModuleDraft) -> Signal:
        """Add the nodes of a module.

        Returns:
            The output of the module.

        Raises:
            ValueError: If no nodes of NIR are exactly this module.
        """
        module = entry.module

        # Two calls of a module share its state, but two nodes do not.
        if isinstance(module, NeuronLayer | PastSynapse | Delay):
            path = self._paths.setdefault(id(module), entry.path)
            if path != entry.path:
                raise entry.refusal(
                    f"the layer that is also module {shown(path)}",
                    "a separate layer, because nodes do not share their state",
                    "build two layers",
                )

        form = form_of(module)
        if form is not None:
            return self._neurons(entry, form)
        if type(module) in NODE_WRITERS:
            return NODE_WRITERS[type(module)](entry)
        for kind, method in _CONTAINERS.items():
            if isinstance(module, kind) and _runs_as(module, kind):
                return method(self, entry)

        raise entry.refusal(
            type(module).__name__,
            "a module that is exactly nodes of NIR",
            self.unfolded_norms.get(
                entry.path,
                "use modules and containers that docs/nir.md lists, write one step by --torch or "
                "--onnx, or the net of a run for a chip without --nir",
            ),
        )

    def _neurons(self, entry: ModuleDraft, form: Form) -> Signal:
        """The nodes of a layer of neurons, and of its recurrent weights."""
        draft, layer = entry.draft, entry.module
        _check_layer(entry)
        nodes = nodes_of(form, layer, entry.owner, draft.dt, draft.discretization)
        if nodes[0].reset == SUBTRACTION and SOFT_RESET not in self.allow:
            raise entry.refusal(
                "a reset by subtraction",
                "a reset to a value, the only reset of NIR",
                'train with --reset zero (reset_mechanism="zero"), or allow it with --allow '
                'soft-reset (allow={"soft-reset"}): other readers will then reset to 0',
            )

        # A LIF layer without reset is two nodes, a membrane and a Threshold. At the end of a net,
        # the membrane is the output, and the Threshold is not needed.
        is_recurrent = layer.layer_topology == "RC"
        if len(nodes) == 2 and layer is self.last and not is_recurrent:
            nodes = nodes[:1]
            draft.notes.append(
                f"{entry.path} (LIFLayer without reset) is a read-out: the graph gives its membrane"
            )

        out = first = entry.add_node(replace(nodes[0], module=entry.path))
        for node in nodes[1:]:
            spikes = replace(entry.after("spikes", 0), signal=out)
            out = spikes.add_node(replace(node, module=entry.path))

        if is_recurrent:
            # The edge back into the layer closes a cycle, which takes one step in NIR, too. The
            # weight [from, to] becomes [to, from].
            matrix = layer.effective_recurrent_weights().detach().cpu().numpy().T.copy()
            loop = replace(entry.after("recurrent", 0), signal=out)
            draft.connect(loop.add("Linear", {"weight": matrix}), first.names[0])
        return out

    def _in_order(self, entry: ModuleDraft) -> Signal:
        """The modules of a container that runs them one after the other."""
        signal = entry.signal
        for name, module in entry.module._modules.items():
            signal = self.add(entry.inside(name, module, signal))
        return signal

    def _branches(self, entry: ModuleDraft) -> Signal:
        """The outputs of all branches, added or side by side."""
        signal = entry.signal
        parts = [
            signal if net is None else self.add(entry.inside(name, net, signal))
            for name, net in entry.module._modules.items()
        ]
        if entry.module.join == "add":
            return entry.total(parts)

        # NIR can only add. A Linear of zeros and ones, [all features, features of the branch],
        # moves each branch to its own features. All others are 0 there, so the sum of the branches
        # is their concatenation.
        if any(len(part.shape) != 1 for part in parts):
            raise entry.refusal(
                "branches whose channels are concatenated",
                "features in one dimension, or join='add'",
                "flatten the branches first",
            )

        ends = np.cumsum([part.shape[0] for part in parts])
        weights = np.split(np.eye(ends[-1], dtype=np.float32), ends[:-1], 1)
        joins = [entry.inside(f"join{i}", None, part) for i, part in enumerate(parts)]
        pairs = zip(joins, weights, strict=True)
        return entry.total([join.add("Linear", {"weight": weight}) for join, weight in pairs])

    def _feedback(self, entry: ModuleDraft) -> Signal:
        """A body whose input includes its own output of the step before."""
        net, draft = entry.module, entry.draft
        previous = draft.begin_cycle(entry.signal.shape)
        out = self.add(entry.inside("body", net.body, entry.total([entry.signal, previous])))

        fed_back = out
        if net.feedback is not None:
            fed_back = self.add(entry.inside("feedback", net.feedback, out))
        entry.total([previous, fed_back])  # an error if their shapes differ
        draft.connect(fed_back, previous.names[0])
        return out

    def _graph(self, entry: ModuleDraft) -> Signal:
        """An imported graph, module by module in its order.

        A delayed edge comes from a module that may be added later: its target gets a signal of the
        step before from `begin_cycle`, whose source is connected at the end.
        """
        net, draft = entry.module, entry.draft
        signals = {"input": entry.signal}
        # Signals of the step before, and the names of their sources.
        cycles: list[tuple[Signal, str]] = []
        for name in (*net.order, "output"):
            module = net._modules.get(name)
            delayed = [source for source in net.sources[name] if (source, name) in net.delayed]
            # The import has moved one step of a Delay in a cycle to the edges into it. Here the
            # Delay gets this step back, so its edges need none.
            gets_step = bool(delayed) and isinstance(module, Delay)

            parts = []
            for source in net.sources[name]:
                if source in delayed:
                    parts.append(draft.begin_cycle(net.shapes[source], has_delay=gets_step))
                    cycles.append((parts[-1], source))
                else:
                    parts.append(signals[source])

            # The output is a sum without a module.
            inside = entry.inside(name, module, entry.total(parts))
            if gets_step:
                signals[name] = inside.after("", module.steps.cpu().numpy() + 1).signal
            else:
                signals[name] = inside.signal if module is None else self.add(inside)

        for previous, source in cycles:
            draft.connect(signals[source], previous.names[0])
        return signals["output"]


def _check_layer(entry: ModuleDraft) -> None:
    """Reject a layer of neurons whose input or recurrent weights NIR does not have."""
    layer, shape = entry.module, entry.signal.shape
    if layer.recurrent_delays is not None:
        raise entry.refusal(
            "delays of recurrent weights",
            "recurrent weights that act one step later",
            "remove recurrent_delays, or use Feedback with a DelayedSynapse",
        )

    if layer.features != shape:
        raise entry.refusal(
            f"an input of shape {list(shape)}",
            f"the shape of the neurons, {list(layer.features)}",
            "pass the input_shape of the net",
        )

    if layer.layer_topology == "RC" and len(shape) != 1:
        raise entry.refusal(
            f"recurrent weights of neurons {list(shape)}",
            "neurons in one dimension, because NIR cannot restore others",
            "flatten the features before the layer",
        )


def _runs_as(module: nn.Module, kind: type[nn.Module]) -> bool:
    """Whether a subclass of a container runs its modules as the container does."""
    # A subclass that overrides one of these methods may run its modules in any way.
    names = ("forward", "_run_inside", "_run_modules")
    return all(getattr(type(module), n, None) is getattr(kind, n, None) for n in names)


# The method for a container is in the first row whose class it inherits from without running its
# modules in another way (`_runs_as`).
_CONTAINERS: dict[type[nn.Module], Callable[..., Signal]] = {
    SpikingGraph: _Walk._graph,
    SpikingSequential: _Walk._in_order,
    nn.Sequential: _Walk._in_order,
    Joined: _Walk._branches,
    Feedback: _Walk._feedback,
}
