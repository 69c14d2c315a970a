"""Neurons computed in other ways; nothing here uses the code of nwavesdk.

`simulate` is a simulator in numpy float64, written from the equations. `page_function` runs the
source of a page as what it is, a Python function, on float64 tensors under torch autograd.
"""

import __future__

import numpy as np
import torch


def simulate(x, taus, dt, threshold, reset, *, clamp=False, recurrent=None, v=None):
    """Spikes, membrane before reset and after it, each [B, T, N], for the charge x [B, T, N]."""
    x = np.asarray(x, np.float64)
    B, T, N = x.shape
    beta = np.exp(-dt / np.broadcast_to(np.asarray(taus, np.float64), (N,)))
    theta = np.broadcast_to(np.asarray(threshold, np.float64), (N,))
    S, U, V = (np.zeros((B, T, N)) for _ in range(3))
    for b in range(B):
        m = np.zeros(N) if v is None else np.array(v[b], np.float64)
        fired = np.zeros(N)
        for t in range(T):
            for n in range(N):
                charge = x[b, t, n]
                if recurrent is not None:
                    charge += sum(recurrent[i, n] for i in range(N) if fired[i])
                u = beta[n] * m[n] + charge
                if clamp and u < 0:
                    u = 0.0
                S[b, t, n] = 1.0 if u > theta[n] else 0.0
                U[b, t, n] = u
            for n in range(N):
                m[n] = U[b, t, n]
                if S[b, t, n]:
                    m[n] = {"subtraction": m[n] - theta[n], "zero": 0.0, "none": m[n]}[reset]
                V[b, t, n] = m[n]
            fired = S[b, t]
    return S, U, V


# Pages


def surrogate(z):
    """The derivative that spikes have here."""
    return 1 / (5 * z.abs() + 1) ** 2


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z):
        ctx.save_for_backward(z)
        return (z > 0).to(z)

    @staticmethod
    def backward(ctx, grad):
        (z,) = ctx.saved_tensors
        return grad * surrogate(z)


def _double(value):
    return torch.as_tensor(value, dtype=torch.float64)


class _Torch:
    """`torch`, for float64 tensors and numbers; at a tie, the first argument counts."""

    def __getattr__(self, name):
        function = getattr(torch, name)
        return lambda *values: function(*map(_double, values))

    def where(self, condition, a, b):
        return torch.where(condition, _double(a), _double(b))

    def maximum(self, a, b):
        return self.where(_double(a) < _double(b), b, a)

    def minimum(self, a, b):
        return self.where(_double(b) < _double(a), b, a)


class _TorchOfScalars(_Torch):
    """The same for tensors of one number: the branch that is not taken leaves no trace."""

    def where(self, condition, a, b):
        return _double(a if condition else b)


def page_function(source, dt, *, detach_reset=True, of_scalars=False, spike=_Spike.apply, **names):
    """The function `(charge, *states, **constants) -> (output, *states)` of the source of a page.

    The output is the spike, or the first state where the page has no spike. `names` are the numbers
    that the page captures.
    """
    scope = {
        **names,
        "torch": _TorchOfScalars() if of_scalars else _Torch(),
        "spike": spike,
        "held": torch.detach if detach_reset else lambda value: value,
        "decay": lambda tau: torch.exp(-dt / tau),
    }
    # Annotations stay text: kinds of constants mean nothing here.
    annotations = __future__.annotations.compiler_flag
    known = {*scope, "__builtins__"}
    exec(compile(source, "<page>", "exec", annotations), scope)
    (function,) = (scope[name] for name in {*scope} - known)
    is_readout = "spike(" not in source

    def run(*arguments, **constants):
        results = function(*arguments, **constants)
        results = results if isinstance(results, tuple) else (results,)
        return (results[0], *results) if is_readout else results

    return run
