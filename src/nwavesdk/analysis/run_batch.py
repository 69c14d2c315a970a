"""A batch of a run and its net, to look at gradients as training sees them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nwavesdk.layers import SpikingSequential
from nwavesdk.train import Run, RunConfig, RunFolder
from nwavesdk.train.checkpoint import AtomicCheckpointIO
from nwavesdk.train.classifier import population_loss
from nwavesdk.train.network import chip_seed, stream_seed
from nwavesdk.train.run_data import load_run_data

__all__ = ["RunBatch"]


@dataclass(frozen=True, eq=False)
class RunBatch:
    """Some recordings of a run's training part, and the net that is to learn from them.

    Attributes:
        net: In `eval()`: without dropout.
        x: Input [B, T, F].
        labels: Classes [B].
        weights: Where the weights are from: `"initial"`, `"checkpoint"` or `"trained"`.
        chip: Seed of the chip that is drawn, for a net that knows of mismatch.
        loss: `loss(spk, mem)`, that of the run.
        pictures: Where pictures go.
    """

    net: SpikingSequential
    x: Tensor
    labels: Tensor
    weights: str
    chip: int | None
    loss: Callable[[Tensor, Tensor], Tensor]
    pictures: Path

    @classmethod
    def open(cls, path: Path, recordings: int | None = None) -> "RunBatch":
        """The batch of a run.

        Args:
            path: A run's folder, whose weights are the selected ones, or those of its checkpoint, or the initial ones;
                or the config of a run, with initial weights.
            recordings: How many. [the batch size of the run]

        Raises:
            ValueError: There is no run, or its data are no longer what they were.
        """
        if path.is_file():
            config, data = load_run_data(RunConfig.read(path))
            run, place = Run(RunFolder(path.parent), config, data), Path(".")
        else:
            run, place = Run.open(path), path / "pictures"
        config, learning = run.config, run.config.learning
        mismatch = config.chip is not None and config.chip.training == "mismatch"
        net, weights = _net(run, mismatch, initial=path.is_file())
        order = torch.randperm(
            len(run.data.train),
            generator=torch.Generator().manual_seed(stream_seed(config.seed, "look")),
        )
        some = order[: recordings or learning.batch_size]
        x, labels = (
            torch.from_numpy(run.data.train.x)[some],
            torch.from_numpy(run.data.train.labels)[some],
        )

        def loss(spk: Tensor, mem: Tensor) -> Tensor:  # noqa: ARG001
            return population_loss(spk, labels, len(run.classes), learning.sharpness)

        chip = chip_seed(config.seed, "look", drawn=False) if mismatch else None
        return cls(net.eval(), x, labels, weights, chip, loss, place)


def _net(run: Run, mismatch: bool, initial: bool) -> tuple[SpikingSequential, str]:
    folder = run.folder
    if initial or not (folder.model.is_file() or folder.checkpoint.is_file()):
        return run.network(mismatch=mismatch), "initial"
    if folder.model.is_file():
        return run.model(mismatch=mismatch), "trained"
    net = run.network(mismatch=mismatch)
    content = AtomicCheckpointIO().load_checkpoint(folder.checkpoint)["state_dict"]
    net.load_state_dict({name.removeprefix("net."): value for name, value in content.items()})
    return net, "checkpoint"
