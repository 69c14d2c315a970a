"""The checks of losses, with errors that name the loss in one line, and the base of the modules."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar, Literal, get_args

import torch
from torch import Tensor, nn
from torch.nn import functional

from nwavesdk.internal.checks import choice, finite_number, positive_number, shown, whole_number
from nwavesdk.internal.tensors import require_floating, require_tensor, widen
from nwavesdk.layers.lengths import check_optional_lengths, fill_padding

__all__ = [
    "LossModule",
    "OverTime",
    "Per",
    "check_list",
    "check_options",
    "check_outputs",
    "check_outputs_and_targets",
    "check_rate",
    "check_spikes",
    "cross_entropy",
]

OverTime = Literal["sum", "mean", "max", "last", "logsumexp"]
Per = Literal["neuron", "layer"]


class LossModule(nn.Module):
    """Base of the modules: the options of one loss function, checked, as attributes.

    Args:
        options: The options by name; see `check_options`.
    """

    function: ClassVar[Callable[..., Tensor]]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self._names = tuple(options)
        values = check_options(type(self).__name__, **options)
        for name, value in zip(options, values, strict=True):
            setattr(self, name, value)

    def forward(self, values: Any, targets: Tensor, lengths: Tensor | None = None) -> Tensor:
        """A scalar; see the function."""
        return self.function(values, targets, lengths=lengths, **self._options())

    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self._names}

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value!r}" for name, value in self._options().items())


def check_rate(owner: str, name: str, rate: float) -> float:
    """A rate in spikes per step."""
    try:
        return finite_number("", "", rate, least=0, most=1)
    except ValueError:
        raise ValueError(
            f"{owner}: {name} must be a rate from 0 to 1 in spikes per step, got {shown(rate)}: "
            "multiply a rate in Hz by dt."
        ) from None


def _check_rates(owner: str, name: str, rates: Any) -> float | list[float]:
    """A rate, or a list with the rate of each layer."""
    if not isinstance(rates, (list, tuple)):
        return check_rate(owner, name, rates)
    return [check_rate(owner, f"{name} of layer {i}", rate) for i, rate in enumerate(rates)]


def _check_classes(owner: str, name: str, num_classes: int | None) -> int | None:
    """A number of classes, or None for one neuron per class."""
    return None if num_classes is None else whole_number(owner, name, num_classes)


_CHECKS: dict[str, Callable[[str, str, Any], Any]] = {
    "num_classes": _check_classes,
    "sharpness": positive_number,
    "scale": partial(positive_number, unit="steps"),
    "tau": partial(positive_number, unit="s"),
    "dt": partial(positive_number, unit="s"),
    "mse_share": partial(finite_number, least=0, most=1),
    "mse_target": partial(finite_number, unit="membrane"),
    "over_time": partial(choice, choices=get_args(OverTime)),
    "per": partial(choice, choices=get_args(Per)),
    "low_rate": check_rate,
    "high_rate": check_rate,
    "low_count": partial(finite_number, least=0, unit="spikes"),
    "high_count": partial(finite_number, unit="spikes"),
    "lower": _check_rates,
    "upper": _check_rates,
    "most": _check_rates,
    "offsets": _check_rates,
}


def check_options(owner: str, **options: Any) -> list[Any]:
    """Check options of a loss; the name of an option selects its check.

    Returns:
        Their values as they are stored, in the given order.

    Raises:
        ValueError: If an option is out of its range, or a target for the right class is not above
            the target for the other classes.
    """
    values = {name: _CHECKS[name](owner, name, value) for name, value in options.items()}

    for unit in ("rate", "count"):
        low, high = values.get(f"low_{unit}"), values.get(f"high_{unit}")
        if low is not None and high is not None and low >= high:
            raise ValueError(
                f"{owner}: low_{unit} must be below high_{unit}, got {low:g} and {high:g}."
            )
    return [*values.values()]


def check_outputs(
    owner: str, values: object, num_classes: int | None, lengths: Tensor | None
) -> tuple[Tensor, int, Tensor | None]:
    """Check the spikes or the membranes of the neurons of the classes.

    Args:
        owner: The loss, for the message.
        values: Spikes or membranes, [B, T, O].
        num_classes: Number of equal groups of the O neurons; None is one neuron per class.
        lengths: Number of steps of each recording, int64 [B], or None.

    Returns:
        The values with zeros in padding, in float32 or float64, because half precision cannot hold
        large counts; the number of classes; and the lengths on the device of the values.

    Raises:
        TypeError: If the values are not floating, or `lengths` is not an int64 tensor.
        ValueError: If the shape differs, O is not a multiple of `num_classes`, or a length is not
            from 1 to T.
    """
    require_floating(f"{owner}: the output", values)
    assert isinstance(values, Tensor)
    if values.ndim != 3 or not values.numel():
        raise ValueError(
            f"{owner}: the output has the shape {list(values.shape)}, expected [B, T, outputs] "
            "with at least one element."
        )

    outputs = values.shape[2]
    num_classes = _check_classes(owner, "num_classes", num_classes) or outputs
    if outputs % num_classes:
        raise ValueError(
            f"{owner}: {outputs} output neurons cannot be split into {num_classes} equal groups, "
            "one per class: pass a num_classes that divides their number."
        )

    values = widen(values)
    lengths = check_optional_lengths(owner, lengths, values)
    return fill_padding(values, lengths), num_classes, lengths


def check_spikes(owner: str, spk: object) -> None:
    """Reject spikes that are not a floating tensor with at least one element."""
    require_floating(f"{owner}: spikes", spk)
    assert isinstance(spk, Tensor)
    if not spk.numel():
        raise ValueError(
            f"{owner}: got empty spikes of shape {list(spk.shape)}, expected at least one element."
        )


def check_outputs_and_targets(
    owner: str, values: object, targets: Tensor, num_classes: int | None, lengths: Tensor | None
) -> tuple[Tensor, int, Tensor | None]:
    """`check_outputs`, for targets that are one class index per recording."""
    values, num_classes, lengths = check_outputs(owner, values, num_classes, lengths)
    require_tensor(f"{owner}: targets", targets)
    if targets.shape != values.shape[:1]:
        raise ValueError(
            f"{owner}: targets have the shape {list(targets.shape)}, expected [{len(values)}]: one "
            "per recording."
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(
            f"{owner}: targets must be whole numbers, got {targets.dtype}: convert them, as in "
            "targets.long()."
        )

    text = f"{owner}: targets must be classes from 0 to {num_classes - 1}"
    if torch.compiler.is_compiling():  # compiled code must not read values
        torch._assert_async(((targets >= 0) & (targets < num_classes)).all(), f"{text}.")
    else:
        lowest, highest = (int(bound) for bound in torch.aminmax(targets))
        if lowest < 0 or highest >= num_classes:
            raise ValueError(f"{text}, got {lowest} to {highest}.")
    return values, num_classes, lengths


def cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean cross-entropy of logits [B, C] for class indices [B]."""
    return functional.cross_entropy(logits, targets.to(logits.device).long())


def check_list(owner: str, name: str, values: object) -> None:
    """Reject a value that has no length."""
    try:
        len(values)  # type: ignore[arg-type]  # it may have no length
    except TypeError:
        raise TypeError(
            f"{owner}: {name} must be a list with one element per layer, got {shown(values)}."
        ) from None
