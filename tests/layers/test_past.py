"""What all synapses that read earlier inputs promise: their state, parts of sequences, errors."""

import copy
import pickle

import pytest
import torch

from layers.nets import run
from nwavesdk.layers import (
    DelayedSynapse,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TemporalConv,
    detach_state,
    prepare_net,
)
from nwavesdk.net import streaming
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

B, T = 3, 14
# Options of `DelayedSynapse(4, 6, max_delay=6)`.
DELAYED = {
    "one delay per connection": {},
    "one delay per input": {"per": "input"},
    "gaussian": {"interpolation": "gaussian", "width": 0.8},
    "fixed": {"learn_delays": False, "bias": True},
}
# The places of a step of `TemporalConv(4, 6, taps=3)`, next to its channels.
CONVOLUTIONS = {"over time": (), "over lines": (7,), "over images": (6, 5)}


@pytest.fixture(params=[*DELAYED, *CONVOLUTIONS])
def name(request):
    """Name of a synapse; `build` makes it."""
    return request.param


def build(name):
    torch.manual_seed(1)
    if name in DELAYED:
        synapse = DelayedSynapse(4, 6, 6, **DELAYED[name])
    else:
        kernel = (3, 2)[: len(CONVOLUTIONS[name])]
        synapse = TemporalConv(4, 6, taps=3, dilation=2, kernel=kernel, bias=True)
    return synapse.double()


def spikes(name, B=B):
    torch.manual_seed(2)
    shape = (B, T, 4, *CONVOLUTIONS.get(name, ()))
    return (torch.rand(shape) < 0.3).double().requires_grad_()


@pytest.fixture
def synapse(name):
    return build(name)


@pytest.fixture
def x(name):
    return spikes(name)


def gradients(cur, synapse, x):
    weights = torch.sin(torch.arange(cur.numel())).reshape(cur.shape)
    return torch.autograd.grad((cur * weights).sum(), [x, *synapse.parameters()], allow_unused=True)


@pytest.mark.parametrize("parts", [[4, 10], [9, 2, 3], [1] * T, [0, T]])
def test_parts_equal_the_whole_with_gradients(parts, synapse, x):
    whole = run(synapse, x)
    prepare_net(synapse)
    is_in_steps = parts[0] == 1
    calls = [part[:, 0] if is_in_steps else part for part in x.split(parts, 1)]
    outputs = [synapse(part) for part in calls]
    cur = torch.stack(outputs, 1) if is_in_steps else torch.cat(outputs, 1)
    assert_close(cur, whole, STATE, "charge")
    assert_all_close(gradients(cur, synapse, x), gradients(whole, synapse, x), GRADIENT, "gradient")


def test_prepare_net_forgets_the_past_unless_it_keeps_it(synapse, x):
    first = run(synapse, x)
    prepare_net(synapse, keep_state=True)
    assert not torch.equal(synapse(x), first)
    assert torch.equal(run(synapse, x), first)


def test_copies_pickles_and_loaded_states_continue(name, synapse, x):
    run(synapse, x[:, :9])
    (past,) = synapse.state_tensors()
    assert past.requires_grad
    twin = build(name)
    twin.load_state_dict(synapse.state_dict())
    prepare_net(twin)
    assert twin.state_tensors() == []
    twin.load_state_tensors([past])
    twins = [copy.deepcopy(synapse), pickle.loads(pickle.dumps(synapse)), twin]
    assert not twins[0].state_tensors()[0].requires_grad
    expected = synapse(x[:, 9:])
    assert all(torch.equal(twin(x[:, 9:]), expected) for twin in twins)


def test_a_restored_state_is_the_one_before(synapse, x):
    run(synapse, x)
    restore = synapse.state_restorer()
    expected = synapse(x)
    restore()
    assert torch.equal(synapse(x), expected)


@pytest.mark.parametrize("length", [1, T])
def test_the_state_is_a_copy_of_the_last_inputs_alone(name, length):
    synapse, x = build(name), spikes(name).detach()[:, :length]
    run(synapse, x)
    (past,) = synapse.state_tensors()
    assert past.untyped_storage().nbytes() == past.nbytes
    before = past.clone()
    x.fill_(torch.nan)
    assert torch.equal(past, before)


def test_detach_state_cuts_the_gradient(synapse, x):
    run(synapse, x[:, :7])
    detach_state(synapse)
    synapse(x[:, 7:]).sum().backward()
    assert not x.grad[:, :7].any()
    assert x.grad[:, 7:].any()


def test_calls_with_a_sequence_prepare_themselves(synapse, x):
    assert torch.equal(synapse(x), synapse(x))
    with streaming(synapse):
        first = synapse(x)
        assert not torch.equal(synapse(x), first)
    assert synapse.state_tensors() == []


def test_it_continues_after_inference_and_in_another_dtype(synapse, x):
    with torch.inference_mode():
        run(synapse, x.detach())
    synapse(x).sum().backward()
    assert x.grad.any()
    assert synapse.float()(x.float()).dtype == torch.float32


def test_charge_is_that_after_silence_and_leaves_the_state(synapse, x):
    synapse.bias = None
    expected = run(synapse, x)
    (past,) = synapse.state_tensors()
    assert_close(synapse.charge(x, 2 * synapse.weight), 2 * expected, STATE, "charge")
    assert_close(synapse.charge(x[:, 0], synapse.weight), expected[:, 0], STATE, "one step")
    assert synapse.state_tensors()[0] is past


def test_one_step_without_a_batch_is_a_batch_of_one(name):
    synapse, x = build(name), spikes(name, B=1)
    whole = run(synapse, x)
    prepare_net(synapse)
    assert_close(torch.stack([synapse(step) for step in x[0]], 1), whole, STATE, "charge")


def net_of(name, checkpoint=None):
    torch.manual_seed(0)
    features = tuple(build(name)(spikes(name)).shape[2:])
    neurons = LIFLayer(features, 10e-3, 0.2)
    return SpikingSequential(build(name), neurons, checkpoint=checkpoint).double()


def outcome(net, x):
    spk, mem = run(net, x)
    return [spk, mem, *gradients(spk + mem.square(), net, x)]


def test_chunks_of_a_net_equal_the_whole(name):
    x = spikes(name)
    whole = outcome(net_of(name), x)
    assert whole[0].any()
    assert_all_close(outcome(net_of(name, checkpoint=4), x), whole, GRADIENT, "chunks")


@pytest.mark.parametrize("name", ["one delay per connection", "over lines"], indirect=True)
def test_compiled_code_gives_the_same(name):
    net, x = net_of(name), spikes(name)
    expected = outcome(net, x)
    prepare_net(net)
    spk, mem = torch.compile(net, backend="aot_eager")(x)
    got = [spk, mem, *gradients(spk + mem.square(), net, x)]
    assert_all_close(got, expected, GRADIENT, "compiled")


def test_a_failed_pass_leaves_the_state(name):
    net = SpikingSequential(build(name), LIFSynapse(99, 2).double())
    with pytest.raises(ValueError, match="takes"):
        run(net, spikes(name))
    assert net[0].state_tensors() == []


def test_calls_that_do_not_fit_are_rejected(synapse, x):
    with pytest.raises(RuntimeError, match="is not prepared: call prepare_net"):
        synapse(x[:, 0])
    run(synapse, x)
    with pytest.raises(
        RuntimeError, match=r"has a state of shape \[3, .*, the input needs \[2, .*: call prep"
    ):
        synapse(x[:2])
    with pytest.raises(TypeError, match="weights of torch.float64 and got .* torch.float32"):
        synapse(x.float())
    with pytest.raises(TypeError, match="takes a floating input, got torch.int64"):
        synapse(x.long())
