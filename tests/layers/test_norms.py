"""Norms over batch and time against plain torch: values, gradients, padding, parts, errors."""

import copy
import io
import pickle

import pytest
import torch
from torch import nn

from layers.nets import run
from nwavesdk.layers import (
    LIFLayer,
    LIFSynapse,
    SpikingSequential,
    StepBatchNorm,
    TemporalEffectiveBatchNorm,
    ThresholdBatchNorm,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.layers.lengths import valid_steps
from pairwise import case_id, pairwise
from tolerances import GRADIENT, STATE, assert_all_close, assert_close

B, T, C = 4, 6, 3
LENGTHS = torch.tensor([6, 1, 4, 2])
NORMS = {
    "plain": lambda: TimeBatchNorm(C),
    "tdBN": lambda: ThresholdBatchNorm(C, threshold=0.7, alpha=2**-0.5),
    "BNTT": lambda: StepBatchNorm(C, T + 2),
    "TEBN": lambda: TemporalEffectiveBatchNorm(C, T + 2),
}
SPACE = {"flat": (), "lines": (5,), "images": (4, 2)}


every_norm = pytest.mark.parametrize("kind", NORMS)


def make_norm(kind, dtype=torch.float64):
    torch.manual_seed(0)
    norm = NORMS[kind]().to(dtype)
    for tensor in [*norm.parameters(), norm.running_mean, norm.running_var]:
        nn.init.uniform_(tensor, 0.5, 1.5)
    prepare_net(norm)
    return norm


def draw(space, layout="channels first", dtype=torch.float64):
    x = 2 * torch.randn(B, T, C, *space, dtype=dtype) + 1
    if layout == "channels last":
        x = x.movedim(2, -1).contiguous().movedim(-1, 2)
    return x.requires_grad_()


def pooled_statistics(x, lengths, by_step):
    """Mean and biased variance per channel, or per step and channel, and the number of values."""
    means, variances, counts = [], [], []
    steps = [range(x.shape[1])] if not by_step else [[t] for t in range(x.shape[1])]
    for chosen in steps:
        values = torch.cat(
            [x[b, t].reshape(C, -1) for t in chosen for b in range(len(x)) if t < lengths[b]], 1
        )
        means.append(values.mean(1))
        variances.append((values - means[-1][:, None]).square().mean(1))
        counts.append(values.shape[1])
    return torch.stack(means), torch.stack(variances), torch.tensor(counts)[:, None]


def plain(kind, norm, x, lengths):
    """The norm in plain torch, and its running statistics afterwards: an oracle."""
    running = norm.running_mean.clone(), norm.running_var.clone()
    by_channel = (1, -1, C, *[1] * (x.ndim - 3))
    by_step = kind == "BNTT"
    table = slice(T) if by_step else slice(None)
    mean, variance = (statistic[table].reshape(-1, C) for statistic in running)
    if norm.training:
        mean, variance, count = pooled_statistics(x, lengths, by_step)
        known = count >= 2
        m = 0.1 * known.double()
        unbiased = variance * count / (count - 1).clamp(min=1)
        for statistic, batch in zip(running, (mean, unbiased), strict=True):
            old = statistic[table].reshape(-1, C)
            statistic[table] = ((1 - m) * old + m * batch).detach().reshape(statistic[table].shape)
        mean = torch.where(known, mean, norm.running_mean[table].reshape(-1, C))
        variance = torch.where(known, variance, norm.running_var[table].reshape(-1, C))
    y = (x - mean.reshape(by_channel)) / (variance.reshape(by_channel) + 1e-5).sqrt()
    if by_step:
        return norm.weight[table].reshape(by_channel) * y, running
    scale = 0.7 * 2**-0.5 if kind == "tdBN" else 1
    y = scale * norm.weight.reshape(by_channel) * y + norm.bias.reshape(by_channel)
    if kind == "TEBN":
        y = norm.step_factor[:T].reshape(1, T, *[1] * (x.ndim - 2)) * y
    return y, running


CASES = pairwise(
    kind=[*NORMS],
    space=[*SPACE],
    layout=["channels first", "channels last"],
    padded=[False, True],
    training=[True, False],
)
BNTT = {"kind": "BNTT", "layout": "channels last", "training": True}
CASES += [
    BNTT | {"space": "flat", "padded": True},  # steps with the values of one recording
    BNTT | {"space": "images", "padded": False},
]


@pytest.mark.parametrize("case", CASES, ids=case_id)
def test_equals_the_formula_in_plain_torch(case):
    norm = make_norm(case["kind"]).train(case["training"])
    x = draw(SPACE[case["space"]], case["layout"])
    valid = valid_steps(LENGTHS, T) if case["padded"] else torch.ones(B, T, dtype=torch.bool)
    expected, running = plain(case["kind"], norm, x, valid.sum(1))
    y = norm(x, LENGTHS if case["padded"] else None)
    assert y.shape == x.shape
    if case["space"] != "lines":  # torch has no layout of them with channels last
        assert y.stride() == x.stride()
    assert_close(y[valid], expected[valid], STATE, "y")
    leaves = [x, *norm.parameters()]
    weights = torch.randn(expected[valid].shape, dtype=torch.float64)
    got = torch.autograd.grad((y[valid] * weights).sum(), leaves)
    wanted = torch.autograd.grad((expected[valid] * weights).sum(), leaves)
    assert_all_close(got, wanted, GRADIENT, "gradient")
    assert_close(norm.running_mean, running[0], STATE, "running mean")
    assert_close(norm.running_var, running[1], STATE, "running variance")
    assert norm.num_batches_tracked == case["training"]


@every_norm
@pytest.mark.parametrize("space", [*SPACE])
def test_padding_enters_no_statistics_and_gives_zeros(kind, space):
    valid = valid_steps(LENGTHS, T)
    results = []
    for noise in 0.0, torch.nan:
        torch.manual_seed(3)
        norm = make_norm(kind)
        x = draw(SPACE[space]).detach()
        x[~valid] = noise
        y = norm(x.requires_grad_(), LENGTHS)
        assert not y[~valid].any()
        (grad,) = torch.autograd.grad(y.sum(), x)
        results.append([y, grad[valid], norm.running_mean, norm.running_var])
    assert all(map(torch.equal, *results))


@every_norm
@pytest.mark.parametrize("space", [*SPACE])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_parts_and_steps_have_the_bits_of_the_whole_in_eval(kind, space, dtype):
    norm = make_norm(kind, torch.float32).eval()
    x = draw(SPACE[space], dtype=dtype)
    norm(x[:, :2])
    after_two = norm.state_tensors()
    whole = run(norm, x)
    assert whole.dtype == dtype
    for sizes in [2, 4], [1, 5]:
        prepare_net(norm)
        assert torch.equal(torch.cat([norm(part) for part in x.split(sizes, 1)], 1), whole)
    prepare_net(norm)
    steps = [norm(x[:, t], single_step=True) for t in range(T)]
    assert torch.equal(torch.stack(steps, 1), whole)
    norm.load_state_tensors(after_two)
    assert torch.equal(norm(x[:, 2:]), whole[:, 2:])
    if space == "flat":
        prepare_net(norm)
        assert torch.equal(torch.stack([norm(x[0, t]) for t in range(T)]), whole[0])


@pytest.mark.parametrize("space", [*SPACE])
def test_bntt_runs_in_parts_and_steps_in_training(space):
    x = draw(SPACE[space])
    weights = torch.randn_like(x)
    results = []
    for sizes in [T], [2, 4], [1] * T:
        norm = make_norm("BNTT")
        y = torch.cat([norm(part) for part in x.split(sizes, 1)], 1)
        grads = torch.autograd.grad((y * weights).sum(), [x, norm.weight])
        results.append([y, *grads, norm.running_mean, norm.running_var])
    for other in results[1:]:
        assert_all_close(other, results[0], GRADIENT, "in parts")


def test_statistics_and_weights_of_torchs_batch_norm_fit():
    other, norm = nn.BatchNorm1d(C), TimeBatchNorm(C)
    other(torch.randn(9, C))
    norm.load_state_dict(other.state_dict())
    x = torch.randn(B, T, C)
    assert_close(norm.eval()(x), other.eval()(x.flatten(0, 1)).view_as(x), STATE, "y")


def net_of(kind):
    torch.manual_seed(0)
    return SpikingSequential(
        LIFSynapse(5, C), NORMS[kind](), LIFLayer(C, 10e-3), LIFSynapse(C, 2), LIFLayer(2, 10e-3)
    )


@every_norm
def test_a_net_with_the_norm_streams_and_copies(kind):
    x = (torch.rand(B, T, 5) < 0.5).float()
    net = net_of(kind)
    prepare_net(net)
    net(x, LENGTHS)[1].sum().backward()
    assert net[0].weight.grad.abs().sum() > 0
    net.eval()
    whole = run(net, x)[1]
    first = run(net, x[:, :2])[1]
    saved = io.BytesIO()
    torch.save(net.state_dict(), saved)
    saved.seek(0)
    other = net_of(kind).eval()
    other.load_state_dict(torch.load(saved))
    assert torch.equal(run(other, x)[1], whole)
    for same in copy.deepcopy(net), pickle.loads(pickle.dumps(net)), net:
        assert torch.equal(torch.cat([first, same(x[:, 2:])[1]], 1), whole)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
@pytest.mark.parametrize("kind", ["BNTT", "TEBN"])
def test_compiled_norms_give_the_same(kind):
    torch._dynamo.reset()
    norm = make_norm(kind, torch.float32)
    compiled = torch.compile(norm, backend="eager", fullgraph=True)
    x = draw((), dtype=torch.float32)
    for training in True, False:
        norm.train(training)
        results = []
        other = copy.deepcopy(norm)
        for call in other, compiled:
            prepare_net(norm)
            prepare_net(other)
            y = call(x)
            results.append([y, *torch.autograd.grad(y.square().sum(), [x])])
        assert_all_close(*results, GRADIENT, "compiled")
    prepare_net(norm)
    parts = [compiled(part) for part in x.split([2, 4], 1)]
    assert_close(torch.cat(parts, 1), results[0][0], STATE, "in parts")


STEP = torch.zeros(B, C)
PARTS = "pass the whole sequence after prepare_net.* call eval.* or use StepBatchNorm"


@pytest.mark.parametrize("kind", ["plain", "tdBN", "TEBN"])
def test_norms_over_time_take_whole_sequences_in_training(kind):
    norm = make_norm(kind, torch.float32)
    with pytest.raises(RuntimeError, match=rf"got one step of shape \[4, 3\]: {PARTS}"):
        norm(STEP)
    with pytest.raises(RuntimeError, match=r"got one step of shape \[4, 3, 2\]"):
        norm(torch.zeros(B, C, 2), single_step=True)
    norm(torch.zeros(B, T, C))
    tracked = norm.running_var.clone()
    with pytest.raises(RuntimeError, match=f"got a second part of one: {PARTS}"):
        norm(torch.zeros(B, 1, C))
    assert torch.equal(norm.running_var, tracked)
    run(norm, torch.zeros(B, T, C))


@pytest.mark.parametrize("kind", ["BNTT", "TEBN"])
@pytest.mark.parametrize("training", [True, False])
def test_more_steps_than_the_norm_has_are_an_error(kind, training):
    norm = make_norm(kind, torch.float32).train(training)
    words = r"values for max_steps=8 steps, got step 9: call prepare_net\(model\) before a new"
    tracked = norm.running_mean.clone()
    with pytest.raises(RuntimeError, match=words):
        norm(torch.zeros(B, 9, C))
    assert torch.equal(norm.running_mean, tracked)
    if not training:
        norm(torch.zeros(B, 8, C))
        with pytest.raises(RuntimeError, match=words):
            norm(STEP)


@every_norm
def test_bad_input_is_rejected_in_words(kind):
    norm = make_norm(kind, torch.float32)
    name = type(norm).__name__
    with pytest.raises(ValueError, match=rf"{name}\(3\) takes a sequence \[B, T, 3, \.\.\.\].*4\]"):
        norm(torch.zeros(B, T, 4))
    with pytest.raises(ValueError, match=r"got an input of shape \[\]"):
        norm(torch.zeros(()))
    with pytest.raises(TypeError, match="has statistics of torch.float32 and got.*float64"):
        norm(torch.zeros(B, T, C, dtype=torch.float64))
    with pytest.raises(TypeError, match="takes a floating input, got torch.int64"):
        norm(torch.zeros(B, T, C, dtype=torch.int64))
    with pytest.raises(ValueError, match="lengths belong to sequences"):
        norm(STEP, LENGTHS)
    with pytest.raises(RuntimeError, match="needs at least 2 values per channel.* got 1: pass"):
        norm(torch.zeros(1, 1, C))
    with pytest.raises(ValueError, match=f"{name}: lengths must be from 0 to the 1 steps"):
        norm(torch.zeros(B, 1, C), LENGTHS)


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: TimeBatchNorm(0), "num_features must be a whole number of at least 1, got 0"),
        (lambda: TimeBatchNorm(3, eps=0), "eps must be a finite number above 0, got 0"),
        (lambda: TimeBatchNorm(3, momentum=2), "momentum must be .* of at most 1, got 2"),
        (lambda: TimeBatchNorm(3, affine="no"), "affine must be True or False, got 'no'"),
        (lambda: ThresholdBatchNorm(3, threshold=0), r"threshold must be .* \[membrane\], got 0"),
        (lambda: ThresholdBatchNorm(3, alpha=-1), "alpha must be .* above 0, got -1"),
        (lambda: StepBatchNorm(3, 0), "max_steps must be a whole number of at least 1, got 0"),
        (lambda: TemporalEffectiveBatchNorm(3, 1.5), "max_steps must be a whole number"),
    ],
)
def test_bad_arguments_are_rejected_in_words(build, words):
    with pytest.raises(ValueError, match=words):
        build()


def test_the_statistics_of_a_batch_without_padding_take_no_copy():
    norm = make_norm("plain", torch.float32)
    norm(draw((4, 2), "channels last", torch.float32).detach(), torch.full((B,), T))
    seen = []
    norm._normalize_rows = lambda rows: seen.append(rows) or rows
    x = draw((4, 2), "channels last", torch.float32)
    run(norm, x)
    assert seen[0].data_ptr() == x.data_ptr()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
