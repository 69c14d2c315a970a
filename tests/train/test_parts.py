from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pydantic")

from nwavesdk.data import load_wav_folder, stratified_split
from nwavesdk.train import RunConfig
from nwavesdk.train.parts import load_parts


def test_the_scale_comes_from_the_training_part_alone(tones: Path) -> None:
    _, parts = load_parts(RunConfig.of({"data": {"source": str(tones), "bands": 12}}))
    recordings = load_wav_folder(tones, bands=12)
    mean = np.concatenate(stratified_split(recordings).train.frames).mean(0)
    np.testing.assert_allclose(parts.standard.mean, mean, rtol=1e-4)
    assert np.abs(np.concatenate(recordings.frames).mean(0) - mean).max() > 1e-3
