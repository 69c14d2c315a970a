"""Fixtures of the suite: the world and an undisturbed run, each made once per test process."""

import fcntl
import os

import pytest

pytest.importorskip("lightning")

from faults.disturbances import Course, record
from faults.scenes import train_scene
from faults.world import World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Small runs, a study, an export, data; nobody may write to them."""
    base = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # the processes of a test run share it
    path = base / "world-of-faults"
    with open(base / "world-of-faults.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return World(path) if path.exists() else make_world(path)


@pytest.fixture(scope="session")
def course() -> Course:
    """An undisturbed run of `nwave train`, to which disturbed ones are compared."""
    return record(train_scene())
