"""Forecasters of a series: a spiking net of ours, and the LSTM and echo state baselines.

Each learns the next point from the points so far (`fit`), and holds its state at the end of what
it has learned from. Its `forward` then gets the points that follow, `[T, 1, 1]`, reads only the
first one, and continues with its own predictions, `[T, 1]`. That is how the harness calls it.

The baselines have the settings of NeuroBench, from `examples/mackey_glass` of
github.com/NeuroBench/neurobench, commit 4fa2cfb and, for the reservoirs, 241650a.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from nwavesdk.layers import LIFLayer, SpikingSequential, prepare_net

__all__ = ["RESERVOIRS", "EchoState", "LongShortTerm", "Reservoir", "Spiking", "windows"]

WINDOW = 50  # points that the LSTM and the spiking net see


def windows(x: Tensor) -> Tensor:
    """The last points up to each point, zeros before the first one, [T, WINDOW]."""
    return torch.cat([x.new_zeros(WINDOW - 1), x]).unfold(0, WINDOW, 1)


class _Forecaster(nn.Module):
    """A model that predicts the point after `x` from it and from its own state."""

    def predict(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, batch: Tensor) -> Tensor:
        """Continue a series: predictions [T, 1] for as many points as the batch has."""
        x = batch[0].reshape(())
        predictions = []
        for _ in batch:
            x = self.predict(x)
            predictions.append(x)
        return torch.stack(predictions)[:, None].to(batch.dtype)


class Spiking(_Forecaster):
    """Two layers of LIF neurons between linear layers, which predict the change of the series.

    It sees a window of the last points, as the LSTM does, and one point is one step. It trains on
    pieces of the series with noise on the window, and its target is the point without noise: that
    keeps its own errors from growing. Its settings were chosen on the series of tau = 20.

    Args:
        seed: Seed of weights, time constants, pieces and noise.
        neurons: Neurons of a layer.
    """

    UPDATES, BATCH, PIECE, IGNORED = 800, 8, 150, 20
    RATE, WEIGHT_DECAY, NOISE = 5e-3, 1e-3, 0.01
    SHORTEST, LONGEST, DT = 1e-3, 5e-3, 1e-3  # time constants and step [s]

    window: Tensor

    def __init__(self, seed: int, neurons: int = 128) -> None:
        super().__init__()
        self._generator = torch.Generator().manual_seed(seed)
        torch.manual_seed(seed)
        self.net = SpikingSequential(
            nn.Linear(WINDOW, neurons),
            self._layer(neurons),
            nn.Linear(neurons, neurons),
            self._layer(neurons),
            nn.Linear(neurons, 1),
        )
        self.register_buffer("window", torch.zeros(WINDOW))
        self.register_buffer("scale", torch.zeros(3))

    def _layer(self, neurons: int) -> LIFLayer:
        shortest, longest = math.log(self.SHORTEST), math.log(self.LONGEST)
        taus = torch.empty(neurons).uniform_(shortest, longest, generator=self._generator).exp()
        return LIFLayer(neurons, taus, dt=self.DT)

    def fit(self, x: Tensor) -> None:
        """Learn the points of a series [T] from those before them."""
        x = x.float()
        change = x[1:] - x[:-1]
        self.scale = torch.stack([x.mean(), x.std(), change.std()])
        mean, deviation, step = self.scale
        inputs, targets = windows((x[:-1] - mean) / deviation), change / step
        optimizer = torch.optim.AdamW(
            self.net.parameters(), self.RATE, weight_decay=self.WEIGHT_DECAY
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.RATE, total_steps=self.UPDATES, pct_start=0.2
        )
        for _ in range(self.UPDATES):
            starts = torch.randint(
                len(inputs) - self.PIECE + 1, (self.BATCH, 1), generator=self._generator
            )
            pieces = starts + torch.arange(self.PIECE)
            shape = (*pieces.shape, WINDOW)
            noise = self.NOISE * torch.randn(shape, generator=self._generator)
            # The change that leads from the noisy point to the next true one.
            wanted = targets[pieces] - noise[..., -1] * deviation / step
            prepare_net(self.net)
            predicted = self.net(inputs[pieces] + noise)[1][..., 0]
            loss = mse_loss(predicted[:, self.IGNORED :], wanted[:, self.IGNORED :])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        self.start(inputs)

    @torch.no_grad()
    def start(self, inputs: Tensor) -> None:
        """Take the state after windows [T, WINDOW] of the scaled series."""
        self.net.eval()
        prepare_net(self.net)
        self.net(inputs[None])
        self.window = inputs[-1].clone()

    def predict(self, x: Tensor) -> Tensor:
        mean, deviation, step = self.scale
        x = x.float()
        self.window = torch.cat([self.window[1:], ((x - mean) / deviation)[None]])
        return x + step * self.net.step(self.window[None])[1][0, 0]


class LongShortTerm(_Forecaster):
    """NeuroBench's LSTM: 40 cells that see a normalized window; ReLU and a linear layer follow.

    Args:
        seed: Seed of the weights.
    """

    CELLS, EPOCHS, RATE, WEIGHT_DECAY = 40, 200, 0.005, 0.001

    inp: Tensor
    h: Tensor
    c: Tensor

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.cell = nn.LSTMCell(WINDOW, self.CELLS, dtype=torch.float64)
        self.activation = nn.ReLU()
        self.out = nn.Linear(self.CELLS, 1, dtype=torch.float64)
        self.norm = nn.LayerNorm(WINDOW, dtype=torch.float64)
        # As in NeuroBench, window and states are part of the footprint.
        self.register_buffer("inp", torch.zeros(1, WINDOW, dtype=torch.float64))
        self.register_buffer("h", torch.zeros(1, self.CELLS, dtype=torch.float64))
        self.register_buffer("c", torch.zeros(1, self.CELLS, dtype=torch.float64))

    def fit(self, x: Tensor) -> None:
        """Learn the points of a series [T] from those before them."""
        inputs = windows(x[:-1])
        # The same weights in a layer that runs a whole sequence in one call.
        layer = nn.LSTM(WINDOW, self.CELLS, dtype=torch.float64)
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            setattr(layer, f"{name}_l0", getattr(self.cell, name))
        optimizer = torch.optim.Adam(self.parameters(), self.RATE, weight_decay=self.WEIGHT_DECAY)
        for _ in range(self.EPOCHS):
            hidden, _ = layer(self.norm(inputs))
            loss = mse_loss(self.out(self.activation(hidden))[:, 0], x[1:])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        with torch.no_grad():
            _, (self.h, self.c) = layer(self.norm(inputs))
        self.inp = inputs[-1:].clone()

    def predict(self, x: Tensor) -> Tensor:
        self.inp = torch.cat([self.inp[:, 1:], x.reshape(1, 1)], 1)
        self.h, self.c = self.cell(self.norm(self.inp), (self.h, self.c))
        prediction: Tensor = self.out(self.activation(self.h))[0, 0]
        return prediction


class Reservoir(NamedTuple):
    """The settings of an echo state network."""

    size: int
    scale_bias: float
    scale_input: float
    connect_prob: float
    spectral_radius: float
    leakage: float
    ridge: float


RESERVOIRS = {
    17: Reservoir(966, 0.9, 0.78, 0.97, 1.19, 0.69, 1e-7),
    18: Reservoir(913, 0.98, 1, 0.43, 1.08, 0.92, 1e-9),
    19: Reservoir(836, 0.45, 0.89, 0.64, 1.25, 0.77, 1e-6),
    20: Reservoir(656, 0.29, 0.83, 0.06, 1.07, 0.86, 1e-8),
    21: Reservoir(547, 0.37, 0.92, 0.92, 1.08, 0.45, 1e-8),
    22: Reservoir(661, 0.79, 0.92, 0.55, 1.17, 0.87, 1e-7),
    23: Reservoir(577, 0.69, 0.93, 0.02, 1.01, 0.54, 1e-8),
    24: Reservoir(694, 0.85, 0.98, 0.51, 1.13, 0.76, 1e-5),
    25: Reservoir(831, 0.87, 0.93, 0.49, 1.21, 1, 1e-4),
    26: Reservoir(522, 0.91, 0.95, 0.59, 1.22, 0.58, 1e-6),
    27: Reservoir(952, 0.99, 0.65, 0.6, 1.19, 0.78, 1e-6),
    28: Reservoir(838, 0.82, 0.83, 0.37, 1.21, 0.81, 1e-6),
    29: Reservoir(728, 0.99, 0.62, 0.48, 1.23, 0.9, 1e-5),
    30: Reservoir(577, 0.69, 0.93, 0.02, 1.01, 0.54, 1e-8),
}
"""Those of each delay, which NeuroBench found by a random search."""


class EchoState(_Forecaster):
    """NeuroBench's echo state network: a random recurrent layer, and a ridge regression on it.

    Args:
        seed: Seed of the random weights.
        settings: Its settings.
    """

    WARM_UP = 45  # points before the regression: 0.6 Lyapunov times

    def __init__(self, seed: int, settings: Reservoir) -> None:
        super().__init__()
        self.settings = settings
        torch.manual_seed(seed)
        size = settings.size
        scales = torch.tensor([settings.scale_bias, settings.scale_input], dtype=torch.float64)
        into = (torch.rand(size, 2, dtype=torch.float64) - 0.5) * scales
        chosen = torch.rand(size, size, dtype=torch.float64) <= settings.connect_prob
        within = chosen * torch.randn(size, size, dtype=torch.float64)
        # NeuroBench divides by the first eigenvalue that LAPACK returns, not by the largest.
        within *= settings.spectral_radius / torch.linalg.eigvals(within)[0].abs()
        self.into, self.within = _fixed(into), _fixed(within)
        self.out = _fixed(torch.zeros(1, size + 2, dtype=torch.float64))
        self._state = torch.zeros(1, size, dtype=torch.float64)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Learn the points of a series [T] from those before them."""
        features = torch.cat([self._advance(point) for point in x[:-1]])[self.WARM_UP :]
        ridge = self.settings.ridge * torch.eye(features.shape[1], dtype=torch.float64)
        moments = features.T @ features + ridge
        wanted = features.T @ x[1 + self.WARM_UP :, None]
        self.out.weight.copy_(torch.linalg.lstsq(moments, wanted, driver="gelsd").solution.T)

    def _advance(self, x: Tensor) -> Tensor:
        """Update the state with a point; what the regression reads: 1, the point, the state."""
        given = torch.stack([torch.ones_like(x), x])[None]
        leakage = self.settings.leakage
        moved = torch.tanh(self.within(self._state) + self.into(given))
        self._state = (1 - leakage) * self._state + leakage * moved
        return torch.cat([given, self._state], 1)

    def predict(self, x: Tensor) -> Tensor:
        prediction: Tensor = self.out(self._advance(x))[0, 0]
        return prediction


def _fixed(weight: Tensor) -> nn.Linear:
    """A linear layer with this weight [N_out, N_in] and no bias."""
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight.copy_(weight)
    return layer
