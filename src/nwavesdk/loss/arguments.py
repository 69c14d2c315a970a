"""What losses share: checks, each of which raises one line that names the loss, and their base."""

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import finite_number, shown, whole_number
from nwavesdk.internal.tensors import require_floating, require_tensor
from nwavesdk.layers.lengths import check_lengths, fill_padding

__all__ = [
    "LossModule",
    "check_classes",
    "check_list",
    "check_outputs",
    "check_rate",
    "check_rates",
    "check_spikes",
    "check_targets",
]


class LossModule(nn.Module):
    """Base of the modules: the options of one loss, as attributes."""

    def extra_repr(self) -> str:
        options = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        del options["training"]
        return ", ".join(f"{name}={value!r}" for name, value in options.items())


def check_classes(owner: str, num_classes: int | None) -> int | None:
    """A number of classes, or None for one neuron per class."""
    return None if num_classes is None else whole_number(owner, "num_classes", num_classes)


def check_outputs(
    owner: str, values: object, num_classes: int | None, lengths: Tensor | None
) -> tuple[Tensor, int, Tensor | None]:
    """Check what the neurons of the classes did.

    Args:
        owner: The loss, for the message.
        values: Spikes or membranes, [B, T, O].
        num_classes: Number of equal groups of the O neurons; None is one neuron per class.
        lengths: Number of steps of each recording, int64 [B], or None.

    Returns:
        The values with zeros in padding, in float32 or float64, because half precision cannot count
        far; the number of classes; and the lengths on the device of the values.

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
    num_classes = check_classes(owner, num_classes) or outputs
    if outputs % num_classes:
        raise ValueError(
            f"{owner}: {outputs} output neurons cannot be split into {num_classes} equal groups, "
            "one per class: give a num_classes that divides their number."
        )
    values = values.to(torch.promote_types(values.dtype, torch.float32))
    if lengths is not None:
        lengths = check_lengths(owner, lengths, values)
        values = fill_padding(values, lengths)
    return values, num_classes, lengths


def check_spikes(owner: str, spk: object) -> None:
    """Reject what is not a floating tensor with at least one element."""
    require_floating(f"{owner}: spikes", spk)
    assert isinstance(spk, Tensor)
    if not spk.numel():
        raise ValueError(
            f"{owner}: got empty spikes of shape {list(spk.shape)}, expected at least one element."
        )


def check_targets(owner: str, targets: Tensor, batch: int, num_classes: int) -> None:
    """Reject targets that are not one class index per recording."""
    require_tensor(f"{owner}: targets", targets)
    if targets.shape != (batch,):
        raise ValueError(
            f"{owner}: targets have the shape {list(targets.shape)}, expected [{batch}]: one per "
            "recording."
        )
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise TypeError(
            f"{owner}: targets must be whole numbers, got {targets.dtype}: convert them, as in "
            "targets.long()."
        )
    text = f"{owner}: targets must be classes from 0 to {num_classes - 1}"
    if torch.compiler.is_compiling():  # which must not read values
        torch._assert_async(((targets >= 0) & (targets < num_classes)).all(), f"{text}.")
        return
    lowest, highest = (int(bound) for bound in torch.aminmax(targets))
    if lowest < 0 or highest >= num_classes:
        raise ValueError(f"{text}, got {lowest} to {highest}.")


def check_rates(owner: str, high_rate: float, low_rate: float) -> None:
    """Reject target rates that are not 0 ≤ `low_rate` < `high_rate` ≤ 1."""
    for name, rate in (("high_rate", high_rate), ("low_rate", low_rate)):
        check_rate(f"{owner}: {name}", rate)
    if low_rate >= high_rate:
        raise ValueError(
            f"{owner}: low_rate must be below high_rate, got {low_rate} and {high_rate}."
        )


def check_rate(subject: str, rate: float) -> None:
    """Reject what is not a rate in spikes per step."""
    try:
        finite_number("", "", rate, least=0, most=1)
    except ValueError:
        raise ValueError(
            f"{subject} must be a rate from 0 to 1 in spikes per step, got {shown(rate)}: multiply "
            "a rate in Hz by dt."
        ) from None


def check_list(owner: str, name: str, values: object) -> None:
    """Reject what has no length."""
    try:
        len(values)  # type: ignore[arg-type]  # it may have no length
    except TypeError:
        raise TypeError(
            f"{owner}: {name} must be a list with one element per layer, got {shown(values)}."
        ) from None
