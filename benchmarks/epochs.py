"""The seconds and the validation accuracy of each epoch of the main job."""

import csv
import tempfile
from pathlib import Path

from nwavesdk.layers import NeuronLayer, SpikingSequential
from nwavesdk.train import Run, RunConfig


def epochs(solver: str, count: int) -> dict[str, list[float]]:
    """Return seconds and validation accuracy of all epochs but the first, which compiles."""

    class OnSolver(Run):
        def network(self, **options: bool) -> SpikingSequential:
            net = super().network(**options)
            for layer in net.modules():
                if isinstance(layer, NeuronLayer):
                    layer.solver = solver
            return net

    with tempfile.TemporaryDirectory() as folder:
        run = OnSolver.new(
            Path(folder) / "run", RunConfig.model_validate({"learning": {"epochs": 1 + count}})
        )
        run.train()
        rows = list(csv.DictReader(run.folder.metrics.open(encoding="utf-8")))[1:]
    return {name: [float(row[name]) for row in rows] for name in ("seconds", "val_accuracy")}
