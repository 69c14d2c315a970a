"""Exported nets on an emulated Cortex-M4: the same bits, with and without its instructions."""

import shutil
from pathlib import Path

import pytest

from benchmarks.c_export.instructions import TOOLS, count_instructions
from interop.c.nets import example_frames, quantized_net
from nwavesdk.interop.c import export_c


@pytest.mark.skipif(
    not all(map(shutil.which, TOOLS)),
    reason="needs gcc-arm-none-eabi, libnewlib-arm-none-eabi and qemu-system-arm",
)
@pytest.mark.parametrize("options", [["-O2"], ["-O2", "-DNW_PORTABLE"]])
@pytest.mark.parametrize("name", ["bands", "adlif", "delay", "images"])
def test_a_cortex_m4_has_the_bits_of_the_net(name: str, options: list[str], tmp_path: Path) -> None:
    export = export_c(quantized_net(name), tmp_path, example_frames(name, steps=20))
    count = count_instructions(tmp_path, options)
    assert count.verdict.startswith("PASSED: all membranes")
    assert export.flash < count.flash < export.flash + 12_000
    work = sum(cost.additions + cost.multiplications for cost in export.costs)
    assert 0.2 * work < count.per_frame < 20 * work
