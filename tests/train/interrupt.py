"""A run that breaks off, for tests of what goes on from there."""

from typing import Any

import pytest

from nwavesdk.train import Run


class StopError(Exception):
    """What interrupts the run."""


def stop_after(run: Run, epochs: int) -> None:
    """Train and break off after so many epochs, as an interrupt would."""
    from nwavesdk.train.checkpoint import EveryEpoch

    original = EveryEpoch.on_train_epoch_end

    def stopping(self: Any, trainer: Any, module: Any) -> None:
        original(self, trainer, module)
        if trainer.current_epoch + 1 == epochs:
            raise StopError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EveryEpoch, "on_train_epoch_end", stopping)
        with pytest.raises(StopError):
            run.train()
