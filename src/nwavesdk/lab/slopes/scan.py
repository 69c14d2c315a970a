"""`scan_slopes`: how much gradient reaches each layer under each of many surrogates, from one forward pass."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.lab.slopes.advice import Advice, advise
from nwavesdk.lab.slopes.grid import Candidates, by_name
from nwavesdk.lab.slopes.tape import LossFunction, Tape
from nwavesdk.layers import SpikingSequential
from nwavesdk.surrogate import Surrogate

__all__ = ["FLOOR", "SlopeScan", "measure", "scan_slopes"]

Array = npt.NDArray[np.float64]

FLOOR = 1e-3
"""Share of what a neuron of the last layer receives on average, below which a neuron's gradient is not usable."""


@dataclass(frozen=True, eq=False)
class SlopeScan:
    """C candidates, L neuron layers, T steps. The gradient is ∂L/∂x of a layer's input charge x.

    Attributes:
        layers: Names of the neuron layers in the net, from the first to the last.
        candidates: Names.
        surrogates: One a layer, for each candidate.
        own: The net's own, by layer.
        norm: Euclidean norm of the gradient of each layer's charge, [C, L].
        by_time: The same for each step, [C, L, T].
        usable: Share of neurons with a usable gradient, [C, L]: |∂L/∂x|, summed over batch and time, is at least
            `floor` of what a neuron of the last layer has on average under the same candidate.
        weight_norm: Norm of the gradient of each parameter, by its name in the net, [C]; empty where not asked for.
        rates: Mean firing rate of each layer [spikes a step and neuron], the same for all candidates.
        floor: See `usable`.
    """

    layers: tuple[str, ...]
    candidates: tuple[str, ...]
    surrogates: tuple[tuple[Surrogate, ...], ...]
    own: tuple[Surrogate, ...]
    norm: Array
    by_time: Array
    usable: Array
    weight_norm: dict[str, Array]
    rates: tuple[float, ...]
    floor: float = FLOOR

    @property
    def ratio(self) -> Array:
        """What of the last layer's gradient reaches the first, [C]."""
        return _over(self.norm[:, 0], self.norm[:, -1])

    @property
    def transfer(self) -> Array:
        """What of the gradient of a layer reaches the one below, [C, L - 1]; NaN where nothing is left."""
        return _over(self.norm[:, :-1], self.norm[:, 1:])

    @property
    def own_row(self) -> int | None:
        """The place of the candidate that is the net as it is, or None."""
        return self.surrogates.index(self.own) if self.own in self.surrogates else None

    def recommend(self, kind: type[Surrogate] | None = None) -> tuple[Advice, ...]:
        """A surrogate for each layer, with its reason; see `advise`.

        Args:
            kind: Among the candidates of which class; None: that of the net's own surrogate in each layer.

        Raises:
            ValueError: No candidate is of that class for all layers.
        """
        return advise(self, kind)


def scan_slopes(
    net: SpikingSequential,
    x: Tensor,
    loss_fn: LossFunction,
    surrogates: Candidates | None = None,
    *,
    seed: int | None = None,
    weights: bool = False,
    floor: float = FLOOR,
) -> SlopeScan:
    """Run the net once, and for each candidate the way back alone.

    The net is run as it is, in its mode: call `net.eval()` for a pass without dropout.

    Args:
        net: A row with at least one neuron layer; it stays as it is.
        x: Input [B, T, *features].
        loss_fn: `loss_fn(spk, mem)`, from what the net returns to a scalar.
        surrogates: Candidates, as a list, or a dict with their names; each one surrogate for all layers, or one a
            layer. [`default_grid()`, and the net's own]
        seed: Of mismatch, see `prepare_net`.
        weights: Measure the gradients of the weights, too: a product more for each layer and candidate.
        floor: See `SlopeScan.usable`.

    Raises:
        TypeError: The net is no `SpikingSequential`, or a candidate no surrogate.
        ValueError: The input is no sequence, the loss does not depend on the net, or candidates do not fit.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse
        >>> from nwavesdk.surrogate import fast_sigmoid
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, 10e-3), LIFSynapse(20, 3), LIFLayer(3, 10e-3))
        >>> scan = scan_slopes(net, torch.rand(4, 50, 5), lambda spk, mem: spk.mean(), [fast_sigmoid(5)])
        >>> scan.norm.shape
        (1, 2)
    """
    tape = Tape(net, x, loss_fn, seed, weights)
    return measure(tape, surrogates, floor=floor)


def measure(tape: Tape, surrogates: Candidates | None = None, *, floor: float = FLOOR) -> SlopeScan:
    """As `scan_slopes`, on a pass that has been run."""
    candidates = by_name(surrogates, tape.surrogates)
    rows = [_row(tape, chosen, floor) for chosen in candidates.values()]
    names: dict[str, None] = {name: None for row in rows for name in row["weights"]}
    return SlopeScan(
        layers=tape.names,
        candidates=tuple(candidates),
        surrogates=tuple(candidates.values()),
        own=tape.surrogates,
        norm=np.stack([row["norm"] for row in rows]),
        by_time=np.stack([row["by_time"] for row in rows]),
        usable=np.stack([row["usable"] for row in rows]),
        weight_norm={name: np.array([row["weights"].get(name, 0.0) for row in rows]) for name in names},
        rates=tuple(record.spk.detach().double().mean().item() for record in tape.records),
        floor=floor,
    )


def _row(tape: Tape, chosen: Sequence[Surrogate], floor: float) -> dict[str, Any]:
    L, T = len(tape.names), tape.records[-1].spk.shape[1]
    by_time, usable, weights, least = np.empty((L, T)), np.empty(L), dict[str, float](), 0.0
    for gradient in tape.gradients(chosen):
        grad = gradient.charge.flatten(2)
        by_time[gradient.index] = _norms(grad)
        received = grad.abs().sum((0, 1)).double()
        if gradient.index == L - 1:
            least = floor * received.mean().item()
        usable[gradient.index] = ((received >= least) & (received > 0)).double().mean().item()
        weights |= {name: torch.linalg.vector_norm(g.double()).item() for name, g in gradient.weights.items()}
    return {"norm": np.linalg.norm(by_time, axis=1), "by_time": by_time, "usable": usable, "weights": weights}


def _norms(grad: Tensor) -> Array:
    """The norm at each step of [B, T, N]: neuron by neuron in its own dtype, unless squares would vanish there."""
    rows = torch.linalg.vector_norm(grad, dim=2)
    if not 1e-14 < rows.amax().item() < 1e14:
        rows = torch.linalg.vector_norm(grad, dim=2, dtype=torch.float64)
    norms: Array = torch.linalg.vector_norm(rows.double(), dim=0).cpu().numpy()
    return norms


def _over(above: Array, below: Array) -> Array:
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = above / below
    return quotient
