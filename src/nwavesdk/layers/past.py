"""`PastSynapse`: a synapse that reads earlier inputs, and stores the last inputs as its state."""

from abc import abstractmethod

import torch
from torch import Tensor

from nwavesdk.layers.prepare import as_trainable
from nwavesdk.layers.synapse import Synapse
from nwavesdk.layers.weight import parameter_of

__all__ = ["PastSynapse"]


class PastSynapse(Synapse):
    """Base of synapses with a charge that depends on the inputs of earlier steps.

    A subclass checks its input in `_check_input`, brings it to [B, T, *features] in `_as_steps`,
    and computes the charge in `_charge_of`.

    The state is the inputs of the last `past_steps` steps, [B, past_steps, *features], with the
    most recent step last; None, which is silence, from `prepare_net` to the first call.
    """

    _state_attributes = ("_past",)
    _past: Tensor | None = None

    @property
    @abstractmethod
    def past_steps(self) -> int:
        """Number of earlier steps that an output reads."""

    @abstractmethod
    def _check_input(self, x: object) -> bool:
        """Check an input; return whether it is a sequence."""

    @abstractmethod
    def _as_steps(self, x: Tensor) -> Tensor:
        """An input as a sequence [B, T, *features], in the order of features of the state."""

    @abstractmethod
    def _charge_of(
        self, past: Tensor, steps: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        """The charge [B, T, *features'] of `steps`, which follow the inputs `past`."""

    def forward(self, x: Tensor) -> Tensor:
        """The charge of a sequence or of one step; see the class."""
        is_sequence = self._check_input(x)
        if not self._is_prepared:
            self._require_prepared(is_sequence)
        weight = self._weight_for(x)
        steps = self._as_steps(x)
        past = self._past_of(steps)
        cur = self._charge_of(past, steps, weight, parameter_of(self, "bias"))
        self._keep_last(past, steps)
        return cur if is_sequence else cur[:, 0]

    def charge(self, spk: Tensor, weight: Tensor) -> Tensor:
        """The charge after silence, without bias; it neither reads nor changes the state.

        Args:
            spk: A sequence or one step; see the class, also for the shape of the charge.
            weight: The effective weight, in the shape of `weight`.
        """
        is_sequence = self._check_input(spk)
        steps = self._as_steps(spk)
        cur = self._charge_of(self._silence(steps), steps, weight, None)
        return cur if is_sequence else cur[:, 0]

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
        expected = (steps.shape[0], self.past_steps, *steps.shape[2:])
        if past.shape != expected:
            raise RuntimeError(
                f"{self._title} has a state of shape {list(past.shape)}, the input needs "
                f"{list(expected)}: call prepare_net(model) before a new batch."
            )
        return as_trainable(past.to(steps))

    def _keep_last(self, past: Tensor, steps: Tensor) -> None:
        """Store the inputs before the next step as the state: a copy, not the whole sequence."""
        if self.past_steps:
            latest = steps[:, max(steps.shape[1] - self.past_steps, 0) :]
            self._set_state(torch.cat([past[:, latest.shape[1] :], latest], 1))
