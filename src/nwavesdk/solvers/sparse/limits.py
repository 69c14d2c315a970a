"""A rule of sizes: up to how many non-zeros a sparse product is faster than the dense one.

Which of the two products runs decides the order of the sums, and so the last bits of a result. So
the rule depends on sizes only: nothing is timed while a net runs, and nothing is read from disk.

Costs are in multiplications of a large dense product. The dense product takes one for each of its
multiplications, and reads the weight once per pass. The sparse product takes some for each row,
for each non-zero, and for each sum of a non-zero and an output. `docs/decisions/solvers.md` says
how the numbers were measured.
"""

from typing import NamedTuple

from nwavesdk.solvers.sparse.gather import FEW_ROWS

__all__ = ["SparseLimits", "sparse_limits"]

# Costs of the dense product, for each weight that is read, and the columns that an output of fewer
# than `_NARROW` takes as long as.
_READ = 3
_NARROW = 12
_NARROW_COLUMNS = 25
# Costs of the sparse product, per row, non-zero, and sum of a non-zero and an output.
_ROW = 4000
_NONZERO = 280
_SUM = 4.2
# Costs of a sparse call: of the product without a graph, of the product with a graph, which needs
# an autograd function in Python, and of the gradient of the weight.
_CALLS = (200_000, 500_000, 150_000)
_MAX_DENSITY = 0.5


class SparseLimits(NamedTuple):
    """The most non-zeros of an input with which products are sparse; -1 means never.

    Attributes:
        forward: Of `x @ weight` without a graph.
        forward_with_graph: Of `x @ weight` that has a gradient.
        weight_gradient: Of ∂L/∂weight. Of a few rows, it is sparse only where the product is.
    """

    forward: int
    forward_with_graph: int
    weight_gradient: int


NEVER = SparseLimits(-1, -1, -1)


def sparse_limits(rows: int, n_in: int, n_out: int) -> SparseLimits:
    """The limits for an input [rows, n_in] and a weight [n_in, n_out].

    Example:
        >>> round(sparse_limits(6400, 700, 256).forward / (6400 * 700), 2)  # density of spikes
        0.18
        >>> sparse_limits(1, 10, 10)
        SparseLimits(forward=-1, forward_with_graph=-1, weight_gradient=-1)
    """
    if not rows * n_in * n_out:
        return NEVER

    columns = n_out if n_out >= _NARROW else _NARROW_COLUMNS
    saved = rows * n_in * columns + _READ * n_in * n_out - _ROW * rows
    per_nonzero = _NONZERO + _SUM * n_out
    counts = [int((saved - call) / per_nonzero) for call in _CALLS]

    most = int(_MAX_DENSITY * rows * n_in)
    limits = SparseLimits(*(min(count, most) if count > 0 else -1 for count in counts))
    if rows <= FEW_ROWS and limits.forward_with_graph < 0:
        limits = limits._replace(weight_gradient=-1)
    return limits
