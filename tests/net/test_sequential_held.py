"""One input that is held for all steps: the modules without time at the front run once."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from nwavesdk.layers import (
    Dropout,
    LIFLayer,
    LIFSynapse,
    TemporalConv,
    TimeBatchNorm,
    prepare_net,
)
from nwavesdk.net import SpikingSequential

B, T = 3, 7


def dense(**options: object) -> SpikingSequential:
    return SpikingSequential(
        nn.Flatten(),
        LIFSynapse(20, 9, bias=True),
        TimeBatchNorm(9),
        LIFLayer(9, taus=10e-3),
        Dropout(0.2),
        LIFSynapse(9, 4),
        LIFLayer(4, taus=10e-3, reset_mechanism="none"),
        **options,
    )


def sparse() -> SpikingSequential:
    return SpikingSequential(
        nn.Flatten(), LIFSynapse(20, 9, product="sparse"), LIFLayer(9, taus=10e-3)
    )


def images() -> SpikingSequential:
    return SpikingSequential(
        nn.Unflatten(1, (1, 4)),
        TemporalConv(1, 6, taps=1, kernel=(3, 3), padding=1),
        LIFLayer((6, 4, 5), taus=10e-3),
    )


def convolutions() -> SpikingSequential:
    return SpikingSequential(
        nn.Unflatten(1, (1, 4)),
        TemporalConv(1, 6, taps=1, kernel=(3, 3)),
        TimeBatchNorm(6),
        LIFLayer((6, 2, 3), taus=10e-3),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(6, 2),
    )


def without_neurons() -> SpikingSequential:
    return SpikingSequential(nn.Flatten(), LIFSynapse(20, 9), nn.Linear(9, 3))


def with_taps() -> SpikingSequential:
    return SpikingSequential(
        nn.Unflatten(1, (1, 4)), TemporalConv(1, 6, taps=2, kernel=(3, 3)), nn.Flatten()
    )


def nested() -> SpikingSequential:
    return SpikingSequential(dense(), nn.Linear(4, 2))


def in_chunks() -> SpikingSequential:
    return dense(checkpoint=3)


NETS = [dense, sparse, images, convolutions, without_neurons, with_taps, nested, in_chunks]


def run(
    net: SpikingSequential, x: Tensor, lengths: Tensor | None
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    """Spikes, membranes and all gradients of a pass; dropout draws the same masks each time."""
    torch.manual_seed(1)
    net.zero_grad()
    prepare_net(net)
    spk, mem = net(x, lengths)
    weight = torch.linspace(0.5, 1.5, mem.numel()).view(mem.shape)
    (weight * mem).sum().backward()
    return spk, mem, {name: p.grad for name, p in net.named_parameters()}


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("has_lengths", [True, False])
@pytest.mark.parametrize("build", NETS)
def test_a_held_input_gives_what_its_copies_give(
    build: Callable[[], SpikingSequential], has_lengths: bool, is_training: bool
) -> None:
    torch.manual_seed(0)
    net = build().double().train(is_training)
    x = torch.randn(B, 1, 4, 5, dtype=torch.float64).expand(-1, T, -1, -1)
    lengths = torch.tensor([T, 2, 5]) if has_lengths else None
    torch.testing.assert_close(run(net, x, lengths), run(net, x.contiguous(), lengths))


@pytest.mark.parametrize("build", [dense, in_chunks])
def test_each_step_of_an_image_has_its_own_gradient(
    build: Callable[[], SpikingSequential],
) -> None:
    net = build().double()
    held = torch.randn(B, 1, 4, 5, dtype=torch.float64).expand(-1, T, -1, -1)
    gradients = []
    for x in (held, held.contiguous()):
        x = x.detach().requires_grad_()
        run(net, x, None)
        gradients.append(x.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("build", [dense, convolutions])
def test_the_front_of_a_net_runs_once(
    build: Callable[[], SpikingSequential], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = build()
    synapse = type(net[1])
    forward = synapse.forward
    seen = []

    def watch(module: nn.Module, x: Tensor) -> Tensor:
        seen.append(tuple(x.shape[:2]))
        return forward(module, x)

    monkeypatch.setattr(synapse, "forward", watch)
    image = torch.randn(B, 1, 4, 5)
    prepare_net(net)
    net(image.expand(-1, T, -1, -1))
    assert seen[0] == (B, 1)
    seen.clear()
    prepare_net(net)
    net(image.repeat(1, T, 1, 1))
    assert seen[0] == (B, T)


def test_images_stay_channels_last() -> None:
    net = images()
    image = torch.randn(16, 1, 4, 5)
    layouts = []
    for x in (image.expand(-1, T, -1, -1), image.repeat(1, T, 1, 1)):
        prepare_net(net)
        layouts.append(net(x)[0].stride())
    assert layouts[0] == layouts[1] == (840, 120, 1, 30, 6)


def hook(module: nn.Module, note: Callable[[Tensor], None]) -> None:
    module.register_forward_hook(lambda _module, inputs, _output: note(inputs[0]))


def replace_forward(module: nn.Module, note: Callable[[Tensor], None]) -> None:
    forward = module.forward
    module.forward = lambda x: (note(x), forward(x))[1]


@pytest.mark.parametrize("watch", [hook, replace_forward])
def test_a_watched_module_sees_all_steps(watch: Callable[..., None]) -> None:
    net = dense()
    seen = []
    watch(net[1], lambda x: seen.append(x.shape))
    prepare_net(net)
    net(torch.randn(B, 1, 4, 5).expand(-1, T, -1, -1))
    assert seen == [(B, T, 20)]


def test_a_wrong_size_is_reported_as_for_copies() -> None:
    net = SpikingSequential(LIFSynapse(21, 9), LIFLayer(9, taus=10e-3))
    for x in (torch.randn(B, 1, 20).expand(-1, T, -1), torch.randn(B, T, 20)):
        prepare_net(net)
        with pytest.raises(ValueError, match=rf"LIFSynapse.*\[{B}, {T}, 20\]"):
            net(x)
