"""Many simulated chips: `draw_series` against a plain loop over chips, by size of the work.

    python -m benchmarks.chips [--quick]

The loop is what a user would write: `prepare_net(net, seed)`, `net(x)`, count, on the same fused
kernels. Both must give the same counts before they are timed.
"""

import argparse
from collections.abc import Iterator
from typing import Any

import torch

from benchmarks import results
from benchmarks.instrument import Spread, prepare_timing, time_in_turn
from nwavesdk.chip import load_profile
from nwavesdk.deploy.chip_series import count_right, tile_for
from nwavesdk.layers import SpikingSequential, family_of, prepare_net, project
from nwavesdk.metrics import population_counts

CLASSES = 2
SHAPES = [(1, 100), (1, 1000), (8, 100), (16, 1000), (124, 250), (124, 1000)]
"""Recordings and steps."""
NETS = {"h1v1": ("h1v1", False), "h1v2": ("h1v2", False), "h1v2 recurrent": ("h1v2", True)}


def chip_net(chip: str, recurrent: bool) -> SpikingSequential:
    """Build a net of 16 channels and 16-50-20 neurons, with mismatch and 5 bits."""
    profile = load_profile(chip)
    family = family_of(profile)
    noisy = (
        {"stddev": profile.number("synapse_mismatch")} if profile.number("synapse_mismatch") else {}
    )
    neurons = {"taus": 50e-3, "ileak_mismatch": True}
    hidden = neurons | ({"layer_topology": "RC", "quantization_bits": 5} if recurrent else {})
    net = SpikingSequential(
        family.frontend(16, 5, **noisy),
        family.layer(16, **neurons),
        family.synapse(16, 50, 5, **noisy),
        family.layer(50, **hidden),
        family.synapse(50, 20, 5, **noisy),
        family.layer(20, **neurons),
    )
    project(net)
    return net.eval()


@torch.no_grad()
def count_in_loop(
    net: SpikingSequential, x: torch.Tensor, labels: torch.Tensor, seeds: list[int]
) -> list[int]:
    """Count right answers, one chip after the other."""
    counts = []
    for seed in seeds:
        prepare_net(net, seed=seed)
        counts.append(int((population_counts(net(x)[0], CLASSES).argmax(1) == labels).sum()))
    return counts


def measure_rows(quick: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each net and size."""
    for name, (chip, recurrent) in NETS.items():
        for recordings, steps in SHAPES[:1] if quick else SHAPES:
            torch.manual_seed(0)
            net = chip_net(chip, recurrent)
            x = 3 * torch.rand(recordings, steps, 16) ** 3 * (torch.rand(recordings, 1, 16) < 0.5)
            labels = torch.arange(recordings) % CLASSES
            chips = 4 if quick else 10 if recordings * steps > 20_000 else 40
            seeds = list(range(chips))
            one_by_one = count_in_loop(net, x, labels, seeds)
            together = count_right(net, x, labels, CLASSES, seeds).tolist()
            assert one_by_one == together, (
                f"{name} {recordings} x {steps}: loop {one_by_one}, series {together}"
            )
            samples = time_in_turn(
                {
                    "loop": lambda net=net, x=x, labels=labels, seeds=seeds: count_in_loop(
                        net, x, labels, seeds
                    ),
                    "series": lambda net=net, x=x, labels=labels, seeds=seeds: count_right(
                        net, x, labels, CLASSES, seeds
                    ),
                }
            )
            spreads = {
                way: Spread.of([value / chips for value in values])
                for way, values in samples.items()
            }
            yield {
                "net": name, "recordings": recordings, "steps": steps, "chips": chips,
                "tile": list(tile_for(net, recordings, steps, chips)),
                "ms_a_chip": {way: spread.as_json() for way, spread in spreads.items()},
                "ratio": spreads["loop"].median / spreads["series"].median,
            }  # fmt: skip


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a Markdown table."""
    lines = [
        "| net | recordings × steps | tile | loop, ms per chip | series, ms per chip | × |",
        "|---|---|---|---|---|---|",
    ]
    for row in rows:
        loop_ms, series_ms = (row["ms_a_chip"][way]["median"] for way in ("loop", "series"))
        size = f"{row['recordings']} × {row['steps']}"
        tile = f"{row['tile'][0]} × {row['tile'][1]} chips"
        times = f"{loop_ms:.3g} | {series_ms:.3g} | {row['ratio']:.2f}"
        lines.append(f"| {row['net']} | {size} | {tile} | {times} |")
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> None:
    """Measure and print the table; see `--help`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.chips", description=__doc__.split("\n", 1)[0]
    )
    parser.add_argument("--quick", action="store_true", help="the smallest size; nothing is stored")
    quick = parser.parse_args(arguments).quick
    prepare_timing()
    rows = list(measure_rows(quick))
    print(markdown_table(rows))
    if not quick:
        file = results.path()
        stored = results.read(file)
        stored["sections"]["chips"] = {
            "run": results.provenance("python -m benchmarks.chips"),
            "rows": rows,
        }
        results.write(file, stored)
        print(f"stored in {file}")


if __name__ == "__main__":
    main()
