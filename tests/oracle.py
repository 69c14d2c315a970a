"""A simulator in numpy float64, from the equations alone; it shares no code with nwavesdk."""

import numpy as np


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
