"""The zoo against Norse, and what Norse computes else; `docs/neurons.md` has the table."""

import pytest
import torch

from layers.zoo.stepping import (
    DT,
    NEURONS,
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
    AdExLayer,
    CubaLIFLayer,
    EIFLayer,
    IzhikevichLayer,
    LIFLayer,
    LILayer,
    Positive,
    Real,
    RefractoryLIFLayer,
    TimeConstant,
    decay,
    held,
    neuron,
    prepare_net,
    spike,
)


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
    at_threshold = module.iaf_feed_forward_step(ZERO + 1.0, module.IAFFeedForwardState(ZERO))
    assert not at_threshold[0].any()


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
