"""Laws of all encoders as modules: steps, halves, lengths, checkpoints, copies, compiled code."""

import copy
import pickle

import pytest
import torch

from layers.nets import run
from nwavesdk.encoding import (
    DeltaEncoder,
    LatencyEncoder,
    PhaseEncoder,
    PoissonEncoder,
    PopulationEncoder,
    RateEncoder,
    StepForwardEncoder,
    encode_delta,
    encode_step_forward,
)
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net

# An encoder, and the neurons that it has for a value.
CAUSAL = {
    "latency": (lambda: LatencyEncoder(5), 1),
    "phase": (lambda: PhaseEncoder(5), 1),
    "delta": (lambda: DeltaEncoder(0.125), 2),
    "step_forward": (lambda: StepForwardEncoder(0.125), 2),
    "population": (lambda: PopulationEncoder(4), 4),
}
RANDOM = {"rate": (RateEncoder, 1), "poisson": (lambda: PoissonEncoder(0.5), 1)}
ALL = CAUSAL | RANDOM


def draw(*shape):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", ALL)
def test_sequences_steps_and_features(name):
    make, k = ALL[name]
    encoder = make()
    for shape in [(2, 7, 3), (2, 7, 3, 4, 5)]:
        assert run(encoder, draw(*shape)).shape == (*shape[:2], k * 3, *shape[3:])
    assert run(encoder, draw(2, 3)).shape == (2, k * 3)
    assert run(encoder, draw(3)).shape == (1, k * 3)
    prepare_net(encoder)
    assert encoder(draw(2, 3, 4, 5), single_step=True).shape == (2, k * 3, 4, 5)


@pytest.mark.parametrize("name", CAUSAL)
def test_halves_and_steps_give_the_whole(name):
    encoder = CAUSAL[name][0]()
    x = draw(2, 13, 3)
    whole = run(encoder, x)
    assert whole.any()
    prepare_net(encoder)
    assert torch.equal(torch.cat([encoder(x[:, :6]), encoder(x[:, 6:])], 1), whole)
    run(encoder, x[:, :6])
    prepare_net(encoder, keep_state=True)
    assert torch.equal(encoder(x[:, 6:]), whole[:, 6:])
    prepare_net(encoder)
    assert torch.equal(torch.stack([encoder(step) for step in x.unbind(1)], 1), whole)
    assert torch.equal(run(encoder, x[:, :0]), whole[:, :0])
    assert torch.equal(encoder(x), whole)


@pytest.mark.parametrize("name", ALL)
def test_padding_has_no_spikes(name):
    encoder = ALL[name][0]()
    x, lengths = draw(3, 9, 2), torch.tensor([9, 4, 0])
    padding = torch.arange(9) >= lengths[:, None]
    prepare_net(encoder)
    torch.manual_seed(0)
    whole = encoder(x)
    prepare_net(encoder)
    torch.manual_seed(0)
    got = encoder(x.masked_fill(padding[..., None], torch.nan), lengths)
    assert torch.equal(got, whole.masked_fill(padding[..., None], 0))


@pytest.mark.parametrize("name", ALL)
def test_a_checkpoint_encodes_the_same_again(name):
    make, k = ALL[name]
    x, gradients = draw(2, 12, 3), []
    for checkpoint in (None, 5):
        torch.manual_seed(2)
        layers = (LIFSynapse(3 * k, 4), LIFLayer(4, 20e-3))
        net = SpikingSequential(make(), *layers, checkpoint=checkpoint)
        prepare_net(net)
        parts = [x] if checkpoint else x.split(5, 1)
        sum(output.sum() for part in parts for output in net(part)).backward()
        gradients.append(net[1].weight.grad)
    assert gradients[0].any()
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("name", CAUSAL)
def test_copies_have_the_state(name):
    encoder = CAUSAL[name][0]()
    x = draw(2, 13, 3)
    run(encoder, x[:, :6])
    copies = [copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))]
    other = CAUSAL[name][0]()
    prepare_net(other)
    other.load_state_tensors(encoder.state_tensors())
    rest = encoder(x[:, 6:])
    for each in (*copies, other):
        assert torch.equal(each(x[:, 6:]), rest)
    assert not encoder.state_dict()


@pytest.mark.parametrize("name", ["phase", "delta", "step_forward", "population"])
def test_compiled_encoders(name):
    encoder = CAUSAL[name][0]()
    x = draw(2, 9, 3)
    expected = run(encoder, x)
    prepare_net(encoder)
    compiled = torch.compile(encoder.forward, backend="aot_eager")
    assert torch.equal(compiled(x), expected)


def test_modules_are_the_functions_and_decode():
    x = draw(2, 30, 3)
    for encoder, encode in (
        (DeltaEncoder(0.125), encode_delta),
        (StepForwardEncoder(0.125), encode_step_forward),
    ):
        spikes = run(encoder, x)
        assert torch.equal(spikes, encode(x, 0.125))
        assert torch.equal(encoder.decode(spikes), encoder.decode(spikes, x[:, 0]))
        assert torch.equal(encoder.initial, x[:, 0])
    population = PopulationEncoder(6)
    torch.testing.assert_close(population.decode(population(x)), x)
    torch.testing.assert_close(RateEncoder().decode(torch.ones(2, 4, 3)), torch.ones(2, 3))
    assert (
        repr(PopulationEncoder(6)) == "PopulationEncoder(n_neurons=6, low=0.0, high=1.0, width=1.5)"
    )


def test_state_is_checked():
    encoder = DeltaEncoder(0.1)
    with pytest.raises(RuntimeError, match="DeltaEncoder is not prepared: call prepare_net"):
        encoder(draw(2, 4))
    x = draw(2, 3, 4)
    assert torch.equal(encoder(x), encoder(x))  # each whole sequence starts again
    run(encoder, draw(2, 3, 4))
    with pytest.raises(RuntimeError, match=r"steps of shape \[2, 4\], got \[5, 4\]: call"):
        encoder(draw(5, 3, 4))
    with pytest.raises(ValueError, match="lengths belong to sequences"):
        encoder(draw(2, 4), torch.tensor([1, 1]))
    with pytest.raises(TypeError, match="RateEncoder takes a floating input, got torch.int64"):
        RateEncoder()(torch.ones(2, 3, dtype=torch.int64))
