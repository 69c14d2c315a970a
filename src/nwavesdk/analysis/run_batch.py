"""`RunBatch`: a training batch of a run, with its net, for the examination of its gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nwavesdk.analysis.slopes.recorded_pass import RecordedPass
from nwavesdk.data import Batch
from nwavesdk.deploy.stages import FRONTENDS
from nwavesdk.layers import Recording
from nwavesdk.net.layer_names import module_layer_names
from nwavesdk.net.preparation import prepared
from nwavesdk.surrogate import Surrogate
from nwavesdk.train import CompletedConfig, Run, RunFolder
from nwavesdk.train.data.load import load_run_data
from nwavesdk.train.fit.checkpoint import AtomicCheckpointIO, damaged_checkpoint
from nwavesdk.train.fit.evaluation import Evaluation, evaluate_net
from nwavesdk.train.fit.learner import lengths_of
from nwavesdk.train.fit.network import RunNet
from nwavesdk.train.fit.objective import TrainingTask
from nwavesdk.train.fit.seeds import chip_seed, stream_seed
from nwavesdk.train.report.page import Section, gradient_plot, surrogate_plot
from nwavesdk.train.run_folder import NetChoice, match_page

__all__ = ["RunBatch", "surrogate_sections"]


@dataclass(frozen=True, eq=False, kw_only=True)
class RunBatch:
    """Some recordings of a run's training set, and the net that learns from them.

    Attributes:
        run: The run.
        task: The task of the run, fitted to its training set.
        net: The net in `eval()`, without dropout.
        recordings: The recordings.
        weights: Origin of the weights: `"initial"`, `"checkpoint"` or `"trained"`.
        chip: Seed of the drawn chip, or None if the run trains without mismatch.
    """

    run: Run
    task: TrainingTask
    net: RunNet
    recordings: Batch
    weights: str
    chip: int | None

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
        has_mismatch = config.draws_chips
        run_net, weights = _load_net(run, has_mismatch, use_initial=is_config)

        # The choice of recordings depends on the run's seed only, so all commands examine the same
        # recordings.
        train = run.data.train
        generator = torch.Generator().manual_seed(stream_seed(config.seed, "look"))
        order = torch.randperm(len(train), generator=generator)
        return cls(
            run=run,
            task=run.fitted_task,
            net=run_net.eval(),
            recordings=train.batch(order[: recordings or config.learning.batch_size].numpy()),
            weights=weights,
            chip=chip_seed(config.seed, "look", drawn=False) if has_mismatch else None,
        )

    def record_pass(self) -> RecordedPass:
        """Run the net on the batch, with the loss of the run."""
        lengths = lengths_of(self.recordings)
        decoder = self.task.decoder()

        def loss(spk: Tensor, mem: Tensor) -> Tensor:
            with prepared(decoder):
                return self.task.loss(decoder(spk, mem, lengths), self.recordings.y, lengths)

        x = self.recordings.x.to_dense()  # lists of events have no gradient
        return RecordedPass(self.net, x, loss, seed=self.chip, lengths=lengths)

    def evaluate(self) -> Evaluation:
        """Run the net, without mismatch, on the whole training set."""
        config = self.run.config
        return evaluate_net(self.net, self.task, self.run.data.train, config.learning.batch_size)

    def layer_names(self, modules: Sequence[str]) -> dict[str, str]:
        """The display name of each spiking layer, by the name of its module.

        Args:
            modules: Names of the spiking layers in the net, from the first to the last.
        """
        has_front_end = any(isinstance(module, FRONTENDS) for module in self.net.modules())
        return module_layer_names(
            modules, has_front_end=has_front_end, has_output=not self.task.is_readout
        )


def surrogate_sections(
    surrogates: Mapping[str, Surrogate], batch: RunBatch, recording: Recording
) -> list[Section]:
    """The derivatives of surrogates: over z, and in the busiest neuron of the first layer.

    Args:
        surrogates: Surrogates by name.
        batch: A batch of a run.
        recording: The recording of its net; the first sequence is shown.
    """
    first = next(iter(recording.spiking.values()))
    z, spk = (values[0].detach().flatten(1) for values in (first.z, first.spk))
    neuron = int(spk.sum(0).argmax())
    trace = gradient_plot(surrogates, z[:, neuron], spk[:, neuron], batch.run.config.net.dt)
    return [surrogate_plot(surrogates), trace]


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
