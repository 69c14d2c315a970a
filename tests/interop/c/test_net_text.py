"""An exported net has the bits of `net(x)`: all membranes and outputs of all steps."""

import ctypes
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from interop.c.compilers import CLANG, GCC, compile_c, needs_gcc, require_program
from interop.c.nets import NETS, STEP, example_frames, quantized_net
from nwavesdk.interop.c.net_text import NetText
from nwavesdk.interop.c.tables import BYTES
from nwavesdk.interop.c.walk import integer_net
from nwavesdk.net import record
from pairwise import pairwise

Arrays = tuple[list[np.ndarray], np.ndarray]
"""The membranes of each layer, and the outputs."""


def run_c(text: NetText, library: Path, frames: np.ndarray) -> Arrays:
    """The first states of all neuron layers, and the outputs, of a recording [T, values]."""
    c = ctypes.CDLL(str(library))
    state = np.zeros(text.ram, np.uint8)
    views, at = {}, 4
    for kind, label, size in text.fields:
        views[label] = state[at : at + max(1, size) * BYTES[kind]]
        at += views[label].size

    pointer = ctypes.c_void_p(state.ctypes.data)
    c.net_init(pointer)
    outputs = np.zeros((len(frames), text.net.output.size), np.float32)
    labels = [f"state{k}_0" for k, layer in text.net.layers.items() if layer.neuron is not None]
    membranes = [np.zeros((len(frames), len(views[label]) // 4), np.float32) for label in labels]
    for t, frame in enumerate(frames):
        c.net_step(
            pointer, ctypes.c_void_p(frame.ctypes.data), ctypes.c_void_p(outputs[t].ctypes.data)
        )
        for label, membrane in zip(labels, membranes, strict=True):
            membrane[t] = views[label].view(np.float32)
    return membranes, outputs


def expected(net: nn.Module, text: NetText, x: torch.Tensor) -> Arrays:
    """The same of `net(x)`."""
    with torch.no_grad():
        recording = record(net, x[None])
    membranes = []
    for layer in text.net.layers.values():
        if layer.neuron is not None:
            mem = recording.layers[layer.name].mem[0].numpy().reshape(len(x), -1)
            membranes.append(mem[:, np.argsort(layer.order.flatten())])
    return membranes, recording.spk[0].numpy().reshape(len(x), -1)


def compiled(text: NetText, folder: Path, *command: str) -> Path:
    sources = {"net.h": text.header(), "net.c": text.source()}
    return compile_c(folder, sources, [*command, "-shared", "-fPIC"], "net.so")


def assert_equal_bits(text: NetText, library: Path, values: torch.Tensor, true: Arrays) -> None:
    """All membranes and outputs of a recording [T, *features] are the ones of `net(x)`."""
    frames = (values / STEP).to(torch.int8).flatten(1).numpy()
    membranes, outputs = run_c(text, library, frames)
    for mine, other in zip([*membranes, outputs], [*true[0], true[1]], strict=True):
        np.testing.assert_array_equal(mine.view(np.uint32), other.view(np.uint32))


@needs_gcc
@pytest.mark.parametrize("name", NETS)
def test_a_net_in_c_has_the_bits_of_the_net(name: str, tmp_path: Path) -> None:
    net = quantized_net(name)
    x = example_frames(name)
    text = NetText(integer_net(net, tuple(x.shape[2:]), STEP), "net")
    library = compiled(text, tmp_path, GCC, "-O2")
    for values in x:
        assert_equal_bits(text, library, values, expected(net, text, values))

    with torch.no_grad():
        rates = {k: float((r.spk > 0).float().mean()) for k, r in record(net, x).layers.items()}
    assert min(rates.values(), default=1.0) > 0.005, rates


@cache
def long_recording(name: str) -> tuple[NetText, torch.Tensor, Arrays]:
    """A net in C, frames with 2.5 million steps of its neurons, and the results of `net(x)`."""
    net = quantized_net(name, seed=1)
    text = NetText(integer_net(net, NETS[name][1], STEP), "net")
    steps = 2_500_000 // sum(layer.size for layer in text.net.layers.values())
    x = example_frames(name, batch=1, steps=steps)[0]
    # Ten seconds of silence, in which membranes fall to numbers that are not normal.
    x = torch.cat([x, torch.zeros(1000, *x.shape[1:])])
    return text, x, expected(net, text, x)


@pytest.mark.parametrize(
    ("name", "compiler", "level"),
    [
        case.values()
        for case in pairwise(
            name=["bands", "series", "adlif", "recurrent"],
            compiler=[GCC, CLANG],
            level=["-O0", "-O2", "-O3"],
        )
    ],
)
def test_millions_of_steps_have_the_bits_of_the_net(
    name: str, compiler: str, level: str, tmp_path: Path
) -> None:
    require_program(compiler)
    text, x, true = long_recording(name)
    assert_equal_bits(text, compiled(text, tmp_path, compiler, level), x, true)
