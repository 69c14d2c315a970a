"""The delays of the recurrent weights of a neuron layer."""

from torch import Tensor

from nwavesdk.internal.checks import whole_number
from nwavesdk.layers.stored_delays import DelayOptions, StoredDelays
from nwavesdk.solvers.sparse.delays_reference import delay_kernel

__all__ = ["RecurrentDelays"]


class RecurrentDelays(StoredDelays):
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

    def __init__(self, owner: str, options: object, n_neurons: int, dt: float) -> None:
        super().__init__()
        if not isinstance(options, DelayOptions):
            options = DelayOptions(whole_number(owner, "recurrent_delays", options))
        self._set_delays(f"{owner}: recurrent_delays", options, (n_neurons, n_neurons), dt)

    @property
    def ring_steps(self) -> int:
        """The number of past steps from which a step reads spikes."""
        return self.max_delay + 1

    def forward(self, weights: Tensor) -> Tensor:
        """Weights [N, N] by past step, most recent first: [ring_steps · N, N], with gradient."""
        kernel = delay_kernel(self.delays, self.max_delay, self._interpolation(), self.width)
        return (kernel.to(weights.dtype) * weights).flatten(0, 1)

    def require_reference(self, solver: str) -> None:
        """Raise a RuntimeError unless `solver` is the reference, which runs recurrent delays."""
        if solver != "reference":
            raise RuntimeError(
                f"{self._owner} run on the reference solver only, got solver {solver!r}: set "
                'solver="auto".'
            )

    def extra_repr(self) -> str:
        return ", ".join(self._delay_texts())
