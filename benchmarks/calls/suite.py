"""Measure all calls: parity first, then each call next to its rivals in the same runs."""

from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

from benchmarks.calls import cases, live, rivals
from benchmarks.calls.cases import LayerCallCase, NetCase
from benchmarks.calls.ways import WHOLE, make_call
from benchmarks.cases import contender_of
from benchmarks.instrument import (
    Contender,
    Spread,
    compare_outcomes,
    paired_ratios,
    time_in_turn,
)
from benchmarks.peers import plain

# Other load on the machine disturbs single runs, so there are many; long calls get fewer.
FEWEST_RUNS = 15
MAX_RUNS = 60
RUN_MS = 1.0
BUDGET_MS = 500.0

Peers = Mapping[str, ModuleType]
Row = dict[str, Any]


def measure(
    peers: Peers,
    quick: bool,  # noqa: ARG001
    wanted: Callable[[str], bool],
) -> Iterator[list[Row]]:
    """Measure one row per case."""
    for net in cases.NEXT_TO_PEERS:
        if wanted(net.name):
            yield [_next_to_peers(net, peers)]
    if wanted(cases.LIVE.name):
        yield [live.measure(cases.LIVE, peers)]
    for layer in cases.NEXT_TO_LOOP:
        if wanted(layer.name):
            yield [_next_to_loop(layer)]
    for case in [*cases.LEARNED, *cases.ON_CHIPS, *cases.NEURONS]:
        if wanted(case.name):
            yield [_next_to_lif(case)]
    for layer in cases.RECURRENT:
        if wanted(layer.name):
            yield [_next_to_products(layer)]


def _next_to_peers(case: NetCase, peers: Peers) -> Row:
    """A row next to all libraries that agree with ours, and to plain torch."""
    x, grad = case.draw_data()
    nets, parities = rivals.agreeing_nets(case, {**peers, "torch": plain})
    others = {name: make_call(case.way, net, x) for name, net in nets.items()}
    return _row(case, contender_of(case, x, grad), others) | {"peers": parities}


def _next_to_loop(case: LayerCallCase) -> Row:
    x, grad = case.draw_data()
    ours = contender_of(case, x, grad)
    loop = rivals.loop_call(case, x, grad)
    rivals.require_parity("the numba loop", loop, ours.reference)
    return _row(case, ours, {"numba loop": loop})


def _next_to_products(case: LayerCallCase) -> Row:
    x, grad = case.draw_data()
    if case.way != WHOLE:
        # Steps go on from the state that a call has left, so these calls are not used again.
        by_hand = rivals.with_products(case, x, grad)
        rivals.require_parity("recurrence by hand", by_hand, contender_of(case, x, grad).reference)
    others = {"LIF + products": rivals.with_products(case, x, grad)}
    return _row(case, contender_of(case, x, grad), others)


def _next_to_lif(case: NetCase | LayerCallCase) -> Row:
    """A row of another neuron, or of learned constants, next to LIF with fixed constants."""
    lif = case.as_lif()
    others = {"LIF": lif.build_call("auto", *lif.draw_data())}
    return _row(case, contender_of(case, *case.draw_data()), others)


def _row(
    case: NetCase | LayerCallCase, ours: Contender, others: Mapping[str, Callable[[], object]]
) -> Row:
    """A row as `measure_contenders` returns it, but of many short runs."""
    parity = compare_outcomes(ours.call, ours.reference, ours.tolerance)
    row = {"name": case.name, "parity": parity.as_json(), "times_ms": {}, "ratios": {}}
    if parity.agrees:
        calls = {"ours": ours.call, **others}
        samples = time_in_turn(calls, _number_of_runs(ours.call), least=1e-3 * RUN_MS)
        row["times_ms"] = {name: Spread.of(times).as_json() for name, times in samples.items()}
        row["ratios"] = {
            name: paired_ratios(samples[name], samples["ours"]).as_json() for name in others
        }
    return row | case.facts()


def _number_of_runs(call: Callable[[], object]) -> int:
    """How often to time a call and its rivals."""
    (milliseconds,) = time_in_turn({"call": call}, 1, least=0.0)["call"]
    return max(FEWEST_RUNS, min(MAX_RUNS, round(BUDGET_MS / max(milliseconds, RUN_MS))))
