"""A scan of surrogates against a whole pass for each of them, and against what the products that it needs allow.

    python -m benchmarks.slopes [--quick]

A whole pass is what a user would write: set the surrogates, `prepare_net`, `net(x)`, `backward()` for the weights, on
the same fused kernels; it measures no norms, where the scan does. Both must find the same gradients before a number is
taken. C candidates need C (forward + back + weights) in whole passes, and forward + C back in a scan. Three bounds come
of that. *Counted*: products with weights alone, all dense, by their multiplications. *Timed*: the same products as they
run here: sparse spikes make cheap those of the forward pass and of the weights, which a scan saves, and leave
dense those that it needs. *With neurons*: the time loops of the neurons with them, which every candidate needs.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

import torch
from torch import Tensor

from benchmarks import results
from nwavesdk.analysis.bench import Spread, paired_ratios, prepare_timing, time_in_turn
from nwavesdk.analysis.slopes import RecordedPass, scan_recorded_pass
from nwavesdk.analysis.slopes.candidates import default_grid
from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import Surrogate


@dataclass(frozen=True)
class Case:
    """A net of LIF neurons, with spikes of that density as input."""

    sizes: tuple[int, ...]
    B: int = 64
    T: int = 100
    density: float = 0.03

    @property
    def name(self) -> str:
        """As in `64x100/700-256-20`."""
        return f"{self.B}x{self.T}/{'-'.join(map(str, self.sizes))}"


CASES = [
    Case((700, 256, 20)),
    Case((700, 256, 256, 20)),
    Case((256, 256, 256, 256, 256)),
    Case((128,) * 9),
    Case((1024, 1024, 1024, 10), B=32),
]
QUICK = [Case((32, 24, 16, 8), B=4, T=20)]


def network(case: Case) -> SpikingSequential:
    """The net, in which some per cent of the neurons fire in each step."""
    torch.manual_seed(1)
    modules: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(case.sizes):
        modules += [LIFSynapse(n_in, n_out), LIFLayer(n_out, 10e-3)]
    return SpikingSequential(*modules)


def loss_fn(spk: Tensor, mem: Tensor) -> Tensor:  # noqa: ARG001
    """A different number for each output neuron."""
    return (spk.mean((0, 1)) * torch.linspace(-1, 1, spk.shape[2])).sum()


def whole(net: SpikingSequential, x: Tensor, grid: Sequence[Surrogate]) -> list[list[Tensor]]:
    """The gradients of the weights, by surrogate, from whole passes."""
    layers = [module for module in net if isinstance(module, NeuronLayer)]
    weights = [module.weight for module in net if isinstance(module, LIFSynapse)]
    found = []
    for surrogate in grid:
        for layer in layers:
            layer.spike_grad = surrogate
        prepare_net(net)
        found.append(list(torch.autograd.grad(loss_fn(*net(x)), weights)))
    return found


def products(net: SpikingSequential, x: Tensor) -> dict[str, list[Callable[[], object]]]:
    """The products of a pass by themselves: forward, back to the spikes below, and of the weights."""
    prepare_net(net)
    with torch.no_grad():
        recording = net.record(x)
    inputs = [x, *(record.spk for record in recording.layers.values())][:-1]
    synapses = [module for module in net if isinstance(module, LIFSynapse)]
    calls: dict[str, list[Callable[[], object]]] = {
        name: [] for name in ("forward", "back", "weights", "neurons forward", "neurons back")
    }
    for place, (given, synapse) in enumerate(zip(inputs, synapses, strict=True)):
        weight = synapse.weight.detach()
        grad = torch.randn(*given.shape[:2], weight.shape[1])
        calls["forward"].append(lambda s=synapse, g=given, w=weight: s.charge(g, w))
        if place:
            calls["back"].append(lambda g=grad, w=weight: g @ w.t())
        y = synapse.charge(given, synapse.weight)
        calls["weights"].append(
            lambda y=y, w=synapse.weight, g=grad: torch.autograd.grad(y, [w], g, retain_graph=True)
        )
    charges = [synapse(given).detach() for given, synapse in zip(inputs, synapses, strict=True)]
    for (name, record), charge in zip(recording.layers.items(), charges, strict=True):
        layer = net.get_submodule(name)
        assert isinstance(layer, NeuronLayer)
        grad = torch.randn_like(charge)
        calls["neurons forward"].append(lambda layer=layer, charge=charge: _afresh(layer, charge))
        calls["neurons back"].append(lambda record=record, grad=grad: record.charge_gradient(grad))
    return calls


def _afresh(layer: NeuronLayer, charge: Tensor) -> None:
    prepare_net(layer)
    with torch.no_grad():
        layer.spikes(charge)


def bound(C: int, forward: float, back: float, weights: float) -> float:
    """How many times longer whole passes take than a scan, if products are all that takes time."""
    return C * (forward + back + weights) / (forward + C * back)


def agree(net: SpikingSequential, x: Tensor, grid: Sequence[Surrogate]) -> None:
    """Hold a scan to whole passes."""
    recorded = RecordedPass(net, x, loss_fn, weights=True)
    for surrogate, expected in zip(grid, whole(net, x, grid), strict=True):
        found: dict[str, Tensor] = {}
        for gradient in recorded.gradients([surrogate] * len(recorded.names)):
            found |= gradient.weights
        for name, weight in zip(
            sorted(found, key=lambda text: int(text.split(".")[0])), expected, strict=True
        ):
            error = (found[name] - weight).abs().max() / weight.abs().max().clamp(min=1e-30)
            assert error < 1e-4, f"{surrogate}: the gradients of {name} differ by {error:.1e}"


def measured(cases: Sequence[Case], runs: int) -> Iterator[dict[str, Any]]:
    """A row for each case."""
    for case in cases:
        net, grid = network(case), default_grid()
        x = (torch.rand(case.B, case.T, case.sizes[0]) < case.density).float()
        agree(net, x, grid[:3])
        parts = products(net, x)

        def run_all(calls: list[Callable[[], object]]) -> None:
            for call in calls:
                call()

        with torch.no_grad():
            prepare_net(net)
            rates = [record.spk.mean().item() for record in net.record(x).layers.values()]
        samples = time_in_turn(
            {
                "whole passes": lambda net=net, x=x, grid=grid: whole(net, x, grid),
                "scan": lambda net=net, x=x, grid=grid: scan_recorded_pass(
                    RecordedPass(net, x, loss_fn), grid
                ),
                **{name: lambda calls=calls: run_all(calls) for name, calls in parts.items()},
            },
            runs,
        )
        C, pairs = len(grid), list(pairwise(case.sizes))
        every = sum(a * b for a, b in pairs)
        runs_of = list(zip(*(samples[name] for name in parts), strict=True))
        bounds = {
            "counted": bound(C, every, sum(a * b for a, b in pairs[1:]), every),
            "timed": median(bound(C, f, back, w) for f, back, w, _, _ in runs_of),
            "with neurons": median(
                bound(C, f + nf, back + nb, w) for f, back, w, nf, nb in runs_of
            ),
        }
        ratio = paired_ratios(samples["whole passes"], samples["scan"])
        yield {
            "case": case.name, "candidates": C, "rates": rates,
            "ms": {name: Spread.of(values).as_json() for name, values in samples.items()},
            "ratio": ratio.as_json(), "bounds": bounds,
            "shares": {name: ratio.median / value for name, value in bounds.items()},
        }  # fmt: skip


def told(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [
        "| net | whole passes, ms | scan, ms | × | bound: counted | timed | with neurons | share: counted | timed "
        "| with neurons |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        bounds = " | ".join(f"{value:.2f}" for value in row["bounds"].values())
        shares = " | ".join(f"{value:.0%}" for value in row["shares"].values())
        ms = " | ".join(f"{row['ms'][name]['median']:.0f}" for name in ("whole passes", "scan"))
        lines.append(
            f"| {row['case']} | {ms} | {row['ratio']['median']:.2f} | {bounds} | {shares} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """See `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slopes", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--quick", action="store_true", help="a small net; nothing is kept")
    quick = parser.parse_args(arguments).quick
    prepare_timing()
    rows = list(measured(QUICK if quick else CASES, 1 if quick else 5))
    print(told(rows))
    if not quick:
        file = results.path()
        found = results.read(file)
        found["sections"]["slopes"] = {
            "run": results.provenance("python -m benchmarks.slopes"),
            "rows": rows,
        }
        results.write(file, found)
        print(f"kept in {file}")


if __name__ == "__main__":
    main()
