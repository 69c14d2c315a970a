"""The solvers as torch operators: opcheck, whole nets in one compiled graph, torch.func."""

from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.func import grad, vmap

from contract import NEURONS, SURROGATES
from nwavesdk.layers import (
    ALIFLayer,
    Dropout,
    HWLayer,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    prepare_net,
)
from nwavesdk.solvers import Problem, Spec, solve, spec_name
from nwavesdk.solvers.ops import (
    _adjoint_operator,
    _forward_operator,
    _product_operator,
    _weight_gradient_operator,
    solve_in_graph,
)
from nwavesdk.surrogate import atan, custom, fast_sigmoid
from pairwise import case_id, pairwise
from tolerances import GRADIENT, assert_all_close

pytestmark = [
    pytest.mark.usefixtures("fresh_compiler"),
    # What torch.compile says of torch's own code.
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    pytest.mark.filterwarnings("ignore:.*torch.jit.*is deprecated"),
]


def small_net() -> SpikingSequential:
    return SpikingSequential(
        LIFSynapse(16, 24), LIFLayer(24, 10e-3, spike_grad=atan()), nn.Dropout(0.0), Dropout(0.0),
        LIFSynapse(24, 12, bias=True),
        LIFLayer(12, 10e-3, layer_topology="RC", learn_taus=True, learn_thresholds=True),
        LIFSynapse(12, 4), LIFLayer(4, 10e-3, reset_mechanism="none", saved_dtype="bfloat16"),
    )  # fmt: skip


def chip_net() -> SpikingSequential:
    return SpikingSequential(
        HWSynapse(16, 8, quantization_bits=4, stddev=0.1), HWLayer(8, 10e-3),
        HWSynapse(8, 4), HWLayer(4, 10e-3, layer_topology="RC", ileak_mismatch=True),
    )  # fmt: skip


def drive() -> torch.Tensor:
    return (torch.rand(6, 30, 16, generator=torch.Generator().manual_seed(0)) < 0.2).float()


def problem(neuron: str, surrogate: str, recurrent: bool, learns: bool = True) -> Problem:
    g = torch.Generator().manual_seed(1)
    row = NEURONS[neuron]

    def leaf(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=g).requires_grad_()

    states = tuple(leaf(2, 7) for _ in row.neuron.states)
    constants = tuple(c.float().requires_grad_(learns) for c in row.constants(7, g))
    p = Problem(
        Spec(neuron=row.neuron, surrogate=SURROGATES[surrogate]), leaf(2, 5, 7), states, constants
    )
    return replace(p, recurrent=leaf(7, 7), spikes=leaf(2, 7)) if recurrent else p


def test_a_compiled_mask_of_dropout_stays_until_prepare_net():
    net = SpikingSequential(Dropout(0.5), LIFSynapse(16, 4))
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    seen = []
    for _ in range(2):
        prepare_net(net)
        x = torch.ones(6, 30, 16, requires_grad=True)
        first, second = compiled(x)[0], compiled(x.detach())[0]
        assert torch.equal(first, second)
        assert torch.equal(first[:, 3], first[:, 20])
        seen.append(first)
    assert not torch.equal(*seen)


OPCHECK_CASES = pairwise(
    operands=[
        ("lif_subtraction", "atan", False),
        ("adaptive", "custom", False),
        ("h1v1", "fast_sigmoid", True),
    ],
    saved_dtype=[None, "bfloat16"],
    mem=[True, False],
    learns=[True, False],
)


@pytest.mark.parametrize("case", OPCHECK_CASES, ids=case_id)
def test_opcheck(case):
    neuron, surrogate, recurrent = case["operands"]
    mem = case["mem"]
    learns = case["learns"]
    p = problem(neuron, surrogate, recurrent, learns)
    name = spec_name(replace(p.spec, saved_dtype=case["saved_dtype"]))
    recurrence = [p.recurrent, p.spikes] if recurrent else []
    saves = "learning" if learns else "gradient"
    arguments = (p.x, [*p.states], [*p.constants], recurrence, name, "serial", mem, saves)
    torch.library.opcheck(_forward_operator, arguments)
    with torch.no_grad():
        spikes, *outputs = _forward_operator(*arguments)
    K = len(p.states)
    last = outputs[mem : mem + K]
    saved = outputs[mem + K :]
    # No gradient arrives at the membrane.
    grads = [torch.randn_like(spikes), *([None] if mem else []), *map(torch.randn_like, last)]
    lists = p.states, p.constants, saved, recurrence, [spikes] if recurrent else []
    tensors = [[t.detach() for t in tensors] for tensors in lists]
    arguments = (grads, *tensors, name, "serial", mem, saves, learns)
    torch.library.opcheck(_adjoint_operator, arguments)


@pytest.mark.parametrize("scale", [1.0, 1.25])
@pytest.mark.parametrize("always", [True, False])
def test_opcheck_of_the_product(always, scale):
    g = torch.Generator().manual_seed(2)
    x = (scale * (torch.rand(3, 5, 70, generator=g) < 0.2)).requires_grad_()
    weight = torch.randn(70, 9, generator=g).requires_grad_()
    torch.library.opcheck(
        _product_operator, (x, weight, always), test_utils=["test_schema", "test_faketensor"]
    )
    with torch.no_grad():
        out, *kept = _product_operator(x, weight, always)
    torch.library.opcheck(
        _weight_gradient_operator, (x.detach(), *kept, torch.randn_like(out), always)
    )


@pytest.mark.parametrize(("net", "backend"), [(small_net, "inductor"), (chip_net, "aot_eager")])
def test_a_whole_net_compiles_to_one_graph(net, backend):
    torch.manual_seed(0)
    eager, x = net(), drive()
    torch.manual_seed(0)
    twin = net()
    compiled = torch.compile(twin, fullgraph=True, backend=backend)
    for _ in range(2):
        found = []
        for model, call in ((eager, eager), (twin, compiled)):
            prepare_net(model, seed=1)
            model.zero_grad()
            spk, mem = call(x)
            (spk.sum() + mem.square().sum()).backward()
            found.append((spk, mem, *(p.grad for p in model.parameters())))
        assert torch.equal(found[0][0], found[1][0])
        assert_all_close(*reversed(found), GRADIENT, "compiled")


def test_compiled_code_carries_the_state_on():
    eager, x = small_net(), drive()
    twin = small_net()
    twin.load_state_dict(eager.state_dict())
    compiled = torch.compile(twin, fullgraph=True, backend="aot_eager")
    prepare_net(eager)
    prepare_net(twin)
    for part in x.split(15, 1):
        assert torch.equal(eager(part)[0], compiled(part)[0])


def test_a_neuron_of_two_states_compiles():
    p = problem("adaptive", "atan", False)
    name = spec_name(p.spec)
    leaves = [p.x, *p.states, *p.constants]

    def run(x, *others):
        s = solve(Problem(p.spec, x, others[:2], others[2:]), name=name)
        return s.spikes, s.mem, *s.last, *s.saved

    found = []
    for f in (run, torch.compile(run, fullgraph=True, backend="aot_eager")):
        outputs = f(*leaves)
        loss = sum((i + 1) * output.square().sum() for i, output in enumerate(outputs[:4]))
        found.append([*outputs, *torch.autograd.grad(loss, leaves)])
    assert all(map(torch.equal, *found))


def compiled_gradient(layer, compiled, x):
    leaf = x.clone().requires_grad_()
    prepare_net(layer)
    spk, mem = compiled(leaf)
    (spk.sum() + mem.square().sum()).backward()
    return spk, leaf.grad


@pytest.mark.parametrize(
    "options",
    [
        {"reset_mechanism": "zero"},
        {"reset_mechanism": "none"},
        {"detach_reset": False},
        {"spike_grad": atan(9.0)},
        {"spike_grad": custom(lambda z: 1 / (1 + z * z))},
        {"saved_dtype": "bfloat16"},
    ],
    ids=lambda option: "-".join(option),
)
def test_a_compiled_layer_is_not_taken_for_another(options):
    x = 2 * torch.rand(3, 20, 10)
    for layer in (LIFLayer(10, 10e-3, spike_grad=atan()), LIFLayer(10, 10e-3, **options)):
        eager = compiled_gradient(layer, layer, x)
        assert all(
            map(
                torch.equal,
                compiled_gradient(layer, torch.compile(layer, backend="aot_eager"), x),
                eager,
            )
        )


@pytest.mark.parametrize(
    ("name", "value"),
    [("spike_grad", fast_sigmoid(5.0)), ("detach_reset", False), ("dt", 2e-3)],
)
def test_a_setting_that_changed_between_calls_acts_in_compiled_code(name, value):
    layer, x = LIFLayer(10, 10e-3, reset_mechanism="zero"), 2 * torch.rand(3, 20, 10)
    compiled = torch.compile(layer, backend="aot_eager")
    for _ in range(2):
        gradients = []
        for call in (compiled, layer):  # neither is prepared by prepare_net
            leaf = x.clone().requires_grad_()
            call(leaf)[1].square().sum().backward()
            gradients.append(leaf.grad)
        assert torch.equal(*gradients)
        setattr(layer, name, value)


def test_a_foreign_surrogate_is_rejected():
    other = atan(3.0)
    layer, x = LIFLayer(10, 10e-3, spike_grad=lambda z: other(z)), 2 * torch.rand(3, 20, 10)
    with pytest.raises(Exception, match="spike_grad=custom"):
        compiled_gradient(layer, torch.compile(layer, fullgraph=True, backend="aot_eager"), x)


def test_forward_mode_is_rejected():
    layer = LIFLayer(10, 10e-3)
    prepare_net(layer)
    x = torch.rand(3, 20, 10)
    with (
        forward_ad.dual_level(),
        pytest.raises(RuntimeError, match="forward-mode .* use reverse mode"),
    ):
        layer(forward_ad.make_dual(x, torch.ones_like(x)))


def test_stale_weights_are_rejected_in_compiled_code():
    net, x = chip_net(), drive()
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    prepare_net(net)
    compiled(x)
    with torch.no_grad():
        net[0].weight += 0.01
    with pytest.raises(RuntimeError, match="weights have changed since prepare_net"):
        compiled(x)


def test_torch_func_transforms_need_the_reference():
    x = torch.rand(3, 2, 10, 4)

    def loss(layer):
        def value(x):
            prepare_net(layer)
            return layer(x)[0].sum()

        return value

    with pytest.raises(
        RuntimeError, match=r'serial solver does not support torch.func .* solver="reference"'
    ):
        vmap(loss(LIFLayer(4, 10e-3)))(x)
    value = loss(LIFLayer(4, 10e-3, solver="reference"))
    each = [x[i].clone().requires_grad_() for i in range(3)]
    for leaf in each:
        value(leaf).backward()
    assert torch.equal(vmap(grad(value))(x), torch.stack([leaf.grad for leaf in each]))


@pytest.mark.parametrize("shape", [(0, 5, 3), (2, 0, 3), (2, 20, 3)])
def test_a_layer_of_a_page_compiles_also_for_an_empty_batch(shape):
    layer, x, found = ALIFLayer(3, learn=("tau",)), 9 * torch.rand(shape), []
    for call in (layer, torch.compile(layer, fullgraph=True, backend="aot_eager")):
        layer.zero_grad()
        found.append([*compiled_gradient(layer, call, x), layer.log_tau.grad])
    assert torch.equal(found[0][0], found[1][0])
    assert_all_close(found[1], found[0], GRADIENT, "compiled")


def test_layers_on_the_reference_solver_share_no_compiled_code():
    x = 2 * torch.rand(3, 4, 10)
    for _ in range(2):
        layer = LIFLayer(10, 10e-3, solver="reference")
        expected = compiled_gradient(layer, layer, x)
        gradient = compiled_gradient(layer, torch.compile(layer, backend="aot_eager"), x)
        assert all(map(torch.equal, gradient, expected))


def test_a_solution_of_the_operators_is_that_of_sweep():
    for neuron, recurrent in (("resonator", False), ("lif_zero", True)):
        p = problem(neuron, "atan", recurrent)
        p = replace(p, saves="record")
        expected, got = solve(p), solve_in_graph(p, spec_name(p.spec), "serial", True, True)
        pairs = zip(
            (got.mem, *got.last, *got.saved),
            (expected.mem, *expected.last, *expected.saved),
            strict=True,
        )
        assert all(torch.equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("solver", ["auto", "compasso"])
def test_a_net_on_compasso_compiles_for_every_length(solver):
    options = {"device": "gpu", "solver": solver}
    net = SpikingSequential(
        LIFSynapse(5, 8),
        LIFLayer(8, 10e-3, **options),
        LIFSynapse(8, 2),
        LIFLayer(2, 10e-3, **options),
    )
    compiled = torch.compile(net, fullgraph=True, backend="aot_eager")
    for T in (700, 900, 60):
        found = []
        for f in (net, compiled):
            x = torch.rand(3, T, 5, generator=torch.Generator().manual_seed(T)).requires_grad_()
            prepare_net(net)
            spk, _ = f(x)
            spk.sum().backward()
            found.append((spk, x.grad))
        assert all(map(torch.equal, *found))
