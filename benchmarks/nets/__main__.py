"""Measure whole nets; see the package."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any

import torch

from benchmarks import cases as single
from benchmarks.fresh import RETURN_MEMORY, run_child
from benchmarks.instrument import compare_outcomes, prepare_timing, time_in_turn
from benchmarks.nets import peers as forms
from benchmarks.nets.cases import NETS, ConvNet, Net, RecurrentNet, firing_rates, training_step
from benchmarks.peers import installed

ROUNDS = 15
# How many times faster than the fastest peer as it comes; time over that of convolutions and pools.
FASTER = {"conv": 2.0, "recurrent": 5.0}
OVER_PRODUCTS = 1.25
# Steps of a chunk of our net with `checkpoint=`.
CHUNK = 5


def main(arguments: list[str] | None = None) -> None:
    """Measure the nets that are asked for, and print what was measured."""
    options = _parser().parse_args(arguments)
    prepare_timing()
    peers, missing = installed()
    for name, why in missing.items():
        print(f"{name} is skipped: {why}", file=sys.stderr)
    for name in options.only or NETS:
        if options.memory:
            print(*memory_lines(NETS[name], peers), sep="\n", flush=True)
        else:
            print(*time_lines(NETS[name], peers, options.compile, options.rounds), sep="\n")


def time_lines(
    net: Net, peers: Mapping[str, ModuleType], compile_too: bool, rounds: int = ROUNDS
) -> Iterator[str]:
    """Lines with the time of a step of our net, of its products, and of the peers."""
    x, labels = net.draw_data()
    ours = training_step(net.build_net(), x, labels)
    reference = training_step(net.build_net("reference"), x, labels)
    parity = compare_outcomes(ours, reference)
    yield net.title
    rates = firing_rates(net.build_net(), x).values()
    yield f"spikes per step {', '.join(f'{rate:.3f}' for rate in rates)}"
    yield f"parity with the reference: {parity}"
    if not parity.agrees:
        return
    expected = ours().spikes
    calls: dict[str, Callable[[], object]] = {"ours": ours}
    if isinstance(net, ConvNet):
        calls["convolutions and pools alone"] = net.products(x)
    for name, call in peer_calls(net, peers, x, labels, compile_too):
        try:
            spikes = forms.batch_first(call(), net)
        except Exception as error:  # whatever a peer raises, the others are measured
            yield f"{name}: {type(error).__name__}: {' '.join(str(error).split())[:200]}"
            continue
        calls[name] = call
        yield f"{name}: {float((spikes != expected).float().mean()):.2%} of its spikes differ"
    yield from _verdicts(net, time_in_turn(calls, rounds))


def peer_calls(
    net: Net, peers: Mapping[str, ModuleType], x: Any, labels: Any, compile_too: bool
) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Training steps of the peers by name and form."""
    names = [form for form in forms.forms_of(net) if compile_too or form != "compiled"]
    for form in names:
        torch._dynamo.reset()
        if isinstance(net, ConvNet):
            for name, peer in peers.items():
                yield f"{name}, {form}", forms.conv_step(peer, net, x, labels, form)
            continue
        nearest = forms.recurrent_peers(dict(peers), single.NEAREST_RECURRENT)
        for name, (neuron, title) in nearest.items():
            step = forms.recurrent_step(neuron, net, x, labels, form)
            yield f"{name} {title}, {form}", step


def _verdicts(net: Net, times: Mapping[str, list[float]]) -> Iterator[str]:
    """The least time of each call, and our ratios next to their targets."""
    least = {name: min(values) for name, values in times.items()}
    for name, time in sorted(least.items(), key=lambda pair: pair[1]):
        yield f"  {time:8.1f} ms  {time / least['ours']:6.2f} x ours  {name}"
    plain = {name: time for name, time in least.items() if name.endswith("eager")}
    if plain:
        name = min(plain, key=lambda key: plain[key])
        ratio, wanted = plain[name] / least["ours"], FASTER[net.name]
        yield f"  {ratio:.2f} x the fastest peer as it comes ({name}), target {wanted:g}"
    products = least.get("convolutions and pools alone")
    if products is not None:
        ratio = least["ours"] / products
        yield f"  {ratio:.2f} x its convolutions and pools alone, target {OVER_PRODUCTS:g}"


def memory_lines(net: Net, peers: Mapping[str, ModuleType]) -> Iterator[str]:
    """Lines with the growth of memory in a step, each in a fresh process."""
    yield f"{net.title}: growth of memory in a step"
    names = ["ours", "ours, checkpoint"]
    if isinstance(net, RecurrentNet):
        names += [f"{name}, eager" for name in [*peers, "torch"]]
    else:
        names += [f"{name}, {form}" for form in forms.FORMS[:2] for name in peers]
    for name in names:
        job = {"job": "net", "contender": name, "net": net.name, "chunk": CHUNK}
        yield f"  {run_child(job, RETURN_MEMORY)['mib']:8.1f} MiB  {name}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.nets", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=[*NETS], help="nets to measure")
    parser.add_argument("--compile", action="store_true", help="peers with torch.compile, too")
    parser.add_argument("--memory", action="store_true", help="memory in place of time")
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="rounds, of which the least counts"
    )
    return parser


if __name__ == "__main__":
    main()
