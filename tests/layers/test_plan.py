"""Planned calls give what the general way gives, and obey all that it obeys."""

import copy
import cProfile
import pickle
import pstats
import threading
import weakref
from functools import partial

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.utils.checkpoint import checkpoint

from layers.nets import VARIANTS, run
from nwavesdk.layers import (
    H1v1Layer,
    HWSynapse,
    LIFLayer,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.layers.plan import MAX_PLANS
from nwavesdk.layers.solved import CALL_SETTINGS
from nwavesdk.surrogate import atan

TAU = 10e-3
N = 7


SHAPES = {"one": (N,), "step": (3, N), "sequence": (3, 5, N), "no steps": (3, 0, N), "none": (0, N)}


@pytest.fixture
def layer():
    return LIFLayer(N, TAU, learn_taus=True)


def drive(shape, dtype=torch.float32, seed=0):
    x = torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)
    return (0.7 * x).requires_grad_()


def run_twice(layer, shape, dtype):
    """Two calls with gradients: all outputs, states and gradients."""
    layer.zero_grad()
    prepare_net(layer, seed=3)
    inputs = [drive(shape, dtype, seed) for seed in (1, 2)]
    outputs = [y for x in inputs for y in layer(x)]
    sum((y * torch.linspace(0, 1, y.numel()).view(y.shape)).sum() for y in outputs).backward()
    parameters = [p.grad for p in layer.parameters()]
    states = [*layer.state.values()]
    return [*outputs, *states, *(x.grad for x in inputs), *parameters]


CASES = [
    *((kind, shape, torch.float32) for kind in VARIANTS for shape in SHAPES),
    *((kind, shape, torch.float64) for kind in ("lif", "shared") for shape in SHAPES),
]


@pytest.mark.parametrize(("kind", "shape", "dtype"), CASES)
def test_a_planned_call_equals_the_general_way(kind, shape, dtype, in_general):
    torch.manual_seed(0)
    layer = VARIANTS[kind]((N,))
    expected = in_general(lambda: run_twice(layer, SHAPES[shape], dtype))
    assert not layer._plans
    for _ in range(2):  # a new plan, and the same again
        got = run_twice(layer, SHAPES[shape], dtype)
        assert layer._plans
        torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
    with torch.no_grad():
        prepare_net(layer, seed=3)
        assert all(map(torch.equal, layer(drive(SHAPES[shape], dtype, 1)), expected[:2]))


def change_in_place(layer):
    with torch.no_grad():
        layer.log_taus.sub_(0.7)


def change_data(layer):
    layer.log_taus.data -= 0.7


def change_fused(layer):
    layer.log_taus.grad = torch.ones_like(layer.log_taus)
    torch.optim.SGD([layer.log_taus], 0.7, fused=True).step()


def change_state_dict(layer):
    layer.load_state_dict(LIFLayer(N, TAU / 2, 0.8, learn_taus=True).state_dict())


def change_parameter(layer):
    layer.log_taus = nn.Parameter(layer.log_taus.detach() - 0.7)


def parametrize_threshold(layer):
    class Half(nn.Module):
        def forward(self, value):
            return value / 2

    parametrize.register_parametrization(layer, "log_taus", Half())


CHANGES = {
    "in place": change_in_place,
    "data": change_data,
    "fused optimizer": change_fused,
    "state_dict": change_state_dict,
    "another parameter": change_parameter,
    "parametrization": parametrize_threshold,
    "threshold": lambda layer: layer.thresholds.fill_(0.2),
    "dt": lambda layer: setattr(layer, "dt", 4e-3),
    "reset": lambda layer: setattr(layer, "reset_mechanism", "zero"),
    "surrogate": lambda layer: setattr(layer, "spike_grad", atan(3.0)),
    "detach_reset": lambda layer: setattr(layer, "detach_reset", False),
    "solver": lambda layer: setattr(layer, "solver", "reference"),
    "frozen": lambda layer: layer.log_taus.requires_grad_(False),
    "double": lambda layer: layer.double(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_the_next_call_obeys_a_change(change, in_general):
    torch.manual_seed(0)
    layer = LIFLayer(N, TAU, 0.8, learn_taus=True)
    before = run_twice(layer, (3, 5, N), torch.float32)
    CHANGES[change](layer)
    got = run_twice(layer, (3, 5, N), torch.float32)
    expected = in_general(lambda: run_twice(layer, (3, 5, N), torch.float32))
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)
    if change not in ("double", "solver"):
        with pytest.raises(AssertionError):
            torch.testing.assert_close(got, before, rtol=0, atol=0)


class Random(nn.Module):
    """A parametrization that each read computes from new random numbers."""

    def forward(self, value):
        return value + 0.1 * torch.randn_like(value)


def test_a_random_parametrization_is_drawn_once_in_a_call(in_general):
    layer = LIFLayer(N, TAU, 0.8, learn_taus=True)
    parametrize.register_parametrization(layer, "log_taus", Random())

    def run():
        prepare_net(layer)
        torch.manual_seed(0)
        x = drive((3, 20, N))
        layer.zero_grad()
        layer(x)[1].sum().backward()
        return x.grad, *(p.grad for p in layer.parameters()), torch.rand(1)

    assert all(map(torch.equal, run(), in_general(run)))


def transpose_data(layer):
    layer.log_taus.data = layer.log_taus.data.t()


def give_each_column_a_tau(layer):
    layer.log_taus = nn.Parameter(layer.log_taus.detach()[0])


@pytest.mark.parametrize("change", [transpose_data, give_each_column_a_tau])
def test_the_next_call_obeys_another_shape_of_a_constant(change, in_general):
    taus = torch.linspace(3e-3, 30e-3, 9).view(3, 3)
    layer = LIFLayer((3, 3), taus, 0.8, learn_taus=True)
    before = run_twice(layer, (2, 5, 3, 3), torch.float32)
    change(layer)
    got = run_twice(layer, (2, 5, 3, 3), torch.float32)
    expected = in_general(lambda: run_twice(layer, (2, 5, 3, 3), torch.float32))
    assert not torch.equal(got[1], before[1])
    torch.testing.assert_close(got, expected, rtol=1e-6, atol=1e-7)


def test_a_class_may_compute_a_setting(in_general):
    class Slow(LIFLayer):
        step = 1e-3

        @property
        def dt(self):
            return self.step

        @dt.setter
        def dt(self, value):
            pass

    layer = Slow(N, TAU)
    for step in (1e-3, 5e-3):
        layer.step = step
        got = run_twice(layer, (3, 5, N), torch.float32)
        expected = in_general(lambda: run_twice(layer, (3, 5, N), torch.float32))
        torch.testing.assert_close(got[1], expected[1], rtol=0, atol=0)


def test_a_plan_holds_no_graph(layer):
    prepare_net(layer)
    computed = nn.Parameter(torch.tensor(-4.0)) * 1.1
    torch.func.functional_call(layer, {"log_taus": computed}, torch.rand(2, N))
    prepare_net(layer)
    assert layer._plans
    held = weakref.ref(computed)
    del computed
    assert held() is None


def test_hooks_on_saved_tensors_may_be_disabled(layer):
    prepare_net(layer)
    with torch.autograd.graph.disable_saved_tensors_hooks("no hooks here"):
        layer(torch.rand(2, N))[1].sum().backward()
    assert layer.log_taus.grad is not None


def test_a_layer_keeps_a_limited_number_of_plans():
    layer = LIFLayer(N, TAU)
    for B in range(1, 2 * MAX_PLANS):
        prepare_net(layer)
        layer(torch.rand(B, N))
        assert len(layer._plans) <= MAX_PLANS
    assert len(layer._plans) == MAX_PLANS


def test_copies_and_pickles_carry_no_plan():
    layer, x = LIFLayer(N, TAU, learn_taus=True), torch.rand(3, 5, N)
    expected, _ = run(layer, x)
    for other in (copy.deepcopy(layer), copy.copy(layer), pickle.loads(pickle.dumps(layer))):
        assert not other._plans
        assert torch.equal(run(other, x)[0], expected)
        assert not {id(plan) for plan in other._plans.values()} & {*map(id, layer._plans.values())}


def test_steps_of_a_sequence_are_read_without_a_copy_in_any_layout():
    layer = LIFLayer(N, TAU)
    x = torch.rand(4, 9, N)
    expected, _ = run(layer, x)
    by_time = x.transpose(0, 1).contiguous()
    wide = torch.rand(4, 9, 2 * N)
    wide[..., :N] = x
    for same in (by_time.transpose(0, 1), wide[..., :N], x.mT.contiguous().mT):
        assert torch.equal(run(layer, same)[0], expected)
        prepare_net(layer)
        steps = [layer(same[:, t])[0] for t in range(9)]
        assert all(step.is_contiguous() for step in steps)
        assert torch.equal(torch.stack(steps, 1), expected)
    repeated, _ = run(layer, x[:1, :1].expand(4, 9, N))
    assert torch.equal(repeated, run(layer, x[:1, :1].repeat(4, 9, 1))[0])


def test_gradients_pass_through_states_that_prepare_net_keeps(layer):
    x = drive((2, 6, N))
    prepare_net(layer)
    layer(x)[1].sum().backward()
    whole = layer.log_taus.grad.clone()
    layer.zero_grad()
    prepare_net(layer)
    total = 0
    for t in range(6):
        prepare_net(layer, keep_state=True)
        total = total + layer(x[:, t])[1].sum()
    total.backward()
    torch.testing.assert_close(layer.log_taus.grad, whole)


@pytest.mark.parametrize("kind", ["lif", "recurrent", "several states"])
def test_hooks_on_saved_tensors_and_two_backward_passes(kind):
    layer = VARIANTS[kind]((N,))
    x = drive((2, 5, N))
    run(layer, x)[0].sum().backward()
    expected = x.grad.clone()
    packed = []
    with torch.autograd.graph.saved_tensors_hooks(
        lambda t: packed.append(t.clone()) or len(packed) - 1, lambda i: packed[i]
    ):
        loss = run(layer, x)[0].sum()
    for _ in range(2):
        x.grad = None
        loss.backward(retain_graph=True)
        torch.testing.assert_close(x.grad, expected, rtol=0, atol=0)
    assert packed


def test_the_first_prepare_net_may_be_in_a_checkpoint():
    layer, x = LIFLayer(N, TAU, learn_taus=True), drive((2, 5, N))
    checkpoint(run, layer, x, use_reentrant=False)[1].sum().backward()
    expected = x.grad.clone()
    x.grad = None
    run(layer, x)[1].sum().backward()
    assert torch.equal(x.grad, expected)


def test_a_second_derivative_is_rejected():
    x = drive((2, N))
    spk, _ = run(LIFLayer(N, TAU), x)
    with pytest.raises(RuntimeError, match="create_graph=True"):
        torch.autograd.grad(spk.sum(), x, create_graph=True)


@pytest.mark.parametrize("is_planned", [False, True])
@pytest.mark.parametrize(
    ("kind", "shapes", "words"),
    [
        ("lif", [(3, N - 1)], r"shapes \[\(3, 6\)\], expected \[\(3, 7\)\]"),
        ("several states", [(3, N)], r"expected \[\(3, 7\), \(3, 7\)\]"),
        ("recurrent", [(3, N), (1, N)], r"and last spikes \[3, 7\]: load"),
    ],
)
def test_a_state_of_another_shape_is_rejected(kind, shapes, words, is_planned, in_general):
    layer = VARIANTS[kind]((N,))
    prepare_net(layer)
    layer.load_state_tensors([torch.zeros(shape) for shape in shapes])
    call = partial(layer, torch.rand(3, N))
    with pytest.raises(RuntimeError, match=words):
        call() if is_planned else in_general(call)


def test_recurrent_weights_of_another_shape_are_rejected():
    layer = VARIANTS["recurrent"]((N,))
    layer.recurrent_weights.data = torch.zeros(N - 1, N)
    with pytest.raises(RuntimeError, match=r"must have the shape \[7, 7\], got \[6, 7\]"):
        run(layer, torch.rand(3, N))


@pytest.mark.parametrize("options", [{}, {"saved_dtype": "bfloat16"}, {"solver": "compasso"}])
def test_a_constant_that_changes_before_backward_does_not_change_the_gradient(options):
    layer = LIFLayer(N, TAU, [0.8] * N, learn_thresholds=True, detach_reset=False, **options)
    layer.double()
    gradients = []
    for change in (1.0, 0.5):
        prepare_net(layer)
        x = drive((2, 600, N), torch.float64)
        spk, _ = layer(x)
        with torch.no_grad():
            layer.thresholds.mul_(change)
        spk.sum().backward()
        gradients.append(x.grad)
    assert torch.equal(*gradients)


def test_a_default_device_is_not_that_of_a_call():
    layer, x = LIFLayer(N, TAU, learn_taus=True), torch.rand(2, N, 3).mT
    expected, _ = run(layer, x)
    prepare_net(layer)
    layer._plans.clear()
    with torch.device("meta"):
        got, mem = layer(x)
        mem.sum().backward()
    assert torch.equal(got, expected)


def test_inference_mode_and_training_take_turns(layer):
    prepare_net(layer)
    x = torch.rand(2, N)
    with torch.inference_mode():
        first = layer(x)[0]
    layer(x)[1].sum().backward()  # from a state that inference mode made
    assert layer.log_taus.grad is not None
    with torch.inference_mode():
        assert torch.equal(run(layer, x)[0], first)
    assert torch.equal(run(layer, x)[0], first)


def test_a_layer_on_two_threads_of_python(layer):
    x = torch.rand(4, 20, N)
    expected, _ = run(layer, x)
    wrong = []

    def work():
        own = copy.deepcopy(layer)
        shared = vars(own)
        shared["_plans"] = layer._plans  # as replicas of `nn.DataParallel` share them
        for _ in range(200):
            if not torch.equal(run(own, x)[0], expected):
                wrong.append(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_another_number_of_threads_needs_another_plan():
    layer = LIFLayer(N, TAU)
    x = torch.rand(64, 50, N, requires_grad=True)
    results = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            x.grad = None
            spk, _ = run(layer, x)
            torch.set_num_threads(3 - threads)
            spk.sum().backward()
            results.append((spk, x.grad))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert len(layer._plans) == 2


def test_another_call_of_all_modules_or_of_a_class_is_called(monkeypatch):
    class Doubled(HWSynapse):
        def __call__(self, x):
            return 2 * super().__call__(x)

    plain = SpikingSequential(HWSynapse(3, N), LIFLayer(N, TAU, reset_mechanism="none"))
    doubled = SpikingSequential(Doubled(3, N), LIFLayer(N, TAU, reset_mechanism="none"))
    doubled.load_state_dict(plain.state_dict())
    prepare_net(plain)
    prepare_net(doubled)
    x = torch.rand(2, 3)
    torch.testing.assert_close(doubled(x)[1], 2 * plain(x)[1])
    seen = []
    torch_call = nn.Module.__call__

    def record_call(module, *inputs):
        seen.append(module)
        return torch_call(module, *inputs)

    monkeypatch.setattr(nn.Module, "__call__", record_call)
    plain(x)
    assert seen == [plain, *plain]


def test_the_same_module_may_run_twice_in_a_net():
    twice = nn.Hardtanh(0, 0.5)
    net = SpikingSequential(twice, nn.Softplus(), twice, LIFLayer(N, TAU))
    assert torch.equal(run(net, torch.full((1, N), 2.0))[1], torch.full((1, N), 0.5))


# What a call reads of a layer and a plan need not compare: what is fixed when it is built, what is
# compared with the page and the constants, and what belongs to one call.
NOT_SETTINGS = {
    *("features", "_keys", "_given", "_parameters", "_buffers", "_modules", "_ring_steps"),
    *("reset_mechanism", "log_taus", "thresholds", "_spec_name"),
    *("recurrent_weights", "_computed"),
    *("_states", "_last_spikes", "_state_pass", "last_solver", "on_call"),
}


def attributes_read(layer):
    """The attributes of the instance that a call without a plan reads."""
    prepare_net(layer)
    names = set()
    kind = type(layer)

    class Recorded(kind):
        def __getattribute__(self, name):
            if name in object.__getattribute__(self, "__dict__"):
                names.add(name)
            return object.__getattribute__(self, name)

    layer.__class__ = Recorded
    for _ in range(2):
        layer._solve(torch.rand(2, 900, N), needs_membrane=True)
    layer.__class__ = kind
    return names


def test_the_settings_of_a_plan_are_what_a_call_reads():
    chip = H1v1Layer(N, TAU, ileak_mismatch=True, layer_topology="RC", device="cpu")
    layers = [
        LIFLayer(N, TAU),
        LIFLayer(N, TAU, layer_topology="RC"),
        LIFLayer(N, TAU, device="gpu"),
        LIFLayer(N, TAU, spike_grad=lambda z: z.sigmoid()),
    ]
    read = set().union(*map(attributes_read, layers)) - NOT_SETTINGS
    assert read == set(CALL_SETTINGS)
    assert attributes_read(chip) - NOT_SETTINGS <= {*CALL_SETTINGS, "_mismatch"}


def python_calls(call):
    """How many Python functions a call calls; built-ins do not count."""
    for _ in range(3):
        call()
    profile = cProfile.Profile(builtins=False)
    profile.enable()
    call()
    profile.disable()
    return pstats.Stats(profile).total_calls


@pytest.mark.parametrize("kind", ["lif", "learned", "chip", "recurrent", "several states"])
@pytest.mark.parametrize("needs_gradient", [False, True])
def test_one_step_calls_few_functions(kind, needs_gradient):
    layer = VARIANTS[kind]((N,))
    prepare_net(layer)
    x = torch.rand(2, N, requires_grad=True)
    with torch.set_grad_enabled(needs_gradient):
        assert python_calls(lambda: layer.spikes(x)) <= 40
    net = SpikingSequential(HWSynapse(N, N), layer)
    prepare_net(net)
    with torch.set_grad_enabled(needs_gradient):
        assert python_calls(lambda: net(x)) <= 80
