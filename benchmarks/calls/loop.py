"""A LIF layer as a plain numba loop in an `autograd.Function`: what a whole sequence should cost.

It has fresh outputs and no checks, and knows one neuron, one surrogate and one reset.
"""

from typing import Any

import numba
import numpy as np
import torch
from numba import njit, prange
from torch import Tensor

ONE = np.float32(1.0)
SLOPE = np.float32(25.0)


@njit(parallel=True, error_model="numpy")
def run_forward(x, decay, threshold, spikes, mem, above):
    """Fill spikes, membranes after reset and membranes above the threshold, each [B, T, N]."""
    for b in prange(x.shape[0]):
        v = np.zeros(x.shape[2], np.float32)
        for t in range(x.shape[1]):
            # Rows of the arrays: the compiler then vectorizes the loop over neurons.
            charge, spike, after, z = x[b, t], spikes[b, t], mem[b, t], above[b, t]
            for n in range(x.shape[2]):
                u = decay[n] * v[n] + charge[n]
                distance = u - threshold[n]
                s = ONE if distance > 0 else np.float32(0.0)
                v[n] = u - threshold[n] * s
                z[n] = distance
                spike[n] = s
                after[n] = v[n]


@njit(parallel=True, error_model="numpy")
def run_backward(grad, decay, above, grad_x):
    """Fill the gradient of the input [B, T, N] from the gradient of spikes; the reset has none."""
    for b in prange(grad.shape[0]):
        carried = np.zeros(grad.shape[2], np.float32)
        for t in range(grad.shape[1] - 1, -1, -1):
            upstream, z, result = grad[b, t], above[b, t], grad_x[b, t]
            for n in range(grad.shape[2]):
                root = ONE + SLOPE * abs(z[n])
                grad_u = carried[n] + upstream[n] / (root * root)
                result[n] = grad_u
                carried[n] = decay[n] * grad_u


class PlainLoop(torch.autograd.Function):
    """Spikes and membranes [B, T, N] of an input; `apply(x, decay, threshold)` takes arrays [N]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, decay: np.ndarray, threshold: np.ndarray) -> Any:
        spikes = torch.empty_like(x)
        mem = torch.empty_like(x)
        above = torch.empty_like(x)
        outputs = (spikes.numpy(), mem.numpy(), above.numpy())
        run_forward(x.detach().numpy(), decay, threshold, *outputs)
        ctx.save_for_backward(above)
        ctx.decay = decay
        return spikes, mem

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        (above,) = ctx.saved_tensors
        grad_x = torch.empty_like(above)
        grad = grads[0].contiguous()
        run_backward(grad.numpy(), ctx.decay, above.numpy(), grad_x.numpy())
        return grad_x, None, None


def plain_loop(decays: np.ndarray) -> Any:
    """Return spikes [B, T, N] as a function of the input; decays are [N], thresholds 1."""
    numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
    thresholds = np.ones_like(decays)
    return lambda x: PlainLoop.apply(x, decays, thresholds)[0]
