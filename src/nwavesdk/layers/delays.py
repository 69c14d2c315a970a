"""`DelayedSynapse`: spikes that arrive after a delay of their connection or input."""

import torch
from torch import Tensor

from nwavesdk.internal.checks import choice
from nwavesdk.layers.checks import check_input, check_memory
from nwavesdk.layers.past import PastSynapse
from nwavesdk.layers.stored_delays import DelayOptions, StoredDelays
from nwavesdk.solvers.sparse.delays import delayed_product

__all__ = ["DelayedSynapse"]


class DelayedSynapse(PastSynapse, StoredDelays):
    """Weights with delays: a spike of input i reaches neuron o after `delays[i, o]` steps.

        cur[t, o] = Σ_i weight[i, o] · Σ_k κ_k(delays[i, o]) · spk[t - k, i]   (+ bias[o])

    k runs from 0 to `max_delay`, and the shares κ add up to 1. In training, a delay between two
    steps divides the spike, and the gradient of the delay is the gradient of the shares:

        linear:    1 - p arrives after f steps and p after f + 1, with f = ⌊delay⌋, p = delay - f
        gaussian:  κ_k ∝ exp(-(k - delay)² / 2 width²)

    In `eval()`, delays are rounded to whole steps. `"gaussian"` sees more than the two neighboring
    steps: train with a large `width`, and call `narrow` until it is half a step.

    Weights are drawn from a normal distribution of standard deviation 2/√nb_inputs, delays from a
    uniform one. Delays are stored as `scaled_delays`; train them without weight decay, which would
    shorten them. Delays that an optimizer puts beyond 0 or `max_delay` are reflected there.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        max_delay: Largest delay in `unit`.
        delays: One number, or a tensor [N_in, N_out], or for `per="input"` [N_in], in `unit`. None
            draws them from 0 to `max_delay`, in whole steps if they are not learned.
        unit: `"steps"`, or `"seconds"`, for which `dt` is needed.
        dt: Length of a step [s].
        per: `"connection"` for one delay per weight, or `"input"` for one per input neuron, which
            is faster.
        learn_delays: Whether to train delays.
        interpolation: `"linear"` or `"gaussian"`.
        width: Standard deviation of the Gaussian at the start [steps]; None is half of `max_delay`.
        bias: Whether to learn a constant charge per step and neuron.

    Attributes:
        max_delay: Largest delay [steps].
        width: Standard deviation of the Gaussian [steps], not in `state_dict`.
        interpolates_in_eval: Whether `eval()` leaves delays between steps; False.

    Shape:
        `[N_in]`, `[B, N_in]` or `[B, T, N_in]` -> the same with N_out; `[N_in]` gives `[1, N_out]`.
        The state is the last `max_delay` inputs, [B, max_delay, N_in].

    Raises:
        ValueError: If an argument is out of its range, or the input has another width.
        TypeError: If the input is not floating, or its dtype differs from the weights' dtype.
        RuntimeError: If `prepare_net` is missing, or the batch size changed without it.

    References:
        Hammouamri, Khalfaoui-Hassani and Masquelier 2024, "Learning delays in spiking neural
        networks using dilated convolutions with learnable spacings", ICLR, arXiv:2306.17670.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> synapse = DelayedSynapse(1, 1, max_delay=3, delays=1.25)
        >>> _ = torch.nn.init.ones_(synapse.weight)
        >>> prepare_net(synapse)
        >>> synapse(torch.tensor([1.0, 0, 0, 0]).reshape(1, 4, 1)).flatten().detach()
        tensor([0.0000, 0.7500, 0.2500, 0.0000])
    """

    _draws_delays = False

    def __init__(
        self,
        nb_inputs: int,
        nb_outputs: int,
        max_delay: float,
        *,
        delays: float | Tensor | None = None,
        unit: str = "steps",
        dt: float | None = None,
        per: str = "connection",
        learn_delays: bool = True,
        interpolation: str = "linear",
        width: float | None = None,
        bias: bool = False,
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, bias=bias)
        owner = type(self).__name__
        self.per = choice(owner, "per", per, ("connection", "input"))
        shape = (self.nb_inputs, 1 if self.per == "input" else self.nb_outputs)
        check_memory(owner, *shape)

        options = DelayOptions(
            max_delay,
            delays=delays,
            unit=unit,
            learn_delays=learn_delays,
            interpolation=interpolation,
            width=width,
        )
        self._set_delays(owner, options, shape, dt)
        self._draws_delays = delays is None

    @property
    def past_steps(self) -> int:
        """Number of earlier steps that an output reads, and that the state holds."""
        return self.max_delay

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Draw new weights, and new delays unless they were given; set a bias to 0."""
        super().reset_parameters()
        if self._draws_delays:
            stored = self.scaled_delays
            drawn = self._drawn_delays(tuple(stored.shape), whole=not stored.requires_grad)
            stored.copy_(drawn / self._scale)

    def _check_input(self, x: object) -> bool:
        check_input(self._title, x, (self.nb_inputs,))
        return isinstance(x, Tensor) and x.ndim == 3

    def _as_steps(self, x: Tensor) -> Tensor:
        return x if x.ndim == 3 else x.reshape(-1, 1, self.nb_inputs)

    def _charge_of(
        self, past: Tensor, steps: Tensor, weight: Tensor, bias: Tensor | None
    ) -> Tensor:
        interpolation = self._interpolation()
        cur = delayed_product(
            steps, past, weight, self.delays, self.max_delay, interpolation, self.width
        )
        return cur if bias is None else cur + bias

    def extra_repr(self) -> str:
        texts = self._delay_texts()
        texts[1:1] = ['per="input"'] if self.per == "input" else []
        return ", ".join([super().extra_repr(), *texts])
