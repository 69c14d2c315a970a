"""The zoo against the libraries that have its neurons, step by step, and what those compute else.

All run in float64, where a change of constants leaves no rounding that could move a spike.
`docs/neurons.md` has the table.
"""

import math

import pytest
import torch

from nwavesdk.layers import (
    AdExLayer,
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
    Real,
    RefractoryLIFLayer,
    ResonateAndFireLayer,
    TimeConstant,
    decay,
    held,
    neuron,
    prepare_net,
    spike,
)
from tolerances import STATE, assert_close

STEPS, NEURONS, DT = 200, 64, 1e-3
ZERO = torch.zeros(NEURONS, dtype=torch.float64)


def number(value):
    return torch.tensor(value, dtype=torch.float64)


def drive(low, high, seed=0):
    """Charge of each step and neuron, [T, N]."""
    values = torch.rand(STEPS, NEURONS, dtype=torch.float64, generator=torch.manual_seed(seed))
    return low + (high - low) * values


def tau_of(decay):
    """The time constant [s] with this decay per step."""
    return -DT / math.log(decay)


def ours(layer_class, x, **constants):
    layer = layer_class(NEURONS, dt=DT, solver="reference", **constants)
    prepare_net(layer)
    spk, mem = layer(x[None])
    return spk[0].detach(), mem[0].detach()


def theirs(step, x):
    """Spikes and membranes [T, N] of `step(x) -> (spikes, membrane)`."""
    steps = [step(x_t) for x_t in x]
    return tuple(torch.stack(values).detach() for values in zip(*steps, strict=True))


def assert_same(got, expected):
    spikes, membrane = expected
    assert 0.01 < spikes.mean() < 0.5, "the drive must make the neurons fire and pause"
    assert torch.equal(got[0], spikes)
    assert_membranes(got[1], membrane)


def assert_membranes(got, expected):
    assert_close(got.float(), expected.float(), STATE, "membrane")


def assert_another_equation(got, expected):
    assert (got[0] != expected[0]).double().mean() > 0.01


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


def test_spikingjelly_and_sinabs_spike_at_the_threshold(jelly, sinabs, norse, snn):
    x = ZERO + 1.0
    assert jelly.IFNode()(x).all()
    assert sinabs.layers.IAF(spike_fn=sinabs.activation.SingleSpike)(x[None, None]).all()
    assert not ours(IFLayer, x[None])[0].any()
    assert not snn.Leaky(1.0)(x)[0].any()
    module = norse("iaf")
    state = module.IAFFeedForwardState(ZERO)
    assert not module.iaf_feed_forward_step(x, state)[0].any()


# Norse


@pytest.fixture(scope="module")
def norse():
    return lambda name: pytest.importorskip(f"norse.torch.functional.{name}")


NO_SYNAPSE = 1 / DT  # an inverse time constant [1/s] with which the current lasts one step


def norse_step(function, parameters, *state, membrane=lambda state: state.v):
    state = list(state)

    def step(x_t):
        s, state[0] = function(x_t, state[0], parameters, DT)
        return s, membrane(state[0])

    return step


def test_norse_if_is_a_lif_without_leak_that_is_reset_to_zero(norse):
    module = norse("iaf")
    x = drive(-0.1, 0.4)
    step = norse_step(
        module.iaf_feed_forward_step, module.IAFParameters(), module.IAFFeedForwardState(ZERO)
    )
    assert_same(ours(LIFLayer, x, taus=1e30, reset_mechanism="zero"), theirs(step, x))


def test_norse_li(norse):
    module = norse("leaky_integrator_box")
    x = drive(-1, 1)
    step = norse_step(
        module.li_box_feed_forward_step, module.LIBoxParameters(), module.LIBoxState(ZERO)
    )
    assert_membranes(ours(LILayer, 0.1 * x, tau=tau_of(0.9))[1], theirs(step, x)[1])


@neuron
def CubaLIFZeroLayer(
    x, v, i, *, tau: TimeConstant, tau_syn: TimeConstant, threshold: Positive = 1.0
):
    """Current-based LIF neurons with a reset to zero."""
    current = decay(tau_syn) * i + x
    u = decay(tau) * v + current
    s = spike(u - threshold)
    return s, u * (1.0 - held(s)), current


def test_norse_lif_is_current_based_and_reset_to_zero(norse):
    module = norse("lif")
    x = drive(-1, 3)
    parameters = module.LIFParameters(number(200.0), number(100.0))
    state = module.LIFFeedForwardState(ZERO, ZERO)
    expected = theirs(norse_step(module.lif_feed_forward_step, parameters, state), x)
    constants = {"tau": tau_of(1 - 0.1), "tau_syn": tau_of(1 - 0.2)}
    assert_same(ours(CubaLIFZeroLayer, 0.1 * x, **constants), expected)
    assert_another_equation(ours(CubaLIFLayer, 0.1 * x, **constants), expected)


def test_norse_refractory_lif(norse):
    module = norse("lif_refrac")
    x = drive(0, 4)
    lif = module.LIFParameters(number(NO_SYNAPSE), number(100.0))
    state = module.LIFRefracFeedForwardState(module.LIFFeedForwardState(ZERO, ZERO), ZERO)
    step = norse_step(
        module.lif_refrac_feed_forward_step,
        module.LIFRefracParameters(lif, number(5.0)),
        state,
        membrane=lambda state: state.lif.v,
    )
    got = ours(RefractoryLIFLayer, 0.1 * x, tau=tau_of(1 - 0.1), refractory=5 * DT)
    assert_same(got, theirs(step, x))


def test_norse_eif(norse):
    """Its rheobase is its threshold: the upstroke hardly begins."""
    module = norse("lif_ex")
    x = drive(5, 25)
    parameters = module.LIFExParameters(
        **{"delta_T": number(3.48), "tau_syn_inv": number(NO_SYNAPSE)},
        **{"tau_mem_inv": number(100.0), "v_leak": number(-65.0)},
        **{"v_th": number(-55.0), "v_reset": number(-68.0)},
    )
    state = module.LIFExFeedForwardState(ZERO - 65.0, ZERO)
    expected = theirs(norse_step(module.lif_ex_feed_forward_step, parameters, state), x)
    assert_same(ours(EIFLayer, x, v_rheobase=-55.0, threshold=-55.0), expected)


def test_norse_adex(norse):
    module = norse("lif_adex")
    x = drive(0, 70)
    parameters = module.LIFAdExParameters(
        **{"adaptation_current": number(4 / 30), "adaptation_spike": number(80.5 / 30)},
        **{"delta_T": number(2.0), "tau_ada_inv": number(1 / 144e-3)},
        **{"tau_syn_inv": number(NO_SYNAPSE), "tau_mem_inv": number(30e3 / 281)},
        **{"v_leak": number(-70.6), "v_th": number(-45.0), "v_reset": number(-70.6)},
    )
    state = module.LIFAdExFeedForwardState(ZERO - 70.6, ZERO, ZERO)
    expected = theirs(norse_step(module.lif_adex_feed_forward_step, parameters, state), x)
    assert_same(ours(AdExLayer, x, v_rheobase=-45.0, threshold=-45.0), expected)


@neuron
def ExplicitIzhikevichLayer(
    x,
    v=-65.0,
    w=-13.0,
    *,
    a: Positive = 0.02,
    b: Real = 0.2,
    dt,
):
    """Norse's Izhikevich: the recovery follows the membrane before the step."""
    ms = dt / 1e-3
    u = v + ms * (0.04 * v**2 + 5.0 * v + 140.0 - w + x)
    s = spike(u - 30.0)
    return s, u * (1.0 - held(s)) - 65.0 * held(s), w + ms * a * (b * v - w) + 8.0 * s


def test_norse_izhikevich_is_explicit_in_both_states_and_slow(norse):
    """Its inverse time constant of 250 makes a step of 1 ms one of 0.25 ms."""
    module = norse("izhikevich")
    x = drive(0, 30)

    def izhikevich(tau_inv, x):
        parameters = module.IzhikevichParameters(0.02, 0.2, -65.0, 8.0, tau_inv=tau_inv)
        state = module.IzhikevichState(ZERO - 65.0, ZERO - 13.0)
        return theirs(norse_step(module.izhikevich_feed_forward_step, parameters, state), x)

    expected = izhikevich(1000.0, x)
    assert_same(ours(ExplicitIzhikevichLayer, x), expected)
    assert_another_equation(ours(IzhikevichLayer, x), expected)
    assert module.IzhikevichParameters(0.02, 0.2, -65.0, 8.0).tau_inv == 250
    layer = ExplicitIzhikevichLayer(NEURONS, dt=0.25e-3, solver="reference")
    prepare_net(layer)
    assert torch.equal(layer(x[None])[0][0], izhikevich(250, x)[0])


@neuron
def LSNNLayer(
    x,
    v,
    i,
    a,
    *,
    tau: TimeConstant,
    tau_syn: TimeConstant,
    tau_a: TimeConstant,
    beta: Real,
):
    """Norse's LSNN: current-based, with a reset to 0, and a threshold that decays before use."""
    u = decay(tau) * v + (1.0 - decay(tau)) * i
    raised = decay(tau_a) * a
    s = spike(u - 1.0 - raised)
    return s, u * (1.0 - held(s)), decay(tau_syn) * i + x, raised + beta * s


def test_norse_lsnn_is_another_equation(norse):
    module = norse("lsnn")
    x = drive(-1, 3)
    parameters = module.LSNNParameters(number(200.0), number(100.0), number(10.0))
    state = module.LSNNFeedForwardState(ZERO, ZERO, ZERO + 1.0)
    expected = theirs(norse_step(module.lsnn_feed_forward_step, parameters, state), x)
    constants = {"tau": tau_of(1 - 0.1), "tau_a": tau_of(1 - 0.01), "beta": 1.8}
    assert_same(ours(LSNNLayer, x, tau_syn=tau_of(1 - 0.2), **constants), expected)


def test_norse_lsnn_adapts_for_800_seconds(norse):
    """The inverse is 1/800 per second, where dt is in seconds; 800 ms are meant."""
    module = norse("lsnn")
    defaults = module.LSNNParameters()
    assert 1 / defaults.tau_mem_inv == pytest.approx(10e-3)
    assert 1 / defaults.tau_adapt_inv == pytest.approx(800)


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
