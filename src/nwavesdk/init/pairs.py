"""Who drives whom: the neuron layer that receives the charge of a synapse or front end, found by running the net.

The first batches of whatever a user has at hand: a tensor, a pair of inputs and targets, a list, a DataLoader.
"""

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.layers import H1v1Frontend, H1v2Frontend, NeuronLayer, Synapse, prepare_net

__all__ = ["Driver", "Pair", "find_pairs", "first_batches", "inputs_of", "title"]

Driver = Synapse | H1v1Frontend | H1v2Frontend
_CALLS = ("forward", "spikes", "record")


@dataclass(frozen=True, eq=False)
class Pair:
    """A synapse or front end, and the layer that its charge drives.

    Attributes:
        name: of the driver in the model.
        driver: the synapse or front end.
        layer_name: of the layer in the model.
        layer: the neuron layer.
    """

    name: str
    driver: Driver
    layer_name: str
    layer: NeuronLayer

    def spikes(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Charge and spikes [B, T, *features] of the layer for the driver's input [B, T, N_in], from rest."""
        prepare_net(self.driver)
        prepare_net(self.layer)
        cur = self.driver(x)
        cur = cur.reshape(*cur.shape[:2], *self.layer.features)
        return cur, self.layer.spikes(cur)


def title(name: str, module: nn.Module) -> str:
    """How messages call a module of a model."""
    return f"{type(module).__name__} {name!r}" if name else type(module).__name__


def find_pairs(model: nn.Module, x: Tensor) -> list[Pair]:
    """All pairs in the order in which they run on the batch `x`; a read-out, after which no layer runs, has none.

    Raises:
        RuntimeError: the charge of a synapse reaches no layer as it is, or reaches several.
    """
    names = {module: name for name, module in model.named_modules()}
    order: list[nn.Module] = []
    given: dict[
        int, tuple[Driver, Tensor]
    ] = {}  # by storage; the tensor is kept, so that none takes its place
    heard: dict[Driver, NeuronLayer] = {}

    def ran(module: nn.Module) -> None:
        if module not in order:
            order.append(module)

    def drives(driver: Driver, _: Tensor, cur: Tensor) -> None:
        ran(driver)
        given[cur.untyped_storage().data_ptr()] = driver, cur

    def hears(layer: NeuronLayer, cur: Tensor) -> None:
        ran(layer)
        driver, sent = given.get(cur.untyped_storage().data_ptr(), (None, cur))
        if driver is None or sent.numel() != cur.numel():
            return
        if heard.setdefault(driver, layer) is not layer:
            raise RuntimeError(
                f"{title(names[driver], driver)} drives both {title(names[heard[driver]], heard[driver])} and "
                f"{title(names[layer], layer)}, expected one layer for each synapse: its weights cannot suit both."
            )

    _run(model, x, drives, hears)
    for place, module in enumerate(order):
        last = not any(isinstance(later, NeuronLayer) for later in order[place:])
        if isinstance(module, Synapse) and module not in heard and not last:
            raise RuntimeError(
                f"{title(names[module], module)}: its charge reaches no neuron layer as it is, expected "
                "layer(synapse(x)) with nothing between and nothing added: initialize the parts one by one, each as "
                "SpikingSequential(synapse, layer) with the input that it gets."
            )
    return [
        Pair(names[m], m, names[heard[m]], heard[m])
        for m in order
        if isinstance(m, Driver) and m in heard
    ]


def inputs_of(model: nn.Module, driver: Driver, batches: Iterable[Tensor]) -> list[Tensor]:
    """What `driver` receives, [B, T, N_in] for each batch; single steps are joined to a sequence."""
    received: list[Tensor] = []
    for x in batches:
        parts: list[Tensor] = []

        def drives(module: Driver, got: Tensor, _: Tensor, parts: list[Tensor] = parts) -> None:
            if module is driver:
                parts.append(got if got.ndim > 2 else got.reshape(-1, 1, got.shape[-1]))

        _run(model, x, drives, lambda layer, cur: None)  # noqa: ARG005
        received.append(torch.cat(parts, 1))
    return received


def _run(
    model: nn.Module,
    x: Tensor,
    drives: Callable[[Driver, Tensor, Tensor], None],
    hears: Callable[[NeuronLayer, Tensor], None],
) -> None:
    """Run `model` on one batch from rest, and tell what each driver received and gave, and what each layer received."""
    prepare_net(model)
    with _watched(model, drives, hears):
        model(x)


@contextlib.contextmanager
def _watched(
    model: nn.Module,
    drives: Callable[[Driver, Tensor, Tensor], None],
    hears: Callable[[NeuronLayer, Tensor], None],
) -> Iterator[None]:
    def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any], cur: Tensor) -> None:
        (x,) = (*args, *kwargs.values())
        drives(module, x, cur)

    layers = [module for module in model.modules() if isinstance(module, NeuronLayer)]
    handles = [
        m.register_forward_hook(hook, with_kwargs=True)
        for m in model.modules()
        if isinstance(m, Driver)
    ]
    for layer in layers:
        for name in _CALLS:  # a SpikingSequential calls them by name, past the hooks of torch
            setattr(layer, name, _telling(layer, getattr(layer, name), hears))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for layer in layers:
            for name in _CALLS:
                delattr(layer, name)


def _telling(
    layer: NeuronLayer, call: Callable[[Tensor], Any], hears: Callable[[NeuronLayer, Tensor], None]
) -> Callable[[Tensor], Any]:
    def told(cur: Tensor) -> Any:
        hears(layer, cur)
        return call(cur)

    return told


def first_batches(caller: str, model: nn.Module, inputs: Any, count: int) -> list[Tensor]:
    """At most `count` batches of inputs, where the model's weights are and in their dtype.

    Args:
        caller: for error messages.
        model: whose weights say where to and in which dtype.
        inputs: one batch [B, T, N_in], or one tuple (inputs, targets), or an iterable of either.
        count: the most batches.

    Raises:
        TypeError: `model` is no module, or `inputs` or a batch is none of these.
        ValueError: there is no batch, or a batch is empty, not finite or no sequence.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    if isinstance(inputs, Tensor | tuple):
        inputs = [inputs]
    if not isinstance(inputs, Iterable):
        raise TypeError(
            f"{caller}: inputs must be a batch [B, T, N_in] or an iterable of batches, got {type(inputs).__name__}."
        )
    like = next((p for p in model.parameters() if p.is_floating_point()), torch.empty(()))
    batches = [_inputs(caller, batch).to(like) for batch in itertools.islice(inputs, count)]
    if not batches:
        raise ValueError(f"{caller}: inputs hold no batch, expected one at least.")
    for x in batches:
        if x.ndim < 3:
            raise ValueError(
                f"{caller}: inputs must be sequences [B, T, N_in], got a batch of shape {list(x.shape)}."
            )
        if not x.numel() or not bool(torch.isfinite(x).all()):
            raise ValueError(
                f"{caller}: inputs must be finite and not empty, got a batch of shape {list(x.shape)}."
            )
    return batches


def _inputs(caller: str, batch: Any) -> Tensor:
    x = batch[0] if isinstance(batch, tuple | list) and batch else batch
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{caller}: a batch must be a tensor or (inputs, targets), got {type(x).__name__}."
        )
    return x
