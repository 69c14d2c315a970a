"""`HealthCallback`: a diagnosis of the net while it trains."""

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor, nn

from nwavesdk.analysis.health import Health, Limits, examine
from nwavesdk.analysis.run_batch import decoded_loss
from nwavesdk.data import Batch
from nwavesdk.layers.lengths import mean_over_steps
from nwavesdk.layers.masks import copy_module
from nwavesdk.net.preparation import prepared
from nwavesdk.net.recording import record_spikes
from nwavesdk.train.fit.learner import Learner, lengths_of

__all__ = ["HealthCallback"]

_log = logging.getLogger(__name__)

Loss = Callable[..., Tensor]

# Recordings whose spikes are counted: a neuron that fires for few classes is silent in one batch.
ENOUGH_RECORDINGS = 256


class HealthCallback(Callback):
    """Examines the net at the end of an epoch, on the first batches of the epoch.

    Gradients come from the first batch alone. Spikes are counted over the first batches that
    together have 256 recordings.

    The callback examines a copy of the net in `eval()`, so training gives the same values, bit by
    bit, as without the callback. It logs a warning for each finding that is new since the previous
    examination. As metrics of the epoch, it logs `health_dead_NAME`, `health_saturated_NAME` and
    `health_starved_NAME` of each layer, and `health_growth_NAME` of recurrent layers, where `NAME`
    is the name of the layer in the net.

    Args:
        loss: `loss(spk, mem, labels)`; for a `Batch` with padding, `loss(spk, mem, labels,
            lengths)`. Needed if the module is not a `Learner`.
        every: Number of epochs from one examination to the next.
        limits: Limits of a healthy net. [`Limits()`]
        seed: Seed of the mismatch; see `prepare_net`.

    Attributes:
        found: The results, by epoch from 0.

    Raises:
        TypeError: When training starts, if the module has no `net` that is a torch module, or if
            `loss` is missing.
    """

    def __init__(
        self, loss: Loss | None = None, every: int = 1, limits: Limits | None = None, seed: int = 0
    ) -> None:
        self.loss = loss
        self.every = every
        self.limits = limits
        self.seed = seed
        self.found: dict[int, Health] = {}
        self._batches: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Require a net that can be examined."""
        title = type(pl_module).__name__
        if not isinstance(getattr(pl_module, "net", None), nn.Module):
            raise TypeError(
                f"HealthCallback examines module.net, a torch module, which {title} lacks."
            )
        if self.loss is None and not isinstance(pl_module, Learner):
            raise TypeError(f"HealthCallback needs loss=, because {title} is not a Learner.")

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,  # noqa: ARG002
    ) -> None:
        """Store the first batches of the epoch."""
        if sum(len(batch[0]) for batch in self._batches) < ENOUGH_RECORDINGS:
            self._batches.append(batch)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine the net, and log new findings."""
        batches, self._batches = self._batches, []
        if not batches or trainer.current_epoch % self.every:
            return

        x, *targets = batches[0][:2]
        lengths = _lengths_of(batches[0])
        if lengths is not None:
            targets.append(lengths)
        loss = self.loss
        if loss is None:
            assert isinstance(pl_module, Learner)
            # A copy, because the loss prepares the decoder, which changes its state.
            loss = decoded_loss(pl_module.task, copy.deepcopy(pl_module.decoder))

        assert isinstance(pl_module.net, nn.Module)
        net = copy_module(pl_module.net).eval()
        health = examine(
            net,
            x,
            lambda spk, mem: loss(spk, mem, *targets),
            seed=self.seed,
            lengths=lengths,
            limits=self.limits,
            rates=self._rates(net, batches),
        )

        before = self.found[max(self.found)].findings if self.found else ()
        known = {(finding.kind, finding.layer) for finding in before}
        for finding in health.findings:
            if (finding.kind, finding.layer) not in known and trainer.is_global_zero:
                _log.warning("epoch %d, %s", trainer.current_epoch + 1, finding)
        self.found[trainer.current_epoch] = health

        for layer in health.layers:
            for kind in ("dead", "saturated", "starved", "growth"):
                value = getattr(layer, kind)
                if value is not None:
                    pl_module.log(f"health_{kind}_{layer.layer}", value, sync_dist=True)

    @torch.no_grad()
    def _rates(self, net: nn.Module, batches: list[Any]) -> dict[str, Tensor]:
        """Spikes per step of each neuron, averaged over batches, by the name of the layer."""
        rates: dict[str, list[Tensor]] = {}
        for batch in batches:
            lengths = _lengths_of(batch)
            with prepared(net, self.seed):
                recording = record_spikes(net, batch[0], lengths)
            for name, spk in recording.spiking.items():
                rates.setdefault(name, []).append(mean_over_steps(spk, lengths).flatten())
        return {name: torch.stack(means).mean(0) for name, means in rates.items()}


def _lengths_of(batch: Any) -> Tensor | None:
    return lengths_of(batch) if isinstance(batch, Batch) else None
