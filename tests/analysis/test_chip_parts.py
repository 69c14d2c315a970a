"""Drawn chips in parts: the counts equal the counts of one machine."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from analysis.here import Here
from nwavesdk.analysis import chip_parts
from nwavesdk.analysis.chip_parts import count_on_ray, count_part
from nwavesdk.deploy import ChipRun
from train.runs import chip_choices, write_untrained


@pytest.fixture(scope="module")
def chip_run(tones: Path, tmp_path_factory: pytest.TempPathFactory) -> ChipRun:
    folder = tmp_path_factory.mktemp("chips") / "run"
    write_untrained(folder, chip_choices(tones))
    return ChipRun.open(folder)


def test_a_part_has_the_counts_of_the_whole(chip_run: ChipRun) -> None:
    seeds = tuple(range(1, 12, 2))
    whole = chip_run.count_right(seeds).tolist()
    threads = torch.get_num_threads()
    parts = [
        count_part(chip_run.run.folder.path, None, threads, seeds[first:last])
        for first, last in ((0, 4), (4, 6))
    ]
    assert [count for part in parts for count in part] == whole
    assert torch.get_num_threads() == threads


@pytest.fixture
def one_thread() -> Iterator[None]:
    """One thread, as the cluster of the tests has one CPU."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("cluster", ["here", pytest.param("ray", marks=pytest.mark.hpo)])
def test_ray_gives_the_same_series(
    chip_run: ChipRun, cluster: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same parts, in this process or on Ray, are put together in their order."""
    if cluster == "ray":
        request.getfixturevalue("local_ray")
    else:
        monkeypatch.setattr(chip_parts, "on_ray", lambda *_: Here())
    monkeypatch.setattr(chip_parts, "MAX_PARTS", 2)
    here: Any = chip_run.series(5, 7, 0.5)
    there: Any = chip_run.series(5, 7, 0.5, count_on_ray(chip_run))
    assert there.accuracy == here.accuracy
    assert there.designed == here.designed
