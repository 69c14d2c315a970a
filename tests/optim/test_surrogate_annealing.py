"""Schedules of surrogates: their values, their effect without compilation, resumed runs."""

import copy
import math

import pytest
import torch
from torch import nn

from layers.pages import LILayer
from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential, prepare_net
from nwavesdk.optim import SurrogateAnnealing
from nwavesdk.solvers.cpu import native as kernel_module
from nwavesdk.surrogate import atan, available, custom, fast_sigmoid, parse


def build(*surrogates, **options):
    layers = []
    for surrogate in surrogates or (fast_sigmoid(), fast_sigmoid()):
        layers += [LIFSynapse(6, 6), LIFLayer(6, 10e-3, spike_grad=surrogate, **options)]
    return SpikingSequential(*layers)


def scheduled_values(form, start, end, epochs=5, **options):
    net = build()
    annealing = SurrogateAnnealing(net, epochs, "slope", start=start, end=end, form=form, **options)
    values = []
    for epoch in range(1, epochs + 1):
        annealing.step(net, epoch)
        assert net[1].spike_grad == net[3].spike_grad == fast_sigmoid(annealing.value)
        values.append(annealing.value)
    return values


def test_schedules_are_the_closed_forms():
    assert scheduled_values("linear", 1, 9) == [1, 3, 5, 7, 9]
    assert scheduled_values("exponential", 1, 16) == pytest.approx([1, 2, 4, 8, 16])
    assert scheduled_values("exponential", 16, 1) == pytest.approx([16, 8, 4, 2, 1])
    half = math.sqrt(0.5)
    assert scheduled_values("cosine", 2, 4) == pytest.approx([2, 3 - half, 3, 3 + half, 4])
    assert scheduled_values("linear", 3, 9, epochs=1) == [9]
    assert scheduled_values("cosine", 0.1, 0.7)[-1] == 0.7


def test_read_outs_have_no_surrogate_to_anneal():
    net = SpikingSequential(*build(), LIFSynapse(6, 2), LILayer(2))
    SurrogateAnnealing(net, 3, "slope", start=1.0, end=30.0, form="linear").step(net, 3)
    assert net[1].spike_grad == net[3].spike_grad == fast_sigmoid(30.0)
    with pytest.raises(ValueError, match=r"got \['5'\]: it has \['1', '3'\]"):
        SurrogateAnnealing(net, 3, "slope", start=1.0, end=30.0, layers=["5"])


def test_a_plateau_waits_and_moves_on():
    net = build()
    annealing = SurrogateAnnealing(
        net, 20, "slope", start=1, end=4, form="plateau", patience=2, stages=2
    )
    seen = []
    metrics = [None, 1.0, 0.5, 0.6, math.nan, 0.5, 0.4, 0.7, 0.7, 0.7, 0.7]
    for epoch, metric in enumerate(metrics, 1):
        annealing.step(net, epoch, metric)
        seen.append(annealing.value)
    assert seen == pytest.approx([1, 1, 1, 1, 2, 2, 2, 2, 4, 4, 4])
    assert annealing.stage == 2


def test_a_step_takes_effect_in_the_gradient():
    net, x = build(), torch.rand(3, 12, 6)
    annealing = SurrogateAnnealing(net, 3, "slope", start=1.0, end=30.0, form="linear")
    gradients = []
    for epoch in (1, 2, 3):
        annealing.step(net, epoch)
        prepare_net(net)
        gradients.append(torch.autograd.grad(net(x)[0].sum(), net[0].weight)[0])
        plain = copy.deepcopy(net)
        plain[1].spike_grad = plain[3].spike_grad = fast_sigmoid((1.0, 15.5, 30.0)[epoch - 1])
        prepare_net(plain)
        assert torch.equal(
            torch.autograd.grad(plain(x)[0].sum(), plain[0].weight)[0], gradients[-1]
        )
    assert not torch.equal(gradients[0], gradients[1])
    assert not torch.equal(gradients[1], gradients[2])


def test_compiled_code_uses_the_new_value():
    net, x = build(fast_sigmoid()), torch.rand(2, 5, 6)
    annealing = SurrogateAnnealing(net, 2, "slope", start=1.0, end=9.0)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    for epoch in (1, 2):
        annealing.step(net, epoch)
        gradients = []
        for run in (net, compiled):
            prepare_net(net)
            gradients.append(torch.autograd.grad(run(x)[0].sum(), net[0].weight)[0])
        assert torch.equal(*gradients)


def test_no_kernel_is_compiled_again(monkeypatch):
    compiled, rendered = [], []
    compile_native, render = kernel_module.compile_native, kernel_module.render_backward
    monkeypatch.setattr(
        kernel_module, "compile_native", lambda *a: compiled.append(a) or compile_native(*a)
    )
    monkeypatch.setattr(
        kernel_module, "render_backward", lambda *a, **k: rendered.append(a) or render(*a, **k)
    )
    net, x = build(fast_sigmoid()), torch.rand(2, 5, 6)
    annealing = SurrogateAnnealing(net, 6, "slope", start=1.0, end=9.0)
    counts = []
    for epoch in range(1, 7):
        annealing.step(net, epoch)
        prepare_net(net)
        net(x)[0].sum().backward()
        counts.append((len(compiled), len(rendered)))
    assert len(set(counts)) == 1


def test_two_annealings_act_on_different_layers_and_parameters():
    net = build(parse("triangle"), parse("triangle"), fast_sigmoid())
    height = SurrogateAnnealing(net, 3, "alpha", start=1, end=0.2, form="linear", layers=["1", "3"])
    width = SurrogateAnnealing(net, 3, "k", start=1, end=3, form="linear", layers=["3"])
    for annealing in (height, width):
        annealing.step(nn.ModuleList([net]), 3)
    kinds = available()["triangle"]
    assert [net[i].spike_grad for i in (1, 3, 5)] == [kinds(0.2, 1), kinds(0.2, 3), fast_sigmoid()]


@pytest.mark.parametrize("form", ["linear", "plateau"])
def test_a_resumed_schedule_continues(form):
    def build_both():
        net = build()
        return net, SurrogateAnnealing(
            net, 8, "slope", start=1, end=30, form=form, patience=2, stages=3
        )

    losses = [None, 3, 3, 3, 2, 2, 2, 2]
    net, whole = build_both()
    for epoch in range(1, 9):
        whole.step(net, epoch, losses[epoch - 1] if form == "plateau" else None)
        if epoch == 5:
            saved, value = copy.deepcopy(whole.state_dict()), whole.value
    again, resumed = build_both()
    resumed.load_state_dict(saved)
    assert (resumed.epoch, resumed.value) == (5, value)
    assert again[3].spike_grad == fast_sigmoid(value)
    for epoch in range(6, 9):
        resumed.step(again, epoch, losses[epoch - 1] if form == "plateau" else None)
    assert resumed.state_dict() == whole.state_dict()
    _, other = build_both()
    before = other.state_dict()
    with pytest.raises(
        ValueError, match=r"the state is of the schedule .*'end': 31.*this one is .*'end': 30"
    ):
        other.load_state_dict(saved | {"end": 31.0})
    assert other.state_dict() == before


def make(target=None, epochs=5, parameter="slope", start=1, end=2, **options):
    target = build() if target is None else target
    return SurrogateAnnealing(target, epochs, parameter, start=start, end=end, **options)


@pytest.mark.parametrize(
    ("wrong", "kind", "words"),
    [
        ({"target": 3}, TypeError, "takes a torch module, got int"),
        ({"epochs": 0}, ValueError, "total_epochs must be a whole number of at least 1, got 0"),
        (
            {"parameter": "alpha"},
            ValueError,
            r"FastSigmoid.* of layer '1' has no parameter 'alpha': it has slope",
        ),
        ({"start": "5"}, ValueError, "start must be a finite number, got '5'"),
        ({"end": math.inf}, ValueError, "end must be a finite number, got inf"),
        (
            {"end": -1, "form": "linear"},
            ValueError,
            "FastSigmoid: slope must be a finite number above 0 .*, got -1",
        ),
        (
            {"end": -1},
            ValueError,
            "exponential needs numbers above 0, got start=1 and end=-1: take linear",
        ),
        (
            {"form": "quick"},
            ValueError,
            "one of 'linear', 'exponential', 'cosine', 'plateau', got 'quick'",
        ),
        ({"patience": 0}, ValueError, "patience must be a whole number of at least 1"),
        (
            {"layers": ["2"]},
            ValueError,
            r"layers must be a list of names of neuron layers.*got \['2'\]: it has \['1', '3'\]",
        ),
        ({"layers": []}, ValueError, "layers must be a list of names of neuron layers"),
        ({"layers": "1"}, ValueError, "layers must be a list of names of neuron layers.*got '1'"),
        ({"target": nn.Linear(1, 1)}, ValueError, "it has none"),
        (
            {"target": build(custom(torch.abs))},
            ValueError,
            "Custom.* of layer '1' has no parameter 'slope': it has none",
        ),
        ({"target": build(torch.sigmoid)}, ValueError, "Foreign.* of layer '1' has no parameter"),
        (
            {"target": build(parse("straight_through"))},
            ValueError,
            "straight_through.* has no parameter",
        ),
        (
            {"target": build(parse("squarewave_fourier_series")), "parameter": "n"},
            ValueError,
            "n of .* whole number",
        ),
        (
            {"target": build(fast_sigmoid(), device="gpu")},
            RuntimeError,
            'compasso_spike_grad="layer"',
        ),
    ],
)
def test_bad_arguments_are_rejected_and_change_nothing(wrong, kind, words):
    net = wrong.get("target", build())
    before = copy.deepcopy(net)
    with pytest.raises(kind, match=words):
        make(**{"target": net} | wrong)
    if isinstance(net, SpikingSequential):
        assert net[1].spike_grad == before[1].spike_grad


def test_compasso_may_take_the_layer_s_surrogate():
    net = build(fast_sigmoid(), device="gpu", compasso_spike_grad="layer")
    assert make(net).value == 1


def test_bad_steps_are_rejected_and_change_nothing():
    net = build()
    annealing = make(net)
    for epoch in (0, 6, True, 1.0):
        with pytest.raises(ValueError, match="epoch must be a whole number from 1 to 5"):
            annealing.step(net, epoch)
    with pytest.raises(
        ValueError, match="this SpikingSequential does not have the layers that it was built for"
    ):
        annealing.step(build(), 1)
    with pytest.raises(ValueError, match=r"exponential depends on epochs alone, got metric=0\.5"):
        annealing.step(net, 1, 0.5)
    net[3].spike_grad = atan()
    with pytest.raises(ValueError, match="layer '3' has no parameter 'slope'"):
        annealing.step(net, 2)
    assert (net[1].spike_grad, annealing.epoch) == (fast_sigmoid(1), 0)
