"""Delays of connections, in synapses and layers: they are checked, drawn, stored and read here."""

import math
from dataclasses import KW_ONLY, dataclass

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

__all__ = ["DelayOptions", "DelayRange", "StoredDelays", "delay_range"]

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


@dataclass(frozen=True)
class DelayRange:
    """Delays from 0 to `max_delay`, and how they are stored.

    They are stored in units of `scale`, the smallest power of two of at least `max_delay` steps.
    Values near 1 suit the learning rates of weights, and a power of two keeps whole steps exact.

    Attributes:
        owner: Name of the module, for error messages.
        max_delay: Largest delay [steps].
        step: Length of a step in the unit of the argument `delays`: 1, or dt [s].
        unit: The name of this unit, for messages.
    """

    owner: str
    max_delay: int
    step: float = 1.0
    unit: str = "steps"

    @property
    def scale(self) -> float:
        """The unit of stored delays [steps]."""
        return 2.0 ** math.ceil(math.log2(self.max_delay))

    def store(self, delays: Tensor) -> Tensor:
        """Delays [steps] as they are stored."""
        return delays / self.scale

    def read(self, stored: Tensor) -> Tensor:
        """Delays [steps] from 0 to `max_delay`, with a gradient of ±`scale` everywhere.

        A value that an optimizer has put beyond a border is reflected there, and its gradient
        changes sign. So no delay is stuck at a border.
        """
        largest = self.max_delay / self.scale
        # A triangular wave: it rises from 0 to largest, and falls from largest to 2 largest.
        phase = stored.remainder(2 * largest)
        return self.scale * torch.where(phase > largest, 2 * largest - phase, phase)

    def draw(self, shape: tuple[int, ...], whole: bool) -> Tensor:
        """Uniform delays [steps] from torch's global generator."""
        if whole:
            return torch.randint(self.max_delay + 1, shape).to(torch.get_default_dtype())
        return self.max_delay * torch.rand(shape)

    def given(self, delays: object, shape: tuple[int, ...]) -> Tensor:
        """An argument as delays [steps]: one number, or a tensor of `shape`.

        Raises:
            TypeError: If it is a sparse, nested, masked, quantized or meta tensor.
            ValueError: If it has another shape, or is not from 0 to `max_delay`.
        """
        if isinstance(delays, Tensor):
            require_tensor(f"{self.owner}: delays", delays)

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
                f"{self.owner}: delays must be one number or have the shape {list(allowed[-1])}, "
                f"got the shape {list(values.shape)}: pass one per connection, or one per input "
                'with per="input".'
            )

        steps = _near_whole(values / self.step)
        if not bool(((steps >= 0) & (steps <= self.max_delay)).all()):
            raise ValueError(
                f"{self.owner}: delays must be from 0 to max_delay, "
                f"{self.max_delay * self.step:g} [{self.unit}], got {shown(delays)}."
            )

        steps = steps.to(torch.get_default_dtype())
        return steps.expand(shape).clone() if not steps.ndim else steps.reshape(shape)

    def check(self, stored: Tensor) -> None:
        """Raise a RuntimeError if stored delays are not finite."""
        if not bool(torch.isfinite(stored.detach()).all()):
            raise RuntimeError(f"{self.owner}: delays are not finite: {DIVERGED}")


def _near_whole(steps: Tensor) -> Tensor:
    """Delays [steps], without the rounding of a division by dt."""
    whole = steps.round()
    return torch.where((steps - whole).abs() < _ROUNDING, whole, steps)


def delay_range(owner: str, max_delay: object, unit: object, dt: object) -> DelayRange:
    """The range of delays by the arguments of a module.

    Args:
        owner: Name of the module.
        max_delay: Largest delay in `unit`; in seconds, it is rounded up to whole steps.
        unit: `"steps"` or `"seconds"`.
        dt: Length of a step [s] for `"seconds"`, else None.

    Raises:
        ValueError: If an argument is out of its range, or `dt` is missing or has no use.
    """
    if choice(owner, "unit", unit, ("steps", "seconds")) == "steps":
        if dt is not None:
            raise ValueError(
                f"{owner}: dt has no use for delays in steps, got {shown(dt)}: remove it, or "
                'pass delays in seconds and unit="seconds".'
            )
        name = 'max_delay, in steps without unit="seconds",'
        return DelayRange(owner, whole_number(owner, name, max_delay, most=_MAX_STEPS))

    if dt is None:
        raise ValueError(
            f"{owner}: delays in seconds need the length of a step, got dt=None: pass dt [s]."
        )

    # Checked before rounding up: infinity has no whole number.
    step = positive_number(owner, "dt", dt, "s")
    largest = positive_number(owner, "max_delay", max_delay, "s")
    steps = float(_near_whole(torch.tensor(largest / step, dtype=torch.float64)))
    if steps > _MAX_STEPS:
        raise ValueError(
            f"{owner}: max_delay must be up to {_MAX_STEPS:,} steps of dt={step:g} s, got "
            f"{shown(max_delay)} s."
        )
    return DelayRange(owner, math.ceil(steps), step, "s")


class StoredDelays(Prepared):
    """Base of modules with a delay per connection or input.

    Attributes:
        max_delay: Largest delay [steps].
        scaled_delays: The stored delays, see `DelayRange`.
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
        self._range = delay_range(title, options.max_delay, options.unit, dt)
        self.max_delay = self._range.max_delay

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
            steps = self._range.draw(shape, whole=not learns)
        else:
            steps = self._range.given(options.delays, shape)

        stored = self._range.store(steps)
        if learns:
            self.scaled_delays = nn.Parameter(stored)
        else:
            self.register_buffer("scaled_delays", stored)

    @property
    def delays(self) -> Tensor:
        """Delays [steps], in the shape of `scaled_delays`, with gradient."""
        return self._range.read(parameter_of(self, "scaled_delays"))

    def narrow(self, progress: float) -> None:
        """Set the width of the Gaussian by a share of training, from 0 to 1.

            width = first^(1 - progress) · 0.5^progress

        Call it with 0 at the start and 1 when the Gaussian is to be half a step wide. Hammouamri
        et al. reach that after a quarter of all epochs. After loading a checkpoint, call it again.

        Raises:
            ValueError: If `progress` is not from 0 to 1.
        """
        p = finite_number(self._range.owner, "progress", progress, least=0, most=1)
        self.width = float(self._first_width ** (1 - p) * _FINAL_WIDTH**p)

    @torch.no_grad()
    def fix_delays(self) -> None:
        """Round the delays to whole steps, as `eval()` reads them, and stop training them."""
        self.scaled_delays.copy_(self._range.store(self.delays.round()))
        self.scaled_delays.requires_grad_(False)
        self.interpolation = "linear"  # exact between whole steps

    def _interpolation(self) -> str:
        """The interpolation of a call: in `eval()`, delays are rounded to whole steps."""
        interpolates = self.training or self.interpolates_in_eval
        return self.interpolation if interpolates else "none"

    def check_parameters(self) -> None:
        self._range.check(self.scaled_delays)

    def _delay_texts(self) -> list[str]:
        texts = [f"max_delay={self.max_delay}"]
        texts += [] if self.scaled_delays.requires_grad else ["learn_delays=False"]
        if self.interpolation == "gaussian":
            texts.append(f'interpolation="gaussian", width={self.width:.4g}')
        return texts
