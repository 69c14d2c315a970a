"""Fixtures for tests of layers."""

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from layers.nets import LAYERS


@pytest.fixture(params=LAYERS)
def kind(request: pytest.FixtureRequest) -> str:
    """Name of a kind of layer in `LAYERS`."""
    return request.param


@pytest.fixture(params=["serial", "reference"])
def solver(request: pytest.FixtureRequest) -> str:
    """A solver that runs every neuron."""
    return request.param


@pytest.fixture(params=["FF", "RC"])
def topology(request: pytest.FixtureRequest) -> str:
    """Without and with recurrent weights."""
    return request.param


@pytest.fixture
def in_general(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], Any]:
    """A function that makes a call run without a plan."""
    # `nwavesdk.layers.neuron` is a function, which hides the module.
    module = importlib.import_module("nwavesdk.layers.neuron")

    def run(call: Callable[[], Any]) -> Any:
        with monkeypatch.context() as patch:
            patch.setattr(module, "run_planned", lambda *_, **__: None)
            return call()

    return run
