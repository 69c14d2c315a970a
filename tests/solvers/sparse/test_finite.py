"""A weight is read again only after it has changed, and always then."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from nwavesdk.layers import HWSynapse, LIFSynapse, prepare_net
from nwavesdk.solvers.sparse import finite


def fill(value):
    def write(synapse):
        with torch.no_grad():
            synapse.weight[3, 4] = value

    return write


def write_to_data(synapse):
    synapse.weight.data[3, 4] = math.inf
    prepare_net(synapse)


def load_state(synapse):
    state = synapse.state_dict()
    state["weight"] = state["weight"].clone().index_fill_(0, torch.tensor([3]), math.nan)
    synapse.load_state_dict(state)


def replace_parameter(synapse):
    synapse.weight = nn.Parameter(torch.full((6, 5), math.nan))


def step(optimizer, **options):
    def make_step(synapse):
        synapse.weight.grad = torch.zeros(6, 5)
        synapse.weight.grad[3, 4] = math.nan
        optimizer(synapse.parameters(), 0.1, **options).step()

    return make_step


CHANGES = {
    "inf in place": fill(math.inf),
    "nan in place": fill(math.nan),
    "data and prepare_net": write_to_data,
    "state dict": load_state,
    "another parameter": replace_parameter,
    "sgd": step(torch.optim.SGD),
    "adam": step(torch.optim.Adam),
    "fused sgd": step(torch.optim.SGD, fused=True),
    "fused adam": step(torch.optim.Adam, fused=True),
}


@pytest.mark.parametrize("rows", [2, 100])
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("change", CHANGES)
def test_a_weight_that_is_no_longer_finite_gives_what_torch_gives(change, learns, rows):
    synapse = LIFSynapse(6, 5, product="sparse")
    prepare_net(synapse)
    x = torch.zeros(rows, 6)
    for _ in range(3):
        assert synapse(x).isfinite().all()
    CHANGES[change](synapse)
    assert not synapse.weight.isfinite().all()
    for _ in range(2):
        with torch.set_grad_enabled(learns):
            y = synapse(x)
        assert torch.equal(y.isnan(), (x @ synapse.weight).isnan())
        assert y.isnan().any()
    with torch.no_grad():
        synapse.weight.fill_(1.0)
    assert synapse(x).isfinite().all()


def test_an_effective_weight_that_is_no_longer_finite_is_seen():
    synapse = HWSynapse(6, 5, product="sparse")
    prepare_net(synapse)
    x = torch.zeros(2, 6)
    assert synapse(x).isfinite().all()
    synapse.weight.data.fill_(1e30)  # an expansive charge law makes it infinite
    prepare_net(synapse)
    assert synapse(x).isnan().all()


@pytest.fixture
def reads(monkeypatch):
    """The weights that are read."""
    seen = []
    original = finite.is_finite
    monkeypatch.setattr(finite, "is_finite", lambda w: (seen.append(w), original(w))[1])
    return seen


def test_a_weight_that_does_not_change_is_read_once(reads):
    for synapse in (LIFSynapse(6, 5, product="sparse"), HWSynapse(6, 5, product="sparse")):
        prepare_net(synapse)
        x = torch.rand(2, 6)
        reads.clear()
        for _ in range(5):
            with torch.no_grad():
                synapse(x)
        assert len(reads) == 1
        for replica in (copy.deepcopy(synapse), pickle.loads(pickle.dumps(synapse))):
            reads.clear()
            replica(x)
            assert len(reads) == 1


def test_another_weight_at_the_same_address_is_read(reads):
    known = finite.FiniteWeight()
    memory = torch.ones(4, 4)
    for _ in range(3):
        assert known.check(memory.detach(), 0)  # a new tensor each time
    assert len(reads) == 3
    for _ in range(3):
        assert known.check(memory, 0)
    assert len(reads) == 4


def test_weights_of_inference_mode_have_no_version_and_are_always_read(reads):
    known = finite.FiniteWeight()
    with torch.inference_mode():
        weight = torch.ones(4, 4)
    assert known.check(weight, 0)
    weight_in_place = weight.numpy()
    weight_in_place[0] = math.nan
    assert not known.check(weight, 0)
    assert len(reads) == 2


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*:DeprecationWarning")  # torch's own
def test_the_step_of_a_compiled_optimizer_is_seen():
    torch._dynamo.reset()
    weight = nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.SGD([weight], 0.1)
    known = finite.FiniteWeight()
    assert known.check(weight, 0)
    step = torch.compile(optimizer.step, backend="eager")
    weight.grad = torch.full((4, 4), math.nan)
    step()
    assert not known.check(weight, 0)


def test_a_weight_that_was_looked_at_may_be_swapped():
    synapse = LIFSynapse(6, 5, product="sparse")
    prepare_net(synapse)
    with torch.no_grad():
        synapse(torch.ones(2, 6))
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        synapse.load_state_dict({"weight": torch.full((6, 5), math.inf)})
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert synapse(torch.zeros(2, 6)).isnan().all()
