"""`SurrogateAnnealing`: a parameter of the layers' surrogates goes from one value to another while a net learns."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from torch import nn

from nwavesdk.internal.checks import choice, finite_number, whole_number
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.surrogate import Surrogate

__all__ = ["FORMS", "SurrogateAnnealing"]

FORMS = ("linear", "exponential", "cosine", "plateau")


class SurrogateAnnealing:
    """Moves one parameter of the surrogates of neuron layers from `start` to `end`.

    Of `total_epochs` E, epoch e has gone the share r = (e - 1) / (E - 1) of the way:

    - `"linear"`: start + (end - start) r
    - `"exponential"`: start^(1 - r) end^r, which multiplies by the same number in every epoch
    - `"cosine"`: start + (end - start) (1 - cos(pi r)) / 2
    - `"plateau"`: as exponential, with r = (plateaus so far) / `stages`. A plateau is `patience` epochs in a row in
      which the metric did not fall below the lowest so far; then counting begins anew.

    Forward spikes do not depend on it, and no kernel is compiled anew. Call `step`, then `prepare_net`, then the pass.
    Several of them may act on one net, for other parameters or other layers. A layer keeps what it has when they are
    gone; `torch.compile` compiles anew after every step.

    Args:
        net: Any module with neuron layers.
        total_epochs: The last epoch.
        parameter: Name of the parameter, such as `"slope"`.
        start: Its value in epoch 1.
        end: Its value in the last epoch; after the last stage, on plateaus.
        form: `"linear"`, `"exponential"`, `"cosine"` or `"plateau"`.
        layers: Names of the layers, as in `net.named_modules()`; None: all neuron layers. They get `start` at once.
        patience: Epochs without gain that make a plateau.
        stages: Plateaus until `end`.

    Attributes:
        epoch: The epoch of the last `step`, 0 before the first.
        value: What the parameter is now.
        stage: Plateaus so far.

    Raises:
        TypeError: `net` is no module, or a layer's surrogate is a callable of the user's own, which has no parameters.
        ValueError: An argument is out of its range, there are no such layers, or a layer's surrogate has no such
            parameter.
        RuntimeError: A layer does not use its surrogate, as comPaSSo has a fixed one.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> net = SpikingSequential(LIFSynapse(16, 8), LIFLayer(8, taus=20e-3))
        >>> annealing = SurrogateAnnealing(net, 10, "slope", 5.0, 25.0)
        >>> for epoch in range(1, 11):
        ...     annealing.step(net, epoch)  # then prepare_net, the pass, and the optimizer's step, for each batch
        >>> net[1].spike_grad
        FastSigmoid(slope=25.0)
    """

    def __init__(
        self,
        net: nn.Module,
        total_epochs: int,
        parameter: str,
        start: float,
        end: float,
        form: str = "exponential",
        layers: Sequence[str] | None = None,
        patience: int = 3,
        stages: int = 5,
    ) -> None:
        what = "SurrogateAnnealing"
        self.total_epochs = whole_number(what, "total_epochs", total_epochs)
        self.parameter = parameter
        self.start = finite_number(what, "start", start)
        self.end = finite_number(what, "end", end)
        self.form = choice(what, "form", form, FORMS)
        self.patience = whole_number(what, "patience", patience)
        self.stages = whole_number(what, "stages", stages)
        if self.form in ("exponential", "plateau") and min(self.start, self.end) <= 0:
            raise ValueError(
                f"{what}: {form} goes between numbers above 0, got start={start!r} and end={end!r}: take linear or "
                "cosine."
            )
        self._layers = _chosen(net, layers)
        self.epoch, self.stage, self.value = 0, 0, self.start
        self._best, self._waited = math.inf, 0
        for value in (self.end, self.start):
            found = self._surrogates(value)
        self._put(found, self.value)

    def step(self, net: nn.Module, epoch: int, metric: float | None = None) -> None:
        """Set the parameter for an epoch, before its pass and before `prepare_net`.

        Args:
            net: The net that it was built for, or a module that has it within.
            epoch: From 1 to `total_epochs`.
            metric: For `"plateau"`, what the epoch before has reached, lower is better; NaN is no gain. None where
                there is nothing to tell, as in epoch 1.

        Raises:
            ValueError: `epoch` is out of its range, `net` is another, or a metric comes for a form without plateaus.
            TypeError: A layer has a surrogate of the user's own by now.
            RuntimeError: A layer no longer uses its surrogate.
        """
        epoch = whole_number("SurrogateAnnealing.step", "epoch", epoch, most=self.total_epochs)
        inside = {id(module) for module in net.modules()}
        if not all(id(layer) in inside for layer in self._layers.values()):
            raise ValueError(
                f"SurrogateAnnealing.step: this {type(net).__name__} has not the layers that it was built for: hand on "
                "the same net."
            )
        if metric is not None and self.form != "plateau":
            raise ValueError(
                f"SurrogateAnnealing.step: {self.form} goes by epochs alone, got metric={metric!r}."
            )
        stage, best, waited = self._watched(metric)
        if self.form == "plateau":
            rise = stage / self.stages
        else:
            rise = 1.0 if self.total_epochs == 1 else (epoch - 1) / (self.total_epochs - 1)
        value = self._at(rise)
        self._put(self._surrogates(value), value)
        self.epoch, self.stage, self._best, self._waited = epoch, stage, best, waited

    def state_dict(self) -> dict[str, Any]:
        """The schedule, the epoch, and what plateaus need: plain values, all that a resumed run needs."""
        seen = {"epoch": self.epoch, "value": self.value, "stage": self.stage, "best": self._best}
        return self._schedule() | seen | {"waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; the layers have its value then. Call `prepare_net` before a pass.

        Raises:
            ValueError: It is of another schedule or of other layers; nothing has changed then.
        """
        schedule = self._schedule()
        wanted = {key: state.get(key) for key in schedule}
        if wanted != schedule:
            raise ValueError(
                f"SurrogateAnnealing: the state is of the schedule {wanted}, this one is {schedule}."
            )
        value = float(state["value"])
        self._put(self._surrogates(value), value)
        self.epoch, self.stage = state["epoch"], state["stage"]
        self._best, self._waited = state["best"], state["waited"]

    def _schedule(self) -> dict[str, Any]:
        names = ("total_epochs", "parameter", "start", "end", "form", "patience", "stages")
        return {name: getattr(self, name) for name in names} | {"layers": list(self._layers)}

    def _at(self, rise: float) -> float:
        if rise in (0.0, 1.0):
            return self.end if rise else self.start
        if self.form in ("exponential", "plateau"):
            return math.pow(self.start, 1 - rise) * math.pow(self.end, rise)
        return self.start + (self.end - self.start) * (
            rise if self.form == "linear" else (1 - math.cos(math.pi * rise)) / 2
        )

    def _watched(self, metric: float | None) -> tuple[int, float, int]:
        """Stage, lowest metric and epochs without gain, after one more epoch."""
        if metric is None:
            return self.stage, self._best, self._waited
        number = float(metric)
        if number < self._best:
            return self.stage, number, 0
        if self._waited + 1 < self.patience:
            return self.stage, self._best, self._waited + 1
        return min(self.stage + 1, self.stages), self._best, 0

    def _surrogates(self, value: float) -> list[Surrogate]:
        """The surrogate of each layer with the parameter at `value`; the layers keep theirs."""
        return [_with(name, layer, self.parameter, value) for name, layer in self._layers.items()]

    def _put(self, surrogates: list[Surrogate], value: float) -> None:
        for layer, surrogate in zip(self._layers.values(), surrogates, strict=True):
            layer.spike_grad = surrogate
        self.value = value


def _chosen(net: nn.Module, names: Sequence[str] | None) -> dict[str, NeuronLayer]:
    """The layers by name, in their order in the net."""
    if not isinstance(net, nn.Module):
        raise TypeError(f"SurrogateAnnealing takes a torch module, got {type(net).__name__}.")
    layers = {
        name: module for name, module in net.named_modules() if isinstance(module, NeuronLayer)
    }
    if isinstance(names, str):
        raise ValueError(
            f'SurrogateAnnealing: layers must be names in a list, got {names!r}: write ["{names}"].'
        )
    unknown = [name for name in names or () if name not in layers]
    if unknown or not layers or (names is not None and not names):
        raise ValueError(
            f"SurrogateAnnealing: layers must be names of neuron layers of {type(net).__name__}, got {names!r}: it has "
            f"{list(layers) or 'none'}."
        )
    return {name: layer for name, layer in layers.items() if names is None or name in names}


def _with(name: str, layer: NeuronLayer, parameter: str, value: float) -> Surrogate:
    surrogate: Any = layer.spike_grad
    if not layer.uses_spike_grad:
        raise RuntimeError(
            f"SurrogateAnnealing: layer {name!r} does not use its {surrogate!r}, as comPaSSo has fast_sigmoid(25) in "
            'its place: set compasso_spike_grad="layer", or leave it out of layers.'
        )
    if not surrogate.parameters:
        raise TypeError(
            f"SurrogateAnnealing: the surrogate {surrogate!r} of layer {name!r} has no parameters: take one of the "
            "catalogue that has, or leave the layer out of layers."
        )
    if parameter not in surrogate.parameters:
        raise ValueError(
            f"SurrogateAnnealing: the surrogate {surrogate!r} of layer {name!r} has no parameter {parameter!r}: it has "
            f"{', '.join(surrogate.parameters)}."
        )
    if isinstance(surrogate.parameters[parameter], int):
        raise ValueError(
            f"SurrogateAnnealing: {parameter} of {surrogate!r} is a whole number, and would not change bit by bit."
        )
    changed: Surrogate = replace(surrogate, **{parameter: value})
    return changed
