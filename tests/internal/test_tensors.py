"""Tensors without a value in memory for each element are rejected wherever tensors enter."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.autograd import forward_ad
from torch.masked import masked_tensor

from nwavesdk.internal.tensors import (
    have_equal_bits,
    is_plain,
    require_floating,
    require_tensor,
)
from nwavesdk.layers import (
    Dropout,
    H1v1Frontend,
    H1v1Layer,
    H1v1Synapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.surrogate import atan, custom

# torch warns that half of these kinds are prototypes.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

N = 4
DENSE = torch.eye(N)
UNFIT = {
    "csr": (lambda: DENSE.to_sparse_csr(), "torch.sparse_csr: convert it, as in x.to_dense"),
    "csc": (lambda: DENSE.to_sparse_csc(), "torch.sparse_csc: convert it, as in x.to_dense"),
    "bsr": (lambda: DENSE.to_sparse_bsr((2, 2)), "torch.sparse_bsr: convert it, as in x.to_dense"),
    "coo": (lambda: DENSE.to_sparse(), "torch.sparse_coo: convert it, as in x.to_dense"),
    "mkldnn": (lambda: DENSE.to_mkldnn(), "torch._mkldnn: convert it, as in x.to_dense"),
    "meta": (lambda: DENSE.to("meta"), "a meta tensor, which has no values: create it"),
    "masked": (
        lambda: masked_tensor(DENSE, DENSE > 0),
        "a masked tensor: fill it, as in x.to_tensor",
    ),
    "nested": (lambda: torch.nested.nested_tensor([DENSE, DENSE]), "a nested tensor: pad it"),
    "jagged": (
        lambda: torch.nested.nested_tensor([DENSE, DENSE], layout=torch.jagged),
        "a nested tensor: pad it",
    ),
    "quantized": (
        lambda: torch.quantize_per_tensor(DENSE, 0.1, 0, torch.quint8),
        "torch.quint8: convert it, as in x.dequantize",
    ),
    "list": (lambda: [0.0] * N, "takes a tensor, got list: convert it, as in torch.as_tensor"),
    "array": (lambda: np.zeros(N), "takes a tensor, got ndarray: convert it"),
    "none": (lambda: None, "takes a tensor, got NoneType"),
}
NOT_FLOATING = [torch.int64, torch.bool, torch.complex64, torch.uint8]

MODULES = {
    "lif": lambda: LIFLayer(N, 20e-3),
    "h1": lambda: H1v1Layer(N, 20e-3),
    "synapse": lambda: LIFSynapse(N, N),
    "sparse synapse": lambda: LIFSynapse(N, N, product="sparse"),
    "dense synapse": lambda: LIFSynapse(N, N, product="dense"),
    "chip synapse": lambda: H1v1Synapse(N, N),
    "front end": lambda: H1v1Frontend(N),
    "dropout": lambda: Dropout(0.5),
    "net": lambda: SpikingSequential(LIFSynapse(N, N), LIFLayer(N, 20e-3)),
    "chunks": lambda: SpikingSequential(LIFSynapse(N, N), LIFLayer(N, 20e-3), checkpoint=2),
}
CALLS = {
    **{name: lambda x, make=make: prepared(make())(x) for name, make in MODULES.items()},
    "dropout in eval": lambda x: Dropout(0.5).eval()(x),
    "spikes": lambda x: prepared(LIFLayer(N, 20e-3)).spikes(x),
    "record": lambda x: prepared(LIFLayer(N, 20e-3)).record(x),
    "record of a net": lambda x: prepared(MODULES["net"]()).record(x),
    "surrogate": lambda x: atan()(x),
    "derivative": lambda x: atan().derivative(x),
    "custom": lambda x: custom(lambda z: z)(x),
}
# Calls that begin with a synapse, which takes lists of events.
TAKE_LISTS = {"synapse", "sparse synapse", "chip synapse", "net", "chunks", "record of a net"}


def prepared(module):
    prepare_net(module)
    return module


@pytest.mark.parametrize("kind", UNFIT)
@pytest.mark.parametrize("call", CALLS)
def test_an_unfit_tensor_is_rejected(call, kind):
    x, words = UNFIT[kind]
    if kind == "meta" and call in ("surrogate", "custom"):
        # A surrogate keeps no state, so the shape of its result needs no values.
        assert CALLS[call](x()).shape == DENSE.shape
        return
    if kind == "coo" and call in TAKE_LISTS:
        CALLS[call](x())
        return
    with pytest.raises(TypeError, match=words):
        CALLS[call](x())


@pytest.mark.parametrize("dtype", NOT_FLOATING, ids=str)
@pytest.mark.parametrize("call", CALLS)
def test_numbers_that_are_not_floating_are_rejected(call, dtype):
    with pytest.raises(TypeError, match=rf"takes a floating input, got {dtype}: convert it"):
        CALLS[call](DENSE.to(dtype))


def test_a_dense_tensor_is_accepted():
    require_tensor("Layer", torch.ones(2, dtype=torch.int64))
    require_floating("Layer", torch.ones(2, 3).t())


@pytest.mark.parametrize("kind", UNFIT)
def test_an_unfit_tensor_is_not_plain(kind):
    make, _ = UNFIT[kind]
    assert not is_plain(make())


@pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated")  # of torch by torch
def test_a_dense_tensor_is_plain_in_eager_code_only():
    assert is_plain(DENSE)
    assert is_plain(DENSE.t())
    seen = []

    def look(x):
        seen.append(is_plain(x))
        return x * 1.0

    torch.func.vmap(look)(DENSE)
    torch.func.grad(lambda x: look(x).sum())(DENSE)
    torch.jit.trace(look, DENSE, check_trace=False)
    torch.compile(look, backend="eager", fullgraph=True)(DENSE)
    with FakeTensorMode() as mode:
        look(mode.from_tensor(DENSE))
    with forward_ad.dual_level():
        look(forward_ad.make_dual(DENSE, DENSE))
    look(torch.nn.Parameter(DENSE))
    look(DENSE.to(torch.complex64).conj().imag)  # its values are the negatives of those in memory
    assert seen
    assert not any(seen)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_bits_are_equal_up_to_the_last_one(dtype):
    a = torch.randn(7, 5, dtype=dtype)
    b = torch.nn.Parameter(a.clone())
    assert have_equal_bits(a, b)
    b.data[-1, -1] = torch.nextafter(b.data[-1, -1], torch.tensor(9.0, dtype=dtype))
    assert not have_equal_bits(a, b)


def test_bits_are_not_compared_where_memory_is_not_read():
    a = torch.randn(4, 4)
    others = [
        a.t().contiguous().t(),
        a.double(),
        a.view(2, 8),
        a.as_subclass(type("A", (torch.Tensor,), {})),
    ]
    others += [a.to_sparse(), a.to("meta"), a.t(), torch._neg_view(a)]
    for other in others:
        assert not have_equal_bits(a, other)
        assert not have_equal_bits(other, a)
    with FakeTensorMode() as mode:
        assert not have_equal_bits(mode.from_tensor(a), a)
    seen = []
    torch.func.vmap(lambda row: (seen.append(have_equal_bits(row, row)), row)[1])(a)
    assert seen == [False]
