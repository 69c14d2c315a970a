"""The only table of tolerances, relative to the largest expected value, or to 1 if that is smaller.

Inputs and upstream gradients of the tests are of size 1, so sums that cancel have errors of that
size.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

GRADIENT = {torch.float32: 3e-5, torch.float64: 1e-12, torch.float16: 2e-3, torch.bfloat16: 2e-2}
STATE = {torch.float32: 1e-6, torch.float64: 1e-13, torch.float16: 2e-3, torch.bfloat16: 2e-2}

# Distance from the threshold within which roundings of exp, log, tanh, sin and cos may decide a
# spike: a hundred times the tolerances of a state.
NEAR_THRESHOLD = {dtype: 100 * bound for dtype, bound in STATE.items()}


def assert_close(got: Tensor, expected: Tensor, table: dict[torch.dtype, float], what: str) -> None:
    assert got.shape == expected.shape, what
    assert got.dtype == expected.dtype, what
    if not expected.numel():
        return
    scale = max(float(expected.detach().abs().max()), 1.0)
    error = float((got.detach().double() - expected.detach().double()).abs().max()) / scale
    assert error <= table[expected.dtype], f"{what}: {error:.1e} of the scale"


def assert_all_close(
    got: Iterable[Tensor | None],
    expected: Iterable[Tensor | None],
    table: dict[torch.dtype, float],
    what: str,
) -> None:
    """As many tensors, each close to its counterpart; None where None is expected."""
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert (a is None) == (b is None), f"{what} {i}"
        if b is not None:
            assert_close(a, b, table, f"{what} {i}")
