"""NIR files, which are HDF5: how they are checked and read, and the bytes of a graph.

Design requirements:

- A file is checked before `nir` reads it: unknown nodes, links to other files and arrays that the
  memory cannot hold are rejected by name.
- Whatever is wrong in a file ends in one line.
"""

import io
from pathlib import Path
from typing import Any

from nwavesdk.internal.checks import require_memory, shown
from nwavesdk.internal.files import FileError, one_line, printable, read_bytes
from nwavesdk.internal.imports import require
from nwavesdk.interop.nir.node import NODE_ARRAYS, as_text

__all__ = ["NODE_KINDS", "graph_bytes", "read_nir"]

NODE_KINDS = tuple(sorted([*NODE_ARRAYS, "Input", "NIRGraph", "Output"]))
"""The nodes of NIR 1.0 that a file may have."""

# Largest file that is read [bytes], and how deep its groups may nest.
MAX_BYTES = 2**31
MAX_DEPTH = 40

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
    except Exception as error:  # h5py and nir raise many classes of errors for damaged files
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
    """Reject links, unknown nodes, and arrays that do not fit into memory."""
    if "node" not in file or not isinstance(file["node"], h5py.Group):
        raise FileError(path, "is not a NIR graph (it has no group 'node')", REMEDY)

    # Not by `visititems_links` of h5py, which does not return from some damaged files.
    size = _size_of(path, file, h5py, 0)
    # Three copies: the content of the file, the arrays of `nir`, and the arrays of our nodes.
    require_memory(printable(path), "its arrays", 3 * size, "use a smaller graph")
    _check_kinds(path, file["node"], h5py)


def _size_of(path: Path, group: Any, h5py: Any, depth: int) -> int:
    """The size of all arrays in a group [bytes].

    Raises:
        FileError: If the group has links, or nests too deeply.
    """
    if depth > MAX_DEPTH:
        raise FileError(path, f"nests more than {MAX_DEPTH} groups", REMEDY)

    size = 0
    for key in group:
        if not isinstance(group.get(key, getlink=True), h5py.HardLink):
            raise FileError(path, f"has a link at {shown(key)}, expected data", REMEDY)

        entry = group[key]
        if isinstance(entry, h5py.Group):
            size += _size_of(path, entry, h5py, depth + 1)
        elif isinstance(entry, h5py.Dataset):
            if entry.external:
                raise FileError(path, f"keeps {shown(key)} in another file", REMEDY)
            size += entry.nbytes
    return size


def _check_kinds(path: Path, node: Any, h5py: Any, name: str = "") -> None:
    """Reject nodes that NIR does not have, by their name."""
    kind = as_text(node["type"][()])
    if kind not in NODE_KINDS:
        fault = f"has the node {shown(name)} of type {shown(kind)}, which is not in NIR 1.0"
        known = f"expected one of {', '.join(NODE_KINDS)}; replace the node"
        raise FileError(path, fault, known)

    for key, inner in node["nodes"].items() if kind == "NIRGraph" else ():
        _check_kinds(path, inner, h5py, f"{name}.{key}" if name else key)
