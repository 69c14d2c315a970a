"""Values as activations of a population: Gaussian receptive fields."""

import torch
from torch import Tensor

from nwavesdk.encoding.encoder import Encoder
from nwavesdk.internal.checks import finite_number, positive_number, whole_number
from nwavesdk.internal.tensors import require_floating

__all__ = ["PopulationEncoder", "decode_population", "encode_population"]


def encode_population(
    values: Tensor,
    n_neurons: int = 8,
    low: float = 0.0,
    high: float = 1.0,
    width: float = 1.5,
    axis: int = -1,
) -> Tensor:
    """Activations of neurons, each with a Gaussian receptive field in the range of the values.

        activation[i] = exp(−(value − μ[i])² / (2 σ²))
        μ[i] = low + (2 i − 1) / 2 · (high − low) / (k − 2),  i = 0, ..., k − 1
        σ = (high − low) / (width · (k − 2))

    Activations are graded, from 0 to 1, with a gradient: pass them to a net as charges, or to
    `encode_rate` or `encode_latency` for spikes.

    Args:
        values: Values of any shape.
        n_neurons: Number of neurons k of a value, at least 3.
        low: Lower end of the range.
        high: Upper end of the range.
        width: β of the paper: distance of two centers in deviations of a field.
        axis: The axis of features, which becomes k times as long; the k neurons of a value are next
            to each other.

    Returns:
        Activations, [..., F · k, ...], in the dtype of the values.

    References:
        Bohte, Kok and La Poutré 2002, "Error-backpropagation in temporally encoded networks of
        spiking neurons", section 5, doi:10.1016/S0925-2312(01)00658-0.

    Example:
        >>> encode_population(torch.tensor([[0.25]]), 4)
        tensor([[0.3247, 1.0000, 0.3247, 0.0111]])
    """
    owner = "encode_population"
    require_floating(owner, values)
    axis = _axis_from_front(owner, values, axis)
    centers, sigma = _fields(owner, n_neurons, low, high, width)
    along_fields = values.new_tensor(centers).reshape(-1, *[1] * (values.ndim - axis - 1))
    distance = (values.unsqueeze(axis + 1) - along_fields) / sigma
    return torch.exp(-distance.square() / 2).flatten(axis, axis + 1)


def decode_population(
    activations: Tensor,
    n_neurons: int = 8,
    low: float = 0.0,
    high: float = 1.0,
    width: float = 1.5,
    axis: int = -1,
) -> Tensor:
    """The values of activations, or of rates or counts of spikes that are proportional to them.

    With the most active neuron i and its more active neighbor j:

        value = (μ[i] + μ[j]) / 2 + σ² / (μ[i] − μ[j]) · log(a[i] / a[j])

    This is exact, up to rounding, at any common scale of the activations. If the neighbors are
    silent, the value is the center of the most active neuron, and without any activity NaN.

    Args:
        activations: [..., F · k, ...].
        n_neurons: Number of neurons k of a value, at least 3.
        low: Lower end of the range.
        high: Upper end of the range.
        width: See `encode_population`.
        axis: The axis of features.

    Returns:
        Values, [..., F, ...].

    Example:
        >>> decode_population(encode_population(torch.tensor([[0.25]]), 4), 4)
        tensor([[0.2500]])
    """
    owner = "decode_population"
    require_floating(owner, activations)
    axis = _axis_from_front(owner, activations, axis)
    centers, sigma = _fields(owner, n_neurons, low, high, width)
    if activations.shape[axis] % n_neurons:
        raise ValueError(
            f"{owner}: axis {axis} has {activations.shape[axis]} neurons, expected a multiple of "
            f"{n_neurons}: pass the n_neurons of the encoder."
        )

    # [..., F, ..., k]: the neurons of a value along the last axis.
    before, after = activations.shape[:axis], activations.shape[axis + 1 :]
    fields = activations.reshape(*before, -1, n_neurons, *after).movedim(axis + 1, -1)

    # The most active neuron i and its neighbor j; a neighbor outside of the population is silent.
    highest, i = fields.max(dim=-1, keepdim=True)
    left = fields.gather(-1, (i - 1).clamp(min=0)).where(i > 0, -torch.inf)
    right = fields.gather(-1, (i + 1).clamp(max=n_neurons - 1)).where(i < n_neurons - 1, -torch.inf)
    j = torch.where(right > left, i + 1, i - 1)
    second = torch.maximum(left, right)

    mu = torch.tensor(centers, dtype=fields.dtype, device=fields.device)
    center, other = mu[i], mu[j]
    ratio = torch.where(second > 0, highest / second, 1)
    between = (center + other) / 2 + sigma / (center - other) * sigma * ratio.log()
    values = torch.where(second > 0, between, center)
    return torch.where(highest > 0, values, torch.nan).squeeze(-1)


def _fields(
    owner: str, n_neurons: int, low: float, high: float, width: float
) -> tuple[list[float], float]:
    """Centers and deviation of the receptive fields."""
    n_neurons = whole_number(owner, "n_neurons", n_neurons, least=3)
    low = finite_number(owner, "low", low)
    high = finite_number(owner, "high", high, above=low)
    distance = (high - low) / (n_neurons - 2)
    sigma = distance / positive_number(owner, "width", width)
    return [low + (i - 0.5) * distance for i in range(n_neurons)], sigma


def _axis_from_front(owner: str, x: Tensor, axis: int) -> int:
    """The axis, counted from the front."""
    axis = whole_number(owner, "axis", axis, least=-(2**31))
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(
            f"{owner}: values of shape {list(x.shape)} have no axis {axis}: it is the axis of "
            "features."
        )
    return axis % x.ndim


class PopulationEncoder(Encoder):
    """`encode_population` of each step, as a module without state; see `Encoder` for shapes.

    Args:
        n_neurons: Number of neurons k of a value, at least 3.
        low: Lower end of the range.
        high: Upper end of the range.
        width: See `encode_population`.

    Example:
        >>> PopulationEncoder(5)(torch.rand(2, 10, 3)).shape
        torch.Size([2, 10, 15])
    """

    def __init__(
        self, n_neurons: int = 8, low: float = 0.0, high: float = 1.0, width: float = 1.5
    ) -> None:
        super().__init__()
        _fields("PopulationEncoder", n_neurons, low, high, width)
        self.n_neurons = n_neurons
        self.low = low
        self.high = high
        self.width = width

    def _encode(self, x: Tensor) -> Tensor:
        return encode_population(x, self.n_neurons, self.low, self.high, self.width, axis=2)

    def decode(self, activations: Tensor) -> Tensor:
        """The values of a sequence [B, T, F · k, ...]; see `decode_population`."""
        options = (self.n_neurons, self.low, self.high, self.width)
        return decode_population(activations, *options, axis=2)
