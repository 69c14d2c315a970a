"""Hard places: where a net in training takes the background for events.

They are searched after each epoch in the whole training background, and some chunks of the next
epoch are at these places. They are part of the checkpoint, so a resumed run sees the same chunks.
"""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from nwavesdk.data import Indices
from nwavesdk.data.composed import ComposedSeries, step_labels, stream_frames
from nwavesdk.data.recordings import Array
from nwavesdk.net.preparation import prepared
from nwavesdk.train.fit.learner import Learner

__all__ = ["HardPlaces", "find_hard_places"]

# Part of the run after which the search begins: an untrained net takes anything for an event.
FIRST_SEARCH = 0.3

# The background runs through the net in blocks of this length [s], as a batch of shorter parts.
BLOCK_SECONDS = 480.0
PART_SECONDS = 30.0

# At most one place in this time [s], and places per hour of background.
MIN_DISTANCE = 1.0
PLACES_PER_HOUR = 60


class HardPlaces(Callback):
    """Chooses the hard places of the training set after each epoch.

    Args:
        train: The training set.
    """

    def __init__(self, train: ComposedSeries) -> None:
        self.train = train
        self.places: Indices = np.zeros(0, np.int64)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: Any) -> None:
        """Search with the weights of the epoch, unless it is an early or the last epoch."""
        progress = (trainer.current_epoch + 1) / (trainer.max_epochs or 1)
        if FIRST_SEARCH <= progress < 1:
            self.places = find_hard_places(pl_module, self.train)
            self.train.set_hard_places(self.places)

    def state_dict(self) -> dict[str, Any]:
        return {"places": self.places.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.places = np.array(state_dict["places"], np.int64)
        self.train.set_hard_places(self.places)


@torch.no_grad()
def find_hard_places(model: Learner, train: ComposedSeries) -> Indices:
    """The samples of the training background where events seem most likely, the likeliest first.

    Args:
        model: The net with its decoder.
        train: The training set.
    """
    line, framing, net = train.sounds.line, train.framing, model.net
    part_steps = max(1, round(PART_SECONDS / framing.hop))
    likelihoods = []
    net.eval()
    for frames in stream_frames(line, framing, BLOCK_SECONDS):
        padded = np.pad(train.input.scaled(frames, ""), ((0, -len(frames) % part_steps), (0, 0)))
        x = torch.from_numpy(padded.reshape(-1, part_steps, padded.shape[1])).to(model.device)
        with prepared(net), prepared(model.decoder):
            spk, mem = net(x)
            logits = model.decoder(spk, mem)
        is_event = 1 - logits.float().softmax(dim=-1)[..., 0]
        likelihoods.append(is_event.flatten()[: len(frames)].cpu().numpy())
    net.train()

    likelihood = np.concatenate(likelihoods)
    ends = framing.ends(len(likelihood))
    likelihood[step_labels(line.events, ends, train.recordings.classes) != 0] = 0
    steps = _peaks(likelihood, max(1, round(MIN_DISTANCE / framing.hop)))
    n_places = max(1, round(PLACES_PER_HOUR * line.seconds / 3600))
    return np.asarray(ends[steps[:n_places]] * line.sample_rate, np.int64)


def _peaks(values: Array, width: int) -> Indices:
    """The index of the largest value in each stretch of this width, the largest value first."""
    padded = np.pad(values, (0, -len(values) % width)).reshape(-1, width)
    highest = padded.max(axis=1)
    peaks = np.arange(len(padded)) * width + padded.argmax(axis=1)
    order = np.argsort(-highest, kind="stable")
    likely: Indices = peaks[order[highest[order] > 0]]
    return likely
