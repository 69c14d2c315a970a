"""The non-zeros of a list equal those that are found in the dense tensor."""

import pytest
import torch

from nwavesdk.solvers.sparse.gather import find_nonzeros, listed_nonzeros


def have_same_nonzeros(listed, dense):
    got = listed_nonzeros(listed)
    expected = find_nonzeros(dense.reshape(-1, dense.shape[-1]), dense.numel())
    assert torch.equal(got.words, expected.words)
    assert torch.equal(got.start, expected.start)
    assert got.count == expected.count
    if expected.values is None:
        assert got.values is None
    else:
        assert torch.equal(got.values, expected.values)


@pytest.mark.parametrize(
    "shape", [(2, 5, 1), (7, 63), (2, 3, 64), (2, 3, 65), (1, 1, 128), (3, 0, 9)]
)
@pytest.mark.parametrize("binary", [True, False])
def test_lists_of_all_shapes(shape, binary):
    dense = (torch.rand(shape) < 0.3).float()
    if not binary:
        dense *= torch.randint(1, 4, shape)
    have_same_nonzeros(dense.to_sparse(), dense)


def test_events_at_one_place_add_up_and_zeros_are_left_out():
    indices = torch.tensor([[0, 0, 0, 0, 0], [1, 1, 0, 2, 2], [70, 70, 3, 5, 5]])
    values = torch.tensor([1.0, 1.0, 1.0, 2.0, -2.0])
    listed = torch.sparse_coo_tensor(indices, values, (1, 3, 80), check_invariants=True)
    have_same_nonzeros(listed, listed.to_dense())
    assert listed_nonzeros(listed).count == 2


def test_an_empty_list():
    have_same_nonzeros(torch.zeros(2, 3, 5).to_sparse(), torch.zeros(2, 3, 5))
