"""Functions of the user as source of kernels."""

import pytest
import torch

from nwavesdk.solvers.dialect import kernel_function, triton_dialect

PEAK = 0.5


def formula(z, height):
    beyond = torch.abs(z) / height
    return torch.where(beyond <= 1.0, height, 0.0)


def formula_with_a_number_of_its_module(z):
    return PEAK * z


def test_torch_is_written_as_the_maths_of_the_kernel():
    numba = kernel_function(formula, name="surrogate")
    assert "return where(beyond <= real(1.0), height, real(0.0))" in numba
    triton = kernel_function(formula, dialect=triton_dialect("float64"))
    assert "tl.abs(z) / height" in triton
    assert "torch" not in numba + triton


def test_a_name_that_no_kernel_can_read_is_rejected():
    with pytest.raises(ValueError, match="a kernel cannot read the name PEAK.*make it a field"):
        kernel_function(formula_with_a_number_of_its_module)
