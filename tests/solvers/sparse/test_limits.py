"""The rule of sizes: when a sparse product is taken."""

import itertools

import pytest

from nwavesdk.solvers.sparse.limits import SparseLimits, sparse_limits

SIZES = list(itertools.product((1, 64, 6400), (16, 256, 2312), (4, 20, 256, 1024)))


@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_limits_are_counts_and_a_graph_makes_a_product_dearer(sizes):
    rows, n_in, n_out = sizes
    limits = sparse_limits(*sizes)
    assert all(limit == -1 or 0 <= limit <= rows * n_in / 2 for limit in limits)
    assert limits.forward_with_graph <= limits.forward
    more = sparse_limits(2 * rows, n_in, n_out)
    assert more.forward >= limits.forward


def test_large_products_are_sparse_and_small_ones_dense():
    large = sparse_limits(6400, 700, 256)
    assert all(0.15 < limit / (6400 * 700) < 0.3 for limit in large)
    assert sparse_limits(1, 16, 1024) == SparseLimits(-1, -1, -1)
    assert sparse_limits(1, 4096, 1024).forward > 0.3 * 4096
    assert sparse_limits(6400, 1024, 10).forward > 0  # torch is slow for so few outputs
    assert sparse_limits(4, 256, 256).forward > 0
    assert sparse_limits(4, 256, 256).weight_gradient == -1  # few rows, and a dense product


@pytest.mark.parametrize("sizes", [(0, 3, 5), (3, 0, 5), (3, 5, 0)])
def test_empty_products_are_dense(sizes):
    assert sparse_limits(*sizes) == SparseLimits(-1, -1, -1)
