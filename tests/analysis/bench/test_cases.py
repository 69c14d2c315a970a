"""The cases have parity, with all their gradients, whatever the order of sums."""

import pytest
import torch

from nwavesdk.analysis.bench import (
    LayerCase,
    TrainingCase,
    build_contender,
    compare_outcomes,
)


@pytest.mark.parametrize(
    "case",
    [
        LayerCase((2, 12, 6)),
        LayerCase((2, 12, 6), recurrent=True),
    ],
)
def test_layers_have_parity_and_return_every_gradient(case):
    contender = build_contender(case, *case.draw_data())
    expected = {"x"} | ({"recurrent_weights"} if case.recurrent else set())
    assert contender.call().gradients.keys() == expected
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.3


@pytest.mark.parametrize("density", [0.03, 0.5, None])
def test_a_training_step_has_parity_whatever_the_order_of_its_sums(density):
    case = TrainingCase(4, 20, (64, 32, 8), density)
    x, labels = case.draw_data()
    contender = build_contender(case, x, labels)
    parity = compare_outcomes(contender.call, contender.reference)
    assert parity.agrees
    assert 0 < parity.rate < 0.5
    w = case.weights()[0]
    flipped = (x.flip(-1) @ w.flip(0)).double()
    assert torch.equal((x @ w).double(), flipped)
    assert torch.equal(flipped, x.double() @ w.double())
