"""LIF neurons and their synapses, for the desk: no bounds, no mismatch."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

from nwavesdk.dynamics import RESETS, lif
from nwavesdk.internal.checks import choice
from nwavesdk.layers.checks import features, per_neuron
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.synapse import Synapse

__all__ = ["LIFLayer", "LIFSynapse"]


class LIFSynapse(Synapse):
    """Weights between two layers: `cur = spk @ weight (+ bias)`.

    Weights are drawn from a normal distribution of standard deviation 2/√nb_inputs, which keeps a row of LIF layers
    alive (taus of 10 to 20 steps, thresholds of 1, input rates from some per cent); a bias starts at 0.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: learn a constant charge per step and neuron.
        product: `"auto"` passes over inputs that are 0 where that is faster, by a table that ships with the package
            (`nwavesdk.solvers.sparse.crossover`); `"sparse"` does so at any density, `"dense"` never does. Results differ by
            rounding. A sparse product runs on CPU tensors and has no second derivative.

    Shape:
        `[N_in]`, `[B, N_in]` or `[B, T, N_in]` -> the same with N_out; `[N_in]` gives `[1, N_out]`.

    Raises:
        ValueError: a size is not a whole number above 0, or the input has another width.

    Example:
        >>> import torch
        >>> LIFSynapse(3, 5)(torch.zeros(2, 10, 3)).shape
        torch.Size([2, 10, 5])
    """


class LIFLayer(NeuronLayer):
    """Leaky integrate-and-fire neurons.

        u[t] = exp(-dt/tau) · v[t-1] + x[t]
        s[t] = 1 if u[t] > threshold else 0
        v[t] = u[t] - threshold · s[t]  ("subtraction")  |  (1 - s[t]) · u[t]  ("zero")  |  u[t]  ("none")

    Args:
        n_neurons: N, or a shape such as (C, H, W).
        taus: membrane time constants [s], a number or one per neuron.
        thresholds: a number or one per neuron, in units of the membrane.
        reset_mechanism: `"subtraction"`, `"zero"` or `"none"`, in the step of the spike.
        dt: length of a step [s].
        spike_grad: a surrogate, or a callable z -> spikes of which only the gradient is taken; None is
            `fast_sigmoid(25)`.
        learn_taus: train taus, stored as their logarithm; a single number is one shared parameter.
        learn_thresholds: train thresholds; a single number is one shared parameter.
        layer_topology: `"FF"`, or `"RC"` with `recurrent_weights` [N, N]: `x[t] += s[t-1] @ recurrent_weights`.
        device: `"cpu"` is the serial solver, on CPU and CUDA tensors; `"gpu"` is comPaSSo, parallel in time, or the
            serial solver where a table says that it is faster; the gradient is then that of `fast_sigmoid(25)` unless
            `compasso_spike_grad="layer"`. Spikes are the same on both, to the bit.
        detach_reset: no gradient through the reset.
        solver: `"auto"`, or by force `"serial"`, `"reference"`, `"compasso"`, `"compasso-jump"` or
            `"compasso-iteration"` (the reference of comPaSSo); `last_solver` tells which one ran.
        compasso_spike_grad: `"fixed"` or `"layer"`, see `device`.
        saved_dtype: Data type in which each step is saved for backward. None saves the dtype of `cur` (4 bytes per
            neuron and step in float32). `"bfloat16"` saves 2 bytes; gradients are then off by about 1 %, spikes are
            unchanged.

    Shape:
        `cur` `[N]` or `[B, N]` is one step, `[B, T, N]` a sequence, from the current state; `(spk, mem)` have the shape
        of `cur`, `[N]` gives `[1, N]`. `mem` is v, the membrane after reset.

    Raises:
        ValueError: an argument is out of its range, or the input has another width.
        RuntimeError: `prepare_net` is missing, or the batch size changed without it.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import prepare_net
        >>> layer = LIFLayer(1, taus=20e-3)
        >>> prepare_net(layer)
        >>> spk, mem = layer(torch.full((1, 5, 1), 0.3))
        >>> spk.flatten()
        tensor([0., 0., 0., 1., 0.])
    """

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
    ) -> None:
        self.reset_mechanism = choice("LIFLayer", "reset_mechanism", reset_mechanism, list(RESETS))
        shape = features("LIFLayer", n_neurons)
        super().__init__(
            lif(reset_mechanism), shape, taus, dt, spike_grad, learn_taus=learn_taus, layer_topology=layer_topology,
            device=device, detach_reset=detach_reset, solver=solver, compasso_spike_grad=compasso_spike_grad,
            saved_dtype=saved_dtype,
        )  # fmt: skip
        self._keep(
            "thresholds",
            per_neuron("LIFLayer", "thresholds", thresholds, shape, "membrane"),
            learn_thresholds,
        )
