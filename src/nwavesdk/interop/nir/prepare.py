"""From a file or a `nir.NIRGraph` to the graph that is built and replayed."""

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from nwavesdk.internal.checks import positive_number, shown, whole_number
from nwavesdk.internal.files import shown_path
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.files import read_nir
from nwavesdk.interop.nir.graph import (
    DISCRETIZATION_KEY,
    DT_KEY,
    VERSION_KEY,
    NirGraph,
    flat_graph,
    order_graph,
)
from nwavesdk.interop.nir.node import as_text
from nwavesdk.interop.nir.sources import apply_source, check_allow

__all__ = ["prepare_graph"]


def prepare_graph(
    graph: Any,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    input_shape: Sequence[int] | None = None,
) -> NirGraph:
    """Read, check and order a graph; see `from_nir`.

    Raises:
        ValueError: See `from_nir`.
        TypeError: See `from_nir`.
    """
    nir = require("nir", "interop")
    dt = positive_number("NIR", "dt", dt, "s")
    allowed = check_allow(allow)
    sizes = [whole_number("NIR", "input_shape", size) for size in input_shape or ()]
    name = os.fspath(graph) if isinstance(graph, str | os.PathLike) else None
    if name is not None:
        graph = read_nir(name)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"NIR: got {shown(graph)}, expected a nir.NIRGraph or the path of its file."
        )

    # Errors of a graph from a file name the file.
    try:
        flat = flat_graph(graph, dt, discretization)
        _note_metadata(flat, source)
        apply_source(flat, source, allowed)
        return order_graph(flat, sizes)
    except ValueError as error:
        if name is None:
            raise
        text = str(error).removeprefix("NIR: ")
        raise ValueError(f"{shown_path(name)}: {text}") from None


def _note_metadata(graph: NirGraph, source: str | None) -> None:
    """Compare the metadata of a graph that `to_nir` has written with the arguments of the reader.

    A different step or discretization adds a note.

    Raises:
        ValueError: If `source` names another library.
    """
    if VERSION_KEY in graph.metadata and source is not None:
        raise ValueError(
            f"NIR: nwavesdk has written the graph, got source={source!r}: remove source."
        )

    for key, value in ((DT_KEY, graph.dt), (DISCRETIZATION_KEY, graph.discretization)):
        written = graph.metadata.get(key, value)
        if isinstance(written, np.generic | np.ndarray) and written.size == 1:
            written = written.item()
        if as_text(written) != str(value):
            graph.notes.append(
                f"the graph was written with {key.removeprefix('nwavesdk_')}={shown(written)}, and "
                f"is read with {value!r}: its spikes will differ from the spikes of the exported "
                "net"
            )
