"""The Mackey-Glass series of NeuroBench, integrated by the method of steps.

    dx/dt = beta · x(t - tau) / (1 + x(t - tau)^10) - gamma · x(t)

NeuroBench stores its series, because series of chaotic systems depend on the integrator. Ours are
made here, for all models alike: the Runge-Kutta method of order 4 with 1,000 steps per delay, and
cubic interpolation. `compare_with_jitcdde` measures how far they follow the series of jitcdde, the
integrator that NeuroBench uses.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["POINTS_PER_TIME", "SETTINGS", "Settings", "compare_with_jitcdde", "integrate", "series"]

BETA, GAMMA, POWER = 0.2, 0.1, 10
POINTS_PER_TIME = 75  # of a Lyapunov time
STEPS_PER_DELAY = 1000

Values = NDArray[np.float64]


class Settings(NamedTuple):
    """What defines a series: its Lyapunov time, and the constant value before its start."""

    lyapunov_time: float
    past: float


# From datasets/mackey_glass_parameters.csv of github.com/NeuroBench/neurobench, commit 31b3cc7.
SETTINGS = {
    17: Settings(197, 0.7206597),
    18: Settings(138, 0.7744313),
    19: Settings(315, 0.7783468),
    20: Settings(131, 0.9225991),
    21: Settings(191, 0.9479431),
    22: Settings(119, 0.5455960),
    23: Settings(106, 0.8622247),
    24: Settings(97, 0.3259660),
    25: Settings(98, 0.8297825),
    26: Settings(104, 1.0033490),
    27: Settings(112, 0.6491406),
    28: Settings(119, 1.0957495),
    29: Settings(131, 0.9256179),
    30: Settings(139, 0.2713639),
}


def series(tau: int, points: int, start: int = 0) -> Tensor:
    """Points of the series of a delay, float64 [points].

    Args:
        tau: The delay, from 17 to 30.
        points: Number of points.
        start: The first one. Point 0 is at time tau, as in NeuroBench.
    """
    settings = SETTINGS[tau]
    places = np.arange(start, start + points) / POINTS_PER_TIME
    return torch.from_numpy(integrate(tau, settings.past, tau + places * settings.lyapunov_time))


def integrate(tau: float, past: float, times: Values, steps: int = STEPS_PER_DELAY) -> Values:
    """The solution at some times.

    Args:
        tau: The delay.
        past: The constant value until time 0.
        times: Times from 0 on.
        steps: Steps per delay.
    """
    h = tau / steps
    # A block is one delay; within it, x(t - tau) is known. Blocks share their end points.
    x = np.full(steps + 1, past)
    slope = np.zeros(steps + 1)
    values, slopes = [], []
    for _ in range(math.floor(float(times.max()) / tau) + 1):
        drive, middle = _drive(x), _drive(_midpoints(x, slope, h))
        x = _decay(float(x[-1]), drive, middle, h)
        slope = drive - GAMMA * x
        values.append(x[:-1])
        slopes.append(slope[:-1])
    values.append(x[-1:])
    slopes.append(slope[-1:])
    return _interpolate(np.concatenate(values), np.concatenate(slopes), h, times)


def _drive(x: Values) -> Values:
    driven: Values = BETA * x / (1 + x**POWER)
    return driven


def _midpoints(x: Values, slope: Values, h: float) -> Values:
    """The cubic between neighbors with these slopes, at its middle."""
    return (x[:-1] + x[1:]) / 2 + h / 8 * (slope[:-1] - slope[1:])


def _decay(x: float, drive: Values, middle: Values, h: float) -> Values:
    """The block that starts with x: Runge-Kutta steps of dx/dt = drive(t) - gamma · x."""
    found = [x]
    ends = drive.tolist()
    for first, between, last in zip(ends[:-1], middle.tolist(), ends[1:], strict=True):
        a = first - GAMMA * x
        b = between - GAMMA * (x + h / 2 * a)
        c = between - GAMMA * (x + h / 2 * b)
        d = last - GAMMA * (x + h * c)
        x += h / 6 * (a + 2 * b + 2 * c + d)
        found.append(x)
    return np.array(found)


def _interpolate(x: Values, slope: Values, h: float, times: Values) -> Values:
    """The cubic between neighbors at some times."""
    index = np.minimum((times / h).astype(np.int64), len(x) - 2)
    u = times / h - index
    ends = (1 + 2 * u) * (1 - u) ** 2 * x[index] + u**2 * (3 - 2 * u) * x[index + 1]
    bend = u * (1 - u) ** 2 * slope[index] + u**2 * (u - 1) * slope[index + 1]
    result: Values = ends + h * bend
    return result


def compare_with_jitcdde(tau: int, lyapunov_times: Iterable[int], tolerance: float) -> list[float]:
    """The largest difference to the solution of jitcdde within some Lyapunov times.

    Args:
        tau: The delay.
        lyapunov_times: How many; the differences are in their order.
        tolerance: The relative tolerance of jitcdde; its default is 1e-5.
    """
    from jitcdde import jitcdde, t, y

    lengths = [POINTS_PER_TIME * count for count in lyapunov_times]
    settings = SETTINGS[tau]
    delayed = y(0, t - tau)
    solver = jitcdde([BETA * delayed / (1 + delayed**POWER) - GAMMA * y(0)], verbose=False)
    solver.constant_past([settings.past])
    solver.set_integration_parameters(rtol=tolerance, atol=tolerance / 1000)
    solver.step_on_discontinuities()
    step = settings.lyapunov_time / POINTS_PER_TIME
    theirs = [solver.integrate(tau + step * point)[0] for point in range(max(lengths))]
    error = np.abs(np.array(theirs) - series(tau, max(lengths)).numpy())
    return [float(error[:length].max()) for length in lengths]
