"""Exported nets on an emulated Cortex-M4, with and without its instructions, and on RISC-V."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.c_export.instructions import TOOLS, count_instructions
from interop.c.compilers import compile_c, require_program
from interop.c.nets import example_frames, quantized_net
from nwavesdk.interop.c import export_c


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
@pytest.mark.parametrize("name", ["bands", "adlif", "delay", "images"])
def test_a_cortex_m4_has_the_bits_of_the_net(name: str, tmp_path: Path) -> None:
    export = export_c(quantized_net(name), tmp_path, example_frames(name, steps=20))
    work = sum(cost.additions + cost.multiplications for cost in export.costs)
    for options in (["-O2"], ["-O2", "-DNW_PORTABLE"]):
        count = count_instructions(tmp_path, options)
        assert count.verdict.startswith("PASSED: all membranes"), options
        assert export.flash < count.flash < export.flash + 12_000
        assert 0.2 * work < count.per_frame < 20 * work


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
