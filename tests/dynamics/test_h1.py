"""The clamp of the H1 neurons."""

import torch

from nwavesdk.dynamics import h1
from nwavesdk.solvers.problem import torch_page
from nwavesdk.surrogate import heaviside


def test_the_clamp_has_derivative_one_at_exactly_zero():
    zero = torch.zeros(1, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    adjoint = torch_page(
        h1(1), "adjoint", spike=heaviside, surrogate=torch.ones_like, held=lambda _: 0.0
    )

    def grad_x(w):
        return adjoint(w, zero, 0.9 * one, one, one, zero)[0].item()

    assert grad_x(zero) == 1.0
    assert grad_x(zero - 0.1) == 0.0
