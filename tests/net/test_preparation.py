"""Who prepares a net: its own calls until the first `prepare_net`, then only the user."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from layers.nets import chip_net, drive
from nwavesdk.encoding import DeltaEncoder
from nwavesdk.layers import (
    DelayedSynapse,
    Dropout,
    HWSynapse,
    LIFLayer,
    LIFSynapse,
    Prepared,
    SpikingSequential,
    StepBatchNorm,
    TemporalConv,
    detach_state,
    prepare_net,
)
from nwavesdk.net import ChipInstance, Feedback, Residual, streaming
from nwavesdk.net.preparation import prepared
from tolerances import GRADIENT, assert_all_close, assert_close


def build(**options):
    torch.manual_seed(0)
    inner = SpikingSequential(LIFSynapse(8, 6), LIFLayer(6, 10e-3, layer_topology="RC"))
    return SpikingSequential(
        *(TemporalConv(4, 8, 3), LIFLayer(8, 10e-3), Residual(LIFSynapse(8, 8), LIFLayer(8, 5e-3))),
        *(inner, LIFSynapse(6, 3), LIFLayer(3, 10e-3, reset_mechanism="none")),
        **options,
    )


@pytest.fixture
def net():
    return build()


X = 3 * torch.rand(2, 30, 4, generator=torch.Generator().manual_seed(1))


class Loop(nn.Module):
    """A user's module that runs layers step by step."""

    def __init__(self):
        super().__init__()
        self.synapse = LIFSynapse(4, 4)
        self.layer = LIFLayer(4, 10e-3)

    def forward(self, x):
        return torch.stack([self.layer(self.synapse(x[:, t]))[0] for t in range(x.shape[1])], 1)


class Twice(nn.Module):
    """A user's module that calls one layer twice."""

    def __init__(self):
        super().__init__()
        self.layer = LIFLayer(4, 10e-3)

    def forward(self, x):
        return self.layer(x)[0], self.layer(x)[0]


class TestNeverPrepared:
    def test_each_call_starts_at_rest(self, net):
        first = net(X)
        assert torch.equal(net(X)[1], first[1])
        prepare_net(net)
        assert torch.equal(net(X)[1], first[1])
        assert not torch.equal(net(X)[1], first[1])

    def test_a_lone_layer_starts_at_rest_each_time_also_within_one_pass(self):
        a, b = Twice()(drive(2, 9, 4))
        assert torch.equal(a, b)

    @pytest.mark.parametrize("part", [Loop, lambda: SpikingSequential(Loop())], ids=["", "nested"])
    def test_steps_within_a_prepared_call_run(self, part):
        net = SpikingSequential(LIFSynapse(4, 4), LIFLayer(4, 10e-3), part())
        inner = net[2][0] if isinstance(net[2], SpikingSequential) else net[2]
        whole = SpikingSequential(net[0], net[1], inner.synapse, inner.layer)
        assert torch.equal(net(X)[0], whole(X)[0])

    def test_a_step_outside_of_one_needs_prepare_net(self, net):
        match = r"is not prepared: call prepare_net\(model\) before the first step, or use `with"
        for call in (net, net.step, net[1], net[2]):
            with pytest.raises(RuntimeError, match=match):
                call(torch.ones(2, 8))
        with pytest.raises(RuntimeError, match="LIFLayer " + match):
            Loop()(X)

    @pytest.mark.parametrize("kind", [build, lambda: LIFLayer(4, 10e-3)])
    def test_the_state_that_is_left_can_be_read_and_keeps_no_graph(self, kind):
        net = kind()
        x = X.clone().requires_grad_()
        assert net(x)[1].requires_grad
        layer = net if isinstance(net, LIFLayer) else net[1]
        assert layer.state["v"].shape[0] == 2
        for module in net.modules():
            if isinstance(module, Prepared):
                assert not any(tensor.requires_grad for tensor in module.state_tensors())

    def test_synapses_without_state_need_no_preparation(self):
        net = SpikingSequential(LIFSynapse(4, 3))
        assert net(torch.ones(2, 4))[0].shape == (2, 3)

    def test_draws_come_at_each_call_also_under_no_grad_unless_a_chip_is_held(self):
        net, x = chip_net("h1v1"), 3 * torch.rand(2, 20, 16)
        with torch.no_grad():
            assert not torch.equal(net(x)[1], net(x)[1])
            torch.manual_seed(4)
            a = net(x)[1]
            torch.manual_seed(4)
            assert torch.equal(net(x)[1], a)
            with ChipInstance(2).on(net):
                assert torch.equal(net(x)[1], net(x)[1])

    def test_effective_weights_are_never_stale(self):
        synapse = HWSynapse(4, 3, quantization_bits=4)
        before = synapse(X)
        with torch.no_grad():
            synapse.weight.mul_(0.5)
        assert not torch.equal(synapse(X), before)

    def test_a_call_that_fails_leaves_the_mode(self, net):
        with pytest.raises(ValueError, match="TemporalConv"):
            net(torch.ones(2, 5, 9))
        with pytest.raises(RuntimeError, match="is not prepared"):
            net.step(torch.ones(2, 4))
        assert net(X)[0].shape == (2, 30, 3)


class TestPreparedByTheUser:
    @pytest.mark.parametrize(
        "of_copy", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net))]
    )
    def test_copies_and_pickles_keep_the_mode_and_state_dict_does_not(self, of_copy):
        explicit, automatic = build(), build()
        prepare_net(explicit)
        explicit(X)
        on = of_copy(explicit)
        detach_state(explicit)
        assert torch.equal(on(X)[1], explicit(X)[1])
        fresh = of_copy(automatic)
        assert torch.equal(fresh(X)[1], fresh(X)[1])
        automatic.load_state_dict(explicit.state_dict())
        assert torch.equal(automatic(X)[1], automatic(X)[1])

    def test_a_copy_made_within_streaming_prepares_itself(self, net):
        with streaming(net):
            net(X)
            other = copy.deepcopy(net)
        assert torch.equal(other(X)[1], net(X)[1])

    def test_a_part_in_the_other_mode_is_an_error(self, net):
        prepare_net(net[3])
        with pytest.raises(RuntimeError, match=r"prepare_net was called on a part of it \(LIF"):
            net(X)
        with (
            pytest.raises(
                RuntimeError, match="SpikingSequential: prepare_net was called on a part"
            ),
            streaming(net),
        ):
            pass
        prepare_net(net)
        net.append(LIFLayer(3, 5e-3))
        with pytest.raises(
            RuntimeError, match="LIFLayer is not prepared, but the net around it is"
        ):
            net(X)
        prepare_net(net)
        net(X)

    def test_a_container_of_prepared_parts_needs_no_more(self, net):
        for part in net:
            prepare_net(part)
        assert torch.equal(net(X)[1], build()(X)[1])


class TestStreaming:
    def test_parts_and_steps_equal_the_whole_and_nothing_is_left(self, net):
        whole = net(X)[1]
        with streaming(net) as same:
            assert same is net
            parts = [net(X[:, :11])[1], *(net.step(X[:, t])[1][:, None] for t in range(11, 30))]
        assert_close(torch.cat(parts, 1), whole, GRADIENT, "parts")
        assert net[1].state is None
        assert torch.equal(net(X)[1], whole)

    def test_it_ends_after_an_error(self, net):
        with pytest.raises(ZeroDivisionError), streaming(net):  # noqa: PT012
            net(X)
            raise ZeroDivisionError
        assert net[1].state is None
        with pytest.raises(RuntimeError, match="is not prepared"):
            net.step(X[:, 0])

    def test_a_net_of_the_user_stays_so(self, net):
        prepare_net(net)
        with streaming(net):
            net.step(X[:, 0])
        assert net[1].state is None
        net.step(X[:, 0])

    def test_a_seed_is_that_of_prepare_net(self):
        net, x = chip_net("h1v1"), 3 * torch.rand(2, 20, 16)
        with streaming(net, seed=5):
            a = net(x)[1]
        prepare_net(net, seed=5)
        assert torch.equal(net(x)[1], a)

    def test_objects_that_are_not_modules_are_rejected(self):
        with (
            pytest.raises(TypeError, match="streaming takes a torch module, got int"),
            streaming(3),
        ):
            pass


def test_functions_of_the_library_leave_the_mode(net):
    with prepared(net):
        net.step(X[:, 0])
    assert torch.equal(net.record(X).mem, net.record(X).mem)
    prepare_net(net)
    with prepared(net):
        net(X)
    assert not torch.equal(net(X)[1], build()(X)[1])


def gradients(net, run):
    net.zero_grad()
    loss = run().square().sum()
    loss.backward()
    return [parameter.grad.clone() for parameter in net.parameters()]


class TestCheckpoints:
    @pytest.mark.parametrize(
        "build",
        [
            lambda: DelayedSynapse(3, 3, max_delay=2, delays=1.5),
            lambda: TemporalConv(3, 3, taps=2),
            lambda: StepBatchNorm(3, max_steps=100),
            lambda: Feedback(LIFSynapse(3, 3)),
            lambda: SpikingSequential(DeltaEncoder(0.5), LIFSynapse(6, 3)),
        ],
    )
    def test_torch_s_checkpoint_rejects_each_kind_of_state(self, build):
        net = SpikingSequential(build())
        prepare_net(net)
        x = torch.randn(2, 4, 3)
        y, _ = checkpoint(net, x, use_reentrant=False)
        with pytest.raises(RuntimeError, match="called again within backward"):
            y.square().sum().backward()

    @pytest.mark.parametrize("dropout", [0.0, 0.4])
    def test_torch_s_checkpoint_runs_a_net_again_from_rest(self, dropout):
        net = SpikingSequential(build(), Dropout(dropout), LIFSynapse(3, 2))

        def run(call):
            torch.manual_seed(3)
            return call()[0]

        expected = gradients(net, lambda: run(lambda: net(X)))
        got = gradients(net, lambda: run(lambda: checkpoint(net, X, use_reentrant=False)))
        assert_all_close(got, expected, GRADIENT, "gradient")

    def test_a_state_of_the_user_in_backward_is_refused(self, net):
        prepare_net(net)
        loss = checkpoint(net, X, use_reentrant=False)[1].sum()
        with pytest.raises(
            RuntimeError, match=r"again within backward\(\), with the state that its"
        ):
            loss.backward()

    @pytest.mark.parametrize("prepares", [False, True])
    def test_chunks_use_the_chip_of_their_own_forward(self, prepares):
        net, x = chip_net("h1v1"), 3 * torch.rand(2, 20, 16)

        def run(seed):
            torch.manual_seed(seed)
            if prepares:
                prepare_net(net)
            return net(x)[1]

        expected = gradients(net, lambda: run(1) + 2 * run(2))
        net.checkpoint = 6
        assert_all_close(
            gradients(net, lambda: run(1) + 2 * run(2)), expected, GRADIENT, "gradient"
        )


@pytest.mark.usefixtures("fresh_compiler")
class TestCompiled:
    @pytest.mark.parametrize("explicit", [False, True])
    def test_a_compiled_call_has_the_mode_of_its_net(self, explicit):
        net = SpikingSequential(LIFSynapse(4, 3), LIFLayer(3, 10e-3))
        other = copy.deepcopy(net)
        if explicit:
            prepare_net(net)
            prepare_net(other)
        compiled = torch.compile(other, backend="eager")
        with torch.no_grad():
            for _ in range(3):
                assert torch.equal(compiled(X)[1], net(X)[1])
            assert torch.equal(other(X)[1], net(X)[1])

    def test_a_whole_graph_needs_one_call_or_prepare_net_before(self):
        net = SpikingSequential(LIFSynapse(4, 3), LIFLayer(3, 10e-3))
        compiled = torch.compile(net, backend="eager", fullgraph=True)
        with pytest.raises(Exception, match="LIFLayer is prepared outside of the graph"):
            compiled(X)
        expected = net(X)[1]
        for _ in range(2):
            assert torch.equal(compiled(X)[1], expected)

    def test_draws_are_outside_of_the_graph(self):
        net = SpikingSequential(HWSynapse(4, 3, stddev=0.1))
        with pytest.raises(Exception, match="H1v1Synapse is prepared outside of the graph"):
            torch.compile(net, backend="eager", fullgraph=True)(X)
        with ChipInstance(3).on(net):
            assert torch.equal(torch.compile(net, backend="eager")(X)[0], net(X)[0])


def test_torch_func_runs_a_net_that_was_never_prepared():
    net = SpikingSequential(LIFSynapse(4, 3), LIFLayer(3, 10e-3, solver="reference"))
    parameters = {name: p.detach() for name, p in net.named_parameters()}

    def loss(values):
        return torch.func.functional_call(net, values, (X,))[1].square().sum()

    got = torch.func.grad(loss)(parameters)["0.weight"]
    assert_close(got, gradients(net, lambda: net(X)[1])[0], GRADIENT, "gradient")
    with pytest.raises(RuntimeError, match="H1v1Synapse has effective weights or mismatch, which"):
        torch.func.vmap(HWSynapse(4, 3))(X[None])


def test_distributed_data_parallel_prepares_at_each_call(tmp_path):
    store = f"file://{tmp_path / 'store'}"
    torch.distributed.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        net = build()
        expected = build()(X)[1]
        parallel = nn.parallel.DistributedDataParallel(net)
        for _ in range(2):
            mem = parallel(X)[1]
            mem.sum().backward()
            assert torch.equal(mem, expected)
        prepare_net(parallel)
        parallel(X)
        assert not torch.equal(parallel(X)[1], expected)
    finally:
        torch.distributed.destroy_process_group()
