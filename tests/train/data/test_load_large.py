"""A data set that is larger than the memory of the process."""

import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("lightning")

from forked import run_code

# A run in a process that may allocate an eighth of a GiB more than its libraries, which take half
# a GiB or a whole one. Files that are mapped do not count, but the stack of each thread does.
TRAIN = """
import resource, sys
from pathlib import Path
import scipy.fft
from nwavesdk.train import Run, RunConfig
from nwavesdk.train.data import load
with open("/proc/self/status") as file:
    (n_taken,) = [1024 * int(line.split()[1]) for line in file if line.startswith("VmData")]
resource.setrlimit(resource.RLIMIT_DATA, (n_taken + 3 * 2**26,) * 2)
load.default_cache_folder = lambda: Path(sys.argv[2]).parent / "cache"
data = {"source": sys.argv[1], "hold": 1}
net = {"name": "lif", "hidden": [4], "population": 1}
learning = {"epochs": 1, "batch_size": 4}
choices = {"data": data, "net": net, "learning": learning}
choices["machine"] = {"accelerator": "cpu", "threads": 1}
run = Run.new(Path(sys.argv[2]), RunConfig.of(choices))
values = sum(int(part.lengths.sum()) * 1000 for part in run.data)
print(4 * values, run.train()["epochs"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_data_set_larger_than_memory_is_trained_on(tmp_path: Path) -> None:
    x = np.zeros((150, 500, 1000), np.int8)
    y = np.arange(150) % 2
    x[y == 1, ::10] = 1
    np.savez(tmp_path / "large.npz", x=x, y=y)
    del x
    result = run_code(TRAIN, tmp_path, tmp_path / "large.npz", tmp_path / "run")
    n_bytes, epochs = map(int, result.stdout.split())
    (folder,) = (tmp_path / "cache").iterdir()
    assert (folder / "frames.npy").stat().st_size > n_bytes > 1.1 * 2**28
    assert epochs == 1
