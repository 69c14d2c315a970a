"""Train and measure all forecasters; see the package."""

import argparse
import itertools
import json
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from neurobench.metrics.static import ConnectionSparsity, Footprint
from neurobench.metrics.workload import (
    SMAPE,
    ActivationSparsity,
    MembraneUpdates,
    SynapticOperations,
)
from neurobench.models import TorchModel
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from benchmarks import results
from benchmarks.mackey_glass.forecasters import RESERVOIRS, EchoState, LongShortTerm, Spiking
from benchmarks.mackey_glass.series import (
    POINTS_PER_TIME,
    SETTINGS,
    compare_with_jitcdde,
    series,
)
from nwavesdk.interop.neurobench import NWaveModel
from nwavesdk.interop.neurobench_eval import run_harness

FILE = results.FOLDER / "mackey_glass.json"
LEARNED = 10 * POINTS_PER_TIME  # points to learn from, and to continue
EARLY = 2 * POINTS_PER_TIME
BETWEEN_SEEDS = 0.5 * POINTS_PER_TIME  # by which the series of a seed starts later
LSTM_TAU = 17  # the only one for which NeuroBench has settings of the LSTM
CHECKED = 1, 2, 4, 10, 20  # Lyapunov times

MODELS: dict[str, Callable[[int, int], nn.Module]] = {
    "spiking net": lambda tau, seed: Spiking(seed),  # noqa: ARG005
    "LSTM": lambda tau, seed: LongShortTerm(seed),  # noqa: ARG005
    "echo state": lambda tau, seed: EchoState(seed, RESERVOIRS[tau]),
}


class EarlySMAPE(SMAPE):
    """The same score for the first points only: later, chaos leaves nothing to predict."""

    def __call__(self, model: Any, preds: Tensor, data: tuple[Tensor, Tensor]) -> float:
        score: float = super().__call__(model, preds[:EARLY], (data[0], data[1][:EARLY]))
        return score


class MeanOnly(nn.Module):
    """What a model without any skill reaches: the mean of the series so far."""

    def fit(self, x: Tensor) -> None:
        self.mean = x.mean()

    def forward(self, batch: Tensor) -> Tensor:
        return self.mean.expand(len(batch), 1)


def main() -> None:
    """Measure, store and print; or compare the series. What is stored is not measured again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--taus", type=int, nargs="+", default=[17, 23, 30], choices=SETTINGS)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path, default=FILE, help="file to write or continue")
    parser.add_argument("--check", action="store_true", help="compare the series with jitcdde")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.check:
        for tau in options.taus:
            print(check_line(tau))
        return
    stored = json.loads(options.output.read_text()) if options.output.is_file() else {}
    rows: list[dict[str, Any]] = stored.get("rows", [])
    known = {(row["tau"], row["seed"]) for row in rows}
    for tau, seed in itertools.product(options.taus, range(options.seeds)):
        if (tau, seed) not in known:
            for row in measure_all(tau, seed):
                rows.append(row)
                print(json.dumps(row), flush=True)
            facts = results.provenance("python -m benchmarks.mackey_glass")
            results.write(options.output, {**facts, "rows": rows})
    rows.sort(key=lambda row: (row["tau"], row["seed"]))
    print(*table_lines(rows), sep="\n")


def check_line(tau: int) -> str:
    """The distance between our series and the series of jitcdde."""
    errors = compare_with_jitcdde(tau, CHECKED, 1e-9)
    texts = (f"{count}: {error:.1e}" for count, error in zip(CHECKED, errors, strict=True))
    return f"tau {tau}, largest difference within Lyapunov times {', '.join(texts)}"


def measure_all(tau: int, seed: int) -> list[dict[str, Any]]:
    """One row per model for the series of a delay, whose start depends on the seed."""
    points = series(tau, 2 * LEARNED + 1, start=int(seed * BETWEEN_SEEDS))
    makers = {**MODELS, "mean": lambda tau, seed: MeanOnly()}  # noqa: ARG005
    if tau != LSTM_TAU:
        del makers["LSTM"]
    return [
        {"tau": tau, "seed": seed, "model": name, **measure(make(tau, seed), points, seed == 0)}
        for name, make in makers.items()
    ]


def measure(model: Any, points: Tensor, counts: bool) -> dict[str, Any]:
    """Train a model on the first half of the points; what the harness measures on the second.

    Args:
        model: A forecaster.
        points: The series.
        counts: Whether to count operations, which takes the harness longer than the forecast.
    """
    model.fit(points[: LEARNED + 1])
    data = TensorDataset(points[LEARNED:-1, None, None], points[LEARNED + 1 :, None])
    is_ours = isinstance(model, Spiking)
    wrapped = NWaveModel(model, keep_state=True) if is_ours else TorchModel(model)
    metrics: list[list[Any]] = [[Footprint], [SMAPE, EarlySMAPE]]
    if counts and not isinstance(model, MeanOnly):
        metrics[0] += [ConnectionSparsity]
        metrics[1] += [ActivationSparsity, SynapticOperations]
        metrics[1] += [MembraneUpdates] if is_ours else []
    with torch.no_grad():
        outcome = run_harness(wrapped, DataLoader(data, batch_size=LEARNED), metrics)
    return {name: round(value, 4) for name, value in outcome.items()}


def table_lines(rows: list[dict[str, Any]]) -> list[str]:
    """The results as a table of Markdown: means over seeds, operations of the first seed."""
    names = (
        *("tau", "model", "sMAPE", "least to largest", "first two times", "footprint, bytes"),
        *("connection sparsity", "activation sparsity", "MACs", "ACs", "dense"),
    )
    lines = [f"| {' | '.join(names)} |", "|---" * len(names) + "|"]
    for tau, name in dict.fromkeys((row["tau"], row["model"]) for row in rows):
        mine = [row for row in rows if (row["tau"], row["model"]) == (tau, name)]
        scores = [row["SMAPE"] for row in mine]
        first = mine[0]
        cells = [
            f"{statistics.mean(scores):.1f}",
            f"{min(scores):.1f} to {max(scores):.1f}",
            f"{statistics.mean(row['EarlySMAPE'] for row in mine):.1f}",
            f"{first['Footprint']:,.0f}",
            *(_text(first, key, ".3f") for key in ("ConnectionSparsity", "ActivationSparsity")),
            *(
                _text(first, f"SynapticOperations.{key}", ",.0f")
                for key in ("Effective_MACs", "Effective_ACs", "Dense")
            ),
        ]
        lines.append(f"| {tau} | {name} | {' | '.join(cells)} |")
    return lines


def _text(row: dict[str, Any], key: str, form: str) -> str:
    return format(row[key], form) if key in row else "-"


if __name__ == "__main__":
    main()
