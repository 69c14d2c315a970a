"""Fixtures for all tests."""

import gc
import os
import re
from collections.abc import Iterator
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

# Two test processes run in parallel, and spinning threads would block each other's cores.
# torch reads this variable when it is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import numpy as np
import pytest
import torch

# The packages that tests of an extra need, by their marker.
EXTRAS = {
    "events": ("aedat", "h5py"),
    "interop": ("nir", "neurobench", "onnx", "onnxscript", "onnxruntime"),
    "hpo": ("ray", "optuna"),
    "docs": ("mkdocs", "griffe"),
    "triton": ("triton",),
}
# The folder whose doctests need an extra, by its marker.
DOCTESTS = {"interop": Path(__file__).parents[1] / "src" / "nwavesdk" / "interop"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests of an extra where it is not installed, but not if they are asked for."""
    wanted = re.findall(r"\w+", item.config.getoption("-m") or "")
    for extra, packages in EXTRAS.items():
        if item.get_closest_marker(extra) and extra not in wanted:
            for package in packages:
                pytest.importorskip(package)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark doctests that need an extra, and leave out slow tests."""
    for extra, folder in DOCTESTS.items():
        is_missing = any(find_spec(package) is None for package in EXTRAS[extra])
        for item in items:
            if isinstance(item, pytest.DoctestItem) and folder in item.path.parents:
                item.add_marker(extra)
                if is_missing:
                    # The hook for tests below this folder does not see files of src.
                    item.add_marker(pytest.mark.skip(f"needs the extra {extra}"))
    for marker in ("cluster", "slow"):
        if marker not in (config.getoption("-m") or ""):
            slow = [item for item in items if item.get_closest_marker(marker)]
            config.hook.pytest_deselected(items=slow)
            items[:] = [item for item in items if item not in slow]


def pytest_collection_finish() -> None:
    """Collect garbage rarely, and without all that was imported: it took 7 % of the time."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)


def pytest_unconfigure() -> None:
    """Free at exit all that was imported; Triton lists what it leaks."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def _seeded():
    # Without a GPU, torch.manual_seed formats the call stack each time, for one that may come.
    seed = torch.manual_seed if torch.cuda.is_available() else torch.default_generator.manual_seed
    seed(0)


@pytest.fixture(scope="session", autouse=True)
def _own_frames(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep computed frames of this session apart from the user's.

    Frames in the user's cache may come from an earlier version of the code, and tests must not
    fill it. Compiled kernels stay there: their names have the hash of their source.
    """
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("caches")
        patch.setattr("nwavesdk.data.chip_front_end.USER_CACHES", str(folder))
        yield


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep computed frames of a test apart from those of other tests."""
    monkeypatch.setattr("nwavesdk.data.chip_front_end.USER_CACHES", str(tmp_path / "cache"))


@pytest.fixture
def fresh_compiler() -> Iterator[None]:
    """Forget the code that torch has compiled; it compiles a function a few times only."""
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="session")
def local_ray() -> Iterator[Any]:
    """A Ray cluster of this machine, which all tests of a process share.

    It has one CPU, so one worker runs all tasks and imports our packages once.
    """
    from nwavesdk.analysis.study.executors import join_ray

    with pytest.MonkeyPatch.context() as patch:
        ray = pytest.importorskip("ray")
        patch.setattr(ray, "init", partial(ray.init, num_cpus=1))
        with join_ray() as joined:
            yield joined


@pytest.fixture(scope="session")
def tones(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of synthetic recordings: three classes, each a tone with another pitch."""
    soundfile = pytest.importorskip("soundfile")
    folder = tmp_path_factory.mktemp("tones")
    draw = np.random.default_rng(0)
    for name, pitch in {"high": 2400.0, "low": 300.0, "middle": 900.0}.items():
        (folder / name).mkdir()
        for index in range(16):
            time = np.arange(int(8000 * draw.uniform(0.25, 0.35))) / 8000
            sound = 0.3 * np.sin(2 * np.pi * pitch * draw.uniform(0.9, 1.1) * time)
            soundfile.write(
                folder / name / f"{index}.wav", sound + 0.05 * draw.standard_normal(len(time)), 8000
            )
    return folder


@pytest.fixture(scope="session")
def live_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a run that can be applied to sound as it comes."""
    pytest.importorskip("lightning")
    from train.runs import small_choices, write_untrained

    folder = tmp_path_factory.mktemp("live") / "run"
    choices = small_choices(tones)
    choices["data"] |= {"level": "as_is", "hold": 2}
    write_untrained(folder, choices)
    return folder


@pytest.fixture
def choices(tones: Path) -> dict[str, Any]:
    """The choices of a run that takes a second."""
    from train.runs import small_choices

    return small_choices(tones)


@pytest.fixture
def without_pictures() -> Iterator[None]:
    """Draw no pictures of runs; runs that all tests share have them."""
    from train.runs import no_pictures

    with no_pictures():
        yield
