"""How parallel in time pays: passes, dependent depth and work of comPaSSo, and its time against the serial kernel.

Run: python -m benchmarks.parallel [--quick]

For each neuron, decay and drive: what the solver in chunks took (chunks, passes, depth over T, work over the serial
pass, how many neurons were proven by brackets and how many were finished serially), the iterates of the plain
iteration, the scans of the jump, and how many spikes differ from the serial pass in float32: none for chunks and the
jump, or the run ends with an error. Then the time of forward and backward against the serial kernel, on the CPU and,
where there is one, on a CUDA device, and what `choice.py` would have taken. Numbers go to the machine's results, with
a picture.
"""

import argparse
import math
from collections.abc import Iterator
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor

from benchmarks import results
from nwavesdk.analysis.bench import Spread, prepare_timing, time_in_turn
from nwavesdk.dynamics import Neuron, h1, lif
from nwavesdk.solvers import Problem, Spec, choose_solver, solve
from nwavesdk.solvers.parallel.chunks import Effort, forward_chunks
from nwavesdk.solvers.parallel.iteration import forward_iteration, forward_jump
from nwavesdk.surrogate import fast_sigmoid
from nwavesdk.train.theme import LIGHT, Theme, render_png

NEURONS = {n.name: n for n in (lif("none"), lif("zero"), lif("subtraction"), h1(1), h1(2))}
BETAS = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
DRIVES = ["gaussian", "poisson", "regular"]
LENGTHS, SHORT = (2000, 20_000), 2000
N = 32
TIMED = [
    (lanes, T)
    for lanes in (1, 8, 64, 512)
    for T in (1000, 10_000, 100_000, 1_000_000)
    if lanes * T <= 16_000_000
]
TIMED_BETAS = [0.9, 0.99]


def drive(kind: str, T: int, n: int, beta: float, device: str = "cpu") -> Tensor:
    """Charge [1, T, n]: noise around half of the threshold, 20 % of random events, or a noisy constant above it."""
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
    """The neuron with threshold 1, from rest."""
    n, surrogate = x.shape[2], fast_sigmoid()
    constants = x.new_full((n,), beta), x.new_ones(n)
    return Problem(Spec(neuron, surrogate), x, (x.new_zeros(len(x), n),), constants)


def efforts() -> Iterator[dict[str, Any]]:
    """One row for each neuron, decay, drive and length."""
    for name, neuron in NEURONS.items():
        for beta in BETAS:
            for kind in DRIVES:
                for T in LENGTHS:
                    yield _effort(neuron, name, beta, kind, T)


def _effort(neuron: Neuron, name: str, beta: float, kind: str, T: int) -> dict[str, Any]:
    p, taken, counts = (
        problem(neuron, drive(kind, T, N, beta), beta),
        list[Effort](),
        dict[str, list[int]](),
    )
    spikes = solve(p, "serial").spikes
    differ = {"chunks": int((forward_chunks(p, efforts=taken).spikes != spikes).sum())}
    if T == SHORT:
        for form, forward in (("iteration", forward_iteration), ("jump", forward_jump)):
            counts[form] = []
            differ[form] = int((solve(p, iterates=counts[form]).spikes != spikes).sum())
    if differ["chunks"] or differ.get("jump"):
        raise RuntimeError(
            f"{name}, decay {beta}, {kind}, T = {T}: {differ} spikes are not those of the serial pass"
        )
    effort = taken[0]
    return {
        "neuron": name, "decay": beta, "drive": kind, "T": T, "rate": float(spikes.mean()), "chunks": effort.chunks,
        "steps": effort.steps, "passes": effort.passes, "depth": effort.depth / T, "work": effort.work / spikes.numel(),
        "bracketed": effort.bracketed / N, "serial": effort.serial / N,
        "differ_per_million": {form: 1e6 * count / spikes.numel() for form, count in differ.items()},
        **{f"{form}s": count[0] for form, count in counts.items()},
    }  # fmt: skip


def times(device: str, quick: bool) -> Iterator[dict[str, Any]]:
    """Milliseconds of forward and backward on the serial solver and on comPaSSo, in turn."""
    for lanes, T in TIMED[:: 4 if quick else 1]:
        for beta in TIMED_BETAS:
            p = problem(NEURONS["lif_subtraction"], drive("gaussian", T, lanes, beta, device), beta)
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
                "device": device, "lanes": lanes, "T": T, "decay": beta,
                "times_ms": {s: spread.as_json() for s, spread in spreads.items()},
                "ratio": spreads["serial"].median / spreads["compasso"].median,
                "chosen": choose_solver(device, "lif_subtraction", lanes, T, beta),
            }  # fmt: skip


def told(rows: list[dict[str, Any]], timed: list[dict[str, Any]]) -> str:
    """Both tables, for a terminal."""
    lines = [
        f"{'neuron':16}{'decay':>6} {'drive':9}{'T':>7}{'rate':>7}{'chunks':>8}{'passes':>8}{'depth/T':>9}{'work':>7}"
        f"{'brackets':>10}{'serially':>10}{'iterates':>10}{'scans':>7}{'iteration differs/million':>27}"
    ]
    for r in rows:
        tail = [
            r.get("iterations", "-"),
            r.get("jumps", "-"),
            r["differ_per_million"].get("iteration", "-"),
        ]
        lines.append(
            f"{r['neuron']:16}{r['decay']:6} {r['drive']:9}{r['T']:7}{r['rate']:7.3f}{r['chunks']:8}{r['passes']:8}"
            f"{r['depth']:9.3f}{r['work']:7.1f}{r['bracketed']:10.0%}{r['serial']:10.0%}{tail[0]:>10}{tail[1]:>7}{tail[2]:>27}"
        )
    lines += [
        "",
        f"{'device':8}{'B N':>6}{'T':>9}{'decay':>7}{'serial ms':>11}{'comPaSSo ms':>13}{'ratio':>7}  by the table",
    ]
    for r in timed:
        serial, compasso = (r["times_ms"][s]["median"] for s in ("serial", "compasso"))
        lines.append(
            f"{r['device']:8}{r['lanes']:6}{r['T']:9}{r['decay']:7}{serial:11.3g}{compasso:13.3g}{r['ratio']:7.2f}  "
            f"{r['chosen']}"
        )
    return "\n".join(lines)


def picture(theme: Theme, rows: list[dict[str, Any]]) -> Figure:
    """Dependent depth over T, against the decay, for the longer sequences."""
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
    figure.suptitle("comPaSSo: steps that wait for one another (dashed: the serial pass)")
    return figure


def main(arguments: list[str] | None = None) -> None:
    """See `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.parallel", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--quick", action="store_true", help="few times; nothing is kept")
    quick = parser.parse_args(arguments).quick
    prepare_timing()
    rows = list(efforts())
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    timed = [row for device in devices for row in times(device, quick)]
    print(told(rows, timed))
    if not quick:
        file = results.path()
        found = results.read(file)
        section = {
            "run": results.provenance("python -m benchmarks.parallel"),
            "efforts": rows,
            "times": timed,
        }
        found["sections"]["parallel"] = section
        results.write(file, found)
        (file.parent / "parallel.png").write_bytes(
            render_png(lambda theme: picture(theme, rows), LIGHT)
        )
        print(f"kept in {file}, drawn in {file.parent / 'parallel.png'}")


if __name__ == "__main__":
    main()
