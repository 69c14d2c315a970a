"""Sparse products are exact at every density and size, with the same bits on any threads."""

import math
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from forked import run_code
from nwavesdk.layers import LIFSynapse
from nwavesdk.solvers.sparse import gather
from nwavesdk.solvers.sparse import product as sparse
from nwavesdk.solvers.sparse.limits import SparseLimits
from tolerances import GRADIENT, assert_close

DTYPES = [torch.float32, torch.float64]
FEW_AND_MANY = [50, 100]  # rows: one native call, and several


@pytest.fixture
def set_densities(monkeypatch):
    """Replaces the rule by densities up to which products are sparse; 0 is never."""

    def set_densities(forward, gradient, with_graph=None):
        with_graph = forward if with_graph is None else with_graph
        densities = forward, with_graph, gradient

        def limits(rows, n_in, _):
            return SparseLimits(*(int(d * rows * n_in) if d else -1 for d in densities))

        monkeypatch.setattr(sparse, "sparse_limits", limits)

    return set_densities


@pytest.fixture(autouse=True)
def _densities(set_densities):
    """No test here depends on the rule."""
    set_densities(0.3, 0.3)


def spikes(*shape, density, dtype=torch.float32, binary=True):
    active = (torch.rand(shape) < density).to(dtype)
    return active if binary else active * torch.randn(shape, dtype=dtype)


def sparse_and_dense(x, weight, grad=None, learn=(True, True), **options):
    """Output and gradients of the sparse and of the dense product."""
    results = []
    for call in (lambda a, b: sparse.spike_product(a, b, **options), torch.matmul):
        a, b = (t.detach().clone(memory_format=torch.preserve_format) for t in (x, weight))
        a, b = a.requires_grad_(learn[0]), b.requires_grad_(learn[1])
        y = call(a, b)
        if any(learn):
            y.backward(torch.ones_like(y) if grad is None else grad)
        results.append((y.detach(), a.grad, b.grad))
    return results


def check_against_dense(x, weight, learn=(True, True), **options):
    grad = torch.randn(*x.shape[:-1], weight.shape[1], dtype=x.dtype)
    for got, expected, what in zip(
        *sparse_and_dense(x, weight, grad, learn, **options), ("y", "dx", "dW"), strict=True
    ):
        assert (got is None) == (expected is None), what
        if got is not None:
            assert_close(got, expected, GRADIENT, what)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("density", [0, 0.002, 0.03, 0.2, 0.5, 1])
def test_product_equals_the_dense_one_at_every_density(dtype, binary, density):
    x = spikes(5, 41, 130, density=density, dtype=dtype, binary=binary)
    check_against_dense(x, torch.randn(130, 67, dtype=dtype), always=True)


@pytest.mark.parametrize("n_out", [1, 2, 3, 7, 8, 31, 64, 65, 1025])
@pytest.mark.parametrize("n_in", [1, 63, 64, 65, 129, 700])
def test_product_equals_the_dense_one_at_every_size(n_in, n_out):
    for rows in (1, 2, 77):
        for binary in (True, False):
            x = spikes(rows, n_in, density=0.1, dtype=torch.float64, binary=binary)
            check_against_dense(x, torch.randn(n_in, n_out, dtype=torch.float64), always=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 9), max_size=2), st.integers(1, 140), st.integers(1, 20),
    st.floats(0, 1), st.booleans(), st.sampled_from(DTYPES), st.integers(0, 2**31),
)  # fmt: skip
def test_product_equals_the_dense_one_for_any_input(
    batch, n_in, n_out, density, binary, dtype, seed
):
    torch.manual_seed(seed)
    x = spikes(*batch, n_in, density=density, dtype=dtype, binary=binary)
    check_against_dense(x, torch.randn(n_in, n_out, dtype=dtype), always=True)


def test_many_blocks_and_threads():
    x = spikes(64, 100, 200, density=0.03)
    check_against_dense(x, torch.randn(200, 300), always=True)
    check_against_dense(x * 1.25, torch.randn(200, 300), always=True)


@pytest.mark.parametrize("learn", [(True, False), (False, True), (False, False)])
@pytest.mark.parametrize("limits", [(0.3, 0.3), (0.3, 0), (0, 0.3), (0, 0)])
@pytest.mark.parametrize("batch", [4, 40])  # few rows and many
def test_only_requested_gradients(set_densities, learn, limits, batch):
    set_densities(*limits)
    for binary in (True, False):
        check_against_dense(
            spikes(batch, 9, 70, density=0.1, binary=binary), torch.randn(70, 33), learn
        )


@pytest.mark.parametrize("steps", [8, 20])  # few rows and many
@pytest.mark.parametrize("layout", ["transposed", "strided", "expanded", "offset", "weight"])
def test_any_layout(layout, steps):
    x, weight = spikes(6, steps, 90, density=0.1), torch.randn(90, 30)
    if layout == "transposed":
        x = spikes(90, steps, 6, density=0.1).transpose(0, 2)
    elif layout == "strided":
        x = spikes(6, steps, 180, density=0.1)[..., ::2]
    elif layout == "expanded":
        x = spikes(6, 1, 90, density=0.1).expand(6, steps, 90)
    elif layout == "offset":
        x = spikes(1 + 6 * steps * 90, density=0.1)[1:].view(6, steps, 90)
    else:
        weight = torch.randn(30, 90).t()
    y = sparse.spike_product(x, weight, always=True)
    assert_close(y, x @ weight, GRADIENT, layout)
    leaf = weight.clone().requires_grad_()
    sparse.spike_product(x, leaf, always=True).backward(
        torch.ones(30).expand_as(y)
    )  # an upstream gradient of stride 0
    assert_close(leaf.grad, x.flatten(0, 1).t() @ torch.ones(6 * steps, 30), GRADIENT, layout)


def test_negative_zero_is_zero_and_tiny_values_count():
    x = torch.tensor([[-0.0, 1e-45, 0.0, -2.0]])
    weight = torch.tensor([[1.0], [1.0], [1.0], [3.0]])
    assert gather.find_nonzeros(x, 4).count == 2
    assert torch.equal(sparse.spike_product(x, weight, always=True), x @ weight)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_non_finite_inputs_reach_the_outputs_that_they_reach_in_torch(value):
    x, weight = spikes(5, 70, density=0.1), torch.randn(70, 9)
    x[2, 3] = value
    got, expected = sparse.spike_product(x, weight, always=True), x @ weight
    assert torch.equal(got.isfinite(), expected.isfinite())
    assert torch.equal(got[2].isnan(), expected[2].isnan())
    keep = torch.arange(5) != 2
    assert_close(got[keep], expected[keep], GRADIENT, "other rows")


def test_one_thread_and_many_give_the_same_bits():
    weight = torch.randn(300, 129)
    threads = torch.get_num_threads()
    for binary in (True, False):
        x, grad = spikes(4000, 300, density=0.05, binary=binary), torch.randn(4000, 129)
        found = []
        try:
            for n in (1, 2, 3, 7):
                torch.set_num_threads(n)
                leaf = weight.clone().requires_grad_()
                y = sparse.spike_product(x, leaf, always=True)
                y.backward(grad)
                found.append((y.detach(), leaf.grad))
        finally:
            torch.set_num_threads(threads)
        for y, dW in found[1:]:
            assert torch.equal(y, found[0][0])
            assert torch.equal(dW, found[0][1])


def test_a_row_does_not_depend_on_the_others():
    x, weight = spikes(500, 300, density=0.05), torch.randn(300, 129)
    whole = sparse.spike_product(x, weight, always=True)
    assert torch.equal(whole[123:124], sparse.spike_product(x[123:124], weight, always=True))


def sparse_parts(monkeypatch, x, weight, **options):
    """Which parts were sparse, of (forward, gradient), and whether the input was looked at."""
    calls = []
    for name in ("find_nonzeros", "gather_product", "gather_weight_gradient"):
        original = getattr(sparse, name)
        recorded = partial(lambda name, original, *a: (calls.append(name), original(*a))[1])
        monkeypatch.setattr(sparse, name, partial(recorded, name, original))
    y = sparse.spike_product(x, weight, **options)
    if y.requires_grad:
        y.sum().backward()
    return (
        "gather_product" in calls,
        "gather_weight_gradient" in calls,
        "find_nonzeros" in calls,
    )


@pytest.mark.parametrize(("ones", "expected"), [
    (639, (True, True)), (640, (True, True)), (641, (False, True)),
    (1280, (False, True)), (1281, (False, False)),
])  # fmt: skip
def test_the_limit_decides_to_the_last_spike(monkeypatch, set_densities, ones, expected):
    set_densities(0.1, 0.2)
    weight = torch.randn(64, 64, requires_grad=True)
    for seed in range(3):
        order = torch.randperm(6400, generator=torch.Generator().manual_seed(seed))
        x = torch.zeros(6400).index_fill_(0, order[:ones], 1.0).view(100, 64)
        assert sparse_parts(monkeypatch, x, weight)[:2] == expected


def test_an_input_known_to_be_dense_is_not_read(monkeypatch, set_densities):
    set_densities(0.1, 0.2)
    x, weight = spikes(100, 64, density=0.05), torch.randn(64, 64, requires_grad=True)
    assert sparse_parts(monkeypatch, x, weight, nonzeros=1281) == (False, False, False)
    assert sparse_parts(monkeypatch, x, weight, nonzeros=300) == (True, True, True)
    assert sparse_parts(monkeypatch, x, weight.detach(), nonzeros=700) == (False, False, False)
    set_densities(0, 0)
    assert sparse_parts(monkeypatch, torch.zeros(100, 64), weight) == (False, False, False)


@pytest.mark.parametrize(("ones", "expected"), [
    (0, (True, True, True)), (64, (True, True, True)), (65, (True, True, False)),
    (128, (True, True, False)), (129, (True, False, False)), (192, (True, False, False)),
    (193, (False, False, False)),
])  # fmt: skip
def test_the_limit_decides_for_few_rows_to_the_last_spike(
    monkeypatch, set_densities, ones, expected
):
    """Whether the product without a graph, the one with a graph, and the gradient are sparse."""
    set_densities(0.3, 0.1, with_graph=0.2)
    weight = torch.randn(64, 64, requires_grad=True)
    x = torch.zeros(640).index_fill_(0, torch.randperm(640)[:ones], 1.0).view(10, 64)
    calls = []
    for name in ("gather_few_rows", "gather_few_gradient_rows"):
        original = getattr(sparse, name)

        def record(*arguments, original=original, name=name):
            result = original(*arguments)
            if result is not None:
                calls.append(name)
            return result

        monkeypatch.setattr(sparse, name, record)
    with torch.no_grad():
        sparse.spike_product(x, weight)
    found = [bool(calls)]
    calls.clear()
    sparse.spike_product(x, weight).sum().backward()
    found += ["gather_few_rows" in calls, "gather_few_gradient_rows" in calls]
    assert tuple(found) == expected


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
def test_few_rows_give_the_bits_of_many(binary, dtype):
    x, weight = spikes(65, 300, density=0.1, dtype=dtype, binary=binary), torch.randn(300, 129)
    weight = weight.to(dtype)
    grad = torch.randn(65, 129, dtype=dtype)
    grad[64] = 0
    x[64] = 0
    results = []
    for rows in (64, 65):
        leaf = weight.clone().requires_grad_()
        y = sparse.spike_product(x[:rows], leaf, always=True)
        y.backward(grad[:rows])
        results.append((y.detach()[:64], leaf.grad))
    assert all(map(torch.equal, *results))


def test_a_step_of_a_sequence_is_not_copied():
    x = spikes(6, 20, 90, density=0.1)
    for t in (0, 7, 19):
        rows, stride = gather._with_dense_rows(x[:, t])
        assert rows.data_ptr() == x[:, t].data_ptr()
        assert stride == 20 * 90
        got = sparse.spike_product(x[:, t], torch.eye(90), always=True)
        assert torch.equal(got, x[:, t])


def test_bits_are_saved_instead_of_the_input():
    saved = []
    x, weight = spikes(100, 640, density=0.05), torch.randn(640, 64, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: (saved.append(t), t)[1], lambda t: t):
        sparse.spike_product(x, weight, always=True)
    size = sum(t.numel() * t.element_size() for t in saved)
    assert size == x.numel() // 8 + 8 * 101


@pytest.mark.parametrize("rows", FEW_AND_MANY)
def test_backward_twice(rows):
    x, weight = spikes(rows, 64, density=0.05), torch.randn(64, 64, requires_grad=True)
    y = sparse.spike_product(x, weight, always=True)
    y.sum().backward(retain_graph=True)
    once = weight.grad.clone()
    y.sum().backward()
    assert torch.equal(weight.grad, 2 * once)
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.sum().backward()


@pytest.mark.parametrize("rows", FEW_AND_MANY)
def test_a_weight_changed_before_backward_is_detected(rows):
    x, weight = (
        spikes(rows, 64, density=0.05).requires_grad_(),
        torch.randn(64, 64, requires_grad=True),
    )
    y = sparse.spike_product(x, weight, always=True)
    with torch.no_grad():
        weight += 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation|written to"):
        y.sum().backward()


@pytest.mark.parametrize("rows", FEW_AND_MANY)
def test_a_second_derivative_is_rejected_with_its_remedy(rows):
    synapse = LIFSynapse(64, 64, product="sparse")
    y = synapse(spikes(rows, 64, density=0.05).requires_grad_())
    with pytest.raises(RuntimeError, match='product="dense"'):
        torch.autograd.grad(y.square().sum(), synapse.weight, create_graph=True)


@pytest.mark.filterwarnings(
    "ignore:.*torch.jit.script.*:DeprecationWarning"
)  # torch's own, when first used
@pytest.mark.parametrize("rows", FEW_AND_MANY)
def test_forward_mode_is_rejected_with_its_remedy(rows):
    x, weight = spikes(rows, 64, density=0.05), torch.randn(64, 64)
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, torch.ones_like(x))
        with pytest.raises(RuntimeError, match='product="dense"'):
            sparse.spike_product(dual, weight, always=True)


@pytest.mark.parametrize("name", ["autocast", "half", "func", "subclass"])
def test_auto_is_dense_where_sparse_cannot_be(name):
    synapse, x = LIFSynapse(64, 64), spikes(100, 64, density=0.05)
    picky = LIFSynapse(64, 64, product="sparse")
    picky.weight = synapse.weight
    call = {
        "autocast": lambda s: torch.autocast("cpu", torch.bfloat16)(s)(x),
        "half": lambda s: s.to(torch.bfloat16)(x.to(torch.bfloat16)),
        "func": lambda s: torch.func.vmap(s)(x[:, None]),
        "subclass": lambda s: s(x.as_subclass(type("Marked", (torch.Tensor,), {}))),
    }[name]
    assert call(synapse).shape[-1] == 64
    with pytest.raises(
        RuntimeError,
        match=r'LIFSynapse\(64, 64\): product="sparse" does not take .*: use product="auto"',
    ):
        call(picky)


def test_compiled_code_takes_the_product_that_eager_code_takes():
    torch._dynamo.reset()
    synapse = LIFSynapse(300, 70, product="sparse")
    compiled = torch.compile(synapse, backend="aot_eager", fullgraph=True)
    for x in (spikes(50, 300, density=0.05), 1.25 * spikes(50, 300, density=0.05)):
        found = []
        for call in (synapse, compiled):
            leaf = x.clone().requires_grad_()
            synapse.zero_grad()
            out = call(leaf)
            out.square().sum().backward()
            found.append((out, leaf.grad, synapse.weight.grad))
        assert all(map(torch.equal, *found))


PROGRAM = """
import torch
from nwavesdk.solvers.kernel_cache import PythonKernel
from nwavesdk.solvers.sparse import gather
from nwavesdk.solvers.sparse import product as sparse
for scale in (1, 2):
    weight = torch.randn(65, 9, requires_grad=True)
    sparse.spike_product(scale * torch.eye(65), weight, always=True).sum().backward()
kernels = vars(gather.sparse_kernels(torch.float32)).values()
stats = [k.function.stats for k in kernels if isinstance(k, PythonKernel)]
for name in ("cache_misses", "cache_hits"):
    print(sum(sum(getattr(s, name).values()) for s in stats), end=" ")
"""


def test_another_process_compiles_nothing(tmp_path):
    run_code(PROGRAM, tmp_path)
    # Each kernel has one form, for binary inputs and for others.
    other = run_code(PROGRAM, tmp_path)
    assert other.stdout.strip() == "0 5"
    assert other.stderr == ""
