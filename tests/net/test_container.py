"""What all containers share: steps, time first, users' modules, hooks."""

import pytest
import torch
from torch import nn

from nwavesdk.analysis import examine
from nwavesdk.layers import (
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.net import Branches, Residual
from nwavesdk.net.container import takes_argument
from tolerances import GRADIENT, assert_all_close, assert_close

X = 3 * torch.rand(3, 12, 5, generator=torch.Generator().manual_seed(1))


class WithLengths(nn.Module):
    def forward(self, x, *, lengths=None):
        return x if lengths is None else x[: len(lengths)]


class Scaled(nn.Module):
    """A user's block that returns spikes and membranes."""

    def __init__(self, n):
        super().__init__()
        self.synapse = LIFSynapse(n, n)
        self.layer = LIFLayer(n, 8e-3)

    def forward(self, spikes):
        return self.layer(2 * self.synapse(spikes))


def build(**options):
    torch.manual_seed(0)
    return SpikingSequential(
        *(LIFSynapse(5, 6), LIFLayer(6, 8e-3), SpikingSequential(Scaled(6), LIFSynapse(6, 4))),
        LIFLayer(4, 8e-3),
        **options,
    )


def test_modules_with_lengths_have_a_parameter_of_that_name():
    assert takes_argument(WithLengths, "lengths")
    assert takes_argument(SpikingSequential, "lengths")
    assert not takes_argument(LIFLayer, "lengths")
    assert not takes_argument(nn.Linear, "lengths")
    assert not takes_argument(nn.Sequential, "lengths")


def test_a_block_of_the_user_is_a_module_like_any_other():
    net = build()
    scaled = net[2][0]
    spikes = SpikingSequential(net[0], net[1])(X)[0]
    spikes = scaled.layer(2 * (spikes @ scaled.synapse.weight))[0]
    expected = net[3](spikes @ net[2][1].weight)
    assert_all_close(net(X), expected, GRADIENT, "output")
    last = SpikingSequential(LIFSynapse(5, 6), Scaled(6))
    spk, mem = last(X)
    assert not torch.equal(spk, mem)


class TestTimeFirst:
    def test_input_and_outputs_are_turned(self):
        net, turned = build(), build(time_first=True)
        for got, expected in zip(turned(X.transpose(0, 1)), net(X), strict=True):
            assert torch.equal(got.transpose(0, 1), expected)

    def test_lengths_and_chunks_are_those_of_recordings(self):
        lengths = torch.tensor([12, 4, 7])
        net, turned = build(), build(time_first=True, checkpoint=5)
        got = turned(X.transpose(0, 1), lengths)[1]
        assert torch.equal(got[:4, 1], net(X, lengths)[1][1, :4])

    def test_steps_are_as_before(self):
        net = build(time_first=True)
        prepare_net(net)
        steps = [net(X[:, t])[1] for t in range(12)]
        prepare_net(net)
        assert_close(torch.stack(steps), net(X.transpose(0, 1))[1], GRADIENT, "steps")

    def test_records_of_layers_keep_their_order(self):
        net, turned = build(), build(time_first=True)
        recording = turned.record(X.transpose(0, 1))
        assert recording.spk.shape[:2] == recording.mem.shape[:2] == (12, 3)
        for name, record in net.record(X).layers.items():
            assert torch.equal(recording.layers[name].spk, record.spk)

    def test_examine_takes_the_order_of_the_net(self):
        def loss(spk, mem):
            return spk.mean() + mem.mean()

        net, turned = build(), build(time_first=True)
        assert examine(turned, X.transpose(0, 1), loss) == examine(net, X, loss)

    @pytest.mark.parametrize("around", [SpikingSequential, Residual, Branches])
    def test_only_the_outermost_container_has_it(self, around):
        inner = SpikingSequential(LIFSynapse(5, 5), LIFLayer(5, 8e-3), time_first=True)
        net = around(inner)
        # With a hook, the inner net would swap time and batch.
        inner.register_forward_hook(lambda *_: None)
        for outer in (net, SpikingSequential(net, nn.Identity(), time_first=True)):
            with pytest.raises(ValueError, match="got time_first=True within another container"):
                outer(X.transpose(0, 1))

    def test_it_is_true_or_false(self):
        with pytest.raises(ValueError, match="time_first must be True or False, got 'yes'"):
            build(time_first="yes")


class TestStep:
    def test_a_sequence_is_not_a_step(self):
        net = build()
        prepare_net(net)
        with pytest.raises(
            ValueError, match=r"net.step\(x\): LIFSynapse takes one step with 1 dim"
        ):
            net.step(X)
        with pytest.raises(ValueError, match="lengths belong to sequences"):
            net(X[:, 0], torch.tensor([1, 1, 1]), single_step=True)


class TestHooks:
    def test_hooks_of_nested_containers_and_their_modules_see_each_call(self):
        net = build()
        expected = net(X)[1]
        seen = []
        for name, module in net.named_modules():
            module.register_forward_hook(lambda *_, name=name: seen.append(name))
        assert torch.equal(net(X)[1], expected)
        order = ["0", "1", "2.0.synapse", "2.0.layer", "2.0", "2.1", "2", "3", ""]
        assert seen == order
        seen.clear()
        prepare_net(net)
        net.step(X[:, 0])
        assert seen == order

    def test_a_hook_may_change_the_input_of_a_nested_container(self):
        net = build()
        net[2].register_forward_pre_hook(lambda _, args: (0 * args[0],))
        assert net(X)[0].sum() == 0


class TestErrors:
    @pytest.mark.parametrize(
        ("modules", "text"),
        [
            (
                [LIFSynapse(5, 4), LIFLayer(6, 8e-3)],
                r"LIFLayer\(6\) takes \[6\], but LIFSynapse\(5, 4",
            ),
            (
                [LIFLayer(5, 8e-3), nn.Linear(4, 2)],
                r"Linear\(4, 2\) takes \[4\], but LIFLayer\(5\)",
            ),
            (
                [LIFSynapse(5, 4), nn.BatchNorm1d(9)],
                r"BatchNorm1d takes 9 channels, but LIFSynapse\(5, 4\)",
            ),
            (
                [LIFSynapse(5, 4), TimeBatchNorm(9)],
                r"TimeBatchNorm takes 9 channels, but LIFSynapse\(5, 4\)",
            ),
            (
                [nn.Unflatten(1, (1, 5)), nn.Conv1d(2, 1, 3)],
                "Conv1d takes 2 channels, but Unflatten",
            ),
            (
                [LIFSynapse(5, 4), SpikingSequential(Residual(LIFSynapse(9, 9)))],
                r"LIFSynapse\(9, 9\) takes \[9\], but LIFSynapse\(5, 4\)",
            ),
        ],
    )
    def test_sizes_that_do_not_match_name_both_modules(self, modules, text):
        with pytest.raises(ValueError, match=text):
            SpikingSequential(*modules)(X)
        with pytest.raises(ValueError, match=text):
            SpikingSequential(nn.Identity(), SpikingSequential(*modules))(X)

    def test_other_errors_stay_as_they_are(self):
        net = SpikingSequential(LIFSynapse(5, 5), Residual(nn.Identity()), LIFSynapse(5, 3))
        with pytest.raises(TypeError, match="SpikingSequential takes a tensor, got list"):
            SpikingSequential(nn.Identity())([1.0])
        with pytest.raises(TypeError, match="has weights of torch.float32"):
            net(X.double())


def test_images_are_ambiguous_before_branches_too():
    net = SpikingSequential(Branches(nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3)))
    for x in (torch.rand(4, 2, 8, 8), torch.rand(8, 8)):
        with pytest.raises(ValueError, match="begins with Conv2d: net"):
            net(x)
    assert net(torch.rand(1, 4, 2, 8, 8))[0].shape == (1, 4, 6, 6, 6)
    assert "LazyLinear" in repr(SpikingSequential(nn.LazyLinear(3)))


def test_print_shows_shapes_and_parameters():
    lines = repr(build()).splitlines()
    assert lines[1].endswith("(0): LIFSynapse(5, 6)  # [6], 30 parameters")
    assert lines[2].endswith("# [6]")
    assert lines[-1] == ")  # 90 parameters"
