"""The fast delayed product: parity with the reference, equal bits in all its forms, fallbacks."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad

from nwavesdk.solvers.sparse import delay_rows, delays_reference
from nwavesdk.solvers.sparse.delay_rows import DelayedWork, Way
from nwavesdk.solvers.sparse.delays import delayed_product
from tolerances import GRADIENT, assert_all_close, assert_close

# torch's own, when derivatives in forward mode are first used
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")

ALL = (True, True, True, True)

# B, T, N_in, N_out, max_delay: one of everything, incomplete quads and blocks, T below the delay.
SIZES = [
    (1, 1, 1, 1, 1),
    (3, 7, 5, 6, 3),
    (17, 5, 9, 3, 8),
    (33, 3, 66, 9, 24),
    (64, 1, 10, 4, 2),
    (1, 40, 30, 21, 24),
]


@pytest.fixture(params=[False, True])
def per_input(request):
    """Whether there is one delay per input, not per connection."""
    return request.param


def case(B, T, N_in, N_out, D, density=0.2, *, binary=True, per_input=False, dtype=torch.float32):
    """Operands of which some delays are 0 and some the largest one."""
    torch.manual_seed(0)
    sequence = (torch.rand(B, D + T, N_in) < density).to(dtype)
    if not binary:
        sequence *= torch.randn(B, D + T, N_in, dtype=dtype)
    weight = torch.randn(N_in, N_out, dtype=dtype)
    delay = (torch.rand(N_in, 1 if per_input else N_out, dtype=dtype) * 1.5 - 0.25).clamp(0, 1) * D
    return sequence[:, D:].contiguous(), sequence[:, :D].contiguous(), weight, delay


def run(product, operands, D, interpolation="linear", needs=ALL):
    """The charge and the gradients of the operands that need one."""
    leaves = [x.detach().clone().requires_grad_(n) for x, n in zip(operands, needs, strict=True)]
    charge = product(*leaves, D, interpolation, 0.7)
    if any(needs):
        charge.backward(torch.cos(torch.arange(charge.numel())).view_as(charge).to(charge.dtype))
    return [charge.detach(), *(leaf.grad for leaf in leaves)]


def assert_parity(operands, D, interpolation="linear", needs=ALL):
    needs = (*needs[:3], needs[3] and interpolation != "none")
    got = run(delayed_product, operands, D, interpolation, needs)
    expected = run(delays_reference.delayed_product, operands, D, interpolation, needs)
    assert_all_close(got, expected, GRADIENT, "charge, then gradients")


@pytest.mark.parametrize("density", [0.0, 0.03, 0.3, 1.0])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_parity_over_sizes_and_densities(sizes, density, per_input):
    for binary in (True, False):
        operands = case(*sizes, density, binary=binary, per_input=per_input)
        assert_parity(operands, sizes[-1])
        assert_parity(operands, sizes[-1], "none")


@pytest.mark.parametrize("needs", [
    (False, False, True, True), (True, False, False, False), (False, True, False, False),
    (False, False, False, True), (False, False, False, False),
], ids=str)  # fmt: skip
def test_parity_of_the_gradients_that_are_needed(needs, per_input):
    for density in (0.03, 1.0):
        spk, past, weight, delay = case(5, 6, 20, 7, 9, density, per_input=per_input)
        assert_parity((spk, past, weight, delay), 9, needs=needs)
        assert_parity((spk, torch.zeros_like(past), weight, delay), 9, needs=needs)


def test_parity_in_float64(per_input):
    operands = case(9, 6, 20, 7, 9, binary=False, per_input=per_input, dtype=torch.float64)
    assert_parity(operands, 9)


@pytest.mark.parametrize("has_past", [False, True])
def test_any_strides(per_input, has_past):
    spk, past, weight, delay = case(5, 6, 20, 7, 9, per_input=per_input)
    past = past * has_past
    needs = (True, has_past, True, True)
    expected = run(delayed_product, (spk, past, weight, delay), 9, needs=needs)
    turned = [
        spk.permute(1, 2, 0).contiguous().permute(2, 0, 1),
        past.expand(2, *past.shape)[1].transpose(0, 1).contiguous().transpose(0, 1),
        weight.t().contiguous().t(),
        torch.stack([delay, delay], -1)[..., 0],
    ]
    leaves = [x.requires_grad_(n) for x, n in zip(turned, needs, strict=True)]
    charge = delayed_product(*leaves, 9, "linear", 1.0)
    grad = torch.cos(torch.arange(charge.numel())).view_as(charge)
    charge.backward(grad.permute(2, 1, 0).contiguous().permute(2, 1, 0))
    got = [charge.detach(), *(leaf.grad for leaf in leaves)]
    assert_all_close(got, expected, GRADIENT, "charge, then gradients")
    constant = delayed_product(*leaves, 9, "linear", 1.0)
    constant.sum().backward()  # an upstream gradient with strides of 0


def test_more_past_than_the_largest_delay():
    spk, past, weight, delay = case(2, 4, 5, 3, 6)
    longer = torch.cat([torch.ones(2, 3, 5), past], 1)
    got = delayed_product(spk, longer, weight, delay, 6, "linear", 1.0)
    assert torch.equal(got, delayed_product(spk, past, weight, delay, 6, "linear", 1.0))


def test_a_largest_delay_of_0():
    operands = case(3, 4, 5, 6, 0)
    assert_parity(operands, 0, needs=(True, False, True, False))


@pytest.mark.parametrize("shape", [(0, 3), (2, 0)])
def test_empty_sequences(shape):
    spk, past, weight, delay = case(*shape, 5, 6, 4)
    assert delayed_product(spk, past, weight, delay, 4, "linear", 1.0).shape == (*shape, 6)


# The same bits


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_all_kernels_give_the_same_bits(monkeypatch, sizes, binary):
    operands = case(*sizes, binary=binary)
    charges = []
    gradients = []
    for way in Way:
        monkeypatch.setattr(DelayedWork, "choose", lambda *_, way=way, **__: way)
        charges.append(run(delayed_product, operands, sizes[-1], needs=(True, False, False, False)))
        if way is not Way.STEPS:  # never taken where weights learn
            gradients.append(run(delayed_product, operands, sizes[-1]))
    assert all(map(torch.equal, *gradients))
    for charge, grad, *_ in charges:
        assert torch.equal(charge, gradients[0][0])
        assert torch.equal(grad, gradients[0][1])


def test_the_kernel_follows_the_sizes_and_the_spikes():
    whole = DelayedWork(
        batch=64, steps=100, inputs=700, outputs=256, max_delay=24, dtype=torch.float32
    )
    assert whole.choose(134_400, with_steps=True) is Way.PLACES
    assert whole.choose(1_000_000, with_steps=True) is Way.DENSE
    step = DelayedWork(batch=1, steps=1, inputs=700, outputs=256, max_delay=24, dtype=torch.float32)
    assert step.choose(500, with_steps=True) is Way.STEPS
    assert step.choose(500, with_steps=False) is Way.PLACES
    assert step.choose(100_000, with_steps=True) is Way.DENSE


def test_parts_and_single_steps_give_the_bits_of_the_whole(per_input):
    spk, past, weight, delay = case(20, 12, 30, 7, 5, 0.1, per_input=per_input)
    whole = delayed_product(spk, past, weight, delay, 5, "linear", 1.0)
    for size in (6, 1):
        seen = past
        parts = []
        for part in spk.split(size, 1):
            parts.append(delayed_product(part, seen, weight, delay, 5, "linear", 1.0))
            seen = torch.cat([seen, part], 1)
        if per_input:  # the product that follows is torch's, whose bits depend on the rows
            assert_close(torch.cat(parts, 1), whole, GRADIENT, f"parts of {size}")
        else:
            assert torch.equal(torch.cat(parts, 1), whole)


@pytest.mark.parametrize("way", Way)
def test_the_number_of_threads_changes_no_bit(monkeypatch, way):
    monkeypatch.setattr(delay_rows, "_SMALL", 0)
    monkeypatch.setattr(DelayedWork, "choose", lambda *_, **__: way)
    needs = (True, True, way is not Way.STEPS, way is not Way.STEPS)
    threads = torch.get_num_threads()
    found = []
    # Three first: what a thread leaves out is not what one thread has left in memory.
    for count in (3, 1):
        torch.set_num_threads(count)
        found.append(run(delayed_product, case(40, 9, 21, 10, 5), 5, needs=needs))
    torch.set_num_threads(threads)
    for several, one in zip(*found, strict=True):
        assert one is several or torch.equal(one, several)


# What the kernels do not take


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_weight_that_is_not_finite_acts_as_in_the_reference(bad, per_input):
    spk, past, weight, delay = case(2, 5, 6, 3, 4, per_input=per_input)
    weight[2, 1] = bad
    operands = spk, past, weight, delay, 4, "linear", 1.0
    got = delayed_product(*operands)
    expected = delays_reference.delayed_product(*operands)
    assert torch.equal(got.isnan(), expected.isnan())
    assert got.isnan().any()


@pytest.mark.parametrize("bad", [-0.5, 4.5, 1e9, math.nan, -math.inf])
def test_a_delay_out_of_range_reads_no_other_memory(bad):
    spk, past, weight, delay = case(2, 5, 6, 3, 4)
    delay[2, 1] = bad
    operands = spk, past, weight, delay, 4, "linear", 1.0
    torch.testing.assert_close(
        delayed_product(*operands), delays_reference.delayed_product(*operands), equal_nan=True
    )


def test_a_gaussian_takes_a_convolution(per_input):
    assert_parity(case(3, 7, 5, 6, 4, per_input=per_input), 4, "gaussian")


@pytest.mark.parametrize(
    "way", ["half", "autocast", "vmap", "subclass", "compiled", "forward mode"]
)
def test_what_the_kernels_do_not_take_is_right(way, per_input):
    spk, past, weight, delay = case(3, 7, 5, 6, 4, per_input=per_input)
    options = 4, "linear", 1.0
    expected = delays_reference.delayed_product(spk, past, weight, delay, *options)
    tolerance = {}
    if way == "half":
        half = [x.to(torch.bfloat16) for x in (spk, past, weight)]
        got = delayed_product(*half, delay, *options).float()
        tolerance = {"rtol": 0.03, "atol": 0.03}
    elif way == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            got = delayed_product(spk, past, weight, delay, *options).float()
        tolerance = {"rtol": 0.03, "atol": 0.03}
    elif way == "vmap":
        call = torch.func.vmap(lambda w: delayed_product(spk, past, w, delay, *options))
        got = call(weight[None])[0]
    elif way == "subclass":
        marked = spk.as_subclass(type("Marked", (Tensor,), {}))
        got = delayed_product(marked, past, weight, delay, *options).as_subclass(Tensor)
    elif way == "compiled":
        torch._dynamo.reset()
        call = torch.compile(delayed_product, backend="aot_eager", fullgraph=True)
        got = call(spk, past, weight, delay, *options)
    else:
        with forward_ad.dual_level():
            dual = forward_ad.make_dual(weight, weight)
            got = forward_ad.unpack_dual(delayed_product(spk, past, dual, delay, *options)).tangent
    torch.testing.assert_close(got, expected, **tolerance)


# Graphs


def parameters(per_input=False):
    spk, past, weight, delay = case(3, 7, 5, 6, 4, per_input=per_input)
    return spk, past, weight.requires_grad_(), delay.requires_grad_()


def test_a_second_derivative_is_rejected_with_its_remedy(per_input):
    spk, past, weight, delay = parameters(per_input)
    charge = delayed_product(spk, past, weight, delay, 4, "linear", 1.0)
    with pytest.raises(RuntimeError, match=r"create_graph=True.*torch\.func\.hessian"):
        torch.autograd.grad(charge.square().sum(), delay, create_graph=True)
    hessian = torch.func.hessian(
        lambda w: delayed_product(spk, past, w, delay.detach(), 4, "linear", 1.0).square().sum()
    )(weight.detach())
    assert hessian.abs().sum() > 0


def test_backward_twice_and_a_changed_weight():
    spk, past, weight, delay = parameters()
    charge = delayed_product(spk, past, weight, delay, 4, "linear", 1.0)
    charge.sum().backward(retain_graph=True)
    once = weight.grad.clone()
    charge.sum().backward(retain_graph=True)
    assert torch.equal(weight.grad, 2 * once)
    with torch.no_grad():
        weight += 1
    with pytest.raises(RuntimeError, match="modified since"):
        charge.sum().backward()


def test_lists_of_spikes_are_saved_instead_of_the_input():
    spk, past, weight, delay = case(4, 50, 40, 6, 4, 0.03)
    weight.requires_grad_()
    sizes = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda x: (sizes.append(x.numel() * x.element_size()), x)[1], lambda x: x
    ):
        delayed_product(spk, torch.zeros_like(past), weight, delay, 4, "linear", 1.0)
    listed = 4 * int(spk.count_nonzero()) + 8 * 40  # places, and ends of one block
    assert sum(sizes) == listed + 4 * (weight.numel() + delay.numel())


def test_a_long_sequence_is_cut_into_chunks(monkeypatch):
    monkeypatch.setattr(delay_rows, "_CACHED", 1 << 9)
    assert_parity(case(5, 30, 6, 70, 4), 4)
    monkeypatch.setattr(DelayedWork, "choose", lambda *_, **__: Way.DENSE)
    assert_parity(case(5, 30, 6, 70, 4), 4, needs=(True, True, False, False))
