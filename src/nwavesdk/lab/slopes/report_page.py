"""The page of a scan: what reaches each layer under which surrogate, what is recommended, a membrane to try it on."""

from pathlib import Path

import torch

from nwavesdk.lab.page import Page
from nwavesdk.lab.run_batch import RunBatch
from nwavesdk.lab.slopes.grid import told
from nwavesdk.lab.slopes.report import RECOMMENDED, SlopeReport
from nwavesdk.layers import prepare_net

__all__ = ["write_page"]

MOST = 12
"""Curves that can be told apart on one plot."""


@torch.no_grad()
def write_page(path: Path, report: SlopeReport, batch: RunBatch) -> None:
    """Write the page of a scan.

    Args:
        path: The file.
        report: The scan.
        batch: What was scanned.
    """
    scan, L = report.scan, len(report.scan.layers)
    page = Page(
        "How much gradient reaches each layer",
        f"{len(batch.labels)} recordings of the training part, {batch.weights} weights, loss {report.loss:.4g}. "
        "Spikes do not depend on the surrogate: all candidates are from one forward pass.",
    )
    page.table(
        "Recommended",
        "For each layer, with the reason.",
        ["layer", "surrogate", "reason"],
        [[depth, told(one.surrogate), one.reason] for depth, one in enumerate(report.advice, 1)],
    )
    rows = [(scan, row, name) for row, name in enumerate(scan.candidates)] + [(report.checked, 0, RECOMMENDED)]
    page.table(
        "Candidates",
        "Norm of ∂L/∂charge of each layer over that of the last; usable: the least share, over layers, of neurons with "
        f"at least {scan.floor:g} of what one of the last layer has.",
        ["candidate", *(f"layer {k}" for k in range(1, L)), "last, norm", "usable"],
        [
            [
                name + (" (own)" if source is scan and row == scan.own_row else ""),
                *(float(source.norm[row, k] / source.norm[row, -1]) for k in range(L - 1)),
                float(source.norm[row, -1]),
                float(source.usable[row].min()),
            ]
            for source, row, name in rows
        ],
    )
    surrogates = {told(s): s for candidate in scan.surrogates for s in candidate}
    shown = dict(list(surrogates.items())[:MOST])
    page.curves(shown)
    prepare_net(batch.net, seed=batch.chip)
    name, record = next(iter(batch.net.record(batch.x[:1]).layers.items()))
    neuron = int(record.spk[0].sum(0).argmax())
    layer = batch.net.get_submodule(name)
    threshold = float(layer.constants()[1][neuron])  # type: ignore[operator]  # a neuron layer
    page.trace(shown, record.u[0, :, neuron], record.spk[0, :, neuron], threshold, float(layer.dt))  # type: ignore[arg-type]  # as above
    page.write(path)
