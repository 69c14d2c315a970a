"""What a study says: for scripts as JSON, for a terminal as lines, for people as a page."""

import csv
import json
from pathlib import Path
from typing import Any

import torch

from nwavesdk.analysis.compare.study import Cell, Study
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import ChipInstance, prepare_net
from nwavesdk.surrogate import parse
from nwavesdk.train import Run, RunFolder
from nwavesdk.train.page import Page

__all__ = ["content", "lines", "write"]

DRAWN = ("val_accuracy", "val_loss", "train_loss", "train_rate")


def content(study: Study) -> dict[str, Any]:
    """Cells, arms and pairs of a finished study."""
    cells = [
        {
            "arm": cell.arm, "surrogate": cell.surrogate, "seed": cell.seed,
            "test_accuracy": cell.result["test_accuracy"], "val_accuracy": cell.result["val_accuracy"],
            "rates": cell.result["rates"], "dead": cell.result["dead"], "saturated": cell.result["saturated"],
            "seconds": cell.result["seconds"], "weights_sha256": cell.weights_sha256, "run": str(cell.path),
        }
        for cell in study.cells
    ]  # fmt: skip
    arms = {
        name: {
            "mean": s.mean,
            "interval": _interval(s.low, s.high),
            "deviation": _or_none(s.deviation),
        }
        for name, s in study.summaries().items()
    }
    pairs = [
        {
            "first": pair.first, "second": pair.second, "difference": pair.difference,
            "interval": _interval(pair.low, pair.high), "p": _or_none(pair.p), "conclusion": pair.told,
        }
        for pair in study.pairs()
    ]  # fmt: skip
    return {
        "study": str(study.path),
        "threads": study.threads,
        "cells": cells,
        "arms": arms,
        "pairs": pairs,
    }


def lines(study: Study) -> list[str]:
    """Arms and pairs, for a terminal."""
    width = max(len(arm) for arm in study.arms)
    told = [
        f"{'surrogate':<{width}}   mean  95 % interval      {study.seeds} seed(s), test accuracy"
    ]
    for arm, s in study.summaries().items():
        told.append(f"{arm:<{width}}  {s.mean:.4f}  {_told(s.low, s.high)}")
    told.append("paired differences; intervals and p hold for all pairs at once (Bonferroni, Holm)")
    for pair in study.pairs():
        names, interval = f"{pair.first} - {pair.second}", _told(pair.low, pair.high)
        told.append(f"{names}: {pair.difference:+.4f} {interval} p {pair.p:.3g}: {pair.told}")
    return told


def write(study: Study) -> Path:
    """Write `comparison.json` and `report.html` of a finished study."""
    write_atomically(
        study.path / "comparison.json", (json.dumps(content(study), indent=2) + "\n").encode()
    )
    surrogates = {arm: parse(surrogate) for arm, surrogate in study.arms.items()}
    page = Page(
        f"{len(study.arms)} surrogates, {study.seeds} seed(s)",
        "All arms of a seed share weights at the beginning, order of data, dropout and mismatch. "
        "Forward spikes never depend on a surrogate; what differs is what is learnt.",
    )
    summaries = study.summaries()
    means = {
        key: study.values(lambda cell, key=key: sum(cell.result[key]) / len(cell.result[key]))  # type: ignore[misc]  # mypy does not infer a lambda with a default
        for key in ("rates", "dead", "saturated")
    }
    page.add_table(
        "Arms",
        "Test accuracy over seeds with its 95 % interval by Student's t; mean rate, and shares of neurons that never "
        "fire or hardly do anything else, on the test part.",
        ["surrogate", "mean", "low", "high", "rate", "dead", "saturated"],
        [
            [arm, s.mean, s.low, s.high, *(sum(of[arm]) / study.seeds for of in means.values())]
            for arm, s in summaries.items()
        ],
    )
    page.add_table(
        "Differences",
        "Paired by seed. Intervals hold for all pairs at once (Bonferroni), p is corrected for their number (Holm).",
        ["first", "second", "difference", "low", "high", "p", "conclusion"],
        [[p.first, p.second, p.difference, p.low, p.high, p.p, p.told] for p in study.pairs()],
    )
    page.add_courses(_courses(study))
    page.add_curves(surrogates)
    page.add_trace(surrogates, *_trace(study.cells[0]))
    page.add_table(
        "Cells",
        "Each run; equal hashes are equal weights, to the bit.",
        ["surrogate", "seed", "test accuracy", "weights"],
        [[c.arm, c.seed, c.result["test_accuracy"], c.weights_sha256[:12]] for c in study.cells],
    )
    path = study.path / "report.html"
    page.write(path)
    return path


def _courses(study: Study) -> dict[str, dict[str, list[list[float]]]]:
    rows = {cell: _rows(cell) for cell in study.cells}
    names = [
        *DRAWN,
        *(name for name in rows[study.cells[0]][0] if name.startswith(("grad_", "rate_"))),
    ]
    return {
        name: {
            arm: [[float(row[name]) for row in rows[c]] for c in study.cells if c.arm == arm]
            for arm in study.arms
        }
        for name in names
    }


def _rows(cell: Cell) -> list[dict[str, str]]:
    with open(RunFolder(cell.path).metrics, encoding="utf-8") as file:
        return list(csv.DictReader(file))


@torch.no_grad()
def _trace(cell: Cell) -> tuple[torch.Tensor, torch.Tensor, float, float]:
    """The busiest neuron of the first hidden layer on the first recording of the validation part."""
    run = Run.open(cell.path)
    net = run.model().eval()
    with ChipInstance(None).on(net):
        prepare_net(net)
        record = next(iter(net.record(torch.from_numpy(run.data.val.x[:1])).layers.values()))
    neuron = int(record.spk[0].sum(0).argmax())
    threshold = run.config.net.threshold if run.profile is None else run.profile.number("threshold")
    return record.u[0, :, neuron], record.spk[0, :, neuron], threshold, run.config.net.dt


def _interval(low: float, high: float) -> list[float | None]:
    return [_or_none(low), _or_none(high)]


def _or_none(value: float) -> float | None:
    return None if value != value else value


def _told(low: float, high: float) -> str:
    return "[      -      ]" if low != low else f"[{low:.4f}, {high:.4f}]"
