"""The CNN in C that exported nets are compared with computes the scores of NumPy."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from benchmarks.c_export.int8_cnn import BANDS, FRAMES, layers_of, ram_of, write_cnn
from interop.c.compilers import GCC, needs_gcc


@needs_gcc
@pytest.mark.parametrize("places", [1, 2])
def test_the_cnn_in_c_has_the_scores_of_numpy(places: int, tmp_path: Path) -> None:
    write_cnn(tmp_path, places)
    command = f"{GCC} -std=c99 -O1 -fsanitize=undefined -I. net.c selftest.c -lm -o selftest"
    subprocess.run(command.split(), cwd=tmp_path, check=True)
    test = subprocess.run(tmp_path / "selftest", capture_output=True, text=True)
    assert (test.stdout[:6], test.returncode, test.stderr) == ("PASSED", 0, "")


def test_a_pool_in_the_convolution_saves_memory() -> None:
    layers, features = layers_of(np.ones((FRAMES, BANDS)), np.random.default_rng(0))
    assert (features > 0).mean() > 0.2
    assert ram_of(layers) == {
        "layer by layer": 98 * 40 * (1 + 16),
        "fused pools": 49 * 20 * 16 + 25 * 10 * 24,
    }
