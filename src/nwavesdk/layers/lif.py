"""LIF neurons and their synapses without a chip: no bounds on weights, no mismatch."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor

from nwavesdk.dynamics import LIF_PAGES, Page
from nwavesdk.internal.checks import choice, switch
from nwavesdk.layers.checks import accept_other_spelling
from nwavesdk.layers.constants import StoredConstant
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.stored_delays import DelayOptions
from nwavesdk.layers.synapse import DenseSynapse

__all__ = ["LEAKY_CONSTANTS", "LIFLayer", "LIFSynapse"]

_kinds = {name: constant.kind for name, constant in LIF_PAGES["none"].constants.items()}
LEAKY_CONSTANTS = (
    StoredConstant(name="tau", argument="taus", kind=_kinds["tau"]),
    StoredConstant(
        name="threshold",
        argument="thresholds",
        kind=replace(_kinds["threshold"], unit="membrane"),
        is_plain=True,
    ),
)
"""How layers store the constants of LIF neurons: as NWAVE names them."""


class LIFSynapse(DenseSynapse):
    """Weights between two layers: `cur = spk @ weight (+ bias)`.

    Weights are drawn from a normal distribution of standard deviation 2/√nb_inputs; a bias starts
    at 0.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: Whether to learn a constant charge per step and neuron.
        product: `"auto"` skips inputs that are 0 where that is faster, by a rule of sizes;
            `"sparse"` always does so, `"dense"` never. Results differ by rounding. A sparse product
            runs on CPU tensors and has no second derivative.

    Shape:
        `[N_in]`, `[B, N_in]` or `[B, T, N_in]` -> the same with N_out; `[N_in]` gives `[1, N_out]`.

    Raises:
        ValueError: If a size is not a whole number above 0, or the input has another width.

    Example:
        >>> import torch
        >>> LIFSynapse(3, 5)(torch.zeros(2, 10, 3)).shape
        torch.Size([2, 10, 5])
    """


class LIFLayer(NeuronLayer):
    """Leaky integrate-and-fire neurons; `device` is NWAVE's choice of solver, not torch's device.

        u[t] = exp(-dt/tau) · v[t-1] + x[t]
        s[t] = 1 if u[t] > threshold else 0
        v[t] = u[t] - threshold · s[t]  ("subtraction")
             | (1 - s[t]) · u[t]        ("zero")
             | u[t]                     ("none")

    A NaN in `cur` raises no error: the membrane stays NaN from then on, and never spikes. Constants
    are stored in float32. A call in float64 uses the values that were passed, unless they were
    learned or loaded.

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        taus: Membrane time constants [s], one number or one per neuron; `tau` and `threshold` are
            accepted, too.
        thresholds: Firing thresholds [membrane], one number or one per neuron.
        reset_mechanism: `"subtraction"`, `"zero"` or `"none"`, applied in the step of the spike.
        dt: Length of a step [s].
        spike_grad: A surrogate, or a callable z -> spikes of which only the gradient is used. If
            None, uses `fast_sigmoid(25)`.
        learn_taus: Whether to train taus, as logarithms. A single number is one shared parameter.
        learn_thresholds: Whether to train thresholds. A single number is one shared parameter.
        layer_topology: `"FF"`, or `"RC"` for `recurrent_weights` [N, N]:
            `x[t] += s[t-1] @ recurrent_weights`.
        device: NWAVE's choice of solver. `"cpu"` is the serial solver, on CPU and CUDA tensors.
            `"gpu"` is comPaSSo, or the serial solver where it should be faster; the gradient then
            uses `fast_sigmoid(25)` unless `compasso_spike_grad="layer"`. Spikes are the same, to
            the bit.
        detach_reset: Whether the reset has no gradient.
        solver: `"auto"`, or one of `"serial"`, `"reference"` and `"compasso"`. `last_solver` names
            the solver that ran.
        compasso_spike_grad: `"fixed"` or `"layer"`; see `device`.
        saved_dtype: Data type in which each step is saved for backward; None for the dtype of
            `cur`. `"bfloat16"` takes 2 bytes per neuron and step; gradients are then off by about 1
            %.
        recurrent_delays: Delays of recurrent weights, in addition to their one step: the largest
            delay in steps, `DelayOptions`, or None. They run on the reference solver.
        max_loop_gain: The largest loop gain of the gradient through `recurrent_weights`, above
            which it is scaled down. 0 stops this gradient; None leaves it unbounded. See
            `docs/recurrence.md`.

    Shape:
        `cur` `[N]` or `[B, N]` is one step, `[B, T, N]` a sequence, from the current state.
        `(spk, mem)` have the shape of `cur`; `[N]` gives `[1, N]`. `mem` is v, the membrane after
        reset.

    Raises:
        ValueError: If an argument is out of its range, or the input has another width.
        RuntimeError: If `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> layer = LIFLayer(1, taus=20e-3)
        >>> prepare_net(layer)
        >>> spk, mem = layer(torch.full((1, 5, 1), 0.3))
        >>> spk.flatten()
        tensor([0., 0., 0., 1., 0.])

    References:
        Gerstner, Kistler, Naud and Paninski 2014, Neuronal Dynamics, section 1.3,
        doi:10.1017/CBO9781107447615.
    """

    stored_constants = LEAKY_CONSTANTS
    log_taus: Tensor
    thresholds: Tensor

    @accept_other_spelling
    def __init__(
        self,
        n_neurons: int | Sequence[int],
        taus: float | Sequence[float] | Tensor,
        thresholds: float | Sequence[float] | Tensor = 1.0,
        reset_mechanism: str = "subtraction",
        dt: float = 1e-3,
        spike_grad: Any = None,
        *,
        learn_taus: bool = False,
        learn_thresholds: bool = False,
        layer_topology: str = "FF",
        device: str = "cpu",
        detach_reset: bool = True,
        solver: str = "auto",
        compasso_spike_grad: str = "fixed",
        saved_dtype: str | None = None,
        recurrent_delays: int | DelayOptions | None = None,
        max_loop_gain: float | None = 1.0,
    ) -> None:
        self.reset_mechanism = choice(
            "LIFLayer", "reset_mechanism", reset_mechanism, list(LIF_PAGES)
        )
        learned = {
            "tau": switch("LIFLayer", "learn_taus", learn_taus),
            "threshold": switch("LIFLayer", "learn_thresholds", learn_thresholds),
        }
        super().__init__(
            n_neurons,
            {"tau": taus, "threshold": thresholds},
            learned=[name for name, is_learned in learned.items() if is_learned],
            dt=dt,
            spike_grad=spike_grad,
            layer_topology=layer_topology,
            device=device,
            detach_reset=detach_reset,
            solver=solver,
            compasso_spike_grad=compasso_spike_grad,
            saved_dtype=saved_dtype,
            recurrent_delays=recurrent_delays,
            max_loop_gain=max_loop_gain,
        )

        if learned["threshold"]:
            # Optimizers store their state in the order of parameters. Thresholds come last, as in
            # files of earlier versions.
            self._parameters["thresholds"] = self._parameters.pop("thresholds")

    @property
    def page(self) -> Page:
        """The page of the chosen reset."""
        return LIF_PAGES[self.reset_mechanism]

    def extra_repr(self) -> str:
        text = super().extra_repr()
        is_default = self.reset_mechanism == "subtraction"
        return text if is_default else f'{text}, reset_mechanism="{self.reset_mechanism}"'

    @property
    def taus(self) -> Tensor:
        """Membrane time constants [s], of shape [] or `features`, in the dtype of the layer."""
        return self.constant("tau")
