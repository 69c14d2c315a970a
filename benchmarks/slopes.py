"""A scan of surrogates, compared with full passes and with the time of the products it needs.

    python -m benchmarks.slopes [--quick]

A full pass is what a user would write: set the surrogates, `prepare_net`, `net(x)`, `backward()`
for the weights, on the same fused kernels. It measures no norms; the scan does. Both must give
the same gradients before they are timed. C candidates need C (forward + back + weights) in full
passes, and forward + C back in a scan, which gives three bounds:

- *Counted*: products with weights only, all dense, by their multiplications.
- *Timed*: the same products as they run here. Sparse spikes make products of forward and
  of the weights cheap, which a scan saves; the products that it needs stay dense.
- *With neurons*: these, and the neurons' loops over time, which every candidate needs.
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
from benchmarks.instrument import Spread, paired_ratios, prepare_timing, time_in_turn
from nwavesdk.analysis.slopes import RecordedPass, scan_recorded_pass
from nwavesdk.analysis.slopes.candidates import default_grid
from nwavesdk.layers import LIFLayer, LIFSynapse, NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import Surrogate


@dataclass(frozen=True)
class Case:
    """A net of LIF neurons, and the density of its input spikes."""

    sizes: tuple[int, ...]
    B: int = 64
    T: int = 100
    density: float = 0.03

    @property
    def name(self) -> str:
        """Batch, steps and sizes, as in `64x100/700-256-20`."""
        return f"{self.B}x{self.T}/{'-'.join(map(str, self.sizes))}"


CASES = [
    Case((700, 256, 20)),
    Case((700, 256, 256, 20)),
    Case((256, 256, 256, 256, 256)),
    Case((128,) * 9),
    Case((1024, 1024, 1024, 10), B=32),
]
QUICK = [Case((32, 24, 16, 8), B=4, T=20)]


def build_net(case: Case) -> SpikingSequential:
    """Build the net; a few per cent of its neurons spike in each step."""
    torch.manual_seed(1)
    modules: list[torch.nn.Module] = []
    for n_in, n_out in pairwise(case.sizes):
        modules += [LIFSynapse(n_in, n_out), LIFLayer(n_out, 10e-3)]
    return SpikingSequential(*modules)


def loss_fn(spk: Tensor, mem: Tensor) -> Tensor:  # noqa: ARG001
    """Weight each output neuron differently."""
    return (spk.mean((0, 1)) * torch.linspace(-1, 1, spk.shape[2])).sum()


def full_passes(net: SpikingSequential, x: Tensor, grid: Sequence[Surrogate]) -> list[list[Tensor]]:
    """Return the gradients of the weights from full passes, for each surrogate."""
    layers = [module for module in net if isinstance(module, NeuronLayer)]
    weights = [module.weight for module in net if isinstance(module, LIFSynapse)]
    gradients = []
    for surrogate in grid:
        for layer in layers:
            layer.spike_grad = surrogate
        prepare_net(net)
        gradients.append(list(torch.autograd.grad(loss_fn(*net(x)), weights)))
    return gradients


def product_calls(net: SpikingSequential, x: Tensor) -> dict[str, list[Callable[[], object]]]:
    """Return calls of the parts of a pass: products and loops, in forward and back."""
    prepare_net(net)
    with torch.no_grad():
        recording = net.record(x)
    inputs = [x, *(record.spk for record in recording.layers.values())][:-1]
    synapses = [module for module in net if isinstance(module, LIFSynapse)]
    calls: dict[str, list[Callable[[], object]]] = {
        name: [] for name in ("forward", "back", "weights", "neurons forward", "neurons back")
    }
    for index, (given, synapse) in enumerate(zip(inputs, synapses, strict=True)):
        weight = synapse.weight.detach()
        grad = torch.randn(*given.shape[:2], weight.shape[1])
        calls["forward"].append(lambda s=synapse, g=given, w=weight: s.charge(g, w))
        if index:
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
        calls["neurons forward"].append(
            lambda layer=layer, charge=charge: _run_from_rest(layer, charge)
        )
        calls["neurons back"].append(lambda record=record, grad=grad: record.charge_gradient(grad))
    return calls


def _run_from_rest(layer: NeuronLayer, charge: Tensor) -> None:
    prepare_net(layer)
    with torch.no_grad():
        layer.spikes(charge)


def bound(C: int, forward: float, back: float, weights: float) -> float:
    """Return the time of full passes over the time of a scan, if only products took time."""
    return C * (forward + back + weights) / (forward + C * back)


def assert_equal_gradients(net: SpikingSequential, x: Tensor, grid: Sequence[Surrogate]) -> None:
    """Compare the gradients of a scan with the gradients of full passes."""
    recorded = RecordedPass(net, x, loss_fn)
    inputs = [x, *(record.spk for record in recorded.records)][:-1]
    for surrogate, expected in zip(grid, full_passes(net, x, grid), strict=True):
        gradients = dict(recorded.gradients([surrogate] * len(recorded.names)))
        for name, given, weight in zip(recorded.names, inputs, expected, strict=True):
            # The weights of a layer receive the product of their input and the charge's gradient.
            gradient = torch.einsum("bti,btj->ij", given, gradients[name])
            error = (gradient - weight).abs().max() / weight.abs().max().clamp(min=1e-30)
            assert error < 1e-4, f"{surrogate}: the gradients before {name} differ by {error:.1e}"


def measure_rows(cases: Sequence[Case], runs: int) -> Iterator[dict[str, Any]]:
    """Yield a row for each case."""
    for case in cases:
        net = build_net(case)
        grid = default_grid()
        x = (torch.rand(case.B, case.T, case.sizes[0]) < case.density).float()
        assert_equal_gradients(net, x, grid[:3])
        parts = product_calls(net, x)

        def run_all(calls: list[Callable[[], object]]) -> None:
            for call in calls:
                call()

        with torch.no_grad():
            prepare_net(net)
            rates = [record.spk.mean().item() for record in net.record(x).layers.values()]
        samples = time_in_turn(
            {
                "whole passes": lambda net=net, x=x, grid=grid: full_passes(net, x, grid),
                "scan": lambda net=net, x=x, grid=grid: scan_recorded_pass(
                    RecordedPass(net, x, loss_fn), grid
                ),
                **{name: lambda calls=calls: run_all(calls) for name, calls in parts.items()},
            },
            runs,
        )
        C = len(grid)
        products = [n_in * n_out for n_in, n_out in pairwise(case.sizes)]
        runs_of = list(zip(*(samples[name] for name in parts), strict=True))
        bounds = {
            "counted": bound(C, sum(products), sum(products[1:]), sum(products)),
            "timed": median(bound(C, f, back, w) for f, back, w, _, _ in runs_of),
            "with neurons": median(
                bound(C, f + nf, back + nb, w) for f, back, w, nf, nb in runs_of
            ),
        }
        ratio = paired_ratios(samples["whole passes"], samples["scan"])
        yield {
            "case": case.name,
            "candidates": C,
            "rates": rates,
            "ms": {name: Spread.of(values).as_json() for name, values in samples.items()},
            "ratio": ratio.as_json(),
            "bounds": bounds,
            "shares": {name: ratio.median / value for name, value in bounds.items()},
        }


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| net | full passes, ms | scan, ms | × | bound: counted | timed | with neurons "
        "| share: counted | timed | with neurons |",
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
    """Measure and print the table; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.slopes", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--quick", action="store_true", help="a small net; nothing is stored")
    quick = parser.parse_args(arguments).quick
    prepare_timing()
    rows = list(measure_rows(QUICK if quick else CASES, 1 if quick else 5))
    print(markdown_table(rows))
    if not quick:
        file = results.path()
        stored = results.read(file)
        stored["sections"]["slopes"] = {
            "run": results.provenance("python -m benchmarks.slopes"),
            "rows": rows,
        }
        results.write(file, stored)
        print(f"stored in {file}")


if __name__ == "__main__":
    main()
