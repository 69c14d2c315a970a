"""Fixtures of the suite: the world and a warm worker, each made once per test process."""

from collections.abc import Iterator

import pytest

pytest.importorskip("lightning")

from faults.worker import Worker
from faults.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Small runs, a study, an export, data; nobody may write to them."""
    return make_world(tmp_path_factory.mktemp("faults") / "world")


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """A warm process that runs commands."""
    with Worker() as worker:
        yield worker
