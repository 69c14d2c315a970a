"""`RunBatch`: a training batch of a run, with its net, for the examination of its gradients."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from nwavesdk.deploy.stages import FRONTENDS
from nwavesdk.layers import NeuronLayer
from nwavesdk.net import record
from nwavesdk.net.layer_names import module_layer_names
from nwavesdk.net.preparation import prepared
from nwavesdk.train import CompletedConfig, Run, RunFolder
from nwavesdk.train.data.load import load_run_data
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO, damaged_checkpoint
from nwavesdk.train.fit.evaluation import Evaluation, evaluate_net
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.net_file import NetChoice, match_page
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.seeds import chip_seed, stream_seed
from nwavesdk.train.fit.tasks import Objective

__all__ = ["RunBatch", "busiest_neuron", "decoded_loss"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RunBatch:
    """Some recordings of a run's training set, and the net that learns from them.

    Attributes:
        net: The net in `eval()`, without dropout.
        x: Input [B, T, F].
        y: The targets of the batch; see `Batch`.
        lengths: Number of steps of each recording, int64 [B]; None if there is no padding.
        weights: Origin of the weights: `"initial"`, `"checkpoint"` or `"trained"`.
        chip: Seed of the drawn chip, or None if the run trains without mismatch.
        loss: The loss of the run, `loss(spk, mem)`.
        pictures: Folder for pictures.
        config: The config of the run.
        has_readout: Whether the output layer is a read-out, which does not spike.
        evaluate: Runs the net, without mismatch, on the whole training set.
    """

    net: RunNet
    x: Tensor
    y: Tensor
    lengths: Tensor | None
    weights: str
    chip: int | None
    loss: Callable[[Tensor, Tensor], Tensor]
    pictures: Path
    config: CompletedConfig
    has_readout: bool
    evaluate: Callable[[], Evaluation]

    @classmethod
    def open(
        cls, path: Path, recordings: int | None = None, net: NetChoice | None = None
    ) -> "RunBatch":
        """Load the batch of a run.

        Args:
            path: Folder of a run, or the config file of a run. A folder has the trained weights, if
                they exist; otherwise the weights of the checkpoint, or else the initial weights. A
                config file has the initial weights.
            recordings: Number of recordings. [the batch size of the run]
            net: The file that builds the net, `"FILE.py:build"`, for a run with `--net`.

        Raises:
            ValueError: If there is no run, its data have changed, or another file built its net.
        """
        is_config = path.is_file()
        if is_config:
            config = match_page(CompletedConfig.read(path), net, path.parent)
            run = Run(RunFolder(path.parent), config, load_run_data(config))
        else:
            run = Run.open(path, net)
        config = run.config
        has_mismatch = config.chip is not None and config.chip.training == "mismatch"
        run_net, weights = _load_net(run, has_mismatch, use_initial=is_config)

        # The choice of recordings depends on the run's seed only, so all commands examine the same
        # recordings.
        train = run.data.train
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "look"))
        order = torch.randperm(len(train), generator=generator)
        batch = train.batch(order[: recordings or config.learning.batch_size].numpy())
        lengths = lengths_of(batch)

        task = run.fitted_task()
        return cls(
            net=run_net.eval(),
            x=batch.x.to_dense(),  # lists of events have no gradient
            y=batch.y,
            lengths=lengths,
            weights=weights,
            chip=chip_seed(config.seed, "look", drawn=False) if has_mismatch else None,
            loss=partial(decoded_loss(task, task.decoder()), y=batch.y, lengths=lengths),
            pictures=Path(".") if is_config else path / "pictures",
            config=config,
            has_readout=task.output.is_readout,
            evaluate=partial(evaluate_net, run_net, task, train, config.learning.batch_size),
        )

    def layer_names(self, modules: Sequence[str]) -> dict[str, str]:
        """The display name of each spiking layer, by the name of its module.

        Args:
            modules: Names of the spiking layers in the net, from the first to the last.
        """
        has_front_end = any(isinstance(module, FRONTENDS) for module in self.net.modules())
        return module_layer_names(
            modules, has_front_end=has_front_end, has_output=not self.has_readout
        )


def decoded_loss(task: Objective, decoder: nn.Module) -> Callable[..., Tensor]:
    """The loss of a task as a function `loss(spk, mem, y, lengths)` of the net's outputs.

    Args:
        task: The task, fitted to the training set.
        decoder: Computes the outputs of the task from the spikes and membranes of the last layer.
    """

    def loss(spk: Tensor, mem: Tensor, y: Tensor, lengths: Tensor | None = None) -> Tensor:
        with prepared(decoder):
            return task.loss(decoder(spk, mem, lengths), y, lengths)

    return loss


@torch.no_grad()
def busiest_neuron(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor, float]:
    """z, spikes and time step of the busiest neuron of the first spiking layer.

    Args:
        net: Any module that `nwavesdk.net.record` accepts.
        x: Input [B, T, *features]. Only its first sequence is run.
    """
    name, first = next(iter(record(net, x[:1]).spiking.items()))
    z, spk = (values[0].flatten(1) for values in (first.z, first.spk))
    neuron = int(spk.sum(0).argmax())
    layer = net.get_submodule(name)
    assert isinstance(layer, NeuronLayer)
    return z[:, neuron], spk[:, neuron], layer.dt


def _load_net(run: Run, has_mismatch: bool, use_initial: bool) -> tuple[RunNet, str]:
    """The net of a run, and the origin of its weights."""
    folder = run.folder
    if folder.model.is_file() and not use_initial:
        return run.trained(mismatch=has_mismatch).net, "trained"
    if use_initial or not folder.checkpoint.is_file():
        return run.first_network(mismatch=has_mismatch), "initial"

    net = run.network(mismatch=has_mismatch)
    state = AtomicCheckpointIO(folder.identity).load_checkpoint(folder.checkpoint)["state_dict"]
    try:
        net.load_state_dict({name.removeprefix("net."): value for name, value in state.items()})
    except Exception as error:  # a damaged file can raise anything
        raise damaged_checkpoint(folder.checkpoint, error) from error
    return net, "checkpoint"
