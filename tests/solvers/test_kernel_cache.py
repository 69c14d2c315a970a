"""Compiled kernels are found again by later processes, and damaged files are repaired."""

import os
import shutil
import subprocess
import sys

import pytest

from nwavesdk.solvers.kernel_cache import kernel_folder

PROGRAM = """
import gc, sys, torch
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers.cpu.serial import NativeKernel
from nwavesdk.surrogate import parse
for text in sys.argv[1:]:
    layer = LIFLayer(8, 10e-3, spike_grad=parse(text))
    prepare_net(layer)
    x = torch.rand(2, 5, 8, requires_grad=True)
    layer(x)[0].sum().backward()
kernels = [k for k in gc.get_objects() if type(k) is NativeKernel and k.compiled is not None]
hits = sum(k.compiled.cache_hits for k in kernels)
print(len(kernels) - hits, hits)
"""


def run_program(cache, *surrogates, warnings="error"):
    """Kernels that a new process compiled, kernels that it found on disk, and its warnings."""
    done = subprocess.run(
        [sys.executable, "-W", warnings, "-c", PROGRAM, *surrogates],
        capture_output=True, text=True, check=True,
        env={**os.environ, "NWAVESDK_CACHE": str(cache)},
    )  # fmt: skip
    compiled, loaded = map(int, done.stdout.split())
    return compiled, loaded, done.stderr


@pytest.fixture(scope="module")
def filled_cache(tmp_path_factory):
    """A cache with two kernels: forward and backward of a LIF layer with the atan surrogate."""
    folder = tmp_path_factory.mktemp("cache")
    assert run_program(folder, "atan")[:2] == (2, 0)
    return folder


@pytest.fixture
def cache(filled_cache, tmp_path):
    return shutil.copytree(filled_cache, tmp_path / "cache")


def test_a_second_process_compiles_nothing(cache):
    assert run_program(cache, "atan")[:2] == (0, 2)


def test_slopes_share_a_kernel_and_surrogates_do_not(cache):
    assert run_program(cache, "atan(7)", "atan(0.5)", "fast_sigmoid")[:2] == (1, 2)


def test_a_damaged_text_is_written_again(cache):
    texts = list((cache / "kernels").glob("*.py"))
    assert len(texts) == 2
    for path in texts:
        path.write_bytes(b"\xff" + path.read_bytes()[:200])
    run_program(cache, "atan")
    assert all("@njit" in path.read_text() for path in texts)


@pytest.mark.parametrize(("truncated", "garbled"), [("nbi", "nbc"), ("nbc", "nbi")])
def test_damaged_code_is_compiled_again_with_a_warning(cache, truncated, garbled):
    """Two kernels, two kinds of files and two kinds of damage, each kernel with one of each."""
    first, second = sorted((cache / "kernels").glob("*.py"))
    code = cache / "kernels" / "__pycache__"
    for path in code.glob(f"{first.stem}.*.{truncated}"):
        path.write_bytes(path.read_bytes()[:40])
    for path in code.glob(f"{second.stem}.*.{garbled}"):
        path.write_bytes(b"\xff" * 500)
    compiled, _, warnings = run_program(cache, "atan", warnings="always")
    assert compiled == 2
    assert warnings.count("was damaged") == 2
    assert run_program(cache, "atan")[:2] == (0, 2)


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_cache_that_cannot_be_written_only_warns(tmp_path, monkeypatch):
    blocked = tmp_path / "file"
    blocked.write_text("where a folder should be")
    monkeypatch.setenv("NWAVESDK_CACHE", str(blocked))
    with pytest.warns(UserWarning, match="cannot be written .* set NWAVESDK_CACHE") as caught:
        folder = kernel_folder.__wrapped__()
    assert len(caught) == 1
    (folder / "a kernel").write_text("")
    shutil.rmtree(folder)
