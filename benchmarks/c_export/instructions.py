"""Instructions per frame of an exported net on a Cortex-M4 that QEMU emulates, and its memory.

    nwave export runs/words --c firmware
    python -m benchmarks.c_export.instructions firmware

It needs `gcc-arm-none-eabi`, `libnewlib-arm-none-eabi` and `qemu-system-arm` of Debian. It runs the
self-test of the folder, and counts the steps of its recordings. If the folder has a front end, a
second of noise counts it, too. Instructions are not cycles: flash wait states and pipelines are not
emulated.
"""

import argparse
import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["TOOLS", "Count", "count_instructions"]

HERE = Path(__file__).parent
COMPILER, SIZE, EMULATOR = "arm-none-eabi-gcc", "arm-none-eabi-size", "qemu-system-arm"
TOOLS = (COMPILER, SIZE, EMULATOR)
CPU = ["-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16", "-std=c99"]
MACHINE = "-M mps2-an386 -cpu cortex-m4 -nographic -monitor none -serial none -icount shift=0"
SEMIHOSTING = "-semihosting-config enable=on,target=native"

# Instructions of the loop in board.c with which a tick is calibrated.
LOOP = 5_000_000
SECONDS = 300


@dataclass(frozen=True)
class Count:
    """What a run showed.

    Attributes:
        verdict: The last line of the program, such as of the self-test.
        per_frame: Mean instructions of a step.
        most: Most instructions of a step.
        flash: Bytes of code and constants.
    """

    verdict: str
    per_frame: float
    most: int
    flash: int


def count_instructions(folder: Path, options: list[str]) -> Count:
    """Compile a net, run its self-test, and count the instructions of each step.

    Args:
        folder: A folder of `nwave export --c`.
        options: Options of the compiler, such as `-O2`; `-DNW_PORTABLE` is code without assembly.
    """
    return _run(folder, options, "net.c", folder / "selftest.c")


def count_front_end(folder: Path, options: list[str]) -> Count:
    """Count the instructions from samples to a frame; the verdict has the bytes of the state."""
    return _run(folder, [*options, "-DCOUNT_SOUND"], "net_front_end.c", folder / "net.c")


def _run(folder: Path, options: list[str], measured: str, other: Path) -> Count:
    """Compile a measured file and the other one for the board, and run them."""
    with tempfile.TemporaryDirectory() as work:
        program, unit = f"{work}/test.elf", f"{work}/measured.o"
        build = [COMPILER, *CPU, *options, f"-I{folder}"]
        subprocess.run([*build, "-c", folder / measured, "-o", unit], check=True)
        sizes = subprocess.run([SIZE, unit], check=True, capture_output=True, text=True).stdout

        start = subprocess.run(
            [COMPILER, *CPU, "-print-file-name=rdimon-crt0.o"],
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()
        link = ["--specs=nano.specs", "--specs=rdimon.specs", "-nostartfiles"]
        link += ["-T", str(HERE / "board.ld"), "-Wl,--wrap=main,--wrap=net_step", "-lm"]
        sources = [unit, str(other), str(HERE / "board.c"), start]
        subprocess.run([*build, *sources, *link, "-o", program], check=True)

        command = [EMULATOR, *MACHINE.split(), *SEMIHOSTING.split(), "-kernel", program]
        output = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS).stdout

    *_, verdict, counted = output.splitlines()
    loop, ticks, frames, most = map(int, re.findall(r"\d+", counted))
    text_bytes, data_bytes = map(int, sizes.splitlines()[1].split()[:2])
    return Count(
        verdict=verdict,
        per_frame=ticks * LOOP / loop / frames,
        most=most * LOOP // loop,
        flash=text_bytes + data_bytes,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of nwave export --c")
    arguments = parser.parse_args()
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        parser.error(f"{', '.join(missing)} missing: install gcc-arm-none-eabi and qemu-system-arm")

    for options in (["-O2"], ["-O3"], ["-O2", "-DNW_PORTABLE"], ["-O3", "-DNW_PORTABLE"]):
        count = count_instructions(arguments.folder, options)
        print(
            f"{' '.join(options):18} {count.per_frame:10,.0f} instructions per frame, at most "
            f"{count.most:,}; {count.flash:,} bytes of flash; {count.verdict}"
        )
    if (arguments.folder / "net_front_end.c").exists():
        count = count_front_end(arguments.folder, ["-O2"])
        print(
            f"-O2, front end     {count.per_frame:10,.0f} instructions per frame; {count.flash:,} "
            f"bytes of flash; {count.verdict}"
        )


if __name__ == "__main__":
    main()
