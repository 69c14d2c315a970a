"""Latencies and phases against plain Python, and the bounds of their decoders."""

import numpy as np
import pytest
import torch

from nwavesdk.data import NetInput, Standard
from nwavesdk.encoding import (
    LatencyEncoder,
    PhaseEncoder,
    decode_latency,
    decode_phase,
    encode_latency,
    encode_phase,
)
from nwavesdk.layers import prepare_net

VALUES = torch.linspace(0, 1, 401)[None]


@pytest.mark.parametrize("T", [1, 2, 9, 100])
def test_latencies_in_plain_python(T):
    spikes = encode_latency(VALUES, T)
    for i, value in enumerate(VALUES[0].numpy()):
        expected = [0.0] * T
        if value > 0:
            expected[int(np.rint((1 - value) * (T - 1)))] = 1.0
        assert spikes[0, :, i].tolist() == expected


@pytest.mark.parametrize("T", [2, 9, 100])
def test_latencies_are_decoded_within_half_a_step(T):
    got = decode_latency(encode_latency(VALUES, T))
    bound = 0.5 / (T - 1)
    error = (got - VALUES).abs()
    assert error.max() <= bound + 1e-6
    assert error.max() > 0.9 * bound


def test_images_of_data_sets_have_the_same_latencies():
    standard = Standard(np.zeros(VALUES.shape[1], np.float32), np.ones(VALUES.shape[1], np.float32))
    net_input = NetInput(standard=standard, encoder="latency", hold=30)
    spikes = net_input.scaled(VALUES.numpy(), "image")
    assert np.array_equal(spikes, encode_latency(VALUES, 30)[0].numpy())


@pytest.mark.parametrize("K", [1, 3, 8])
def test_phases_in_plain_python(K):
    spikes = encode_phase(VALUES, 2 * K + 1, K)
    for i, value in enumerate(VALUES[0].tolist()):
        level = min(round(value * 2**K), 2**K - 1)
        bits = [float(bit) for bit in f"{level:0{K}b}"]
        assert spikes[0, :, i].tolist() == bits + bits + bits[:1]


@pytest.mark.parametrize("K", [1, 3, 8, 24])
def test_phases_are_decoded_within_the_last_bit(K):
    error = (decode_phase(encode_phase(VALUES, 2 * K, K), K) - VALUES).abs()[0]
    assert error.max() <= 2.0**-K
    below = VALUES[0] <= 1 - 2.0**-K
    assert error[below].max() <= 2.0 ** -(K + 1) + 1e-7


def test_a_module_decodes_each_window():
    encoder = LatencyEncoder(11)
    values = torch.rand(2, 3, 4, 2)
    prepare_net(encoder)
    spikes = encoder(values.repeat_interleave(11, 1))
    assert (encoder.decode(spikes) - values).abs().max() <= 0.05 + 1e-6
    assert torch.equal(spikes[:, :11], encode_latency(values[:, 0], 11))
    phases = PhaseEncoder(6)
    prepare_net(phases)
    held = values[:, 0, None].expand(2, 12, 4, 2)
    assert torch.equal(phases(held), encode_phase(values[:, 0], 12, 6))
    assert (phases.decode(phases(held)) - values[:, 0]).abs().max() <= 2.0**-6


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda: encode_latency(torch.tensor([[2.0]]), 3),
            "encode_latency: values must be from 0 to 1, got 2 to 2",
        ),
        (
            lambda: encode_phase(VALUES, 3, 25),
            "n_phases must be a whole number from 1 to 24, got 25",
        ),
        (lambda: decode_phase(torch.zeros(1, 6, 2), 4), "a multiple of 4"),
        (lambda: LatencyEncoder(4).decode(torch.zeros(1, 6, 2)), "a multiple of 4"),
        (lambda: decode_latency(torch.zeros(1, 1, 2)), "at least 2"),
    ],
)
def test_arguments_are_checked(call, words):
    with pytest.raises(ValueError, match=words):
        call()
