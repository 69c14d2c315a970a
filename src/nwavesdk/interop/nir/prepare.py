"""From a file or a `nir.NIRGraph` to the graph that is built and replayed."""

import os
from collections.abc import Collection, Sequence
from typing import Any

from nwavesdk.internal.checks import positive_number, shown, whole_number
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.files import read_nir
from nwavesdk.interop.nir.graph import DISCRETIZATION_KEY, DT_KEY, VERSION_KEY, Graph, raw_graph
from nwavesdk.interop.nir.order import ordered
from nwavesdk.interop.nir.sources import apply_source, check_allow, require_reset

__all__ = ["prepare_graph"]


def prepare_graph(
    graph: Any,
    dt: float,
    discretization: str,
    source: str | None = None,
    allow: Collection[str] = (),
    input_shape: Sequence[int] | None = None,
) -> Graph:
    """Read, check and order a graph; see `from_nir`.

    Raises:
        ValueError: See `from_nir`.
        TypeError: See `from_nir`.
    """
    nir = require("nir", "interop")
    dt = positive_number("NIR", "dt", dt, "s")
    allowed = check_allow(allow)
    if input_shape is not None:
        input_shape = [whole_number("NIR", "input_shape", size) for size in input_shape]
    if isinstance(graph, str | os.PathLike):
        graph = read_nir(os.fspath(graph))
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"NIR: got {shown(graph)}, expected a nir.NIRGraph or the path of its file."
        )
    raw = raw_graph(graph)
    if VERSION_KEY in raw.metadata and source is not None:
        raise ValueError(
            f"NIR: nwavesdk has written the graph, got source={source!r}: leave source out."
        )
    for key, value in ((DT_KEY, dt), (DISCRETIZATION_KEY, discretization)):
        written = raw.metadata.get(key, value)
        if isinstance(written, bytes):
            written = written.decode("utf-8", "replace")
        if written != value:
            name = key.removeprefix("nwavesdk_")
            raw.notes.append(
                f"the graph was written with {name}={written!r}, and is read with {value!r}: its "
                "spikes will differ from those of the net that was exported"
            )
    apply_source(raw, source, dt, discretization, allowed)
    if source is None:
        require_reset(raw, allowed)
    return ordered(raw, dt, discretization, input_shape)
