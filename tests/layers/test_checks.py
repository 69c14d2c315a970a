"""Wrong arguments and inputs of layers: each has its own error message."""

import math

import numpy as np
import pytest
import torch

from layers.nets import LAYERS, drive
from nwavesdk.layers import (
    Dropout,
    H1v2Synapse,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    prepare_net,
)

WRONG = [
    (
        lambda: Dropout(1.0),
        r"Dropout: p must be a finite number of at least 0 and below 1, got 1.0",
    ),
    (
        lambda: LIFLayer(0, 20e-3),
        r"LIFLayer: n_neurons must be a whole number of at least 1, got 0",
    ),
    (lambda: LIFLayer((), 20e-3), r"n_neurons must be a whole number or a shape"),
    (
        lambda: LIFLayer(3, 0.0),
        r"LIFLayer: taus must be finite and above 0 \[s\], got 0: pass positive",
    ),
    (lambda: LIFLayer(3, "slow"), r"taus must be a number or one per neuron \[s\], got 'slow'"),
    (
        lambda: LIFLayer(3, [1e-3, 2e-3]),
        r"taus must be one number or have the shape \[3\] .* got the shape \[2\]",
    ),
    (
        lambda: LIFLayer(3, 20e-3, math.nan),
        r"thresholds must be finite and above 0 \[membrane\], got nan",
    ),
    (lambda: LIFLayer(3, 20e-3, dt=0), r"dt must be a finite number above 0 \[s\], got 0"),
    (
        lambda: LIFLayer(3, 20e-3, reset_mechanism="hard"),
        r"reset_mechanism must be one of 'none', 'subtraction', 'zero', got 'hard'",
    ),
    (
        lambda: LIFLayer(3, 20e-3, layer_topology="ALL"),
        r"layer_topology must be one of 'FF', 'RC', got 'ALL'",
    ),
    (lambda: LIFLayer(3, 20e-3, device="cuda"), r"must be 'cpu' or 'gpu', got 'cuda': it is"),
    (lambda: LIFLayer(3, 20e-3, solver="fast"), r"solver must be one of 'auto', .* got 'fast'"),
    (
        lambda: LIFLayer(3, 20e-3, compasso_spike_grad="own"),
        r"must be one of 'fixed', 'layer', got 'own'",
    ),
    (
        lambda: LIFLayer(3, 20e-3, saved_dtype="full"),
        r"saved_dtype must be one of 'bfloat16', got 'full'",
    ),
    (
        lambda: LIFLayer(3, 20e-3, layer_topology="RC", device="gpu"),
        r'comPaSSo runs feed-forward layers only, got layer_topology="RC": use device="cpu"',
    ),
    (lambda: HWLayer(3, -1), r"H1v1Layer: taus must be finite and above 0"),
    (
        lambda: HWSynapse(3, 4, quantization_bits=1),
        r"quantization_bits must be a whole number from 2 to 8, got 1",
    ),
    (lambda: HWSynapse(3, 4, stddev=-0.1), r"H1v1Synapse: stddev must be a finite number above 0"),
    (
        lambda: LIFSynapse(0, 4),
        r"LIFSynapse: nb_inputs must be a whole number of at least 1, got 0",
    ),
    (
        lambda: HWSynapse(3, 4, product="quick"),
        "product must be one of 'auto', 'dense', 'sparse', got 'quick'",
    ),
    (
        lambda: H1v2Synapse(3, True),
        r"H1v2Synapse: nb_outputs must be a whole number of at least 1, got True",
    ),
]


@pytest.mark.parametrize(("make", "words"), WRONG, ids=[words[:50] for _, words in WRONG])
def test_constructors_reject(make, words):
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: LIFSynapse(10**7, 10**7),
        lambda: HWSynapse(10**7, 10**7),
        lambda: LIFLayer(10**7, 20e-3, layer_topology="RC"),
    ],
)
def test_weights_that_no_memory_holds_are_rejected(make):
    with pytest.raises(
        ValueError, match=r"weights of shape \[10000000, 10000000\] need 400,000.0 GB"
    ):
        make()


@pytest.mark.parametrize(
    ("features", "shape", "remedy"),
    [
        (3, (2, 3, 4, 3), r"x.flatten\(0, 1\)"),
        (6, (2, 5, 2, 3), r"x.flatten\(2\)"),
        ((2, 3), (2, 5, 6), r"x.unflatten\(-1, \(2, 3\)\)"),
        (3, (2, 4), "sizes of consecutive layers must match"),
    ],
)
def test_the_remedy_fits_the_shape(features, shape, remedy):
    layer = LIFLayer(features, 20e-3)
    prepare_net(layer)
    with pytest.raises(ValueError, match=remedy):
        layer(torch.zeros(shape))


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("shape", [(5,), (2, 5), (2, 7, 5), (2, 3, 4, 3), ()])
def test_layers_reject_inputs_of_another_width(kind, shape):
    layer = LAYERS[kind](3)
    prepare_net(layer)
    with pytest.raises(
        ValueError,
        match=r"takes \[3\], \[B, 3\] \(one step\) or \[B, T, 3\] \(a sequence\), got an input",
    ):
        layer(torch.zeros(shape))


def test_wrong_width_of_a_synapse_names_its_sizes():
    with pytest.raises(
        ValueError, match=r"LIFSynapse\(3, 4\) takes \[3\].* got an input of shape \[2, 4\]"
    ):
        LIFSynapse(3, 4)(torch.zeros(2, 4))


def test_inputs_that_are_not_floating():
    layer = LIFLayer(3, 20e-3)
    prepare_net(layer)
    with pytest.raises(
        TypeError, match=r"LIFLayer takes a floating input, got torch.int64: convert it"
    ):
        layer(torch.ones(2, 3, dtype=torch.long))
    with pytest.raises(
        TypeError, match=r"LIFSynapse\(3, 4\) takes a floating input, got torch.bool"
    ):
        LIFSynapse(3, 4)(torch.ones(2, 3, dtype=torch.bool))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda layer: layer(layer(drive(2, 5, 3))),
            r"LIFLayer takes a tensor, got tuple: take the spikes of \(spk, mem\)",
        ),
        (lambda layer: layer([0.0, 1.0, 2.0]), "LIFLayer takes a tensor, got list"),
        (
            lambda layer: layer(torch.zeros(2, 3, dtype=torch.float8_e5m2)),
            r"got torch.float8_e5m2: convert it, as in x.float\(\)",
        ),
        (
            lambda _: LIFSynapse(3, 4)(drive(2, 3, dtype=torch.float64)),
            r"has weights of torch.float32 and got an input of torch.float64",
        ),
    ],
)
def test_inputs_that_are_not_tensors_or_of_another_dtype(call, words):
    layer = LIFLayer(3, 20e-3)
    prepare_net(layer)
    with pytest.raises(TypeError, match=words):
        call(layer)


@pytest.mark.parametrize("n", [np.int64(3), torch.tensor(3)])
def test_whole_numbers_of_other_libraries_are_accepted(n):
    assert LIFLayer(n, 20e-3).features == (3,)
    assert LIFSynapse(n, 4).weight.shape == (3, 4)


def test_values_that_only_look_like_numbers_are_rejected():
    for make in (
        lambda: LIFLayer(3, True),
        lambda: LIFLayer(3, 20e-3, dt="0.001"),
        lambda: HWSynapse(3, 4, stddev=True),
        lambda: HWSynapse(3, 4, stddev=torch.ones(2)),
    ):
        with pytest.raises(ValueError, match=r"must be a (finite )?number"):
            make()
