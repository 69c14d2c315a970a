"""Laws of all neurons of the zoo, closed forms, and the equations as the sources print them.

All run on the reference solver; parity of the solvers is tested for neurons in general.
"""

import ast
import copy
import inspect
import math
import pickle
from pathlib import Path

import pytest
import torch

from nwavesdk.layers import prepare_net, zoo
from nwavesdk.layers.constants import without_step_warnings
from tolerances import STATE, assert_close

NEURONS, STEPS, DT = 8, 150, 1e-3

# A moderate drive: mean input per step, in the unit of the neuron.
DRIVES = {
    zoo.AdExLayer: 25.0,
    zoo.AdLIFLayer: 4.0,
    zoo.ALIFLayer: 1.5,
    zoo.AlphaLayer: 0.1,
    zoo.BalancedResonateAndFireLayer: 100.0,
    zoo.CubaLIFLayer: 0.05,
    zoo.EIFLayer: 5.0,
    zoo.IFLayer: 0.1,
    zoo.IzhikevichLayer: 10.0,
    zoo.KLIFLayer: 1.5,
    zoo.LILayer: 0.1,
    zoo.QIFLayer: 8.0,
    zoo.RefractoryLIFLayer: 0.1,
    zoo.ResonateAndFireLayer: 0.1,
    zoo.SEAdLIFLayer: 6.0,
    zoo.SiLIFLayer: 5.0,
}

every = pytest.mark.parametrize("kind", DRIVES, ids=lambda kind: kind.__name__)
spiking = pytest.mark.parametrize(
    "kind", [kind for kind in DRIVES if kind is not zoo.LILayer], ids=lambda kind: kind.__name__
)


def make(kind, n=NEURONS, **options):
    with without_step_warnings():  # the clock of a SiLIF neuron may be faster than a step
        layer = kind(n, **{"dt": DT, "solver": "reference", **options})
    prepare_net(layer)
    return layer


def drive(kind, batch=3, steps=STEPS, dtype=torch.float32):
    noise = torch.rand(batch, steps, NEURONS, generator=torch.manual_seed(0), dtype=dtype)
    return 2 * DRIVES[kind] * noise


def impulse(size, steps=STEPS):
    x = torch.zeros(1, steps, 1, dtype=torch.float64)
    x[0, 0] = size
    return x


def membrane(layer, x):
    return layer(x)[1][0, :, 0].detach()


TIME = torch.arange(STEPS, dtype=torch.float64) * DT  # since the step of an impulse


def test_the_table_has_all_neurons():
    assert sorted(kind.__name__ for kind in DRIVES) == sorted(zoo.__all__)


@spiking
def test_spikes_and_pauses(kind):
    spk, mem = make(kind)(drive(kind))
    assert torch.equal(spk, (spk > 0).to(spk))
    assert mem.isfinite().all()
    rates = spk.mean(1)
    assert (rates > 0).all()
    assert (rates < 0.5).all()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (zoo.AdExLayer, -70.6),
        (zoo.AlphaLayer, 0.0),
        (zoo.EIFLayer, -68.0),
        (zoo.IzhikevichLayer, -65.0),
        (zoo.KLIFLayer, 0.0),
        (zoo.QIFLayer, -80.0),
        (zoo.RefractoryLIFLayer, 0.0),
        (zoo.ResonateAndFireLayer, 1.0),
        (zoo.SEAdLIFLayer, 0.0),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_resets_to_a_value(kind, value):
    spk, mem = make(kind)(drive(kind))
    assert torch.equal(mem[spk > 0], torch.full_like(mem[spk > 0], value))


@every
def test_rest(kind):
    """Without input nothing fires; where the state at the start is the rest, it stays."""
    out, mem = make(kind)(torch.zeros(1, STEPS, NEURONS))
    if kind in (zoo.EIFLayer, zoo.IzhikevichLayer):
        assert (mem[:, -1] - mem[:, -2]).abs().max() < 2e-2  # on the way to a rest near the start
    elif kind is zoo.AdExLayer:
        assert (mem + 70.6).abs().max() < 1e-3
    else:
        assert torch.equal(mem, mem[:, :1].expand_as(mem))
    if kind is not zoo.LILayer:
        assert not out.any()


@every
def test_two_halves_are_the_whole(kind):
    x = drive(kind)
    whole = make(kind)(x)
    layer = make(kind)
    halves = [layer(half) for half in x.split(100, dim=1)]
    for k in range(2):
        assert torch.equal(torch.cat([half[k] for half in halves], dim=1), whole[k])


@every
def test_batch_permutation(kind):
    x, order = drive(kind), [2, 0, 1]
    for permuted, plain in zip(make(kind)(x[order]), make(kind)(x), strict=True):
        assert torch.equal(permuted, plain[order])


@every
def test_gradients_are_finite(kind):
    """Also through resets; a refractory period is a number of steps, which has no gradient."""
    names = [name for name in kind.page.constants if name != "refractory"]
    has_reset = kind not in (zoo.LILayer, zoo.BalancedResonateAndFireLayer)
    layer = make(kind, learn=names, **({"detach_reset": False} if has_reset else {}))
    x = drive(kind).requires_grad_()
    out, mem = layer(x)
    (out.sum() + (mem / mem.detach().abs().max()).sum()).backward()
    gradients = {name: parameter.grad for name, parameter in layer.named_parameters()}
    assert len(gradients) == len(names)
    for name, gradient in {"x": x.grad, **gradients}.items():
        assert gradient.isfinite().all(), name
        assert gradient.any(), name


@every
def test_pickles_and_state_dicts(kind):
    x = drive(kind, steps=50)
    layer = make(kind)
    first = next(iter(kind.page.constants))
    value = kind.page.constants[first].default
    other = make(kind, **{first: 1.1 * value})
    expected = other(x)
    assert not torch.equal(layer(x)[1], expected[1])
    prepare_net(other)
    copies = [pickle.loads(pickle.dumps(other)), copy.deepcopy(other)]
    layer.load_state_dict(other.state_dict())
    for same in (*copies, layer):
        prepare_net(same)
        for got, result in zip(same(x), expected, strict=True):
            assert torch.equal(got, result)


def test_sources_and_length():
    """Each page names its sources, and has at most 50 lines, with its example."""
    pages = 0
    for file in Path(inspect.getfile(zoo)).parent.glob("*.py"):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef):
                pages += 1
                assert "References:" in ast.get_docstring(node), node.name
                assert "doi:10." in ast.get_docstring(node), node.name
                assert node.end_lineno - node.decorator_list[0].lineno < 50, node.name
    assert pages == len(DRIVES)


# Closed forms


def test_li_step_response():
    mem = membrane(make(zoo.LILayer, 1, tau=20e-3), 0 * impulse(1.0) + 0.1)
    beta = math.exp(-DT / 20e-3)
    n = torch.arange(1, STEPS + 1, dtype=torch.float64)
    assert_close(mem, 0.1 * (1 - beta**n) / (1 - beta), STATE, "step response")


def test_if_keeps_all_charge():
    x = torch.full((1, STEPS, 1), 0.375)
    spk, mem = make(zoo.IFLayer, 1)(x)
    assert torch.equal(spk.cumsum(1) + mem, x.cumsum(1))
    assert ((mem > 0) & (mem <= 1)).all()


def test_cuba_kernel():
    mem = membrane(make(zoo.CubaLIFLayer, 1, threshold=1e9), impulse(1.0))
    alpha, beta = math.exp(-DT / 5e-3), math.exp(-DT / 20e-3)
    n = TIME / DT + 1
    assert_close(mem, (beta**n - alpha**n) / (beta - alpha), STATE, "kernel")


def test_alpha_kernel():
    mem = membrane(make(zoo.AlphaLayer, 1, threshold=1e9), impulse(1.0))
    kernel = 20 / 15 * (torch.exp(-TIME / 20e-3) - torch.exp(-TIME / 5e-3))
    assert_close(mem, kernel, STATE, "kernel")


def test_se_adlif_kernel():
    """Below the threshold it is linear: powers of a matrix."""
    mem = membrane(make(zoo.SEAdLIFLayer, 1, a=0.9, threshold=1e9), impulse(1.0))
    alpha, beta = math.exp(-DT / 20e-3), math.exp(-DT / 100e-3)
    c = (1 - beta) * 60 * 0.9  # of the adaptation to the membrane
    matrix = torch.tensor(
        [[alpha, alpha - 1], [c * alpha, beta - c * (1 - alpha)]], dtype=torch.float64
    )
    start = torch.tensor([1.0, c], dtype=torch.float64) * (1 - alpha)
    kernel = torch.stack([(matrix.matrix_power(n) @ start)[0] for n in range(STEPS)])
    assert kernel.min() < -0.02  # it rings
    assert_close(mem, kernel, STATE, "kernel")


@pytest.mark.parametrize("refractory", [1, 3, 7])
def test_refractory_period(refractory):
    layer = make(zoo.RefractoryLIFLayer, 1, refractory=refractory * DT)
    spk, _ = layer(torch.full((1, STEPS, 1), 2.0))
    times = spk[0, :, 0].nonzero().flatten()
    assert (times.diff() == refractory + 1).all()


def test_qif_period():
    """From the reset to the threshold takes tau/r · [atan((v - m)/(width · r))], over v."""
    layer = make(zoo.QIFLayer, 1, dt=5e-5)
    spk, _ = layer(torch.full((1, 2400, 1), 8.0, dtype=torch.float64))
    times = spk[0, :, 0].nonzero().flatten()
    width, middle = 15.0, -57.5
    r = math.sqrt((8.0 - width / 4) / width)
    ends = [math.atan((v - middle) / (width * r)) for v in (-80.0, 20.0)]
    period = 10e-3 / r * (ends[1] - ends[0])
    assert (times.diff() * 5e-5).double().mean().item() == pytest.approx(period, rel=1e-2)


def test_resonator_rings_at_its_frequency():
    layer = make(zoo.ResonateAndFireLayer, 1, tau=50e-3, omega=60.0, threshold=1e9)
    ringing = torch.exp(-TIME / 50e-3) * torch.sin(60.0 * TIME)
    assert_close(membrane(layer, impulse(1.0)), ringing, STATE, "ringing")


def test_balanced_resonator_is_counted_from_the_boundary_of_divergence():
    """Without damping beyond it, an oscillation neither grows nor decays."""
    layer = make(zoo.BalancedResonateAndFireLayer, 1, omega=60.0, damping=1e-12, threshold=1e9)
    mem = membrane(layer, impulse(1000.0, steps=1000))
    assert mem[:200].max() == pytest.approx(1.0, abs=1e-3)
    assert mem[-200:].max() == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("kind", [zoo.EIFLayer, zoo.AdExLayer], ids=lambda kind: kind.__name__)
def test_upstrokes_do_not_overflow(kind):
    x = torch.full((1, 50, 1), 1e4, requires_grad=True)
    spk, mem = make(kind, 1)(x)
    mem.sum().backward()
    assert spk.any()
    assert mem.isfinite().all()
    assert x.grad.isfinite().all()


# The sources as they print their equations


def assert_as_printed(kind, step, x, *state, **options):
    """`step(x, *state) -> (s, membrane after reset, *state)` gives the same spikes."""
    spk, mem = make(kind, **options)(x)
    for t in range(x.shape[1]):
        s, v, *state = step(x[:, t], *state)
        assert torch.equal(spk[:, t] > 0, s > 0), t
        assert_close(mem[:, t], v.broadcast_to(mem[:, t].shape), STATE, "membrane")
    assert spk.any()


def test_adlif_as_printed():
    """Bittar and Garner: the adaptation and the reset read the spike of the step before."""
    alpha, beta, a, b = math.exp(-1 / 15), math.exp(-1 / 60), 0.02, 0.2

    def step(x, u, w, s):
        w = beta * w + a * u + b * s
        u = alpha * (u - s) + (1 - alpha) * (x - w)
        s = (u > 1).double()
        return s, u - s, u, w, s

    x = drive(zoo.AdLIFLayer, dtype=torch.float64)
    assert_as_printed(zoo.AdLIFLayer, step, x, 0 * x[:, 0], 0 * x[:, 0], 0 * x[:, 0])
    step_of_silif = {"tau": 15e-3, "tau_w": 60e-3, "a": a, "b": b, "dt": 5e-3}
    assert_as_printed(
        zoo.SiLIFLayer, step, x, 0 * x[:, 0], 0 * x[:, 0], 0 * x[:, 0], **step_of_silif
    )


def test_balanced_resonator_as_printed():
    """Higuchi et al.: steps of 10 ms, in which the refractory variable keeps 0.9."""
    dt, omega = 0.01, 10.0

    def step(x, u, v, q):
        b = (-1 + math.sqrt(1 - (dt * omega) ** 2)) / dt - 1.0 - q
        after = u + dt * (b * u - omega * v + x)
        v = v + dt * (omega * u + b * v)
        s = (after - 1.0 - q > 0).double()
        return s, after, after, v, 0.9 * q + s

    kind = zoo.BalancedResonateAndFireLayer
    x = drive(kind, dtype=torch.float64)
    tau_q = -dt / math.log(0.9)
    zero = 0 * x[:, 0]
    assert_as_printed(kind, step, x, zero, zero, zero, dt=dt, tau_q=tau_q)
