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
    Graph,
    RawGraph,
    raw_graph,
)
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
    name = None
    if isinstance(graph, str | os.PathLike):
        name = os.fspath(graph)
        graph = read_nir(name)
    if not isinstance(graph, nir.NIRGraph):
        raise TypeError(
            f"NIR: got {shown(graph)}, expected a nir.NIRGraph or the path of its file."
        )
    try:
        raw = raw_graph(graph)
        _note_metadata(raw, dt, discretization, source)
        apply_source(raw, source, dt, discretization, allowed)
        if source is None:
            require_reset(raw, allowed)
        return ordered(raw, dt, discretization, input_shape)
    except ValueError as error:
        if name is None:
            raise
        text = str(error).removeprefix("NIR: ")
        raise ValueError(f"{shown_path(name)}: {text}") from None


def _note_metadata(raw: RawGraph, dt: float, discretization: str, source: str | None) -> None:
    """Compare how a graph of ours was written with how it is read.

    Raises:
        ValueError: If it is said to be of another source.
    """
    if VERSION_KEY in raw.metadata and source is not None:
        raise ValueError(
            f"NIR: nwavesdk has written the graph, got source={source!r}: leave source out."
        )
    for key, value in ((DT_KEY, dt), (DISCRETIZATION_KEY, discretization)):
        written = raw.metadata.get(key, value)
        if isinstance(written, np.generic | np.ndarray):
            written = written.item() if written.size == 1 else str(written)
        if isinstance(written, bytes):
            written = written.decode("utf-8", "replace")
        if written != value:
            raw.notes.append(
                f"the graph was written with {key.removeprefix('nwavesdk_')}={shown(written)}, and "
                f"is read with {value!r}: its spikes will differ from those of the net that was "
                "exported"
            )
