"""`nwavesdk.interop.c.log_mel_text`: frames of the C code equal frames of Python to the bit."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from interop.c.compilers import CLANG, GCC, compile_c, needs_gcc, require_program
from interop.c.log_mel_reference import LogMelReference
from interop.c.sounds import FRONT_ENDS, scale_of, sounds
from nwavesdk.data import LogMel
from nwavesdk.interop.c import export_c
from nwavesdk.interop.c.log_mel import FixedLogMel
from nwavesdk.interop.c.log_mel_text import front_end_files
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
from nwavesdk.net import quantize

SANITIZERS = ["-O2", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]

# Two front ends at the same time: the second one gets each sample with the other sign.
PROGRAM = """
#include <stdio.h>
#include "ear_front_end.h"

int main(void)
{
    static struct ear_front_end first, second;
    int8_t frame[EAR_BANDS];
    int16_t sample;
    ear_front_end_init(&first);
    ear_front_end_init(&second);
    while (fread(&sample, sizeof sample, 1, stdin)) {
        if (ear_front_end_push(&first, sample, frame)) {
            fwrite(frame, sizeof frame, 1, stdout);
            fwrite(first.bands, sizeof first.bands, 1, stdout);
        }
        ear_front_end_push(&second, (int16_t)(-1 - sample), frame);
    }
    return 0;
}
"""


def check_frames(folder: Path, command: list[str], front_end: FixedLogMel, samples: np.ndarray):
    """Compare the frames of a compiled front end, and the 64 bits of power in each band."""
    sources = {**front_end_files(front_end, "ear"), "listen.c": PROGRAM}
    program = compile_c(folder, sources, command, "main")
    output = subprocess.run([program], input=samples.tobytes(), stdout=subprocess.PIPE, check=True)

    bands = front_end.log_mel.bands
    values = np.frombuffer(output.stdout, [("frame", np.int8, bands), ("power", "<u8", bands)])
    np.testing.assert_array_equal(values["frame"], LogMelReference(front_end).push(samples))
    windows = front_end.log_mel.stream().windows(samples)
    reference = LogMelReference(front_end)
    power = reference.sums(reference.power(windows))
    np.testing.assert_array_equal(values["power"], power.astype(np.uint64))


@needs_gcc
@pytest.mark.parametrize("log_mel", FRONT_ENDS, ids=str)
def test_frames_of_c_equal_those_of_python(log_mel: LogMel, tmp_path: Path) -> None:
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step=1 / 64)
    samples = np.concatenate([*sounds(log_mel).values()])
    check_frames(tmp_path, [GCC, *SANITIZERS], front_end, samples)


@pytest.mark.parametrize("compiler", [GCC, CLANG])
@pytest.mark.parametrize("option", ["-O0", "-O3"])
def test_compilers_do_not_change_frames(compiler: str, option: str, tmp_path: Path) -> None:
    require_program(compiler)
    log_mel = LogMel(16_000, level_memory=3.0)
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step=1 / 64)
    check_frames(tmp_path, [compiler, option], front_end, sounds(log_mel)["fading noise"])


@needs_gcc
def test_a_net_on_samples_has_the_outputs_of_the_net_on_frames(tmp_path: Path) -> None:
    log_mel = LogMel(16_000, level_memory=3.0)
    samples = np.concatenate([*sounds(log_mel).values()])[::3]
    charges = LIFSynapse(32, 24), LIFLayer(24, taus=20e-3), LIFSynapse(24, 4), LIFLayer(4, taus=0.1)
    net = quantize(SpikingSequential(*charges), 4 * torch.randn(2, 50, 32))
    step = net[0].step
    front_end = FixedLogMel(log_mel, scale_of(log_mel), step)
    x = step * torch.from_numpy(LogMelReference(front_end).push(samples).astype(np.float32))[None]
    expected = net(x)[0][0]
    assert expected.any()

    export_c(net, tmp_path, x, name="ear")
    sources = {name: (tmp_path / name).read_text() for name in ("ear.h", "ear.c")}
    sources |= front_end_files(front_end, "ear")
    program = compile_c(tmp_path, sources, [GCC, "-O2"], "listen")
    output = subprocess.run([program], input=samples.tobytes(), stdout=subprocess.PIPE)
    outputs = [[float(value) for value in line.split()] for line in output.stdout.splitlines()]
    assert torch.equal(torch.tensor(outputs), expected)
