"""NIR, the Neuromorphic Intermediate Representation: export, import, and a check of both.

    to_nir     a net as a graph of `nir`, exactly, or an error that names the unknown module
    from_nir   a graph as a net
    check      the spikes of a net against a reader of the graph that shares no code with it

`docs/nir.md` has the equations, and the files of other libraries. It needs the extra `interop`.

References:
    J. E. Pedersen et al., "Neuromorphic intermediate representation: A unified instruction set for
    interoperable brain-inspired computing", 2024, doi:10.1038/s41467-024-52259-9.
"""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import nn

from nwavesdk.internal.checks import shown
from nwavesdk.interop.nir.check import Check, check
from nwavesdk.interop.nir.export import Exported, export_net
from nwavesdk.interop.nir.files import graph_bytes, read_nir
from nwavesdk.interop.nir.load import Loaded, load_graph, prepare_graph
from nwavesdk.interop.nir.modules import Delay, Scale, SpikingGraph
from nwavesdk.interop.nir.sources import ALLOWED, SOURCES
from nwavesdk.net import SpikingSequential

__all__ = [
    "ALLOWED",
    "SOURCES",
    "Check",
    "Delay",
    "Exported",
    "Loaded",
    "Scale",
    "SpikingGraph",
    "check",
    "export_net",
    "from_nir",
    "graph_bytes",
    "import_graph",
    "read_nir",
    "to_nir",
]


def to_nir(
    net: nn.Module,
    *,
    discretization: str,
    dt: float | None = None,
    input_shape: Sequence[int] | None = None,
    allow: Collection[str] = frozenset(),
) -> Any:
    """A net as a NIR graph with exactly the neurons of the net.

    Batch norms are folded. A LIF layer without reset at the end of the net is a read-out: the
    output of the graph is its membrane. `export_net` also returns notes.

    Args:
        net: A net of modules that NIR has; the graph is of the net in `eval()`.
        discretization: How the reader will solve the equations of the file: `"exact"` or `"euler"`.
        dt: Length of a step [s]. If None, the step of the layers.
        input_shape: Shape of a step of the input, if the net does not decide it.
        allow: `{"soft-reset"}` writes neurons that subtract their threshold as neurons with a reset
            to 0, and marks them in their metadata, which other readers ignore.

    Returns:
        The `nir.NIRGraph`; `nir.write` writes it.

    Raises:
        ValueError: If the net has something that NIR does not have; the text names the module.
        ModuleNotFoundError: If the extra `interop` is missing.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3, reset_mechanism="zero"))
        >>> graph = to_nir(net, discretization="exact")
        >>> sorted(type(node).__name__ for node in graph.nodes.values())
        ['Input', 'LIF', 'Linear', 'Output']
    """
    return export_net(
        net, discretization=discretization, dt=dt, input_shape=input_shape, allow=allow
    ).graph


def from_nir(
    graph: Any,
    *,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    spike_grad: Any = None,
    input_shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> SpikingSequential | SpikingGraph:
    """A NIR graph as a net; `import_graph` also returns the assumptions.

    Args:
        graph: A `nir.NIRGraph`, or the path of its file.
        dt: Length of a step [s].
        discretization: `"exact"` or `"euler"`.
        source: The library that has written the graph, if it is one of `SOURCES`; None for others.
        allow: `"soft-reset"` if a spike may subtract the threshold; `"delayed-reset"`, for
            snnTorch, if it does so one step later.
        spike_grad: The surrogate of all neurons. If None, `fast_sigmoid(25)`.
        input_shape: Shape of a step of the input, if the graph does not have it.
        dtype: The dtype of the parameters, float32 or float64.

    Returns:
        A `SpikingSequential` if the graph is a chain, apart from recurrent weights of single
        layers; otherwise a `SpikingGraph`.

    Raises:
        ValueError: If the graph is damaged, or has something that cannot be exact.
        TypeError: If `graph` is something else.
        ModuleNotFoundError: If the extra `interop` is missing.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3, reset_mechanism="zero"))
        >>> graph = to_nir(net, discretization="exact")
        >>> loaded = from_nir(graph, dt=1e-3, discretization="exact")
        >>> x = torch.ones(1, 50, 3)
        >>> torch.equal(loaded(x)[0], net(x)[0])
        True
    """
    return import_graph(
        graph,
        dt=dt,
        discretization=discretization,
        source=source,
        allow=allow,
        spike_grad=spike_grad,
        input_shape=input_shape,
        dtype=dtype,
    ).net


def import_graph(
    graph: Any,
    *,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    spike_grad: Any = None,
    input_shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Loaded:
    """Import a graph as `from_nir` does; also return the names of the modules and all assumptions.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(3, 2), LIFLayer(2, 20e-3, reset_mechanism="zero"))
        >>> graph = to_nir(net, discretization="exact")
        >>> loaded = import_graph(graph, dt=1e-3, discretization="exact")
        >>> dict(loaded.modules)
        {'linear_0': 'linear_0', 'lif_1': 'lif_1'}
        >>> loaded.notes
        ()
    """
    if dtype not in (torch.float32, torch.float64):
        raise ValueError(
            f"from_nir: dtype must be torch.float32 or torch.float64, got {shown(dtype)}."
        )
    prepared = prepare_graph(graph, dt, discretization, source, allow, input_shape)
    return load_graph(prepared, spike_grad, dtype)
