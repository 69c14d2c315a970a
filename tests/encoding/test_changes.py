"""Delta and step-forward codes against loops over time in NumPy, and the bounds of decoders."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.encoding import (
    decode_delta,
    decode_step_forward,
    encode_delta,
    encode_step_forward,
)


def delta_by_loop(x, threshold):
    """Numbers of ON and OFF spikes of one feature, [T, 2], as an event camera counts them."""
    spikes = np.zeros((len(x), 2))
    level = 0
    for t, value in enumerate((x - x[0]) / np.float32(threshold)):
        while value >= level + 1:
            level += 1
            spikes[t, 0] += 1
        while value <= level - 1:
            level -= 1
            spikes[t, 1] += 1
    return spikes


def step_forward_by_loop(x, threshold):
    spikes = np.zeros((len(x), 2))
    level = 0
    for t, value in enumerate((x - x[0]) / np.float32(threshold)):
        if value > level + 1:
            level += 1
            spikes[t, 0] = 1
        elif value < level - 1:
            level -= 1
            spikes[t, 1] = 1
    return spikes


CODES = {
    "delta": (encode_delta, decode_delta, delta_by_loop),
    "step_forward": (encode_step_forward, decode_step_forward, step_forward_by_loop),
}


@pytest.mark.parametrize("code", CODES)
@settings(deadline=None)  # the first example compiles a kernel
@given(st.integers(1, 40), st.floats(0.1, 3.0), st.integers(0, 999))
def test_spikes_equal_those_of_a_loop(code, T, threshold, seed):
    encode, _, by_loop = CODES[code]
    x = np.random.default_rng(seed).normal(size=(2, T, 3)).astype(np.float32)
    got = encode(torch.from_numpy(x), threshold)
    for b in range(2):
        expected = [by_loop(x[b, :, f], threshold) for f in range(3)]
        assert np.array_equal(got[b].numpy(), np.concatenate(expected, 1))


def walk(step, seed=0):
    """Values that change by up to `step`, [3, 500, 2]."""
    draw = torch.Generator().manual_seed(seed)
    return ((2 * torch.rand(3, 500, 2, generator=draw) - 1) * step).cumsum(1)


def test_delta_codes_are_decoded_within_a_threshold():
    for step in (0.01, 0.3, 5.0):
        x = walk(step)
        error = (decode_delta(encode_delta(x, 0.1), 0.1, x[:, 0]) - x).abs().max()
        assert error < 0.1 * (1 + 1e-3)
    assert error > 0.09


def test_step_forward_codes_are_decoded_within_a_threshold_if_values_are_slow():
    x = walk(0.1)
    assert (decode_step_forward(encode_step_forward(x, 0.1), 0.1, x[:, 0]) - x).abs().max() < 0.1001
    jump = torch.zeros(1, 12, 1)
    jump[:, 1:] = 1.0
    error = jump - decode_step_forward(encode_step_forward(jump, 0.125), 0.125)
    assert error.flatten()[1:].tolist() == [0.875 - 0.125 * k for k in range(7)] + [0.125] * 4


def test_noise_at_a_level_makes_no_spikes():
    x = 0.5 + 0.4 * (-1.0) ** torch.arange(50)[None, :, None]  # 0.9 and 0.1
    assert encode_delta(x, 1.0).sum() == 0
    assert encode_step_forward(x, 1.0).sum() == 0


@pytest.mark.parametrize("code", CODES)
def test_the_first_axis_of_features_has_both_signs(code):
    encode, decode, _ = CODES[code]
    x = walk(0.1)[..., None, None] + torch.zeros(2, 4)
    spikes = encode(x, 0.1)
    assert spikes.shape == (3, 500, 4, 2, 4)
    assert torch.equal(spikes[..., 1, 3], encode(x[..., 1, 3], 0.1))
    assert decode(spikes, 0.1, x[:, 0]).shape == x.shape


@pytest.mark.parametrize("code", CODES)
def test_padding_has_no_spikes(code):
    encode, _, _ = CODES[code]
    x, lengths = walk(0.5), torch.tensor([500, 20, 1])
    expected = encode(x, 0.1)
    x[torch.arange(500) >= lengths[:, None]] = torch.nan
    got = encode(x, 0.1, lengths)
    for b, n in enumerate(lengths):
        assert torch.equal(got[b, :n], expected[b, :n])
        assert not got[b, n:].any()


def test_half_precision_and_gradients():
    x = walk(0.5).half()
    spikes = encode_delta(x, 0.125)
    assert spikes.dtype == torch.float16
    assert torch.equal(spikes.float(), encode_delta(x.float(), 0.125))
    assert not encode_delta(walk(0.5).requires_grad_(), 0.1).requires_grad


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (
            lambda x: encode_delta(x[0], 0.1),
            r"takes a sequence \[B, T, \*features\], got .* \[5, 3\]",
        ),
        (lambda x: encode_step_forward(x, 0), "threshold must be a finite number above 0, got 0"),
        (lambda x: decode_delta(x, 0.1), "with ON and OFF of each feature"),
        (
            lambda x: decode_delta(encode_delta(x, 0.1), 0.1, x[:, 0, 0]),
            r"initial has the shape \[2\], expected \[2, 3\]",
        ),
        (
            lambda x: encode_delta(x, 0.1, torch.tensor([0, 5])),
            "lengths must be from 1 to the 5 steps",
        ),
    ],
)
def test_arguments_are_checked(call, words):
    x = torch.zeros(2, 5, 3)
    with pytest.raises(ValueError, match=words):
        call(x)
