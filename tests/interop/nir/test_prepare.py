"""What the metadata of our own graphs lead to."""

from typing import Any

import pytest

from interop.nir.graphs import nets
from nwavesdk.interop.nir import check, import_graph, to_nir

pytestmark = pytest.mark.interop


def graph() -> Any:
    return to_nir(nets()["dense"], discretization="exact")


def test_another_step_or_method_is_noted() -> None:
    assert not import_graph(graph(), dt=1e-3, discretization="exact").notes
    notes = import_graph(graph(), dt=2e-3, discretization="euler").notes
    assert notes[0].startswith("the graph was written with dt=0.001, and is read with 0.002")
    assert notes[1].startswith("the graph was written with discretization='exact', and is read")
    found = check(graph(), dt=2e-3, discretization="euler", net=nets()["dense"])
    assert found.step is not None


def test_our_graphs_have_no_other_source() -> None:
    with pytest.raises(ValueError, match="nwavesdk has written the graph, got source='norse'"):
        import_graph(graph(), dt=1e-3, discretization="euler", source="norse")
