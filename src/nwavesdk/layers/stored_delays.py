"""Delays of connections, in synapses and layers: they are checked, drawn, stored and read here."""

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import (
    choice,
    finite_number,
    positive_number,
    shown,
    switch,
    whole_number,
)
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers.prepare import DIVERGED, Prepared
from nwavesdk.layers.weight import parameter_of

__all__ = ["DelayOptions", "StoredDelays"]

# Up to this limit, float32 stores delays with a precision of 1/256 step.
_MAX_STEPS = 1 << 16
# A delay in seconds this near to a whole number of steps is that number [steps].
_ROUNDING = 1e-6

# Width of the Gaussian at the end of training [steps], as in Hammouamri et al. 2024.
_FINAL_WIDTH = 0.5


@dataclass(frozen=True)
class DelayOptions:
    """Delays of recurrent weights, for `LIFLayer(..., recurrent_delays=DelayOptions(...))`.

    Attributes:
        max_delay: Largest delay in `unit`.
        delays: One number, or a tensor [N, N] (from, to), in `unit`. None draws them from 0 to
            `max_delay`, in whole steps if they are not learned.
        unit: `"steps"` or `"seconds"`; the layer's `dt` is the length of a step.
        learn_delays: Whether to train delays.
        interpolation: `"linear"` or `"gaussian"`, see `DelayedSynapse`.
        width: Standard deviation of the Gaussian at the start [steps]; None is half of `max_delay`.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import LIFLayer
        >>> delays = DelayOptions(max_delay=8, delays=3.0, learn_delays=False)
        >>> layer = LIFLayer(4, taus=20e-3, layer_topology="RC", recurrent_delays=delays)
        >>> layer.recurrent_delays.max_delay, layer(torch.zeros(1, 5, 4))[0].shape
        (8, torch.Size([1, 5, 4]))
    """

    max_delay: float
    _: KW_ONLY
    delays: float | Tensor | None = None
    unit: str = "steps"
    learn_delays: bool = True
    interpolation: str = "linear"
    width: float | None = None


class StoredDelays(Prepared):
    """Base of modules with a delay per connection or input.

    Delays are stored in units of a scale, the smallest power of two of at least `max_delay` steps.
    Values near 1 suit the learning rates of weights, and a power of two keeps whole steps exact.

    Attributes:
        max_delay: Largest delay [steps].
        scaled_delays: The stored delays.
        interpolation: `"linear"` or `"gaussian"`.
        width: Standard deviation of the Gaussian [steps]. It is not in `state_dict`.
        interpolates_in_eval: Whether `eval()` leaves delays between steps as in training; False.
    """

    interpolates_in_eval = False
    scaled_delays: Tensor

    def _set_delays(
        self, title: str, options: DelayOptions, shape: tuple[int, ...], dt: float | None
    ) -> None:
        """Check, draw and store delays of that shape; `title` is for messages."""
        self._owner = title
        self.max_delay, step = _largest_delay(title, options, dt)
        self.interpolation = choice(
            title, "interpolation", options.interpolation, ("linear", "gaussian")
        )
        self._first_width = max(self.max_delay / 2, _FINAL_WIDTH)
        if options.width is not None:
            self._first_width = positive_number(title, "width", options.width, "steps")
        self.width = self._first_width

        # Drawn delays that are not learned are whole steps, so `eval()` does not change them.
        learns = switch(title, "learn_delays", options.learn_delays)
        if options.delays is None:
            steps = self._drawn_delays(shape, whole=not learns)
        else:
            steps = _given_delays(title, options, shape, self.max_delay, step)

        stored = steps / self._scale
        if learns:
            self.scaled_delays = nn.Parameter(stored)
        else:
            self.register_buffer("scaled_delays", stored)

    @property
    def _scale(self) -> float:
        """The unit of stored delays [steps]."""
        return 2.0 ** math.ceil(math.log2(self.max_delay))

    def _drawn_delays(self, shape: tuple[int, ...], whole: bool) -> Tensor:
        """Uniform delays [steps] from torch's global generator."""
        if whole:
            return torch.randint(self.max_delay + 1, shape).to(torch.get_default_dtype())
        return self.max_delay * torch.rand(shape)

    @property
    def delays(self) -> Tensor:
        """Delays [steps] from 0 to `max_delay`, in the shape of `scaled_delays`, with gradient.

        A value that an optimizer has put beyond a border is reflected there, and its gradient
        changes sign. So no delay is stuck at a border.
        """
        largest = self.max_delay / self._scale
        # A triangular wave: it rises from 0 to largest, and falls from largest to 2 largest.
        phase = parameter_of(self, "scaled_delays").remainder(2 * largest)
        steps: Tensor = self._scale * torch.where(phase > largest, 2 * largest - phase, phase)
        return steps

    def narrow(self, progress: float) -> None:
        """Set the width of the Gaussian by a share of training, from 0 to 1.

            width = first^(1 - progress) · 0.5^progress

        Call it with 0 at the start and 1 when the Gaussian is to be half a step wide. Hammouamri
        et al. reach that after a quarter of all epochs. After loading a checkpoint, call it again.

        Raises:
            ValueError: If `progress` is not from 0 to 1.
        """
        p = finite_number(self._owner, "progress", progress, least=0, most=1)
        self.width = float(self._first_width ** (1 - p) * _FINAL_WIDTH**p)

    @torch.no_grad()
    def fix_delays(self) -> None:
        """Round the delays to whole steps, as `eval()` reads them, and stop training them."""
        self.scaled_delays.copy_(self.delays.round() / self._scale)
        self.scaled_delays.requires_grad_(False)
        self.interpolation = "linear"  # exact between whole steps

    def _interpolation(self) -> str:
        """The interpolation of a call: in `eval()`, delays are rounded to whole steps."""
        interpolates = self.training or self.interpolates_in_eval
        return self.interpolation if interpolates else "none"

    def check_parameters(self) -> None:
        if not bool(torch.isfinite(self.scaled_delays.detach()).all()):
            raise RuntimeError(f"{self._owner}: delays are not finite: {DIVERGED}")

    def _delay_texts(self) -> list[str]:
        texts = [f"max_delay={self.max_delay}"]
        texts += [] if self.scaled_delays.requires_grad else ["learn_delays=False"]
        if self.interpolation == "gaussian":
            texts.append(f'interpolation="gaussian", width={self.width:.4g}')
        return texts


def _largest_delay(title: str, options: DelayOptions, dt: float | None) -> tuple[int, float]:
    """The largest delay [steps], rounded up, and the length of a step in the unit of the options.

    Args:
        title: Name of the module.
        options: The options of the module.
        dt: Length of a step [s]; only `"seconds"` need it.

    Raises:
        ValueError: If an option is out of its range, or `dt` is missing.
    """
    if choice(title, "unit", options.unit, ("steps", "seconds")) == "steps":
        name = 'max_delay, in steps without unit="seconds",'
        return whole_number(title, name, options.max_delay, most=_MAX_STEPS), 1.0

    # Checked before rounding up: infinity has no whole number.
    step = positive_number(title, "dt", dt, "s")
    largest = positive_number(title, "max_delay", options.max_delay, "s")
    steps = math.ceil(_near_whole(torch.tensor(largest / step, dtype=torch.float64)))
    return whole_number(title, "max_delay in steps of dt", steps, most=_MAX_STEPS), step


def _given_delays(
    title: str, options: DelayOptions, shape: tuple[int, ...], max_delay: int, step: float
) -> Tensor:
    """The delays of the options [steps]: one number, or a tensor of `shape`.

    Raises:
        TypeError: If it is a sparse, nested, masked, quantized or meta tensor.
        ValueError: If it has another shape, or is not from 0 to `max_delay`.
    """
    delays: Any = options.delays
    if isinstance(delays, Tensor):
        require_tensor(f"{title}: delays", delays)

    # An argument that is not numeric becomes NaN, which the check of the range rejects.
    try:
        if isinstance(delays, bool):
            raise TypeError
        values = torch.as_tensor(delays, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        values = torch.tensor(math.nan)

    # Delays per input, [N_in, 1], may also be passed as [N_in].
    allowed = [(), shape, *([shape[:1]] if shape[1] == 1 else [])]
    if tuple(values.shape) not in allowed:
        raise ValueError(
            f"{title}: delays must be one number or have the shape {list(allowed[-1])}, "
            f"got the shape {list(values.shape)}: pass one per connection, or one per input "
            'with per="input".'
        )

    steps = _near_whole(values / step)
    if not bool(((steps >= 0) & (steps <= max_delay)).all()):
        raise ValueError(
            f"{title}: delays must be from 0 to max_delay, "
            f"{max_delay * step:g} [{options.unit}], got {shown(delays)}."
        )

    steps = steps.to(torch.get_default_dtype())
    return steps.expand(shape).clone() if not steps.ndim else steps.reshape(shape)


def _near_whole(steps: Tensor) -> Tensor:
    """Delays [steps], without the rounding of a division by dt."""
    whole = steps.round()
    return torch.where((steps - whole).abs() < _ROUNDING, whole, steps)
