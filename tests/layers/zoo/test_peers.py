"""The zoo against snnTorch, SpikingJelly and sinabs, and what those compute else.

`docs/neurons.md` has the table.
"""

import math

import pytest
import torch

from layers.zoo.stepping import (
    DT,
    NEURONS,
    STEPS,
    ZERO,
    assert_another_equation,
    assert_membranes,
    assert_same,
    drive,
    number,
    ours,
    tau_of,
    theirs,
)
from nwavesdk.layers import (
    ALIFLayer,
    AlphaLayer,
    CubaLIFLayer,
    EIFLayer,
    IFLayer,
    IzhikevichLayer,
    KLIFLayer,
    LIFLayer,
    LILayer,
    Positive,
    QIFLayer,
    ResonateAndFireLayer,
    TimeConstant,
    decay,
    held,
    neuron,
    spike,
)

# snnTorch


@pytest.fixture(scope="module")
def snn():
    return pytest.importorskip("snntorch")


ALPHA, BETA = 0.8, 0.95
CURRENT_BASED = {"tau": tau_of(BETA), "tau_syn": tau_of(ALPHA)}


def synaptic(snn, x, **options):
    node = snn.Synaptic(number(ALPHA), number(BETA), **options)
    state = [ZERO, ZERO]

    def step(x_t):
        s, *state[:] = node(x_t, *state)
        return s, state[1]

    return theirs(step, x)


def test_snntorch_synaptic(snn):
    x = drive(-0.05, 0.15)
    assert_same(ours(CubaLIFLayer, x, **CURRENT_BASED), synaptic(snn, x, reset_delay=False))


def test_snntorch_loses_a_spike_where_a_reset_leaves_the_membrane_above_the_threshold(snn):
    """It looks for the next spike after it has subtracted the threshold once more."""
    x = torch.zeros(STEPS, NEURONS, dtype=torch.float64)
    x[0] = 2.5
    x[1] = -2.0  # no current is left, so the membrane decays from 1.5
    spk, membrane = synaptic(snn, x, reset_delay=False)
    got = ours(CubaLIFLayer, x, **CURRENT_BASED)
    assert torch.equal(membrane[0], got[1][0])
    assert got[0][1].all()
    assert not spk[1].any()


@neuron
def SynapticLayer(x, v, i, *, tau: TimeConstant, tau_syn: TimeConstant, threshold: Positive = 1.0):
    """snnTorch's Synaptic as it comes: the threshold is subtracted one step later, undecayed."""
    current = decay(tau_syn) * i + x
    u = decay(tau) * v + current
    s = spike(u - threshold)
    return s, u - threshold / decay(tau) * held(s), current


@neuron
def SynapticZeroLayer(
    x, v, i, *, tau: TimeConstant, tau_syn: TimeConstant, threshold: Positive = 1.0
):
    """Its reset to zero: the membrane is 0 in the step after the spike, which loses its charge."""
    current = decay(tau_syn) * i + x
    u = torch.where(v > threshold, 0.0, decay(tau) * v + current)
    return spike(u - threshold), u, current


def test_snntorch_delayed_resets(snn):
    x = drive(-0.05, 0.15)
    spk, u = synaptic(snn, x)
    got = ours(SynapticLayer, x, **CURRENT_BASED)
    assert_same(got, (spk, u - spk / BETA))
    assert_another_equation(ours(CubaLIFLayer, x, **CURRENT_BASED), (spk, u))
    zero = synaptic(snn, x, reset_mechanism="zero")
    assert_same(ours(SynapticZeroLayer, x, **CURRENT_BASED), zero)


def test_snntorch_leaky_s_delayed_reset_to_zero_is_a_reset_to_zero(snn):
    x = drive(-0.1, 0.4)
    node, state = snn.Leaky(number(BETA), reset_mechanism="zero"), [ZERO]

    def step(x_t):
        s, state[0] = node(x_t, state[0])
        return s, state[0] * (1 - s)

    got = ours(LIFLayer, x, taus=tau_of(BETA), reset_mechanism="zero")
    assert_same(got, theirs(step, x))


def alpha(snn, x, reset):
    node, state = snn.Alpha(number(BETA), number(ALPHA), reset_mechanism=reset), [ZERO] * 3

    def step(x_t):
        s, *state[:] = node(x_t, *state)
        return s, state[2]

    return theirs(step, x)


RISE_AND_DECAY = {"tau": tau_of(BETA), "tau_rise": tau_of(ALPHA)}


def test_snntorch_alpha(snn):
    """Equal if nothing arrives in the steps after spikes, whose input snnTorch drops."""
    x = drive(-0.1, 0.4)
    spk, u = alpha(snn, x, "zero")
    assert_another_equation(ours(AlphaLayer, x, **RISE_AND_DECAY), (spk, u))
    x[1:] *= 1 - spk[:-1]
    assert_same(ours(AlphaLayer, x, **RISE_AND_DECAY), (spk, u * (1 - spk)))


def test_snntorch_alpha_s_subtraction_does_not_subtract_the_threshold(snn):
    x = torch.zeros(3, NEURONS, dtype=torch.float64)
    x[0] = 20.0
    spk, reset = alpha(snn, x, "subtract")
    assert spk[1].all()
    _, free = alpha(snn, x, "none")
    lost = free[2] - reset[2]
    assert (lost > 5).all()  # the threshold is 1


# SpikingJelly


@pytest.fixture(scope="module")
def jelly():
    return pytest.importorskip("spikingjelly.activation_based.neuron")


def node_step(node, **state):
    for name, value in state.items():
        setattr(node, name, ZERO + value)
    return lambda x_t: (node(x_t), node.v)


def test_spikingjelly_integrators(jelly):
    x = drive(-0.1, 0.4)
    assert_same(ours(IFLayer, x), theirs(node_step(jelly.IFNode(v_reset=None)), x))
    x = drive(-0.05, 0.15)
    node = jelly.CUBALIFNode(ALPHA, BETA, v_threshold=1.0, v_reset=None)
    assert_same(ours(CubaLIFLayer, x, **CURRENT_BASED), theirs(node_step(node), x))


def test_spikingjelly_li(jelly):
    x = drive(-1, 1)
    membrane = torch.stack(jelly.NonSpikingLIFNode(tau=20.0)(x))
    assert_membranes(ours(LILayer, x / 20.0, tau=tau_of(1 - 1 / 20))[1], membrane)


def test_spikingjelly_klif(jelly):
    x = drive(-1, 5)
    node = jelly.KLIFNode(tau=10.0)
    node.k.data = number(1.3)
    assert_same(ours(KLIFLayer, x, tau=tau_of(1 - 1 / 10), k=1.3), theirs(node_step(node), x))


def test_spikingjelly_nonlinear(jelly):
    x = drive(0, 40)
    node = jelly.QIFNode(10.0, v_c=-50.0, a0=1 / 15, v_threshold=20.0, v_rest=-65.0, v_reset=-80.0)
    assert_same(ours(QIFLayer, x), theirs(node_step(node, v=-65.0), x))
    node = jelly.EIFNode(10.0, 3.48, -59.9, v_threshold=20.0, v_rest=-65.0, v_reset=-68.0)
    assert_same(ours(EIFLayer, x), theirs(node_step(node, v=-65.0), x))


def test_spikingjelly_izhikevich(jelly):
    """Its parabola by its roots, all but v in twice the unit, as its tau must be above 1."""
    root = math.sqrt(25 - 4 * 0.04 * 140)
    rest, critical = (-5 - root) / 0.08, (-5 + root) / 0.08
    node = jelly.IzhikevichNode(
        **{"tau": 2.0, "a0": 2 * 0.04, "v_rest": rest, "v_c": critical},
        **{"tau_w": 1 / 0.02, "a": 2 * 0.2, "b": 2 * 8.0, "v_threshold": 30.0, "v_reset": -65.0},
    )
    x = drive(0, 30)
    expected = theirs(node_step(node, v=-65.0, w=2 * (-13.0 - 0.2 * rest)), 2 * (x - 0.2 * rest))
    assert_same(ours(IzhikevichLayer, x), expected)


RESONANCE = {"tau": DT / 0.02, "omega": 60.0}


@neuron
def RAFLayer(x, v, u, *, tau: TimeConstant, omega: Positive, threshold: Positive = 1.0, dt):
    """SpikingJelly's RAFNode: a spike leaves the real part as it is."""
    cos = decay(tau) * torch.cos(omega * dt)
    sin = decay(tau) * torch.sin(omega * dt)
    turned = sin * u + cos * v
    s = spike(turned - threshold)
    return s, turned * (1.0 - held(s)), cos * u - sin * v + x


def test_spikingjelly_s_resonate_and_fire_resets_one_of_two_parts(jelly):
    x = drive(-0.4, 0.6)
    expected = theirs(node_step(jelly.RAFNode(b=-0.02, omega=0.06)), x)
    assert_same(ours(RAFLayer, x, **RESONANCE), expected)
    assert_another_equation(ours(ResonateAndFireLayer, x, **RESONANCE), expected)
    _, free = theirs(node_step(jelly.RAFNode(b=-0.02, omega=0.06, v_threshold=1e9)), x)
    assert_membranes(ours(ResonateAndFireLayer, x, **RESONANCE, threshold=1e9)[1], free)


def test_spikingjelly_and_sinabs_spike_at_the_threshold(jelly, sinabs, snn):
    x = ZERO + 1.0
    assert jelly.IFNode()(x).all()
    assert sinabs.layers.IAF(spike_fn=sinabs.activation.SingleSpike)(x[None, None]).all()
    assert not ours(IFLayer, x[None])[0].any()
    assert not snn.Leaky(1.0)(x)[0].any()


# sinabs


@pytest.fixture(scope="module")
def sinabs():
    return pytest.importorskip("sinabs")


def sinabs_run(layer, x):
    layer = layer.double()
    spikes = layer(x[None])[0].detach()
    return spikes, layer.recordings["v_mem"][0].detach()


def test_sinabs_integrators(sinabs):
    once = {"spike_fn": sinabs.activation.SingleSpike, "record_states": True}
    x = drive(-0.1, 0.4)
    assert_same(ours(IFLayer, x), sinabs_run(sinabs.layers.IAF(**once), x))
    x = drive(-0.05, 0.2)
    expected = sinabs_run(sinabs.layers.LIF(20.0, 5.0, norm_input=False, **once), x)
    got = ours(CubaLIFLayer, x * math.exp(-1 / 5), tau=20 * DT, tau_syn=5 * DT)
    assert_same(got, expected)
    _, membrane = sinabs_run(sinabs.layers.ExpLeak(20.0, record_states=True), x)
    assert_membranes(ours(LILayer, x, tau=20 * DT)[1], membrane)


def test_sinabs_alif_and_its_recordings_of_the_next_step(sinabs):
    x = drive(-1, 4)
    times = number(20.0), number(200.0)
    layer = sinabs.layers.ALIF(*times, adapt_scale=1.6, record_states=True).double()
    spk = layer(x[None])[0].detach()
    got = ours(ALIFLayer, x, tau=20 * DT, tau_a=200 * DT, beta=1.6)
    assert 0.01 < spk.mean() < 0.5
    assert torch.equal(got[0], spk)
    assert_membranes(got[1][-1], layer.v_mem[0].detach())
    # What it records of a step is the membrane of the next step before its reset.
    recorded = layer.recordings["v_mem"][0].detach()
    before_reset = math.exp(-1 / 20) * got[1][:-1] + (1 - math.exp(-1 / 20)) * x[1:]
    assert_membranes(recorded[:-1], before_reset)
    # It documents a reset by the threshold at rest, which is 1; the code subtracts the raised one.
    lost = (recorded[:-1] - got[1][1:])[spk[1:] > 0]
    assert lost.max() > 1.01
