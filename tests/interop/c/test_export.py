"""Folders of exported nets: they compile, and their self-test notices each change."""

import re
import shutil
import subprocess
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.c.compilers import CLANG, GCC, compile_c, needs_gcc, require_program
from interop.c.nets import STEP, example_frames, quantized_net
from nwavesdk.data import NetInput, Standard
from nwavesdk.interop.c import CExport, export_c
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, TimeBatchNorm
from nwavesdk.net import quantize
from pairwise import pairwise

PRESETS = ["bands", "adlif", "recurrent", "delay"]
HAS_FMA = "fma" in Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else False

Export = Callable[[str], tuple[Path, CExport]]


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Export:
    """The folder of a net, which is written once."""
    made: dict[str, tuple[Path, CExport]] = {}

    def folder(name: str) -> tuple[Path, CExport]:
        if name not in made:
            path = tmp_path_factory.mktemp("net")
            x = example_frames(name)
            made[name] = path, export_c(quantized_net(name), path, x, classes=["no", "yés"])
        return made[name]

    return folder


def run_self_test(folder: Path, compiler: str, *options: str) -> subprocess.CompletedProcess[str]:
    sources = {name: (folder / name).read_text() for name in ("net.h", "net.c", "selftest.c")}
    program = compile_c(folder, sources, [compiler, *options, f"-I{folder}"], "selftest")
    return subprocess.run([program], capture_output=True, text=True)


def changed_copy(folder: Path, target: Path, file: str, change: Callable[[str], str]) -> Path:
    shutil.copytree(folder, target)
    text = (target / file).read_text()
    (target / file).write_text(change(text))
    assert (target / file).read_text() != text
    return target


@pytest.mark.parametrize(
    ("name", "compiler", "level"),
    [
        *map(
            dict.values,
            pairwise(name=[*PRESETS, "sums"], compiler=[GCC, CLANG], level=["-O0", "-O3"]),
        )
    ],
)
def test_the_self_test_passes(name: str, compiler: str, level: str, export: Export) -> None:
    require_program(compiler)
    result = run_self_test(export(name)[0], compiler, level)
    assert result.stdout.splitlines()[-1].startswith("PASSED: all membranes")
    assert result.returncode == 0


@needs_gcc
@pytest.mark.parametrize("name", ["bands", "recurrent"])
def test_sanitizers_find_nothing(name: str, export: Export) -> None:
    result = run_self_test(export(name)[0], GCC, "-g", "-O1", "-fsanitize=address,undefined")
    assert (result.returncode, result.stderr) == (0, "")


def _numbers(text: str, table: str) -> re.Match[str]:
    match = re.search(rf"{table}\w*\[?.*?= \{{+([^}}]*)\}}", text, re.DOTALL)
    assert match is not None
    return match


@needs_gcc
@pytest.mark.parametrize("at", [0.1, 0.4, 0.8])
@pytest.mark.parametrize(
    "table", ["weights1_0", "weights3_0", "weights5_0", "constant2_0", "unit3"]
)
def test_the_self_test_fails_with_one_number_changed(
    table: str, at: float, export: Export, tmp_path: Path
) -> None:
    def change(text: str) -> str:
        match = _numbers(text, table)
        numbers = match[1].replace("\n", " ").split(", ")
        # The first number that is not 0, from a position on.
        start = int(at * len(numbers))
        index = next(i for i in range(start, len(numbers)) if numbers[i].strip(" ,\n0") != "")
        is_weight = "." not in numbers[index]
        old = numbers[index].strip(" ,")
        numbers[index] = (
            str(int(old) - 1 if int(old) > 0 else int(old) + 1)
            if is_weight
            else (f"{float(old.strip('f')) * 1.0001:.9g}f")
        )
        return text[: match.start(1)] + ", ".join(numbers) + text[match.end(1) :]

    folder = changed_copy(export("bands")[0], tmp_path / "net", "net.c", change)
    result = run_self_test(folder, GCC, "-O0")
    assert result.returncode == 1
    assert re.match(r"FAILED: \d of 6 runs differ", result.stdout.splitlines()[-1])


@needs_gcc
@pytest.mark.skipif(not HAS_FMA, reason="this processor cannot fuse operations")
def test_the_guard_keeps_the_compiler_from_fusing_operations(
    export: Export, tmp_path: Path
) -> None:
    fusing = ["-O2", "-std=gnu99", "-ffp-contract=fast", "-mfma"]
    assert run_self_test(export("adlif")[0], GCC, *fusing).returncode == 0

    def unguarded(text: str) -> str:
        return re.sub(r"#pragma GCC optimize.*", "", text)

    folder = changed_copy(export("adlif")[0], tmp_path / "net", "nwave_rt.h", unguarded)
    assert run_self_test(folder, GCC, *fusing).returncode == 1


@needs_gcc
def test_the_runtime_rejects_fast_math(export: Export, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(subprocess.CalledProcessError):
        run_self_test(export("bands")[0], GCC, "-ffast-math")
    assert "-ffast-math changes results" in capfd.readouterr().err


@needs_gcc
def test_the_example_prints_outputs_sums_and_class(export: Export) -> None:
    folder, _ = export("bands")
    sources = {name: (folder / name).read_text() for name in ("net.h", "net.c", "example.c")}
    program = compile_c(folder, sources, [GCC, f"-I{folder}"], "example")
    x = example_frames("bands")[0]
    frames = (folder / "frames.txt").read_text()
    lines = subprocess.run([program], input=frames, capture_output=True, text=True).stdout

    with torch.no_grad():
        scores = quantized_net("bands")(x[None])[0][0]
    *steps, sums, result = lines.splitlines()
    printed = torch.tensor([[float(value) for value in step.split()] for step in steps])
    assert torch.equal(printed, scores)
    total = torch.zeros(10)
    for score in scores:
        total += score
    assert torch.equal(torch.tensor([float(value) for value in sums.split()[1:]]), total)
    best = total.reshape(2, 5).sum(1).argmax()
    assert result == f"class: {['no', 'yés'][best]}"


SCALES = {
    "images": lambda values: Standard(3 * values - 5, 0.3 + values),
    "delay": lambda values: Standard(np.rint(values * 64) / 256, np.full_like(values, 0.7)),
}
"""For `images`, whose values have another order in C, tables of float32; for `delay`, of bytes."""


@pytest.mark.parametrize(
    ("name", "compiler", "level"),
    [*map(dict.values, pairwise(name=[*SCALES], compiler=[GCC, CLANG], level=["-O0", "-O2"]))],
)
def test_rows_become_the_frames_of_a_run(
    name: str, compiler: str, level: str, tmp_path: Path
) -> None:
    require_program(compiler)
    net = quantized_net(name)
    x = example_frames(name)
    hold = 2
    draw = np.random.default_rng(2)
    standard = SCALES[name](draw.random(x[0, 0].numel(), np.float32))
    rows = standard.mean + standard.deviation * x[0, ::hold].flatten(1).numpy()
    rows[3:5] = [[1e30], [-1e-30]]

    folder = tmp_path / "net"
    result = export_c(net, folder, x, hold=hold, standard=standard, rows=rows)
    frame, *_ = result.costs
    assert frame.name == "frame"
    assert frame.additions == rows[0].size / hold
    files = result.files
    sources = {file: files[file] for file in ("net.h", "net.c", "example.c")}
    program = compile_c(folder, sources, [compiler, level, f"-I{folder}"], "example")
    lines = subprocess.run([program], input=files["frames.txt"], capture_output=True, text=True)
    printed = np.loadtxt(lines.stdout.splitlines()[:-1], np.float32)

    scaled = NetInput(standard=standard).scaled(rows, "a recording")
    held = np.repeat(scaled, hold, axis=0)
    expected = net(torch.from_numpy(held).reshape(x[:1].shape))[0][0]
    assert torch.equal(torch.from_numpy(printed), expected)
    assert "(value - mean) / deviation" in files["README.md"]


def test_costs_are_counted(export: Export) -> None:
    _, result = export("bands")
    first, *_, sums = result.costs
    # 9 places, 14 channels, and 3 taps of 5 bands.
    assert first.multiplications == 9 * 14 * (15 + 3)
    assert sums.neurons == 10
    assert f"state {result.ram:,}" in str(result)


_LIF = LIFSynapse(3, 4), LIFLayer(4, 10e-3)
_SQUARE = LIFSynapse(4, 4), LIFLayer(4, 10e-3)
_COMPASSO = LIFSynapse(3, 4), LIFLayer(4, 10e-3, solver="compasso")


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([*_LIF, nn.ReLU()], "ReLU '3' has no form in C: pass quantize"),
        ([*_LIF, *_SQUARE, *_SQUARE], "LIFSynapse '5' is used at two places: make"),
        ([*_COMPASSO], "LIFLayer '2' runs on comPaSSo, which rounds elsewhere"),
        ([nn.Identity()], "the net ends in values that are not one layer's"),
        ([*_LIF, TimeBatchNorm(4)], "TimeBatchNorm '3' has values of its own"),
    ],
)
def test_a_net_without_a_form_in_c_is_refused(
    modules: list[nn.Module], message: str, tmp_path: Path
) -> None:
    quantized = quantize(SpikingSequential(*_LIF).eval(), step=STEP)
    net = SpikingSequential(quantized.rounded, *modules).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_((parameter * 16).round() / 16)
    with pytest.raises(ValueError, match=re.escape(message)):
        export_c(net, tmp_path, torch.zeros(1, 5, 3))


def test_a_net_that_is_not_quantized_is_refused(tmp_path: Path) -> None:
    x = torch.zeros(1, 5, 3)
    net = quantize(SpikingSequential(*_LIF).eval(), step=STEP)
    net[1].weight.data.mul_(1.1)
    training = deepcopy(net).train()
    for given, frames, name, words in (
        (SpikingSequential(*_LIF), x, "net", "does not begin with RoundedInput, expected a quanti"),
        (net, x, "net", "LIFLayer '1' is not quantized: its weights need"),
        (training, x, "net", r"the net is in train\(\), expected eval\(\)"),
        (net, x[0], "net", "x must be recordings"),
        (net, x, "My net", "name must be a word of small letters"),
    ):
        with pytest.raises(ValueError, match=words):
            export_c(given, tmp_path, frames, name=name)
