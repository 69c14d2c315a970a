"""Fit the cost of a training step to measurements, and predict it for 1 and 2 processes.

Run: python -m benchmarks.scaling [--output FILE]

A step of one process costs a fixed time, a time per multiply-accumulate of the products, and a time
per step of a neuron. A step of R processes adds the exchange of the gradients: a latency per
exchange, and the bytes that pass between two processes. The constants are fitted by least squares
of relative errors. Each time is the shortest of several, of one thread, so that other programs on
the machine count as little as possible; its load is in the result. The last two tables are worked
on paper: for 8 GPUs, with constants that are assumed, and for 1,000 trials of a search.
"""

import argparse
import json
import math
import os
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from nwavesdk.layers import LIFLayer, LIFSynapse, LILayer, SpikingSequential

INPUTS, CLASSES = 40, 10
WARM_UP, RUNS = 2, 8
EXCHANGES = [2**power for power in (10, 14, 18, 22)]  # bytes


@dataclass(frozen=True)
class Size:
    """A batch of B recordings of T steps, and a net of two layers of N neurons."""

    B: int
    T: int
    N: int

    @property
    def parameters(self) -> int:
        return INPUTS * self.N + self.N**2 + self.N * CLASSES

    @property
    def macs(self) -> int:
        """Multiply-accumulates of forward, and of the two products of backward."""
        return 3 * self.B * self.T * self.parameters

    @property
    def neuron_steps(self) -> int:
        return self.B * self.T * (2 * self.N + CLASSES)


FITTED = [Size(4, 50, 64), Size(16, 100, 64), Size(64, 100, 64), Size(16, 100, 128)]
FITTED += [Size(64, 50, 128), Size(16, 100, 256), Size(32, 100, 256), Size(8, 200, 384)]
HELD_OUT = [Size(32, 100, 128), Size(16, 50, 256), Size(64, 25, 384)]
SHARED = [Size(16, 100, 64), Size(16, 100, 128), Size(16, 100, 256)]  # of each process


@dataclass(frozen=True)
class Constants:
    """Seconds: of a step, per multiply-accumulate, per neuron and step, per exchange, per byte.

    `shared` is what a step of several processes costs besides its exchange: DistributedDataParallel
    sends buffers, prepares each backward pass, and waits for the slower process.
    """

    step: float
    mac: float
    neuron_step: float
    exchange: float = 0.0
    byte: float = 0.0
    shared: float = 0.0

    def compute(self, size: Size) -> float:
        return self.step + self.mac * size.macs + self.neuron_step * size.neuron_steps

    def exchanged(self, n_bytes: float, processes: int) -> float:
        """Time of an all-reduce on a ring."""
        share = 2 * (processes - 1) / processes
        return self.exchange + self.byte * share * n_bytes if processes > 1 else 0.0

    def predict(self, size: Size, processes: int = 1) -> float:
        shared = self.shared if processes > 1 else 0.0
        return self.compute(size) + self.exchanged(4 * size.parameters, processes) + shared


def build(size: Size) -> nn.Module:
    """The net of a size, the same in all processes."""
    torch.manual_seed(0)
    return SpikingSequential(
        *(LIFSynapse(INPUTS, size.N, product="dense"), LIFLayer(size.N, taus=20e-3)),
        *(LIFSynapse(size.N, size.N, product="dense"), LIFLayer(size.N, taus=20e-3)),
        *(LIFSynapse(size.N, CLASSES, product="dense"), LILayer(CLASSES, tau=20e-3)),
    )


def step_seconds(net: nn.Module, size: Size) -> float:
    """The shortest time of a training step."""
    optimizer = torch.optim.AdamW(net.parameters())
    x = torch.rand(size.B, size.T, INPUTS)
    y = torch.arange(size.B) % CLASSES
    times = []
    for _ in range(WARM_UP + RUNS):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x)[0].mean(1), y)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    return min(times[WARM_UP:])


def exchange_seconds(n_bytes: int) -> float:
    """The shortest time of an all-reduce."""
    values = torch.zeros(n_bytes // 4)
    times = []
    for _ in range(WARM_UP + RUNS):
        distributed.barrier()
        start = time.perf_counter()
        distributed.all_reduce(values)
        times.append(time.perf_counter() - start)
    return min(times[WARM_UP:])


def work(rank: int, folder: str) -> None:
    """What each of two processes measures; the first one writes it down."""
    torch.set_num_threads(1)
    store = distributed.FileStore(f"{folder}/store", 2)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    exchanges = [exchange_seconds(n_bytes) for n_bytes in EXCHANGES]
    steps = [step_seconds(DistributedDataParallel(build(size)), size) for size in SHARED]
    if rank == 0:
        Path(folder, "times.json").write_text(json.dumps([exchanges, steps]))
    distributed.barrier()
    distributed.destroy_process_group()


def fit(rows: list[list[float]], times: list[float]) -> list[float]:
    """Constants of at least 0 that make the relative errors small."""
    A, t = np.array(rows), np.array(times)
    used = list(range(A.shape[1]))
    while True:
        solution = np.linalg.lstsq(A[:, used] / t[:, None], np.ones(len(t)), rcond=None)[0]
        if (solution >= 0).all():
            break
        del used[int(solution.argmin())]
    values = np.zeros(A.shape[1])
    values[used] = solution
    return [float(value) for value in values]


def measure() -> dict[str, object]:
    """All times, the constants, and what they predict."""
    torch.set_num_threads(1)
    load = os.getloadavg()[0]
    alone = {size: step_seconds(build(size), size) for size in FITTED + HELD_OUT}
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, args=(folder,), nprocs=2)
        exchanges, steps = json.loads(Path(folder, "times.json").read_text())
    rows = [[1, size.macs, size.neuron_steps] for size in FITTED]
    computed = fit(rows, [alone[size] for size in FITTED])
    exchanged = fit([[1, n_bytes] for n_bytes in EXCHANGES], exchanges)
    constants = Constants(*computed, *exchanged)
    # Fitted to the smallest size; the others are predicted.
    shared = steps[0] - constants.predict(SHARED[0], 2)
    constants = replace(constants, shared=max(shared, 0.0))
    table = [
        {**asdict(size), "processes": 1, "held_out": size in HELD_OUT, "measured": alone[size]}
        for size in FITTED + HELD_OUT
    ]
    table += [
        {**asdict(size), "processes": 2, "held_out": size != SHARED[0], "measured": seconds}
        for size, seconds in zip(SHARED, steps, strict=True)
    ]
    for row in table:
        size = Size(row["B"], row["T"], row["N"])
        row["predicted"] = constants.predict(size, row["processes"])
    return {
        "constants": asdict(constants),
        "steps": table,
        "exchanges": dict(zip(EXCHANGES, exchanges, strict=True)),
        "load": [load, os.getloadavg()[0]],
        "cores": os.cpu_count(),
        "torch": torch.__version__,
    }


def step_table(result: dict) -> str:
    """Measured and predicted times."""
    lines = ["| processes | B, T, N of each | measured, ms | predicted, ms | ratio |"]
    lines.append("|---|---|---|---|---|")
    for row in result["steps"]:
        mark = "" if row["held_out"] else " (fitted)"
        lines.append(
            f"| {row['processes']}{mark} | {row['B']}, {row['T']}, {row['N']} | "
            f"{1e3 * row['measured']:.2f} | {1e3 * row['predicted']:.2f} | "
            f"{row['predicted'] / row['measured']:.2f} |"
        )
    return "\n".join(lines)


# Assumed, not measured: half of the bandwidths and a third of the products that vendors give for a
# GPU with 3.3 TB/s, 60 TFLOP/s in float32 and 450 GB/s between two devices; 1 ms to launch a step.
GPU_BYTES_PER_NEURON_STEP = 28  # 16 in forward, 12 in backward; see benchmarks.gpu
GPU = Constants(1e-3, 1 / 10e12, GPU_BYTES_PER_NEURON_STEP / 1.65e12, 30e-6, 1 / 225e9)


def gpu_table() -> str:
    """Efficiency of 8 GPUs with the assumed constants."""
    lines = ["| B, T, N of each | 1 GPU, ms | exchange of 8, ms | efficiency of 8 |"]
    lines.append("|---|---|---|---|")
    for size in (Size(64, 100, 256), Size(64, 100, 4096), Size(8, 100, 4096), Size(64, 1000, 4096)):
        alone, exchange = GPU.compute(size), GPU.exchanged(4 * size.parameters, 8)
        lines.append(
            f"| {size.B}, {size.T}, {size.N} | {1e3 * alone:.2f} | {1e3 * exchange:.2f} | "
            f"{alone / (alone + exchange):.0%} |"
        )
    return "\n".join(lines)


def trial_table(seconds: float = 300.0, start: float = 12.0, report: float = 5e-3) -> str:
    """Hours of 1,000 equal trials: waves of trials, or the one process that proposes them.

    Args:
        seconds: Training of a trial.
        start: Start of its process: imports, data, compiled kernels.
        report: Time of the searching process per epoch of a trial, of 50.
    """
    lines = ["| trials at a time | hours | of them starts | proposals and records, hours |"]
    lines.append("|---|---|---|---|")
    for slots in (2, 16, 128, 1000):
        waves = math.ceil(1000 / slots)
        serial = 1000 * 50 * report
        total = max(waves * (seconds + start), serial)
        lines.append(
            f"| {slots} | {total / 3600:.2f} | {waves * start / 3600:.2f} | {serial / 3600:.2f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measure, or read the stored result, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    default = Path(__file__).parent / "results" / "scaling.json"
    parser.add_argument("--output", type=Path, default=default)
    parser.add_argument("--stored", action="store_true", help="print the stored result")
    arguments = parser.parse_args()
    if arguments.stored:
        result = json.loads(arguments.output.read_text())
    else:
        result = measure()
        arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result["constants"].items():
        print(f"{name}: {value:.3g} s")
    print(f"load {result['load'][0]:.1f} to {result['load'][1]:.1f} on {result['cores']} cores\n")
    print("\n\n".join([step_table(result), gpu_table(), trial_table()]))


if __name__ == "__main__":
    main()
