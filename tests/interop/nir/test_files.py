"""Files of graphs: what is written, and files that are damaged or hostile."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interop.nir.graphs import neuron_graph, other_graphs
from nwavesdk.internal.files import FileError
from nwavesdk.interop.nir import check, from_nir, graph_bytes, read_nir

pytestmark = pytest.mark.interop


def written(path: Path, graph: Any = None) -> Path:
    path.write_bytes(graph_bytes(neuron_graph("LIF") if graph is None else graph))
    return path


def test_a_file_holds_the_graph(tmp_path: Path) -> None:
    for name, graph in other_graphs().items():
        path = written(tmp_path / "graph.nir", graph)
        assert set(read_nir(path).nodes) == set(graph.nodes), name
        found = [
            check(g, dt=1e-3, discretization="exact", batch=1, steps=10) for g in (path, graph)
        ]
        assert found[0] == found[1]


def change(path: Path, make: Any) -> None:
    import h5py

    with h5py.File(written(path), "a") as file:
        make(file, h5py)


def other_type(file: Any, _: Any) -> None:
    del file["node/nodes/lif/type"]
    file["node/nodes/lif/type"] = "Resonator"


def no_type(file: Any, _: Any) -> None:
    del file["node/nodes/lif/type"]


def link(file: Any, h5py: Any) -> None:
    file["node/nodes/lif/far"] = h5py.ExternalLink("/etc/passwd", "/")


def no_node(file: Any, _: Any) -> None:
    del file["node"]


def huge(file: Any, _: Any) -> None:
    del file["node/nodes/lif/tau"]
    file.create_dataset("node/nodes/lif/tau", (2**45,), "f8", chunks=(2**16,), compression=9)


def deep(file: Any, _: Any) -> None:
    file.create_group("node/" + "a/" * 60)


def single(file: Any, _: Any) -> None:
    file.move("node/nodes/linear", "kept")
    del file["node"]
    file.move("kept", "node")


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (other_type, "has the node 'lif' of type 'Resonator', which is not in NIR 1.0"),
        (no_type, r"is not a NIR graph \(KeyError: .*'type'"),
        (link, "has a link at 'far', expected data"),
        (no_node, "is not a NIR graph"),
        (huge, "need .* GB of memory, expected at most"),
        (deep, "nests more than 40 groups"),
        (single, r"is not a NIR graph \(TypeError: Linear"),
    ],
)
def test_a_wrong_file_ends_in_one_line(make: Any, match: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.nir"
    change(path, make)
    with pytest.raises(ValueError, match=match) as error:
        read_nir(path)
    assert "graph.nir" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_missing_or_something_else_ends_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="nothing.nir does not exist: check the name"):
        from_nir(tmp_path / "nothing.nir", dt=1e-3, discretization="exact")
    (tmp_path / "text.nir").write_text("not HDF5")
    with pytest.raises(FileError, match=r"text.nir is not a NIR graph \(OSError: .*nir.write"):
        from_nir(tmp_path / "text.nir", dt=1e-3, discretization="exact")
    with pytest.raises(FileError, match="is a folder, expected a file"):
        from_nir(tmp_path, dt=1e-3, discretization="exact")
    path = written(tmp_path / "cut.nir")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(FileError, match="cut.nir is not a NIR graph"):
        read_nir(path)


def test_bytes_are_those_of_nir(tmp_path: Path) -> None:
    import nir

    path = written(tmp_path / "graph.nir")
    graph = nir.read(path)
    np.testing.assert_array_equal(graph.nodes["lif"].tau, neuron_graph("LIF").nodes["lif"].tau)
