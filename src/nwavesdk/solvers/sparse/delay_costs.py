"""Which kernel of a delayed product is the fastest, by a count of clock cycles.

All kernels give the same bits, so a wrong choice costs time only.
"""

from dataclasses import dataclass
from enum import Enum

import torch

__all__ = ["QUAD", "DelayedWork", "Way", "quads"]

QUAD = 4  # rows that a kernel reads or writes together

_VECTOR = 64  # bytes
# Clock cycles, measured on an AMD EPYC (model 17). Per connection, to split a delay:
_SPLIT = 5
# Per call of a row function of a quad, and of the one for a spike in a step:
_DENSE_CALL = 200
_PLACES_CALL = 60
_STEP_CALL = 20
# Per vector of values in the dense kernel, spike and quad, and vector of outputs in a step:
_DENSE_VECTOR = 12
_PLACE = 5
_STEP_VECTOR = 6


class Way(Enum):
    """The kernel of a product."""

    DENSE = "all values"
    PLACES = "spikes, over all their connections"
    STEPS = "spikes, over the connections that are due in each step"


@dataclass(frozen=True)
class DelayedWork:
    """The sizes of a product, and the cycles that each kernel takes on one thread."""

    batch: int
    steps: int
    inputs: int
    outputs: int
    max_delay: int
    dtype: torch.dtype

    @property
    def lanes(self) -> int:
        """Batch elements in a block of the dense kernel.

        They fill a vector, and those of all steps at least eight.
        """
        vector = _VECTOR // self.dtype.itemsize
        return min(self.batch, max(vector, -(-8 * vector // self.steps)))

    def choose(self, spikes: int, *, with_steps: bool) -> Way:
        """The fastest way for a number of spikes.

        Args:
            spikes: Number of non-zeros.
            with_steps: Whether the way over steps may be taken.
        """
        cycles = {
            Way.DENSE: self._dense_cycles(),
            Way.PLACES: self._places_cycles(spikes),
            Way.STEPS: spikes * self._step_cycles(),
        }
        if not with_steps:
            del cycles[Way.STEPS]
        return min(cycles, key=lambda way: cycles[way])

    def most_spikes(self) -> int:
        """The most non-zeros of an input with which it may pay to list them."""
        per_spike = min(quads(self.outputs) * _PLACE, self._step_cycles())
        return self._dense_cycles() // per_spike

    def _dense_cycles(self) -> int:
        blocks = -(-self.batch // self.lanes)
        vectors = self._vectors(self.steps * self.lanes)
        calls = blocks * quads(self.inputs) * self.outputs
        return self._split_cycles() + calls * (_DENSE_CALL + _DENSE_VECTOR * vectors)

    def _places_cycles(self, spikes: int) -> int:
        # Few spikes have a call each, more share those of their block and input.
        calls = min(spikes, self.batch * self.inputs)
        each = spikes * _PLACE + calls * _PLACES_CALL
        return self._split_cycles() + quads(self.outputs) * each

    def _step_cycles(self) -> int:
        """Cycles per spike."""
        visits = min(self.steps, self.max_delay + 1)
        return visits * (_STEP_CALL + _STEP_VECTOR * self._vectors(self.outputs))

    def _split_cycles(self) -> int:
        return _SPLIT * self.inputs * self.outputs

    def _vectors(self, values: int) -> int:
        return -(-values * self.dtype.itemsize // _VECTOR)


def quads(count: int) -> int:
    """Number of quads that hold so many rows."""
    return -(-count // QUAD)
