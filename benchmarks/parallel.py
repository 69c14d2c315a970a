"""What comPaSSo costs: passes, dependent steps, work, and its time against the serial kernel.

Run: python -m benchmarks.parallel [--quick]

For each neuron, decay and drive, the first table has: chunks, passes, dependent steps over T, work
over the serial pass, and how many neurons were proven by brackets and how many were finished
serially. No spike may differ from the serial pass in float32; otherwise the run ends with an error.
The second table has the time of forward and backward against the serial kernel, on the CPU
and, if there is one, on a CUDA device, and the choice of the cost model. Numbers are stored in the
results of this machine, with a plot.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import results
from benchmarks.instrument import Spread, prepare_timing, time_in_turn
from nwavesdk.dynamics import H1_PAGES, LIF_PAGES, Neuron
from nwavesdk.plot.theme import LIGHT, Theme, render_png
from nwavesdk.solvers import PassResult, Problem, Spec, choose_solver, solve
from nwavesdk.solvers.parallel.chunks import forward_chunks
from nwavesdk.solvers.serial import forward_serial
from nwavesdk.surrogate import fast_sigmoid

PAGES = [LIF_PAGES[reset] for reset in ("none", "zero", "subtraction")] + [*H1_PAGES.values()]
NEURONS = {page.neuron.name: page.neuron for page in PAGES}
BETAS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
DRIVES = ["gaussian", "poisson", "regular"]
LENGTHS = (2000, 20_000)
N = 32
TIMED = [
    (lanes, T)
    for lanes in (1, 8, 64, 512)
    for T in (1000, 10_000, 100_000, 1_000_000)
    if lanes * T <= 16_000_000
]
TIMED_BETAS = [0.9, 0.99]


def drive(kind: str, T: int, n: int, beta: float, device: str = "cpu") -> Tensor:
    """Return a charge [1, T, n].

    It is noise around half of the threshold, 20 % random events, or a noisy constant above it.
    """
    g = torch.Generator().manual_seed(T)
    if kind == "gaussian":
        x = 0.5 * (1 - beta) + 1.5 * math.sqrt(1 - beta**2) * torch.randn(1, T, n, generator=g)
    elif kind == "poisson":
        x = 4 * (1 - beta) * (torch.rand(1, T, n, generator=g) < 0.2)
    else:
        level = (1 - beta) * (1.2 + 2.8 * torch.rand(1, 1, n, generator=g))
        x = level * (1 + 0.05 * torch.randn(1, T, n, generator=g))
    return x.to(device)


def problem(neuron: Neuron, x: Tensor, beta: float) -> Problem:
    """Return the problem of a neuron with threshold 1, from rest."""
    n = x.shape[2]
    constants = x.new_full((n,), beta), x.new_ones(n)
    return Problem(
        Spec(neuron=neuron, surrogate=fast_sigmoid()), x, (x.new_zeros(len(x), n),), constants
    )


class CountedRun:
    """The serial solver for one call of `forward_chunks`, which counts the work of the call.

    Attributes:
        chunks: Number of chunks.
        steps: Steps per chunk.
        passes: Passes over chunks, including the passes of the brackets.
        depth: Steps that had to wait for one another; T in the serial pass.
        work: Neuron-steps that were computed; B T N in the serial pass.
        bracketed: Neurons proven by brackets; the others agreed or were finished serially.
        serial: Neurons finished serially.
    """

    def __init__(self) -> None:
        self.chunks = self.steps = self.passes = self.depth = self.work = 0
        self.bracketed = self.serial = 0

    def __call__(self, problem: Problem, needs_membrane: bool, needs_saved: bool) -> PassResult:
        chunks, steps, n = problem.x.shape
        self.depth += steps
        self.work += problem.x.numel()
        if self.passes and chunks == 1:
            # A bracket proves a neuron, or the serial solver finishes it.
            self.serial += n
            self.bracketed = max(0, self.bracketed - n)
        else:
            self.chunks, self.steps = chunks, steps
            self.passes += 1
            # Only the passes of brackets do not need membranes.
            self.bracketed = 0 if needs_membrane else n
        return forward_serial(problem, needs_membrane, needs_saved)


def efforts() -> Iterator[dict[str, Any]]:
    """Yield a row for each neuron, decay, drive and length."""
    for name, neuron in NEURONS.items():
        for beta in BETAS:
            for kind in DRIVES:
                for T in LENGTHS:
                    yield _effort(neuron, name, beta, kind, T)


def _effort(neuron: Neuron, name: str, beta: float, kind: str, T: int) -> dict[str, Any]:
    p = problem(neuron, drive(kind, T, N, beta), beta)
    effort = CountedRun()
    spikes = solve(p, "serial").spikes
    differ = int((forward_chunks(p, run=effort).spikes != spikes).sum())
    if differ:
        raise RuntimeError(
            f"{name}, decay {beta}, {kind}, T = {T}: {differ} spikes differ from the serial pass"
        )
    return {
        "neuron": name,
        "decay": beta,
        "drive": kind,
        "T": T,
        "rate": float(spikes.mean()),
        "chunks": effort.chunks,
        "steps": effort.steps,
        "passes": effort.passes,
        "depth": effort.depth / T,
        "work": effort.work / spikes.numel(),
        "bracketed": effort.bracketed / N,
        "serial": effort.serial / N,
    }


def times(device: str, quick: bool) -> Iterator[dict[str, Any]]:
    """Time forward and backward on the serial solver and on comPaSSo, interleaved."""
    for lanes, T in TIMED[:: 4 if quick else 1]:
        for beta in TIMED_BETAS:
            neuron = NEURONS["lif_subtraction"]
            p = problem(neuron, drive("gaussian", T, lanes, beta, device), beta)
            grad = torch.randn_like(p.x)

            def step(solver: str, p: Problem = p, grad: Tensor = grad) -> None:
                leaf = p.x.detach().requires_grad_()
                solve(
                    Problem(p.spec, leaf, p.states, p.constants),
                    solver,
                    needs_membrane=False,
                    needs_saved=False,
                ).spikes.backward(grad)
                if leaf.is_cuda:
                    torch.cuda.synchronize()

            samples = time_in_turn(
                {s: lambda s=s, step=step: step(s) for s in ("serial", "compasso")}
            )
            spreads = {s: Spread.of(values) for s, values in samples.items()}
            yield {
                "device": device,
                "lanes": lanes,
                "T": T,
                "decay": beta,
                "times_ms": {s: spread.as_json() for s, spread in spreads.items()},
                "ratio": spreads["serial"].median / spreads["compasso"].median,
                "chosen": choose_solver(device, neuron, lanes, T, beta),
            }


EFFORT_COLUMNS = {
    "neuron": (-16, "", lambda r: r["neuron"]),
    "decay": (6, "", lambda r: r["decay"]),
    " drive": (-10, "", lambda r: " " + r["drive"]),
    "T": (7, "", lambda r: r["T"]),
    "rate": (7, ".3f", lambda r: r["rate"]),
    "chunks": (8, "", lambda r: r["chunks"]),
    "passes": (8, "", lambda r: r["passes"]),
    "depth/T": (9, ".3f", lambda r: r["depth"]),
    "work": (7, ".1f", lambda r: r["work"]),
    "brackets": (10, ".0%", lambda r: r["bracketed"]),
    "serially": (10, ".0%", lambda r: r["serial"]),
}
"""Width (negative: left-aligned), format and value of each column of the first table."""
TIME_COLUMNS = {
    "device": (-8, "", lambda r: r["device"]),
    "B N": (6, "", lambda r: r["lanes"]),
    "T": (9, "", lambda r: r["T"]),
    "decay": (7, "", lambda r: r["decay"]),
    "serial ms": (11, ".3g", lambda r: r["times_ms"]["serial"]["median"]),
    "comPaSSo ms": (13, ".3g", lambda r: r["times_ms"]["compasso"]["median"]),
    "ratio": (7, ".2f", lambda r: r["ratio"]),
    "  choice": (-12, "", lambda r: "  " + r["chosen"]),
}
"""The same for the second table."""


def aligned_table(columns: dict[str, Any], rows: list[dict[str, Any]]) -> list[str]:
    """Return the lines of a table for a terminal."""

    def cell(text: str, width: int) -> str:
        return text.ljust(-width) if width < 0 else text.rjust(width)

    head = "".join(cell(name, width) for name, (width, _, _) in columns.items())
    lines = [
        "".join(cell(format(value(row), form), width) for width, form, value in columns.values())
        for row in rows
    ]
    return [head, *lines]


def plot_depth(theme: Theme, rows: list[dict[str, Any]]) -> Figure:
    """Plot dependent steps over T against the decay, for the longer sequences."""
    figure = Figure(figsize=(11, 3.8))
    colors = dict(zip(NEURONS, (*theme.hues, theme.ink), strict=True))
    for axes, kind in zip(figure.subplots(1, len(DRIVES), sharey=True), DRIVES, strict=True):
        for name, color in colors.items():
            at = [r for r in rows if (r["neuron"], r["drive"], r["T"]) == (name, kind, LENGTHS[-1])]
            axes.plot(
                [r["decay"] for r in at],
                [r["depth"] for r in at],
                "o-",
                color=color,
                label=name,
                markersize=4,
            )
        axes.axhline(1, color=theme.ink, linestyle="--", linewidth=1)
        axes.set(title=kind, xlabel="decay", yscale="log")
    figure.axes[0].set_ylabel(f"dependent steps / T, T = {LENGTHS[-1]:,}")
    figure.axes[0].legend(fontsize=8)
    figure.suptitle("comPaSSo: steps that depend on each other (dashed: the serial pass)")
    return figure


def main(arguments: list[str] | None = None) -> None:
    """Measure, print the tables and plot; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parallel", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--quick", action="store_true", help="few times; nothing is stored")
    quick = parser.parse_args(arguments).quick
    prepare_timing()
    rows = list(efforts())
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    timed = [row for device in devices for row in times(device, quick)]
    print(
        "\n".join([*aligned_table(EFFORT_COLUMNS, rows), "", *aligned_table(TIME_COLUMNS, timed)])
    )
    if not quick:
        file = results.path()
        stored = results.read(file)
        section = {
            "run": results.provenance("python -m benchmarks.parallel"),
            "efforts": rows,
            "times": timed,
        }
        stored["sections"]["parallel"] = section
        results.write(file, stored)
        (file.parent / "parallel.png").write_bytes(
            render_png(lambda theme: plot_depth(theme, rows), LIGHT)
        )
        print(f"stored in {file}, plotted in {file.parent / 'parallel.png'}")


if __name__ == "__main__":
    main()
