"""comPaSSo in chunks proves the spikes of the serial pass, for any neuron, drive and guess."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.parallel import CountedRun
from nwavesdk.solvers import Problem
from nwavesdk.solvers.cpu.serial import forward_cpu
from nwavesdk.solvers.parallel.chunks import chunk_length, forward_chunks
from solvers.parallel.drives import BETAS, DRIVES, NAMES, drive, driven


def assert_proven(p: Problem, **options) -> CountedRun:
    """The spikes equal the serial pass; without brackets, everything does, to the bit."""
    effort = CountedRun()
    expected, got = forward_cpu(p), forward_chunks(p, run=effort, **options)
    assert torch.equal(got.spikes, expected.spikes)
    pairs = [
        (got.mem, expected.mem),
        (got.saved[0], expected.saved[0]),
        (got.last[0], expected.last[0]),
    ]
    if not effort.bracketed:
        assert all(torch.equal(a, b) for a, b in pairs)
    else:
        largest = 1 + float(expected.mem.abs().max())
        width = 64 * torch.finfo(p.x.dtype).eps * largest / (1 - float(p.constants[0].max()))
        assert all(float((a - b).abs().max()) < width for a, b in pairs)
    return effort


@pytest.mark.parametrize("beta", BETAS)
@pytest.mark.parametrize("name", NAMES)
def test_spikes_are_the_serial_ones_for_every_drive(name, beta):
    for kind in DRIVES:
        for dtype in (torch.float32, torch.float64):
            p = driven(name, drive(kind, 2, 2003, 9, beta, dtype), beta, start=0.3)
            assert_proven(p)
            assert_proven(p, steps=50)


@pytest.mark.parametrize("name", NAMES)
def test_long_sequences(name):
    for beta in (0.9, 0.99):
        effort = assert_proven(
            driven(name, drive("gaussian", 1, 20_000, 8, beta, torch.float32), beta)
        )
        assert effort.chunks > 8
        assert effort.serial == 0
        assert effort.depth < 20_000 / (20 if beta == 0.9 else 2)


@st.composite
def problems_near_the_threshold(draw):
    """Problems with membranes on the threshold: charges from a lattice that decays can hit."""
    name, beta = (
        draw(st.sampled_from(NAMES)),
        draw(st.sampled_from([0.25, 0.5, 0.75, 0.9, 0.97, 0.999])),
    )
    dtype = draw(st.sampled_from([torch.float32, torch.float64]))
    T, N, seed = draw(st.integers(8, 400)), draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    g = torch.Generator().manual_seed(seed)
    scale = draw(st.sampled_from([1, 2, 4, 10, 1 / (1 - beta)]))
    x = torch.randint(-2, 5, (draw(st.integers(1, 3)), T, N), generator=g).to(dtype) / scale
    return (
        driven(name, x, beta, start=draw(st.sampled_from([0.0, 1.0, -0.5]))),
        draw(st.integers(1, T)),
        seed,
    )


@settings(max_examples=600, deadline=None)
@given(problems_near_the_threshold())
def test_no_counter_example_is_found(case):
    p, steps, seed = case
    g = torch.Generator().manual_seed(seed)
    count = -(-p.x.shape[1] // steps)
    assert_proven(p, steps=steps)
    if count > 1:  # a wild guess costs passes, not spikes
        wild = 3 * torch.randn(len(p.x), count - 1, p.x.shape[2], generator=g, dtype=p.x.dtype)
        assert_proven(p, steps=steps, entries=wild, passes=2 + seed % 5)


@pytest.mark.parametrize("name", NAMES)
def test_guesses_and_charges_that_are_not_finite(name):
    x = drive("gaussian", 2, 300, 4, 0.9, torch.float32)
    for entries in (torch.full((2, 5, 4), torch.nan), torch.full((2, 5, 4), torch.inf)):
        assert_proven(driven(name, x, 0.9), steps=50, entries=entries)
    for value in (torch.inf, -torch.inf, torch.nan):
        x[1, 77, 2] = value
        p = driven(name, x, 0.9)
        got, expected = forward_chunks(p, steps=50), forward_cpu(p)
        assert torch.equal(got.spikes, expected.spikes)
        assert torch.equal(got.mem.nan_to_num(), expected.mem.nan_to_num())


def test_a_bracket_that_straddles_the_threshold_proves_nothing():
    """Two membranes a rounding apart, one on each side: only the serial pass can decide."""
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    x = torch.zeros(1, 400, 2)
    x[:, 0], x[0, 200:, 0], x[0, 200:, 1] = 0.3, 1.0, above
    for beta in (0.99, 0.999):
        assert_proven(driven("lif_none", x, beta), steps=20)


def test_regular_spikes_are_soon_left_to_the_serial_solver():
    p = driven("lif_subtraction", drive("constant", 1, 8000, 16, 0.9, torch.float32), 0.9)
    effort = assert_proven(p)
    assert effort.serial > 0
    assert effort.depth < 1.1 * 8000


@pytest.mark.parametrize("name", ["lif_none", "lif_subtraction", "lif_zero"])
def test_steps_after_the_last_whole_chunk_are_proven_too(name):
    """A last charge that reaches the threshold for one of two membranes a rounding apart."""
    beta, T = 0.999, 64 * 12 + 63
    differ = 0
    for seed in range(8):
        x = 0.03 * torch.randn(1, T, 256, generator=torch.Generator().manual_seed(seed))
        x[:, -1] = 0
        p = driven(name, x, beta)
        exact, near = forward_cpu(p).mem[:, -2], forward_chunks(p, steps=64).mem[:, -2]
        for k in range(-4, 5):
            charge = 1 - beta * exact + k * 6e-8
            sides = [(p.constants[0] * v + charge - 1) > 0 for v in (exact, near)]
            x[:, -1] = torch.where(sides[0] != sides[1], charge, x[:, -1])
        differ += int((x[:, -1] != 0).sum())
        assert_proven(driven(name, x, beta), steps=64)
    assert differ > 0


def test_the_effort_is_counted():
    x = drive("gaussian", 2, 803, 3, 0.5, torch.float32)
    effort = assert_proven(driven("lif_zero", x, 0.5), steps=100)
    assert (effort.chunks, effort.steps, effort.serial) == (9, 100, 0)
    assert effort.depth == 100 * effort.passes
    assert effort.work <= 900 * 6 * effort.passes


def test_the_chunk_length_divides_the_sequence_if_it_can():
    assert chunk_length(20_000, 0.9) * (20_000 // chunk_length(20_000, 0.9)) == 20_000
    assert chunk_length(300, 0.9) == 300  # too short to cut
    assert chunk_length(9973, 0.5) == 64  # a prime: the last chunk is filled up
    assert chunk_length(100_000, 0.99) > chunk_length(100_000, 0.9)
    assert chunk_length(0, 0.0) == 0
