"""How the values of an image become the input of a net in each time step."""

from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

import numpy as np
import torch

from nwavesdk.data.recordings import Frames
from nwavesdk.encoding import encode_latency

__all__ = ["Encoder", "Latency", "Rate", "encoder_of", "hold_values"]

# From frames `[L, F]`, the key of their recording and a number of steps per frame to `[T, F]`.
Encoder = Callable[[Frames, str, int], Frames]


def hold_values(frames: Frames, hold: int) -> Frames:
    """Each frame for several time steps: a constant current.

    Args:
        frames: `[L, F]`.
        hold: Time steps per frame.

    Returns:
        `[L * hold, F]`.
    """
    return np.repeat(frames, hold, axis=0)


@dataclass(frozen=True)
class Rate:
    """Spikes with the values as their probabilities, independent in every step.

    A recording has the same spikes in every epoch and on every machine, which
    `nwavesdk.encoding.encode_rate` with torch's generators does not promise.

    Args:
        seed: Seed of the spikes.

    Example:
        >>> Rate(0)(np.array([[0.0, 1.0]], np.float32), "image", 3).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
    """

    seed: int

    def __call__(self, frames: Frames, key: str, hold: int) -> Frames:
        entropy = sha256(f"{self.seed}:{key}".encode()).digest()
        generator = np.random.default_rng(int.from_bytes(entropy, "little"))
        probabilities = hold_values(frames, hold)
        return (generator.random(probabilities.shape) < probabilities).astype(np.float32)


@dataclass(frozen=True)
class Latency:
    """One spike for each value above 0: the larger the value, the earlier.

    `nwavesdk.encoding.encode_latency` has the formula; values outside of 0 to 1 count as the nearer
    of both.

    Example:
        >>> Latency()(np.array([[1.0, 0.5, 0.0]], np.float32), "image", 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __call__(self, frames: Frames, key: str, hold: int) -> Frames:  # noqa: ARG002
        values = torch.from_numpy(frames).clamp(0, 1)
        return encode_latency(values, hold).flatten(0, 1).numpy()


def encoder_of(name: Literal["current", "rate", "latency"], seed: int) -> Encoder | None:
    """The encoder of a name; None for a constant current.

    Args:
        name: Its name in a config.
        seed: Seed of random spikes.
    """
    return {"current": None, "rate": Rate(seed), "latency": Latency()}[name]
