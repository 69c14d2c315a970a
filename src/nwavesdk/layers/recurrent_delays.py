"""Delays of the recurrent weights of a neuron layer: `DelayOptions`, and the module made of it."""

from dataclasses import dataclass

from torch import Tensor, nn

from nwavesdk.internal.checks import choice, shown, switch, whole_number
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.stored_delays import delay_range, first_width, narrowed
from nwavesdk.solvers.sparse.delays_reference import delay_kernel

__all__ = ["DelayOptions", "RecurrentDelays"]


@dataclass(frozen=True)
class DelayOptions:
    """Delays of recurrent weights, for `LIFLayer(..., recurrent_delays=DelayOptions(...))`.

    Attributes:
        max_delay: Largest delay in `unit`.
        delays: One number, or a tensor [N, N] (from, to), in `unit`. None draws them from 0 to
            `max_delay`, in whole steps if they are not learned.
        unit: `"steps"` or `"seconds"`; the length of a step is that of the layer.
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
    delays: float | Tensor | None = None
    unit: str = "steps"
    learn_delays: bool = True
    interpolation: str = "linear"
    width: float | None = None


class RecurrentDelays(Prepared):
    """The delays of the recurrent weights of one layer; `layer.recurrent_delays`.

    A spike of neuron i reaches neuron o of its layer 1 + `delays[i, o]` steps later:

        x[t, o] += Σ_i weights[i, o] · Σ_k κ_k(delays[i, o]) · s[t - 1 - k, i],  k = 0 … max_delay

    `DelayedSynapse` describes κ, how delays are stored, and rounding in `eval()`.

    Args:
        owner: Name of the layer.
        options: The argument `recurrent_delays` of the layer: `DelayOptions`, or `max_delay` in
            steps.
        n_neurons: N.
        dt: Length of a step [s].

    Attributes:
        max_delay: Largest delay [steps].
        width: Standard deviation of the Gaussian [steps]. It is not in `state_dict`.
        interpolates_in_eval: Whether `eval()` leaves delays between steps as in training; False.

    Raises:
        ValueError: If an option is out of its range.
    """

    scaled_delays: Tensor

    def __init__(self, owner: str, options: object, n_neurons: int, dt: float) -> None:
        super().__init__()
        title = f"{owner}: recurrent_delays"
        if not isinstance(options, DelayOptions):
            options = DelayOptions(whole_number(owner, "recurrent_delays", options))
        is_in_seconds = shown(options.unit) == "'seconds'"
        self._owner = title
        self._range = delay_range(
            title, options.max_delay, options.unit, dt if is_in_seconds else None
        )
        self.max_delay = self._range.max_delay
        self.interpolation = choice(
            title, "interpolation", options.interpolation, ("linear", "gaussian")
        )
        self._first_width = first_width(title, options.width, self.max_delay)
        self.width = self._first_width
        self.interpolates_in_eval = False
        learns = switch(title, "learn_delays", options.learn_delays)
        shape = (n_neurons, n_neurons)
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
        """Delays [steps] in addition to the one step of every recurrent weight, [N, N]."""
        return self._range.read(self.scaled_delays)

    @property
    def ring_steps(self) -> int:
        """The number of past steps whose spikes a step reads."""
        return self.max_delay + 1

    def narrow(self, progress: float) -> None:
        """Set the width of the Gaussian; see `DelayedSynapse.narrow`."""
        self.width = narrowed(self._owner, self._first_width, progress)

    def forward(self, weights: Tensor) -> Tensor:
        """Weights [N, N] by past step, most recent first: [ring_steps · N, N], with gradient."""
        interpolates = self.training or self.interpolates_in_eval
        interpolation = self.interpolation if interpolates else "none"
        kernel = delay_kernel(self.delays, self.max_delay, interpolation, self.width)
        return (kernel.to(weights.dtype) * weights).flatten(0, 1)

    def check_parameters(self) -> None:
        self._range.check(self.scaled_delays)

    def require_reference(self, solver: str) -> None:
        """Raise a RuntimeError unless `solver` is the one that runs recurrent delays."""
        if solver != "reference":
            raise RuntimeError(
                f"{self._owner} run on the reference solver only, got solver {solver!r}: set "
                'solver="auto".'
            )

    def extra_repr(self) -> str:
        texts = [f"max_delay={self.max_delay}"]
        texts += [] if self.scaled_delays.requires_grad else ["learn_delays=False"]
        if self.interpolation == "gaussian":
            texts.append(f'interpolation="gaussian", width={self.width:.4g}')
        return ", ".join(texts)
