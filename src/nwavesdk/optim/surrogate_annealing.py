"""`SurrogateAnnealing`: moves a parameter of the layers' surrogates while a net learns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from torch import nn

from nwavesdk.internal.checks import choice, finite_number, shown, whole_number
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.net.edges import find_edges
from nwavesdk.surrogate import Surrogate

__all__ = ["FORMS", "SurrogateAnnealing"]

FORMS = ("linear", "exponential", "cosine", "plateau")

_OWNER = "SurrogateAnnealing"


class SurrogateAnnealing:
    """Moves one parameter of the surrogates of neuron layers from `start` to `end`.

    In epoch e of `total_epochs` E, the progress is r = (e - 1) / (E - 1), and the value is:

    - `"linear"`: start + (end - start) r
    - `"exponential"`: start^(1 - r) end^r, which multiplies by the same number in every epoch
    - `"cosine"`: start + (end - start) (1 - cos(pi r)) / 2
    - `"plateau"`: as exponential, with r = (plateaus so far) / `stages`. A plateau is `patience`
      epochs in a row without a new minimum of the metric.

    Call `step`, then `prepare_net`, then the pass. Several annealings may act on one net, for
    different parameters or layers.

    Args:
        net: Any module with neuron layers.
        total_epochs: The last epoch.
        parameter: Name of the parameter, such as `"slope"`.
        start: Value in epoch 1. The layers get it immediately.
        end: Value in the last epoch; with `"plateau"`, value after the last stage.
        form: `"linear"`, `"exponential"`, `"cosine"` or `"plateau"`.
        layers: Names of the layers, as in `net.named_modules()`; None for all neuron layers.
        patience: Epochs without improvement that make a plateau.
        stages: Plateaus until `end`.

    Attributes:
        form: The form of the schedule.
        epoch: The epoch of the last `step`, 0 before the first.
        value: The current value of the parameter.
        stage: Plateaus so far.

    Raises:
        TypeError: If `net` is not a module.
        ValueError: If an argument is out of its range, there are no such layers, or a layer's
            surrogate does not have this parameter.
        RuntimeError: If a layer does not use its surrogate, because comPaSSo has a fixed one.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(16, 8), LIFLayer(8, taus=20e-3))
        >>> annealing = SurrogateAnnealing(net, 10, "slope", start=5.0, end=25.0)
        >>> for epoch in range(1, 11):
        ...     annealing.step(net, epoch)  # then, for each batch: prepare_net, pass, optimizer
        >>> net[1].spike_grad
        FastSigmoid(slope=25.0)
    """

    def __init__(
        self,
        net: nn.Module,
        total_epochs: int,
        parameter: str,
        *,
        start: float,
        end: float,
        form: str = "exponential",
        layers: Sequence[str] | None = None,
        patience: int = 3,
        stages: int = 5,
    ) -> None:
        self._schedule = _Schedule(
            total_epochs=whole_number(_OWNER, "total_epochs", total_epochs),
            parameter=parameter,
            start=finite_number(_OWNER, "start", start),
            end=finite_number(_OWNER, "end", end),
            form=choice(_OWNER, "form", form, FORMS),
            patience=whole_number(_OWNER, "patience", patience),
            stages=whole_number(_OWNER, "stages", stages),
        )
        if form in ("exponential", "plateau") and min(start, end) <= 0:
            raise ValueError(
                f"{_OWNER}: {form} needs numbers above 0, got start={start!r} and end={end!r}: "
                "take linear or cosine."
            )

        self._layers = _chosen_layers(net, layers)
        self.form = form
        self.epoch = 0
        self._plateaus = _Plateaus()

        # Both ends must suit every layer before any layer changes.
        self._surrogates_at(self._schedule.end)
        self._set_value(self._schedule.start)

    @property
    def stage(self) -> int:
        """Plateaus so far."""
        return self._plateaus.stage

    def step(self, net: nn.Module, epoch: int, metric: float | None = None) -> None:
        """Set the parameter for an epoch, before its pass and before `prepare_net`.

        Args:
            net: The net of the constructor, or a module that contains it.
            epoch: From 1 to `total_epochs`.
            metric: For `"plateau"`, the result of the epoch before; lower is better, and NaN is no
                improvement. None if there is no result, as in epoch 1.

        Raises:
            ValueError: If `epoch` is out of its range, `net` is another net, or a form without
                plateaus gets a metric.
            RuntimeError: If a layer no longer uses its surrogate.
        """
        schedule = self._schedule
        epoch = whole_number(f"{_OWNER}.step", "epoch", epoch, most=schedule.total_epochs)

        if not {*self._layers.values()} <= {*net.modules()}:
            raise ValueError(
                f"{_OWNER}.step: this {type(net).__name__} does not have the layers that it was "
                "built for: pass the same net."
            )
        if metric is not None and schedule.form != "plateau":
            raise ValueError(
                f"{_OWNER}.step: {schedule.form} depends on epochs alone, got metric={metric!r}: "
                "remove it, or take the form plateau."
            )

        # The state changes last, so that a rejected value leaves it unchanged.
        plateaus = self._plateaus if metric is None else self._plateaus.after(metric, schedule)
        self._set_value(schedule.value_at(epoch, plateaus.stage))
        self.epoch = epoch
        self._plateaus = plateaus

    def state_dict(self) -> dict[str, Any]:
        """The schedule, the epoch and the plateaus: plain values, all that a resumed run needs."""
        state = {"epoch": self.epoch, "value": self.value}
        return self._identity() | state | self._plateaus._asdict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`, and set its value in the layers. Call `prepare_net` then.

        Raises:
            ValueError: If the state is of another schedule or of other layers; nothing has changed
                then.
        """
        identity = self._identity()
        saved = {key: state.get(key) for key in identity}
        if saved != identity:
            raise ValueError(
                f"{_OWNER}: the state is of the schedule {saved}, this one is {identity}: build it "
                "with the arguments of the saved annealing."
            )

        self._set_value(float(state["value"]))
        self.epoch = state["epoch"]
        self._plateaus = _Plateaus(*(state[name] for name in _Plateaus._fields))

    def _identity(self) -> dict[str, Any]:
        """The part of a state that must equal the arguments of this annealing."""
        return asdict(self._schedule) | {"layers": list(self._layers)}

    def _surrogates_at(self, value: float) -> list[Surrogate]:
        """The surrogate of each layer with this value; the layers keep theirs."""
        return [
            _surrogate_with(name, layer, self._schedule.parameter, value)
            for name, layer in self._layers.items()
        ]

    def _set_value(self, value: float) -> None:
        surrogates = self._surrogates_at(value)
        for layer, surrogate in zip(self._layers.values(), surrogates, strict=True):
            layer.spike_grad = surrogate
        self.value = value


@dataclass(frozen=True, kw_only=True)
class _Schedule:
    """The checked arguments of a `SurrogateAnnealing`, apart from the layers."""

    total_epochs: int
    parameter: str
    start: float
    end: float
    form: str
    patience: int
    stages: int

    def value_at(self, epoch: int, stage: int) -> float:
        """The value of the parameter in an epoch, after `stage` plateaus."""
        if self.form == "plateau":
            progress = stage / self.stages
        else:
            progress = 1.0 if self.total_epochs == 1 else (epoch - 1) / (self.total_epochs - 1)

        # The ends are exact.
        if progress in (0.0, 1.0):
            return self.end if progress else self.start

        if self.form in ("exponential", "plateau"):
            return math.pow(self.start, 1 - progress) * math.pow(self.end, progress)
        if self.form == "cosine":
            progress = (1 - math.cos(math.pi * progress)) / 2
        return self.start + (self.end - self.start) * progress


class _Plateaus(NamedTuple):
    """Plateaus so far, the lowest metric, and the epochs without improvement since."""

    stage: int = 0
    best: float = math.inf
    waited: int = 0

    def after(self, metric: float, schedule: _Schedule) -> "_Plateaus":
        """The plateaus after one more epoch, with the metric of this epoch."""
        number = float(metric)
        if number < self.best:
            return _Plateaus(self.stage, number, 0)
        if self.waited + 1 < schedule.patience:
            return _Plateaus(self.stage, self.best, self.waited + 1)
        return _Plateaus(min(self.stage + 1, schedule.stages), self.best, 0)


def _chosen_layers(net: nn.Module, names: Sequence[str] | None) -> dict[str, NeuronLayer]:
    """The layers by name, in their order in the net."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"{_OWNER} takes a torch module, got {type(net).__name__}.")
    layers = {
        name: layer for name, layer in find_edges(net).layers.items() if not layer.neuron.is_readout
    }

    wanted = {*layers}
    if names is not None:
        is_list = isinstance(names, list | tuple | set | frozenset)
        wanted = {*map(str, names)} if is_list else set()
    if not wanted or not wanted <= layers.keys():
        raise ValueError(
            f"{_OWNER}: layers must be a list of names of neuron layers of {type(net).__name__}, "
            f"got {shown(names)}: it has {list(layers) or 'none'}."
        )
    return {name: layer for name, layer in layers.items() if name in wanted}


def _surrogate_with(name: str, layer: NeuronLayer, parameter: str, value: float) -> Surrogate:
    """The surrogate of a layer with another value of its parameter."""
    surrogate: Any = layer.spike_grad

    if not layer.uses_spike_grad:
        raise RuntimeError(
            f"{_OWNER}: layer {name!r} does not use its {surrogate!r}, because comPaSSo takes "
            'fast_sigmoid(25) in its place: set compasso_spike_grad="layer", or remove the layer '
            "from layers."
        )

    if not isinstance(parameter, str) or parameter not in surrogate.parameters:
        raise ValueError(
            f"{_OWNER}: the surrogate {surrogate!r} of layer {name!r} has no parameter "
            f"{shown(parameter)}: it has {', '.join(surrogate.parameters) or 'none'}."
        )

    if isinstance(surrogate.parameters[parameter], int):
        raise ValueError(
            f"{_OWNER}: {parameter} of {surrogate!r} is a whole number and cannot change gradually."
        )

    changed: Surrogate = replace(surrogate, **{parameter: value})
    return changed
