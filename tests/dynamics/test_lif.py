"""The clamp of the H1 neurons."""

import torch

from nwavesdk.dynamics import H1_PAGES, program_of, torch_function
from nwavesdk.surrogate import heaviside


def test_the_clamp_has_derivative_one_at_exactly_zero():
    zero = torch.zeros(1, dtype=torch.float64)
    one = torch.ones(1, dtype=torch.float64)
    query = program_of(H1_PAGES[1].neuron).adjoint(False)
    adjoint = torch_function(
        query.query, "adjoint", torch.float64, spike=heaviside, surrogate=torch.ones_like
    )

    def grad_x(w):
        return adjoint(w, 0.9 * one, one, one, zero)[0].item()

    assert grad_x(zero) == 1.0
    assert grad_x(zero - 0.1) == 0.0
