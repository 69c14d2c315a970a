"""The timed suites: layers, training steps, recurrent layers, the zoo of neurons, and sweeps."""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import ModuleType
from typing import Any

from torch import Tensor

from benchmarks import cases
from benchmarks.instrument import (
    Contender,
    LayerCase,
    TrainingCase,
    add_lower_bound,
    build_contender,
    measure_contenders,
)
from benchmarks.peers import forms, plain

DECAY = math.exp(-1 / cases.DECAY_TAU)
Peers = Mapping[str, ModuleType]
Row = dict[str, Any]
BOTH_FORMS = ("eager", "compiled")


def layer(peers: Peers, quick: bool, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
    """Measure a group of rows for each shape: all surrogates, fixed and learnable constants."""
    surrogates = cases.SURROGATES[:1] if quick else cases.SURROGATES
    for shape in cases.QUICK_LAYER_SHAPES if quick else cases.LAYER_SHAPES:
        group = [
            cases.SurrogateCase(shape, surrogate=s, learn=learn)
            for s in surrogates
            for learn in ((False,) if quick else (False, True))
        ]
        group = [case for case in group if wanted(case.name)]
        if group:
            yield _layers(group, peers, set() if quick else set(peers))


def recurrent(peers: Peers, quick: bool, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
    """Measure the recurrent layer."""
    group = [case for case in cases.RECURRENT[: 1 if quick else None] if wanted(case.name)]
    if group:
        yield _layers(group, peers, set() if quick else set(peers))


def training(peers: Peers, quick: bool, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
    """Measure the training step with sparse and with dense input."""
    for case in cases.TRAINING:
        if wanted(case.name):
            yield _training(case, peers, set() if quick else set(peers))


def neurons(peers: Peers, quick: bool, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
    """Measure each neuron next to LIF of the same shape, and to both forms of peers that have it.

    No peer has the recurrent one. It is measured next to their nearest neuron, and to plain torch.
    """
    for case in cases.NEURON_CASES:
        if wanted(case.name):
            yield [_neuron(case, _peers_of(case, peers), ("eager",) if quick else BOTH_FORMS)]


def _peers_of(case: cases.NeuronCase, peers: Peers) -> dict[str, tuple[ModuleType, str]]:
    """The adapters to compare with, and the name of the neuron in each."""
    if not case.recurrent:
        having = {name: peer for name, peer in peers.items() if case.neuron in peer.NEURONS}
        return {name: (peer, case.neuron) for name, peer in having.items()}
    nearest = {name: (peer, cases.NEAREST_RECURRENT[name]) for name, peer in peers.items()}
    return {**nearest, "torch": (plain, case.neuron)}


def _neuron(
    case: cases.NeuronCase, peers: Mapping[str, tuple[ModuleType, str]], form_names: tuple[str, ...]
) -> Row:
    x, grad = case.draw_data()
    ours = cases.contender_of(case, x, grad)
    lif = LayerCase(case.shape, case.recurrent)
    others: dict[str, Callable[[], object]] = {"LIF": lif.build_call("auto", *lif.draw_data())}
    expected = ours.reference().spikes
    weights = case.build_layer("auto").recurrent_weights
    descriptions = {}
    for name, (peer, neuron) in peers.items():

        def make(compile_it: bool, peer: ModuleType = peer, neuron: str = neuron) -> forms.Call:
            if weights is None:
                return forms.neuron(peer, neuron, x, grad, compile_it)
            w = weights.detach()
            return forms.recurrent_neuron(peer, neuron, x, grad, w, compile_it)

        calls, description = forms.both(make, form_names)
        others |= {f"{name}, {form}": call for form, call in calls.items()}
        descriptions[name] = {"neuron": neuron, **description}
        if neuron == case.neuron:
            descriptions[name]["spikes_differ"] = _share_of_differing_spikes(
                make(False)(), expected, peer.TIME_FIRST or case.recurrent
            )
    bounds = {} if case.recurrent else case.bound_calls(x)
    (row,) = measure_contenders({case.name: ours}, {**others, **bounds})
    row |= {**case.facts(), "peers": descriptions}
    if "copy" in row["times_ms"]:
        row["floor_ms"] = row["times_ms"]["copy"]["median"] * row["moved_bytes"] / 8
    return row | _fastest_peer(row, [name for name in others if name != "LIF"])


def sweep(peers: Peers, quick: bool, wanted: Callable[[str], bool]) -> Iterator[list[Row]]:
    """Measure a layer against T, N and B, and a training step against density; not in `quick`."""
    compiled = set(cases.SWEEP_COMPILED)
    for axis, shapes in cases.SWEEPS.items():
        for shape in shapes:
            if not quick and wanted(f"sweep/{axis}"):
                at = shape["BTN".index(axis)]
                others = peers if shape[1] <= cases.LONGEST_OF_PEERS else {}
                yield [
                    row | {"axis": axis, "at": at}
                    for row in _layers([LayerCase(shape)], others, compiled)
                ]
    for density in cases.SWEEP_DENSITIES:
        if not quick and wanted("sweep/density"):
            rows = _training(TrainingCase(density=density), peers, compiled)
            yield [row | {"axis": "density", "at": density} for row in rows]


def _layers(group: list[LayerCase], peers: Peers, compiled: set[str]) -> list[Row]:
    """Measure cases that share shape and kind, so that the peers run once."""
    case = group[0]
    x, grad = case.draw_data()
    ours = {case.name: build_contender(case, x, grad) for case in group}

    def make(peer: ModuleType, compile_it: bool) -> forms.Call:
        if not case.recurrent:
            return forms.layer(peer, DECAY, x, grad, compile_it)
        weights = case.build_layer("auto").recurrent_weights
        assert weights is not None
        return forms.recurrent(peer, DECAY, x, grad, weights.detach(), compile_it)

    expected = build_contender(case, x, grad).reference().spikes
    return _rows(case, ours, expected, peers, make, compiled, case.bound_calls(x))


def _training(case: TrainingCase, peers: Peers, compiled: set[str]) -> list[Row]:
    x, labels = case.draw_data()
    ours = {case.name: build_contender(case, x, labels)}
    expected = build_contender(case, x, labels).reference().spikes

    def make(peer: ModuleType, compile_it: bool) -> forms.Call:
        return forms.training(peer, DECAY, case, x, labels, compile_it)

    return _rows(case, ours, expected, peers, make, compiled, case.bound_calls(x))


def _rows(
    case: LayerCase | TrainingCase,
    ours: Mapping[str, Contender],
    expected: Tensor,
    peers: Peers,
    make: Callable[[ModuleType, bool], forms.Call],
    compiled: set[str],
    bound_calls: Mapping[str, Callable[[], object]],
) -> list[Row]:
    """Measure ours next to both forms of each peer.

    A row also has each peer's faster form under its name alone, and the share of its spikes that
    differ from ours.
    """
    # For recurrent layers, `forms` puts time first for every peer.
    recurrent = isinstance(case, LayerCase) and case.recurrent
    calls: dict[str, Callable[[], object]] = {}
    descriptions: dict[str, Any] = {}
    for name, peer in peers.items():
        differ = _share_of_differing_spikes(
            make(peer, False)(), expected, peer.TIME_FIRST or recurrent
        )
        of_peer, descriptions[name] = forms.both(
            lambda c, peer=peer: make(peer, c), BOTH_FORMS if name in compiled else BOTH_FORMS[:1]
        )
        descriptions[name]["spikes_differ"] = differ
        calls |= {f"{name}, {form}": call for form, call in of_peer.items()}

    rows = [
        add_lower_bound(row, case) | {"peers": descriptions}
        for row in measure_contenders(ours, {**calls, **bound_calls})
    ]
    for row in rows:
        for name in peers:
            _add_faster_form(row, name)
    return [row | _fastest_peer(row, peers) for row in rows]


def _add_faster_form(row: Row, name: str) -> None:
    """Add time and ratio of a peer's faster form under the name of the peer."""
    times = row["times_ms"]
    measured = [form for form in BOTH_FORMS if f"{name}, {form}" in times]
    if measured:
        best = min(measured, key=lambda form: times[f"{name}, {form}"]["median"])
        times[name] = times[f"{name}, {best}"]
        row["ratios"][name] = row["ratios"][f"{name}, {best}"]


def _share_of_differing_spikes(spikes: Tensor, expected: Tensor, time_first: bool) -> float:
    return float(((spikes.transpose(0, 1) if time_first else spikes) != expected).float().mean())


def _fastest_peer(row: Row, calls: Iterable[str]) -> Row:
    times = {name: row["times_ms"][name]["median"] for name in calls if name in row["times_ms"]}
    return {"fastest_peer": min(times, key=lambda name: times[name]) if times else None}
