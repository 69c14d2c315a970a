"""comPaSSo's gradient in chunks equals the serial adjoint."""

from dataclasses import replace

import pytest
import torch

from contract import SURROGATES
from nwavesdk.layers import LIFLayer, prepare_net
from nwavesdk.solvers import solve
from nwavesdk.surrogate import fast_sigmoid
from pairwise import case_id
from solvers.parallel.drives import NAMES, drive, driven
from solvers.parity import CASES, case_of, compare, gradients, leaves
from tolerances import GRADIENT, assert_close


def driven_case(name, surrogate, detach, dtype, learns, T, N, beta):
    p = driven(name, drive("gaussian", 2, T, N, beta, dtype), beta, start=0.1)
    spec = replace(p.spec, surrogate=SURROGATES[surrogate], detach_reset=detach)
    constants = tuple(c.requires_grad_(learns) for c in p.constants)
    return replace(p, spec=spec, constants=constants)


@pytest.mark.parametrize("name", NAMES)
def test_the_chunks_are_the_reference(name):
    case = case_of(name, dtype=torch.float64)
    for T in (0, 1, 100, 1030):
        compare(driven_case(**case, T=T, N=5, beta=0.8), "compasso")


# float64 runs in the test above, and each case is another kernel to compile.
NARROW = [case for case in CASES if case["name"] in NAMES and case["dtype"] is torch.float32]


@pytest.mark.parametrize("case", NARROW, ids=case_id)
def test_the_gradient_in_chunks_is_the_serial_one(case):
    # 900 is a whole number of chunks, 1019 is not.
    T = 900 if case["learns"] else 1019
    upstream = "dense" if case["detach"] else "expanded"
    p = driven_case(**case, T=T, N=7, beta=0.9)
    a = leaves(p)
    b = leaves(p)
    expected = gradients(a, solve(a, "serial"), upstream)
    got = gradients(b, solve(b, "compasso"), upstream)
    first_constant = 1 + len(p.states)
    for k, (mine, theirs) in enumerate(zip(got, expected, strict=True)):
        scale = T if k >= first_constant else 1  # gradients of constants are sums over time
        assert_close(mine / scale, theirs / scale, GRADIENT, f"gradient {k}")


def test_a_gradient_that_overflows_is_left_to_the_serial_adjoint():
    """Just below the threshold, the gradient through the reset grows with every step."""
    gradients_of_x = []
    for solver in ("serial", "compasso"):
        layer = LIFLayer(
            3, 20e-3, thresholds=3.0, solver=solver, spike_grad=fast_sigmoid(), detach_reset=False
        )
        prepare_net(layer)
        x = torch.full((1, 1024, 3), 3 * (1 - float(layer.constants()[0][0])) - 1e-4)
        x[:, 0] = 3 - 1e-3
        x.requires_grad_()
        _, mem = layer(x)
        mem[:, :20].sum().backward()
        gradients_of_x.append(x.grad)
    assert bool(gradients_of_x[1].isfinite().all())
    assert_close(gradients_of_x[1], gradients_of_x[0], GRADIENT, "gradient")
