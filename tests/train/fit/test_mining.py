"""Hard places: loud parts of a background that a net takes for events."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("lightning")

from data.test_composed import series_of
from nwavesdk.metrics import Event
from nwavesdk.train.fit.mining import HardPlaces, find_hard_places

RATE = 1000
LOUD = (20_000, 45_000)


class Membranes(nn.Module):
    """The membranes are the logits."""

    def forward(self, _: Tensor, mem: Tensor) -> Tensor:
        return mem


class LoudIsAnEvent(nn.Module):
    """The first event where the input is loud."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        assert len(x)  # not all nets take an empty batch
        logits = torch.stack([torch.zeros(x.shape[:2]), x.mean(dim=2), x[..., 0] - 99], dim=2)
        return logits, logits


def model() -> Any:
    cpu = torch.device("cpu")
    return SimpleNamespace(net=LoudIsAnEvent(), decoder=Membranes(), device=cpu)


def background() -> np.ndarray:
    """Faint noise with two loud seconds."""
    samples = 0.01 * np.random.default_rng(0).standard_normal(60_000)
    for place in LOUD:
        samples[place : place + RATE] *= 100
    return samples


def test_loud_places_come_first() -> None:
    places = find_hard_places(model(), series_of(background()), search=0)
    nearest = [min(abs(place - loud - RATE / 2) for loud in LOUD) for place in places[:2]]
    assert max(nearest) <= RATE
    assert np.diff(np.sort(places)).min() > 0


def test_events_are_no_hard_places() -> None:
    events = (Event("yes", LOUD[0] / RATE, LOUD[0] / RATE + 1),)
    train = series_of(background(), (events,))
    places = find_hard_places(model(), train, search=0)
    assert not ((places > LOUD[0]) & (places < LOUD[0] + RATE)).any()
    assert abs(places[0] - LOUD[1] - RATE / 2) <= RATE


def test_each_search_is_in_the_next_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.train.fit.mining.SEARCHED_SECONDS", 25.0)
    train = series_of(background())
    for search, (first, last) in enumerate([(0, 25), (25, 50), (50, 60), (15, 40)]):
        places = find_hard_places(model(), train, search)
        assert (places >= first * RATE).all()
        assert (places <= last * RATE).all()


def test_a_rest_without_a_frame_is_no_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nwavesdk.train.fit.mining.BLOCK_SECONDS", 60.0)
    samples = np.concatenate([background(), np.ones(10)])
    places = find_hard_places(model(), series_of(samples), search=0)
    assert len(places)
    assert (places <= 60_000).all()


def test_places_are_kept_in_a_checkpoint() -> None:
    callback = HardPlaces(series_of(background()))
    trainer: Any = SimpleNamespace(current_epoch=4, max_epochs=10)
    callback.on_train_epoch_end(trainer, model())
    assert len(callback.places)
    resumed = HardPlaces(series_of(background()))
    resumed.load_state_dict(callback.state_dict())
    assert torch.equal(resumed.train.hard, callback.train.hard)

    for epoch in (0, 9):
        early: Any = SimpleNamespace(current_epoch=epoch, max_epochs=10)
        untouched = HardPlaces(series_of(background()))
        untouched.on_train_epoch_end(early, model())
        assert not len(untouched.places)
