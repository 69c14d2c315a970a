"""Exported nets on an emulated Cortex-M4, with and without its instructions, and on RISC-V."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.c_export.instructions import TOOLS, count_front_end, count_instructions
from interop.c.compilers import compile_c, require_program
from interop.c.nets import example_frames, quantized_net
from interop.c.sounds import scale_of
from nwavesdk.data import LogMel
from nwavesdk.interop.c import export_c
from nwavesdk.interop.c.log_mel import FixedLogMel
from nwavesdk.interop.c.log_mel_text import front_end_files

needs_board = pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)


@needs_board
@pytest.mark.parametrize("name", ["bands", "adlif", "delay", "images"])
def test_a_cortex_m4_has_the_bits_of_the_net(name: str, tmp_path: Path) -> None:
    export = export_c(quantized_net(name), tmp_path, example_frames(name, steps=20))
    work = sum(cost.additions + cost.multiplications for cost in export.costs)
    for options in (["-O2"], ["-O2", "-DNW_PORTABLE"]):
        count = count_instructions(tmp_path, options)
        assert count.verdict.startswith("PASSED: all membranes"), options
        assert export.flash < count.flash < export.flash + 12_000
        assert 0.2 * work < count.per_frame < 20 * work


@needs_board
def test_a_front_end_is_counted_on_a_second_of_noise(tmp_path: Path) -> None:
    export_c(quantized_net("adlif"), tmp_path, example_frames("adlif", steps=20))
    log_mel = LogMel(8000, 12, hop=20e-3)
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step=1 / 64)
    for name, text in front_end_files(front_end, "net").items():
        (tmp_path / name).write_text(text)

    count = count_front_end(tmp_path, ["-O2"])
    assert count.verdict.startswith("12 bands; a state of ")
    assert 1000 < count.flash < 10_000
    # A fast Fourier transform of 200 samples takes about 5 * 200 * log2(200) operations.
    assert 8000 < count.per_frame < 50_000


RISC_V, EMULATOR = "riscv64-linux-gnu-gcc", "qemu-riscv64"


@pytest.fixture(scope="module")
def adlif(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adlif")
    export_c(quantized_net("adlif"), folder, example_frames("adlif", steps=20))
    return folder


def self_test_on_risc_v(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    require_program(RISC_V, EMULATOR)
    sources = {name: (folder / name).read_text() for name in ("net.h", "net.c", "selftest.c")}
    command = [RISC_V, *options, "-static", f"-I{folder}"]
    program = compile_c(folder, sources, command, "selftest")
    return subprocess.run([EMULATOR, program], capture_output=True, text=True)


@pytest.mark.parametrize(("name", "level"), [("recurrent", "-O0"), ("images", "-O3")])
def test_risc_v_has_the_bits_of_the_net(name: str, level: str, tmp_path: Path) -> None:
    export_c(quantized_net(name), tmp_path, example_frames(name, steps=20))
    result = self_test_on_risc_v(tmp_path, level)
    assert result.stdout.splitlines()[-1].startswith("PASSED: all membranes")
    assert result.returncode == 0


def test_risc_v_does_not_fuse_operations(adlif: Path) -> None:
    # GCC fuses by default where the processor can, and RISC-V with floats always can.
    fusing = ["-O2", "-ffp-contract=fast"]
    assert self_test_on_risc_v(adlif, *fusing).returncode == 0

    runtime = adlif / "nwave_rt.h"
    runtime.write_text(re.sub("#pragma GCC optimize.*", "", runtime.read_text()))
    assert self_test_on_risc_v(adlif, *fusing).returncode == 1
