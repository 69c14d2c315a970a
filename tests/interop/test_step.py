"""One step of a net as a function: its states, its values, and what it is compared with."""

import pytest
import torch
from torch import nn

from interop.step_nets import NETS, firing_net
from nwavesdk.interop.step import State, StepNet, compare_steps
from nwavesdk.layers import prepare_net
from tolerances import STATE, assert_close


@pytest.mark.parametrize("name", NETS)
def test_a_loop_over_steps_is_the_net(name):
    net, shape = firing_net(name)
    step = StepNet(net, shape)
    x = 3 * torch.rand(3, 40, *shape)
    prepare_net(net)
    expected = net(x)
    states = step.first_states(3)
    rows = []
    for each in x.unbind(1):
        (*outputs,) = step(each, states)
        outputs, states = outputs[: len(step.outputs)], outputs[len(step.outputs) :]
        rows.append(outputs)
    for what, got, wanted in zip(step.outputs, zip(*rows, strict=True), expected, strict=False):
        assert_close(torch.stack(got, 1), wanted.detach(), STATE, f"{name}: {what}")
    assert expected[0].any()


def test_states_have_names_shapes_and_first_values():
    net, shape = firing_net("zoo")
    states = StepNet(net, shape).states
    assert states[-3:] == (
        State(name="5.state", shape=(), initial=0.0, dtype="int64", has_batch=False),
        State(name="6.v", shape=(8,), initial=-65.0, dtype="float32", has_batch=True),
        State(name="6.w", shape=(8,), initial=-13.0, dtype="float32", has_batch=True),
    )
    assert torch.equal(states[-2].first(2), torch.full((2, 8), -65.0))
    recurrent = StepNet(*firing_net("recurrent"))
    assert [state.name for state in recurrent.states] == ["1.v", "1.spikes", "4.v"]
    assert recurrent.outputs == ("out",)
    assert StepNet(*firing_net("delays")).states[0].name == "0.past"


def test_a_step_leaves_the_net_alone():
    net, shape = firing_net("recurrent")
    before = {name: value.clone() for name, value in net.state_dict().items()}
    step = StepNet(net, shape)
    step(torch.ones(2, *shape), step.first_states(2))
    assert net[1].solver == "auto"
    assert net[1].state is None
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


def test_a_net_without_steps_is_refused_by_name():
    with pytest.raises(ValueError, match="a net of type 'Linear', which has no step.*expected Spi"):
        StepNet(nn.Linear(3, 2), (3,))


def test_the_comparison_finds_another_function():
    net, shape = firing_net("recurrent")
    step = StepNet(net, shape)
    n_calls = 0

    def run(x, states, wrong=0.0):
        nonlocal n_calls
        n_calls += 1
        (out, *after) = step(x, states)
        after[0] = after[0] + (wrong if n_calls > 30 else 0.0)
        return [out], after

    right = compare_steps(net, step, run)
    assert right.is_equal
    assert right.different == 0
    assert right.silent == ()
    assert right.spikes > 1000
    assert "400 of 400 steps equal the steps of the net" in str(right)
    n_calls = 0
    wrong = compare_steps(net, step, lambda x, states: run(x, states, 1.0))
    assert not wrong.is_equal
    assert (wrong.first, wrong.different) == (30, 280)
    assert "120 of 400 steps equal the steps of the net, the first difference is in step 30" in str(
        wrong
    )


def test_the_comparison_names_layers_that_never_fire():
    net, shape = firing_net("delays")
    nn.init.zeros_(net[2].weight)
    step = StepNet(net, shape)

    def run(x, states):
        spk, mem, *after = step(x, states)
        return [spk, mem], after

    found = compare_steps(net, step, run)
    assert found.silent == ("3",)
    assert str(found).endswith("; no spikes in 3")
