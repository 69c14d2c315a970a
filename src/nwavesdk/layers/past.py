"""`PastSynapse`: a synapse that reads earlier inputs, and stores the last inputs as its state."""

from abc import abstractmethod

import torch
from torch import Tensor

from nwavesdk.layers.prepare import as_trainable
from nwavesdk.layers.synapse import Synapse

__all__ = ["PastSynapse"]


class PastSynapse(Synapse):
    """Base of synapses with a charge that depends on the inputs of earlier steps.

    The state is the inputs of the last `past_steps` steps, [B, past_steps, *features], with the
    most recent step last; None, which is silence, from `prepare_net` to the first call.
    """

    _state_attributes = ("_past",)
    _past: Tensor | None = None

    @property
    @abstractmethod
    def past_steps(self) -> int:
        """Number of earlier steps that an output reads."""

    def _silence(self, steps: Tensor) -> Tensor:
        """The state before the first of the steps [B, T, *features]."""
        return steps.new_zeros(steps.shape[0], self.past_steps, *steps.shape[2:])

    def _past_of(self, steps: Tensor) -> Tensor:
        """The inputs before the steps [B, T, *features].

        Raises:
            RuntimeError: If the batch size or the shape of a step differs from the state.
        """
        if self._past is None:
            return self._silence(steps)
        self._require_own_state()

        past = self._past
        if past.shape[0] != steps.shape[0]:
            raise RuntimeError(
                f"{self._title} has state for a batch of {len(past)}, the input has {len(steps)}: "
                "call prepare_net(model) before a new batch."
            )

        expected = (steps.shape[0], self.past_steps, *steps.shape[2:])
        if past.shape != expected:
            raise RuntimeError(
                f"{self._title} has a state of shape {list(past.shape)}, expected "
                f"{list(expected)}: call prepare_net(model) before inputs of another shape."
            )

        return as_trainable(past.to(steps))

    def _keep_last(self, past: Tensor, steps: Tensor) -> None:
        """Store the inputs before the next step as the state: a copy, not the whole sequence."""
        if self.past_steps:
            latest = steps[:, max(steps.shape[1] - self.past_steps, 0) :]
            self._set_state(torch.cat([past[:, latest.shape[1] :], latest], 1))
