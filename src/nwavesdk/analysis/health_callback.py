"""`HealthCallback`: what ails a net, told while it trains."""

import copy
import logging
from collections.abc import Callable
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from nwavesdk.analysis.health import Finding, Health, Limits, examine
from nwavesdk.analysis.slopes import RecordedPass
from nwavesdk.layers import SpikingSequential
from nwavesdk.train.classifier import Classifier, population_loss

__all__ = ["HealthCallback"]

_log = logging.getLogger(__name__)

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


class HealthCallback(Callback):
    """Examines the net on the first batch of an epoch, when the epoch has ended.

    It works on a copy in `eval()`: training goes on to the bit as without it. What was not found in the examination
    before is logged as a warning, and `health_dead_1`, `health_starved_1`, … as metrics of the epoch.

    Args:
        loss: `loss(spk, mem, labels)`, where the module is no `Classifier`.
        every: Epochs from one examination to the next.
        limits: From where on something is told.
        seed: Of mismatch, see `prepare_net`.

    Attributes:
        found: What was found, by epoch from 0.

    Raises:
        TypeError: When training starts: the module's `net` is no `SpikingSequential`, or `loss` is missing.
    """

    def __init__(
        self, loss: Loss | None = None, every: int = 1, limits: Limits | None = None, seed: int = 0
    ) -> None:
        self.loss, self.every, self.limits, self.seed = loss, every, limits, seed
        self.found: dict[int, Health] = {}
        self._batch: tuple[Tensor, Tensor] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Check that there is something to examine."""
        if not isinstance(getattr(pl_module, "net", None), SpikingSequential):
            raise TypeError(
                f"HealthCallback examines module.net, a SpikingSequential; {_name(pl_module)} has none."
            )
        if self.loss is None and not isinstance(pl_module, Classifier):
            raise TypeError(f"HealthCallback: give loss=, as {_name(pl_module)} is no Classifier.")

    def on_train_batch_start(
        self,
        trainer: Trainer,  # noqa: ARG002
        pl_module: LightningModule,  # noqa: ARG002
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Keep the first batch of the epoch."""
        if batch_idx == 0:
            self._batch = batch[0], batch[1]

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Examine."""
        if self._batch is None or trainer.current_epoch % self.every:
            return
        (x, labels), self._batch = self._batch, None
        loss = self.loss or _loss_of(pl_module)
        net = copy.deepcopy(pl_module.net)
        assert isinstance(net, SpikingSequential)
        recorded = RecordedPass(net.eval(), x, lambda spk, mem: loss(spk, mem, labels), self.seed)
        health = examine(recorded.recording, recorded.charge_gradients(), self.limits)
        before = {(one.kind, one.layer) for one in self._latest()}
        for finding in health.findings:
            if (finding.kind, finding.layer) not in before and trainer.is_global_zero:
                _log.warning("epoch %d, %s", trainer.current_epoch + 1, finding)
        self.found[trainer.current_epoch] = health
        for depth, layer in enumerate(health.layers, 1):
            for kind in ("dead", "saturated", "starved"):
                pl_module.log(f"health_{kind}_{depth}", getattr(layer, kind), sync_dist=True)

    def _latest(self) -> tuple[Finding, ...]:
        return self.found[max(self.found)].findings if self.found else ()


def _loss_of(module: LightningModule) -> Loss:
    assert isinstance(module, Classifier)
    n_classes, sharpness = module.n_classes, module.learning.sharpness
    return lambda spk, _, labels: population_loss(spk, labels, n_classes, sharpness)


def _name(module: object) -> str:
    return type(module).__name__
