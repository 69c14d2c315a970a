"""Blocks that share a sign, against a search over all choices of signs."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nwavesdk.chip.signs import (
    block_peaks,
    block_signs,
    block_sums,
    disagreeing_weights,
    disagreement,
    nearest_agreeing_weight,
)

AXES = ("inputs", "outputs")


def pieces(weight, block, axis):
    """The blocks of an array [N_in, N_out], one by one."""
    rows = weight if axis == "inputs" else weight.T
    for column in rows.T:
        yield from (column[k : k + block] for k in range(0, len(column), block))


def squared_distance(weight, block, axis, limit):
    """To the nearest weights that agree and keep the limit, found by trying both signs."""
    total = 0.0
    for piece in pieces(weight, block, axis):
        tries = [np.clip(piece * sign, 0, limit) * sign for sign in (1, -1)]
        total += min(float(((piece - t) ** 2).sum()) for t in tries)
    return total


@st.composite
def cases(draw):
    rows = draw(st.integers(1, 12))
    columns = draw(st.integers(1, 4))
    block = draw(st.integers(1, 6))
    scale = draw(st.sampled_from([1e-3, 0.5, 2.0]))
    weight = np.random.default_rng(draw(st.integers(0, 9999))).normal(0, scale, (rows, columns))
    return weight, block, draw(st.sampled_from(AXES)), draw(st.sampled_from([None, 0.3, 0.9]))


@given(cases())
def test_the_nearest_weight_agrees_keeps_the_limit_and_is_nearest(case):
    weight, block, axis, limit = case
    got = nearest_agreeing_weight(torch.from_numpy(weight), block, axis, limit).numpy()
    for piece in pieces(got, block, axis):
        assert (piece >= 0).all() or (piece <= 0).all()
    assert np.abs(got).max() <= (limit or np.inf)
    distance = ((weight - got) ** 2).sum()
    assert distance == pytest.approx(
        squared_distance(weight, block, axis, limit or np.inf), rel=1e-12
    )


@given(cases())
def test_disagreement_is_the_squared_distance_and_0_at_the_nearest_weight(case):
    weight, block, axis, limit = case
    tensor = torch.from_numpy(weight)
    assert disagreement(tensor, block, axis).sum().item() == pytest.approx(
        squared_distance(weight, block, axis, np.inf)
    )
    allowed = nearest_agreeing_weight(tensor, block, axis, limit)
    assert disagreement(allowed, block, axis).abs().max() == 0
    assert not disagreeing_weights(allowed, block, axis).any()
    assert torch.equal(nearest_agreeing_weight(allowed, block, axis, limit), allowed)


@given(cases())
def test_outputs_are_inputs_of_the_transpose(case):
    weight, block, _, limit = case
    w = torch.from_numpy(weight)
    assert torch.equal(
        nearest_agreeing_weight(w, block, "outputs", limit),
        nearest_agreeing_weight(w.mT, block, "inputs", limit).mT,
    )
    assert torch.equal(block_signs(w, block, "outputs"), block_signs(w.mT, block, "inputs").mT)
    assert torch.equal(disagreement(w, block, "outputs"), disagreement(w.mT, block, "inputs").mT)


def test_a_worked_example():
    weight = torch.tensor(
        [[1.0, -3.0], [2.0, 0.0], [-2.5, 0.0], [0.0, 4.0], [0.0, 0.0], [-1.0, 0.0], [-2.0, 5.0]]
    )
    signs = [[-1.0, 1.0]] * 5 + [[-1.0, 1.0]] * 2
    # 1 + 4 < 6.25; 9 < 16; the last block has two rows.
    assert block_signs(weight, 5, "inputs").tolist() == signs
    assert disagreement(weight, 5, "inputs").tolist() == [[5.0, 9.0], [0.0, 0.0]]
    assert disagreeing_weights(weight, 5, "inputs").nonzero().tolist() == [[0, 0], [0, 1], [1, 0]]
    expected = [
        [0.0, 0.0],
        [0.0, 0.0],
        [-2.5, 0.0],
        [0.0, 4.0],
        [0.0, 0.0],
        [-1.0, 0.0],
        [-2.0, 4.5],
    ]
    assert nearest_agreeing_weight(weight, 5, "inputs", limit=4.5).tolist() == expected
    assert block_peaks(weight.abs(), 5, "inputs").tolist() == [[2.5, 4.0], [2.0, 5.0]]
    assert block_peaks(weight.abs(), 1, "outputs").tolist() == weight.abs().tolist()
    assert block_sums(weight, 2, "outputs").flatten().tolist() == [
        -2.0,
        2.0,
        -2.5,
        4.0,
        0.0,
        -1.0,
        3.0,
    ]


def test_a_tie_is_positive_and_zeros_agree():
    assert block_signs(torch.tensor([[3.0], [4.0], [-5.0]]), 3, "inputs").tolist() == [[1.0]] * 3
    assert block_signs(torch.zeros(2, 2), 2, "inputs").tolist() == [[1.0, 1.0]] * 2


def test_what_is_beyond_the_limit_does_not_decide_the_sign():
    weight = torch.tensor([[10.0], *[[-0.9]] * 4])
    assert block_signs(weight, 5, "inputs")[0] == 1
    # 4 > 3.24, but within 0.9 the first weight counts only 2.79.
    weight[0] = 2.0
    assert block_signs(weight, 5, "inputs")[0] == 1
    assert nearest_agreeing_weight(weight, 5, "inputs", 0.9).flatten().tolist() == pytest.approx(
        [0.0, *[-0.9] * 4]
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_small_weights_do_not_vanish(dtype):
    weight = torch.tensor([[-1e-6], [-2e-6]], dtype=dtype) * (
        1e-20 if dtype == torch.float32 else 1
    )
    assert torch.equal(nearest_agreeing_weight(weight, 5, "inputs"), weight)
    assert nearest_agreeing_weight(weight, 5, "inputs").dtype == dtype
    assert disagreement(weight, 5, "inputs").dtype == torch.float32


@pytest.mark.parametrize("block", [1, 3, 5])
@pytest.mark.parametrize("axis", AXES)
def test_the_gradient_of_disagreement_is_that_of_finite_differences(block, axis):
    weight = torch.randn(7, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda w: disagreement(w, block, axis), weight)


def test_nan_stays_nan():
    weight = torch.tensor([[float("nan")], [1.0]])
    assert nearest_agreeing_weight(weight, 5, "inputs", 0.9).isnan().any()
    assert disagreement(weight, 5, "inputs").isnan().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": torch.zeros(3)}, r"has the shape \[N_in, N_out\], got \[3\]"),
        ({"block": 0}, "block must be a whole number of at least 1, got 0"),
        ({"block": 2.0}, "block must be a whole number of at least 1"),
        ({"axis": "rows"}, "axis must be one of 'inputs', 'outputs', got 'rows'"),
        (
            {"limit": -0.9},
            "limit must be a finite number above 0, got -0.9",
        ),
    ],
)
def test_wrong_arguments_are_rejected(change, words):
    with pytest.raises(ValueError, match=words):
        nearest_agreeing_weight(
            **{"weight": torch.zeros(3, 2), "block": 5, "axis": "inputs", "limit": 0.9} | change
        )
