"""Hard places: where a net in training takes the background for events.

They are searched after each epoch in a part of the training background, and some chunks of later
epochs are at these places. They are part of the checkpoint, so a resumed run sees the same chunks.
"""

from typing import Any

import numpy as np
import torch
from lightning.pytorch import Callback, Trainer

from nwavesdk.data import Indices
from nwavesdk.data.composed import MAX_HARD_PLACES, ComposedSeries, step_labels
from nwavesdk.data.recordings import Array
from nwavesdk.data.source import Samples
from nwavesdk.metrics import Event
from nwavesdk.net.preparation import prepared
from nwavesdk.train.fit.learner import Learner

__all__ = ["HardPlaces", "find_hard_places"]

# Part of the run after which the search begins: an untrained net takes anything for an event.
FIRST_SEARCH = 0.3

# The background that is searched after an epoch; it runs through the net in blocks, each as a batch
# of shorter parts [s].
SEARCHED_SECONDS = 3600.0
BLOCK_SECONDS = 480.0
PART_SECONDS = 30.0

# At most one place in this time [s], and this number in a block.
MIN_DISTANCE = 1.0
PLACES_PER_BLOCK = 16


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
        epoch, n_epochs = trainer.current_epoch + 1, trainer.max_epochs or 1
        if FIRST_SEARCH * n_epochs <= epoch < n_epochs:
            latest = find_hard_places(pl_module, self.train, epoch)
            self.places = np.concatenate([latest, self.places])[:MAX_HARD_PLACES]
            self.train.set_hard_places(self.places)

    def state_dict(self) -> dict[str, Any]:
        return {"places": self.places.tolist()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.places = np.array(state_dict["places"], np.int64)
        self.train.set_hard_places(self.places)


def find_hard_places(model: Learner, train: ComposedSeries, search: int) -> Indices:
    """The samples of the training background where events seem most likely.

    Args:
        model: The net with its decoder.
        train: The training set.
        search: The number of the search, which chooses the part of the background.
    """
    line, hop = train.sounds.line, train.framing.hop
    rate, n_searched = line.sample_rate, round(SEARCHED_SECONDS * line.sample_rate)
    first = search * n_searched % len(line)
    last = min(first + n_searched, len(line))

    places = []
    for start in range(first, last, round(BLOCK_SECONDS * rate)):
        samples = line.read(start, min(last, start + round(BLOCK_SECONDS * rate)))
        likelihood = _event_likelihood(model, train, samples)
        ends = train.framing.ends(len(likelihood))
        begin = start / rate
        events = [Event(name, s - begin, e - begin) for name, s, e in line.events]
        likelihood[step_labels(events, ends, train.recordings.classes) != 0] = 0
        steps = _peaks(likelihood, max(1, round(MIN_DISTANCE / hop)))[:PLACES_PER_BLOCK]
        places.append(start + np.asarray(ends[steps] * rate, np.int64))
    return np.concatenate(places)


@torch.no_grad()
def _event_likelihood(model: Learner, train: ComposedSeries, samples: Samples) -> Array:
    """The probability of any event in each step of a sound, `[L]`."""
    frames = train.input.scaled(train.framing.frames(samples), "")
    if not len(frames):
        return np.zeros(0, np.float32)

    n_steps = max(1, round(PART_SECONDS / train.framing.hop))
    padded = np.pad(frames, ((0, -len(frames) % n_steps), (0, 0)))
    x = torch.from_numpy(padded.reshape(-1, n_steps, padded.shape[1])).to(model.device)

    model.net.eval()
    with prepared(model.net), prepared(model.decoder):
        logits = model.decoder(*model.net(x))
    model.net.train()
    p_event = 1 - logits.float().softmax(dim=-1)[..., 0]
    likelihood: Array = p_event.flatten()[: len(frames)].cpu().numpy()
    return likelihood


def _peaks(values: Array, width: int) -> Indices:
    """The index of the largest value in each stretch of this width, the largest value first."""
    padded = np.pad(values, (0, -len(values) % width)).reshape(-1, width)
    highest = padded.max(axis=1)
    peaks = np.arange(len(padded)) * width + padded.argmax(axis=1)
    order = np.argsort(-highest, kind="stable")
    likely: Indices = peaks[order[highest[order] > 0]]
    return likely
