"""Containers that are not a sequence, against the same modules called by hand."""

import copy
import pickle

import pytest
import torch
from torch import nn

from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TimeBatchNorm,
    detach_state,
    prepare_net,
)
from nwavesdk.net import Branches, Feedback, Repeat, Residual, find_edges
from tolerances import GRADIENT, assert_close

X = 3 * torch.rand(3, 24, 5, generator=torch.Generator().manual_seed(1))


def block(n_in, n_out, tau=10e-3):
    return SpikingSequential(LIFSynapse(n_in, n_out), LIFLayer(n_out, tau))


def residual():
    return Residual(
        *(DelayedSynapse(5, 6, max_delay=3), LIFLayer(6, 8e-3)),
        shortcut=SpikingSequential(LIFSynapse(5, 6)),
    )


KINDS = {
    "residual": residual,
    "residual of images": lambda: SpikingSequential(
        nn.Unflatten(-1, (1, 5)),
        Residual(
            nn.Conv1d(1, 2, 3, padding=1), LIFLayer((2, 5), 8e-3), shortcut=nn.Conv1d(1, 2, 1)
        ),
        nn.Flatten(),
    ),
    "branches": lambda: Branches(block(5, 4, 5e-3), block(5, 3, 30e-3)),
    "added branches": lambda: Branches(block(5, 4, 5e-3), nn.Linear(5, 4), join="add"),
    "repeat": lambda: Repeat(2, lambda: Residual(LIFSynapse(5, 5), LIFLayer(5, 8e-3))),
    "feedback": lambda: Feedback(
        *(LIFSynapse(5, 6), LIFLayer(6, 8e-3), LIFSynapse(6, 4), LIFLayer(4, 8e-3)),
        feedback=DelayedSynapse(4, 5, max_delay=2),
    ),
    "feedback without a synapse": lambda: Feedback(block(5, 5), block(5, 5)),
}


@pytest.fixture(params=KINDS)
def net(request):
    """A net with the container, and layers around it; the same weights for the same kind."""
    torch.manual_seed(0)
    inner = KINDS[request.param]()
    width = inner(X)[0].shape[-1]
    return SpikingSequential(inner, Dropout(0.2), LIFSynapse(width, 3), LIFLayer(3, 8e-3)).double()


def run(net, *, parts):
    """Output and gradients of input and weights; `parts` are lengths of sequences, 0 a step."""
    torch.manual_seed(2)
    net.zero_grad()
    x = X.double().requires_grad_()
    prepare_net(net)
    outputs = []
    start = 0
    for length in parts:
        if length:
            outputs.append(net(x[:, start : start + length])[1])
        else:
            outputs.append(net.step(x[:, start])[1][:, None])
        start += length or 1
    assert start == x.shape[1]
    mem = torch.cat(outputs, 1)
    (mem * torch.linspace(-1, 1, mem.numel()).reshape(mem.shape)).sum().backward()
    return [mem.detach(), x.grad, *(parameter.grad for parameter in net.parameters())]


def assert_equal_runs(got, expected):
    assert len(got) == len(expected)
    for i, (a, b) in enumerate(zip(got, expected, strict=True)):
        assert_close(a, b, GRADIENT, f"tensor {i}")


class TestAllContainers:
    def test_halves_and_steps_equal_the_whole(self, net):
        whole = run(net, parts=[24])
        assert_equal_runs(run(net, parts=[11, 13]), whole)
        assert_equal_runs(run(net, parts=[5, *[0] * 14, 5]), whole)

    def test_chunks_of_time_equal_the_whole(self, net):
        whole = run(net, parts=[24])
        net.checkpoint = 7
        assert_equal_runs(run(net, parts=[24]), whole)

    def test_copies_and_pickles_go_on_from_the_state(self, net):
        net.eval()
        prepare_net(net)
        net(X.double()[:, :9])
        others = copy.deepcopy(net), pickle.loads(pickle.dumps(net))
        detach_state(net)
        expected = net(X.double()[:, 9:])[1]
        for other in others:
            assert torch.equal(other(X.double()[:, 9:])[1], expected)

    def test_weights_survive_state_dict(self, net):
        other = copy.deepcopy(net)
        for parameter in other.parameters():
            nn.init.constant_(parameter, 0.1)
        other.load_state_dict(net.state_dict())
        assert torch.equal(other.eval()(X.double())[1], net.eval()(X.double())[1])

    # Two containers have all that differs in compiled code: branches, and their own state.
    @pytest.mark.usefixtures("fresh_compiler")
    @pytest.mark.parametrize("net", ["residual of images", "feedback"], indirect=True)
    def test_a_compiled_net_gives_the_same(self, net):
        net = net.eval()
        x = X.double()[:, :4]  # each step of a feedback is compiled
        expected = net(x)[1]
        compiled = torch.compile(net, backend="eager")
        assert torch.equal(compiled(x)[1], expected)

    def test_records_have_each_layer_and_the_same_output(self, net):
        net.eval()
        recording = net.record(X.double())
        layers = [name for name, m in net.named_modules() if isinstance(m, LIFLayer)]
        assert sorted(recording.layers) == sorted(layers)
        assert torch.equal(recording.mem, net(X.double())[1])
        for record in recording.layers.values():
            assert record.spk.shape[:2] == (3, 24)
            assert record.z.shape == record.spk.shape
            assert torch.equal((record.z > 0).double(), record.spk)

    def test_valid_steps_do_not_depend_on_padding(self, net):
        lengths = torch.tensor([24, 10, 17])
        net.eval()
        x = X.double()
        other = x.clone()
        for i, length in enumerate(lengths):
            other[i, length:] = 9.0
        a, b = net(x, lengths)[1], net(other, lengths)[1]
        for i, length in enumerate(lengths):
            assert torch.equal(a[i, :length], b[i, :length])

    def test_a_failing_call_leaves_all_states(self, net):
        prepare_net(net)
        net(X.double()[:, :9])
        detach_state(net)
        other = copy.deepcopy(net)
        net[3].register_forward_pre_hook(lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            net(X.double()[:, 9:])
        net[3]._forward_pre_hooks.clear()
        torch.manual_seed(0)
        expected = other(X.double()[:, 9:])[1]
        assert torch.equal(net(X.double()[:, 9:])[1], expected)


class TestResidual:
    def test_the_input_is_added(self):
        net = Residual(LIFSynapse(5, 5), LIFLayer(5, 8e-3))
        expected = X + SpikingSequential(*net.body)(X)[0]
        assert torch.equal(net(X)[0], expected)

    def test_shapes_that_differ_are_rejected(self):
        net = Residual(LIFSynapse(5, 4), LIFLayer(4, 8e-3))
        fault = r"Residual: the outputs of body, shortcut have the shapes \[\[3, 24, 4\], \[3, 24, "
        with pytest.raises(ValueError, match=fault + "5"):
            net(X)
        net.shortcut = LIFSynapse(5, 3)
        with pytest.raises(ValueError, match=fault + "3"):
            net(X)
        with pytest.raises(TypeError, match="int is not a Module subclass"):
            Residual(nn.Identity(), shortcut=3)


class TestBranches:
    def test_channels_are_concatenated(self):
        images = torch.rand(2, 6, 1, 8, 8)
        net = Branches(nn.Conv2d(1, 3, 3, padding=1), nn.Conv2d(1, 2, 5, padding=2))
        y, _ = net(images)
        assert y.shape == (2, 6, 5, 8, 8)
        expected = net._modules["1"](images[:, 4])
        assert_close(y[:, 4, 3:], expected, GRADIENT, "second branch")
        assert_close(net.step(images[:, 4])[0], y[:, 4], GRADIENT, "step")

    @pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            (
                lambda: Branches(block(5, 4), block(5, 3), join="add")(X),
                ValueError,
                r"shapes \[\[3, 24, 4\], \[3, 24, 3\]\], expected equal",
            ),
            (lambda: Branches(), ValueError, "Branches takes at least one module, got none"),
            (lambda: Branches(block(5, 4), join="multiply"), ValueError, "join must be"),
            (lambda: Branches(block(5, 4), "x"), TypeError, "str is not a Module subclass"),
        ],
    )
    def test_outputs_that_do_not_fit_are_rejected(self, call, error, words):
        with pytest.raises(error, match=words):
            call()


class TestRepeat:
    def test_blocks_have_their_own_weights(self):
        net = Repeat(3, lambda: block(5, 5))
        assert len({id(parameter) for parameter in net.parameters()}) == 3
        assert [edge.name for edge in find_edges(net).edges] == [
            "0.0.weight",
            "1.0.weight",
            "2.0.weight",
        ]

    @pytest.mark.parametrize(
        ("call", "error", "words"),
        [
            (
                lambda shared: Repeat(2, shared),
                TypeError,
                "Repeat takes a function that makes a block, got",
            ),
            (
                lambda shared: Repeat(2, lambda: shared),
                TypeError,
                r"build\(\) returned the same module twice",
            ),
            (
                lambda _: Repeat(0, lambda: block(5, 5)),
                ValueError,
                "times must be a whole number of at least 1, got 0",
            ),
        ],
    )
    def test_a_module_instead_of_a_function_is_rejected(self, call, error, words):
        shared = block(5, 5)
        with pytest.raises(error, match=words):
            call(shared)


class TestFeedback:
    def test_one_layer_equals_recurrent_weights(self):
        layer = LIFLayer(5, 8e-3, layer_topology="RC")
        net = Feedback(LIFLayer(5, 8e-3), feedback=LIFSynapse(5, 5))
        net.feedback.weight.data = layer.recurrent_weights.data.clone()
        assert torch.equal(net(X)[0], layer(X)[0])

    def test_shapes_that_do_not_fit_are_rejected(self):
        net = Feedback(LIFSynapse(5, 4), LIFLayer(4, 8e-3))
        with pytest.raises(
            ValueError, match=r"the output of the feedback has the shape \[3, 4\], the input of"
        ):
            net(X)
        with pytest.raises(ValueError, match="sequences of at least one step"):
            net(X[:, :0])

    def test_a_norm_with_statistics_over_time_does_not_train_in_it(self):
        net = Feedback(TimeBatchNorm(5), LIFLayer(5, 8e-3))
        with pytest.raises(RuntimeError, match="TimeBatchNorm in train"):
            net(X)
        net.eval()(X)
