"""`import nwavesdk as nw` offers the names that a first hour needs: lazily, and typed."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest
from torch import nn

import nwavesdk

ROOT = Path(__file__).parents[1]
FIRST_HOUR = """
from typing import assert_type

import torch
from torch import Tensor

import nwavesdk as nw
from nwavesdk.layers import LIFLayer, NeuronLayer, Positive, held, neuron, spike

@neuron
def IntegrateLayer(x: Tensor, v: Tensor, *, threshold: Positive = 1.0) -> tuple[Tensor, Tensor]:
    s = spike(v + x - threshold)
    return s, v + x - threshold * held(s)

own: NeuronLayer = IntegrateLayer(4, threshold=0.5, learn="threshold", dt=1e-3)
layer = nw.LIFLayer(4, taus=20e-3, spike_grad=nw.surrogate.atan(alpha=2.0))
assert_type(layer, LIFLayer)
net = nw.SpikingSequential(nw.LIFSynapse(3, 4), layer)
nw.prepare_net(net)
spk, mem = net(torch.zeros(2, 5, 3))
assert_type(nw.topology_loss(net), Tensor)
assert_type(nw.metrics.accuracy(spk, torch.zeros(2)), Tensor)
nw.init.fluct_init(net, torch.zeros(2, 5, 3))
nw.optim.SignAnnealing(net, total_epochs=3)
nw.surrogate.triangle(alpha=0.3)
assert_type(nw.encoding.encode_latency(torch.zeros(2, 3), 5), Tensor)
assert_type(nw.loss.tet_loss(mem, torch.zeros(2)), Tensor)
nw.misspelled
nw.metrics.misspelled
nw.surrogate.misspelled
nw.surrogate.triangle(slope=3)
"""
"""The lines of a first hour, and four that a type checker must reject."""


def test_names_and_modules_are_there():
    for name in dir(nwavesdk):
        assert getattr(nwavesdk, name) is not None
    modules = {"encoding", "layers", "loss", "plot", "surrogate", "train"}
    assert {*nwavesdk.__all__, *modules} <= set(dir(nwavesdk))


def test_every_layer_is_at_the_top():
    modules = {
        name
        for name in nwavesdk.layers.__all__
        if isinstance(value := getattr(nwavesdk.layers, name), type)
        and issubclass(value, nn.Module)
    }
    bases = {"DenseSynapse", "NeuronLayer", "Prepared", "Synapse"}
    assert modules - bases <= {*nwavesdk.__all__}
    assert nwavesdk.LILayer is nwavesdk.layers.LILayer


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nwavesdk' has no attribute 'nonsense'"):
        _ = nwavesdk.nonsense


def test_a_type_checker_sees_the_names_and_no_others(tmp_path):
    pytest.importorskip("mypy")
    snippet = tmp_path / "first_hour.py"
    snippet.write_text(FIRST_HOUR, encoding="utf-8")
    # mypy reads nwavesdk and no other package: torch alone would take a quarter of a minute.
    config = """
        [mypy]
        strict = true
        mypy_path = src
        follow_imports = skip
        [mypy-nwavesdk.*]
        follow_imports = normal
        ignore_errors = true
    """
    settings = tmp_path / "mypy.ini"
    settings.write_text(inspect.cleandoc(config), encoding="utf-8")
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--config-file", str(settings), str(snippet)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    errors = [line for line in run.stdout.splitlines() if "error:" in line]
    assert len(errors) == 4, run.stdout + run.stderr
    assert all('has no attribute "misspelled"' in line for line in errors[:3])
    assert 'Unexpected keyword argument "slope"' in errors[3]
