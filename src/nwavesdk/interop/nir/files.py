"""NIR files, which are HDF5: how they are checked and read, and the bytes of a graph.

Design requirements:

- A file is checked before `nir` reads it: unknown nodes, links to other files and arrays that the
  memory cannot hold are rejected by name.
- Whatever is wrong in a file ends in one line.
"""

import io
import re
from pathlib import Path
from typing import Any

from nwavesdk.internal.checks import require_memory, shown
from nwavesdk.internal.files import FileError, one_line, printable, read_bytes
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.node import ARRAYS, as_text

__all__ = ["NODE_KINDS", "graph_bytes", "read_nir"]

NODE_KINDS = tuple(sorted([*ARRAYS, "Input", "NIRGraph", "Output"]))
"""The nodes of NIR 1.0 that a file may have."""

# Largest file that is read [bytes], and how deep its groups may nest.
MAX_BYTES = 2**31
MAX_DEPTH = 40

# The path of the type of a node: that of the graph, and those of nodes in nested graphs.
TYPE_PATH = re.compile(r"node((?:/nodes/[^/]+)*)/type")

REMEDY = "write it again with nir.write"


def read_nir(path: str | Path) -> Any:
    """The `nir.NIRGraph` in a file.

    Args:
        path: An HDF5 file that `nir.write` has written.

    Raises:
        FileError: If there is no such file, or it holds something else.
        ModuleNotFoundError: If the extra `interop` is missing.

    Example:
        >>> import tempfile
        >>> from nwavesdk.interop.nir import to_nir
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> graph = to_nir(SpikingSequential(LILayer(2)), discretization="exact")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = Path(folder) / "net.nir"
        ...     _ = path.write_bytes(graph_bytes(graph))
        ...     read = read_nir(path)
        >>> sorted(read.nodes) == sorted(graph.nodes)
        True
    """
    nir = require("nir", "interop")
    h5py = require("h5py", "interop")
    path = Path(path)
    content = read_bytes(path, MAX_BYTES)
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            _check_content(path, file, h5py)
        graph = nir.read(io.BytesIO(content), type_check=False)
    except (FileError, MemoryError):
        raise
    except Exception as error:  # h5py and nir raise errors of many kinds for damaged files
        reason = f"{type(error).__name__}: {one_line(error)}"
        raise FileError(path, f"is not a NIR graph ({reason})", REMEDY) from None
    return graph


def graph_bytes(graph: Any) -> bytes:
    """The file of a graph, as `nir.write` makes it.

    Example:
        >>> from nwavesdk.interop.nir import to_nir
        >>> from nwavesdk.layers import LILayer, SpikingSequential
        >>> graph_bytes(to_nir(SpikingSequential(LILayer(2)), discretization="exact"))[1:4]
        b'HDF'
    """
    nir = require("nir", "interop")
    buffer = io.BytesIO()
    nir.write(buffer, graph)
    return buffer.getvalue()


def _check_content(path: Path, file: Any, h5py: Any) -> None:
    """Reject links, unknown nodes, and more data than the memory holds."""
    sizes: list[int] = []

    def fault_of(name: str, link: Any) -> FileError | None:
        """What is wrong with an entry of the file; h5py stops at the first fault."""
        if name.count("/") >= MAX_DEPTH:
            return FileError(path, f"nests more than {MAX_DEPTH} groups", REMEDY)
        if not isinstance(link, h5py.HardLink):
            return FileError(path, f"has a link at {shown(name)}, expected data", REMEDY)
        entry = file[name]
        if not isinstance(entry, h5py.Dataset):
            return None
        if entry.external:
            return FileError(path, f"keeps {shown(name)} in another file", REMEDY)
        sizes.append(entry.nbytes)
        match = TYPE_PATH.fullmatch(name)
        kind = as_text(entry[()]) if match else ""
        if not match or kind in NODE_KINDS:
            return None
        node = match[1].removeprefix("/nodes/").replace("/nodes/", ".")
        fault = f"has the node {shown(node)} of type {shown(kind)}, which is not in NIR 1.0"
        known = f"expected one of {', '.join(NODE_KINDS)}; replace the node"
        return FileError(path, fault, known)

    fault = file.visititems_links(fault_of)
    if fault is not None:
        raise fault
    remedy = "use a smaller graph"
    require_memory(printable(path), "its arrays", 3 * sum(sizes), remedy)
