"""Composition of maps along time in log2(T) steps, on any device (Hillis and Steele)."""

import torch
from torch import Tensor

__all__ = ["affine_scan", "clamped_scan"]


def clamped_scan(a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The maps v -> max(a v + b, c) of steps 0…t composed, for every t; time is dimension 1."""
    shift = 1
    while shift < a.shape[1]:
        a1, b1, c1 = (m[:, :-shift] for m in (a, b, c))
        a2, b2, c2 = (m[:, shift:] for m in (a, b, c))
        floor = torch.where(c1.isinf(), c2, torch.maximum(a2 * c1 + b2, c2))
        joined = a2 * a1, a2 * b1 + b2, floor
        a, b, c = (
            torch.cat([m[:, :shift], new], 1) for m, new in zip((a, b, c), joined, strict=True)
        )
        shift *= 2
    return a, b, c


def affine_scan(a: Tensor, b: Tensor) -> Tensor:
    """y[t] = a[t] y[t-1] + b[t] with y[-1] = 0, for every t; time is dimension 0."""
    shift = 1
    while shift < a.shape[0]:
        b = torch.cat([b[:shift], a[shift:] * b[:-shift] + b[shift:]])
        a = torch.cat([a[:shift], a[shift:] * a[:-shift]])
        shift *= 2
    return b
