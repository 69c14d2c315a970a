"""The formula of a weight with shared signs, its inverse, and its end."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nwavesdk.layers import (
    LIFSynapse,
)
from nwavesdk.optim import SignAnnealing


def test_the_start_equals_values_worked_by_hand():
    synapse = LIFSynapse(7, 1)
    # A block of five that disagrees, and one of two that agrees.
    blocks = [0.2, -0.1, 0.1, 0.0, 0.1, -0.5, -0.3]
    synapse.weight.data = torch.tensor(blocks)[:, None]
    SignAnnealing(synapse, total_epochs=4)
    firm = 2 * 0.3 / 0.5  # alpha · s
    reach = 0.9 * math.tanh(firm)  # 0.75, above all weights of the first block
    expected = [0.2, 0.1, 0.1, 1e-3 * reach, 0.1, -0.5, -0.3]
    torch.testing.assert_close(
        synapse.weight.detach().flatten(), torch.tensor(expected), rtol=1e-5, atol=1e-7
    )
    sign = synapse.parametrizations.weight.original0.flatten().tolist()
    assert sign == pytest.approx([firm / 0.5, -2 / 0.5], rel=1e-5)


def test_a_balanced_block_stays_off_zero_and_is_cut_off_at_its_reach():
    synapse = LIFSynapse(2, 1)
    synapse.weight.data = torch.tensor([[0.5], [-0.5]])
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.parametrizations.weight.original0.item() == pytest.approx(0.2 / 0.5)
    reach = 0.9 * math.tanh(0.2) * (1 - 5e-4)
    assert synapse.weight.flatten().tolist() == pytest.approx([reach, reach], rel=1e-4)


def test_weights_beyond_the_limit_are_cut_off_and_zeros_stay_finite():
    synapse = LIFSynapse(5, 2)
    synapse.weight.data = torch.tensor([[3.0, 0.0]] * 5)
    SignAnnealing(synapse, total_epochs=4)
    assert synapse.weight[:, 0].tolist() == pytest.approx([0.9 * (1 - 1e-3)] * 5, rel=1e-4)
    assert synapse.weight[:, 1].abs().max() < 1e-3


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 13),
    st.integers(1, 4),
    st.integers(1, 6),
    st.sampled_from(["inputs", "outputs"]),
    st.sampled_from([torch.float32, torch.float64]),
    st.integers(0, 999),
)
def test_weights_that_agree_stay(rows, columns, block, axis, dtype, seed):
    generator = torch.Generator().manual_seed(seed)
    synapse = LIFSynapse(rows, columns).to(dtype)
    start = (torch.rand(rows, columns, generator=generator, dtype=dtype) * 0.88 + 0.01).contiguous()
    signs = torch.where(torch.rand(rows, columns, generator=generator) < 0.5, -1, 1)
    across = 0 if axis == "inputs" else 1
    first = torch.arange(synapse.weight.shape[across]) // block * block
    start *= signs.index_select(across, first)
    synapse.weight.data = start
    SignAnnealing(synapse, 4, block=block, axis=axis)
    torch.testing.assert_close(synapse.weight.detach(), start, rtol=1e-4, atol=1e-6)
    assert synapse.weight.dtype == dtype


def test_the_weight_is_the_formula_with_its_gradient():
    synapse = LIFSynapse(7, 3).double()
    annealing = SignAnnealing(synapse, 4)
    annealing.step(synapse, 3)
    signed = synapse.parametrizations.weight[0]
    s, m = (
        p.detach().clone().requires_grad_()
        for p in (
            synapse.parametrizations.weight.original0,
            synapse.parametrizations.weight.original1,
        )
    )
    expected = torch.empty(7, 3, dtype=torch.float64)
    for i in range(7):
        for j in range(3):
            expected[i, j] = (
                math.tanh(annealing.alpha * s[i // 5, j].item())
                * 0.9
                / (1 + math.exp(-m[i, j].item()))
            )
    torch.testing.assert_close(synapse.weight.detach(), expected)
    assert torch.autograd.gradcheck(signed, (s, m))


def test_the_end_equals_values_worked_by_hand():
    synapse = LIFSynapse(7, 1)
    annealing = SignAnnealing(synapse, 4)
    with torch.no_grad():
        synapse.parametrizations.weight.original0.copy_(torch.tensor([[0.0], [-0.01]]))
        synapse.parametrizations.weight.original1.copy_(
            torch.tensor([[0.0, 99.0, -99.0, 0.0, 0.0, 0.0, 99.0]]).mT
        )
    annealing.finish()
    expected = [0.45, 0.9, 0.0, 0.45, 0.45, -0.45, -0.9]
    assert synapse.weight.flatten().tolist() == pytest.approx(expected, rel=1e-6, abs=1e-30)
