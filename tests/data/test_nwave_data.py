from pathlib import Path
from typing import Any

import pytest
import torch

import nwavesdk
from nwavesdk import NWaveDataGen, NWaveDataloaderConfig

for needed in ("soundfile", "soxr", "scipy"):
    pytest.importorskip(needed)


def test_three_loaders_of_batches(words: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(data_parent=words, task="classification", batch_size=3, **fast)
    train, val, test = gen.dataloaders()
    sizes = []
    for x, y in train:
        assert x.shape[1:] == (gen.T, 16)
        assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
        sizes.append(len(x))
    assert sizes == [3, 3, 2]
    assert [sum(len(y) for _, y in loader) for loader in (train, val, test)] == [8, 2, 2]
    assert gen.recordings == {"train": 8, "val": 2, "test": 2}
    assert gen.speakers == {"train": 4, "val": 1, "test": 1}
    assert (gen.classes, gen.split_by, gen.skipped, gen.T) == (("no", "yes"), "speaker", [], 40)


def test_batches_have_the_arrays_of_their_set(words: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(NWaveDataloaderConfig(words, **fast))
    for loader, indices in zip(gen.dataloaders()[1:], list(gen.channels.split)[1:], strict=True):
        ((x, y),) = loader
        assert torch.equal(x, torch.from_numpy(gen.channels.x[indices]))
        assert torch.equal(y, torch.from_numpy(gen.channels.y[indices]))


def test_the_seed_decides_the_order_which_differs_between_epochs(
    words: Path, fast: dict[str, Any]
) -> None:
    def epochs(seed: int) -> list[list[float]]:
        train = NWaveDataGen(data_parent=words, seed=seed, **fast).dataloaders()[0]
        return [[float(row.sum()) for x, _ in train for row in x] for _ in range(2)]

    first = epochs(1)
    torch.manual_seed(99)
    assert epochs(1) == first
    assert first[0] != first[1]
    assert sorted(first[0]) == sorted(first[1])
    assert epochs(2) != first


def test_batches_of_regression_have_targets(curves: Path, fast: dict[str, Any]) -> None:
    gen = NWaveDataGen(data_parent=curves, task="regression", **fast)
    x, y = next(iter(gen.dataloaders()[0]))
    assert x.shape == (3, 40, 16)
    assert (y.shape, y.dtype) == ((3, 40, 1), torch.float32)
    assert gen.classes == ()


def test_the_folder_is_read_once_when_it_is_needed(
    words: Path, fast: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    NWaveDataGen(data_parent="no such folder")
    gen = NWaveDataGen(data_parent=words, **fast)
    gen.dataloaders()
    monkeypatch.setattr("nwavesdk.data.nwave_data.generate", lambda _: pytest.fail("read again"))
    gen.dataloaders()


def test_wrong_arguments_are_rejected() -> None:
    assert nwavesdk.NWaveDataGen is NWaveDataGen
    with pytest.raises(
        TypeError, match=r"a config or choices by name, got both: put \['seed'\] into the config"
    ):
        NWaveDataGen(NWaveDataloaderConfig("x"), seed=1)
    with pytest.raises(
        TypeError, match=r"takes an NWaveDataloaderConfig, got 'x': give a folder as data_parent="
    ):
        NWaveDataGen("x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="NWaveDataloaderConfig.* unexpected .* 'rate'"):
        NWaveDataGen(data_parent="x", rate=8000)
    with pytest.raises(TypeError, match="missing .* 'data_parent'"):
        NWaveDataGen()
