"""One forward pass through a net, from which the gradients of any surrogates follow.

Forward spikes do not depend on the surrogate. So a pass is run once, and each choice of surrogates is then one adjoint
recurrence a neuron layer (`Record.charge_gradient`) and what lies between two layers, back: for a synapse, a product
with its weight, transposed.


`scan_slopes`: how much gradient reaches each layer under each of many surrogates, from one forward pass.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from nwavesdk.analysis.slopes.advice import Advice, Candidates, advise, name_candidates
from nwavesdk.layers import NeuronLayer, SpikingSequential, prepare_net
from nwavesdk.surrogate import Surrogate

__all__ = [
    "FLOOR",
    "LayerGradient",
    "LossFunction",
    "RecordedPass",
    "SlopeScan",
    "scan_recorded_pass",
    "scan_slopes",
]

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""`loss_fn(spk, mem)`, from what the net returns to a scalar."""


@dataclass(frozen=True, eq=False)
class LayerGradient:
    """What reaches one layer.

    Attributes:
        index: of the layer, from 0 for the first.
        charge: ∂L/∂ its input charge, [B, T, *features].
        weights: ∂L/∂ the parameters that make the charge, by their name in the net; empty where not asked for.
    """

    index: int
    charge: Tensor
    weights: dict[str, Tensor]


class RecordedPass:
    """A pass of a net, in the mode the net is in, on a copy of it: the net and its state stay as they are.

    Args:
        net: A row with at least one neuron layer.
        x: Input [B, T, *features].
        loss_fn: `loss_fn(spk, mem)`, from what the net returns to a scalar.
        seed: Of mismatch, see `prepare_net`.
        weights: Whether gradients of weights will be wanted.

    Attributes:
        recording: The pass.
        names: Of the neuron layers, in the order in which they run.
        records: What each did.
        loss: The loss.

    Raises:
        TypeError: The net is no `SpikingSequential`.
        ValueError: It has no neuron layer, `x` is no sequence, or the loss does not depend on the last layer.
    """

    def __init__(
        self,
        net: SpikingSequential,
        x: Tensor,
        loss_fn: LossFunction,
        seed: int | None = None,
        weights: bool = False,
    ) -> None:
        if not isinstance(net, SpikingSequential):
            raise TypeError(
                f"gradients are scanned in a SpikingSequential, got {type(net).__name__}."
            )
        if x.ndim < 3:
            raise ValueError(
                f"a scan needs sequences [B, T, *features], got an input of shape {list(x.shape)}."
            )
        net = copy.deepcopy(net)
        if not weights:  # constants have no gradient that could be computed by the way
            net.requires_grad_(False)
        with torch.enable_grad():
            prepare_net(net, seed)
            self.recording = net.record(x.detach().requires_grad_(), charges=True)
            self.loss = loss_fn(self.recording.spk, self.recording.mem)
        self.names = tuple(self.recording.layers)
        self.records = tuple(self.recording.layers.values())
        if not self.records:
            raise ValueError("the net has no neuron layer, so there is no surrogate to choose.")
        self._weights = _weights_of(net) if weights else [_Weights({})] * len(self.records)
        self._output = self._loss_gradient()

    @property
    def surrogates(self) -> tuple[Surrogate, ...]:
        """The net's own, by layer."""
        return tuple(record.surrogate for record in self.records)

    def gradients(self, surrogates: Sequence[Surrogate] | None = None) -> Iterator[LayerGradient]:
        """Layer for layer, from the last to the first; each is computed when it is asked for.

        Args:
            surrogates: One a layer; None: the net's own.

        Raises:
            ValueError: There are not as many surrogates as layers.
        """
        chosen = self.surrogates if surrogates is None else tuple(surrogates)
        if len(chosen) != len(self.records):
            raise ValueError(
                f"the net has {len(self.records)} neuron layers, got {len(chosen)} surrogates for them."
            )
        grad_spk, grad_mem = self._output
        for index in reversed(range(len(self.records))):
            charge, recurrent = self.records[index].charge_gradient(
                grad_spk, grad_mem, chosen[index]
            )
            grad_spk, learned = self._between(index, charge, recurrent)
            grad_mem = None
            yield LayerGradient(index, charge, learned)

    def charge_gradients(self, surrogates: Sequence[Surrogate] | None = None) -> dict[str, Tensor]:
        """∂L/∂ input charge of every layer at once, by its name; see `gradients`."""
        return {
            self.names[gradient.index]: gradient.charge for gradient in self.gradients(surrogates)
        }

    def _loss_gradient(self) -> tuple[Tensor | None, Tensor | None]:
        last = self.records[-1]
        if not self.loss.requires_grad or self.loss.numel() != 1:
            raise ValueError(
                "loss_fn(spk, mem) must give one number that depends on what the net returns."
            )
        spk, mem = torch.autograd.grad(
            self.loss, [last.spk, last.mem], retain_graph=True, allow_unused=True
        )
        if spk is None and mem is None:
            raise ValueError("the loss does not depend on the net's last neuron layer.")
        return spk, mem

    def _between(
        self, index: int, charge: Tensor, recurrent: Tensor | None
    ) -> tuple[Tensor | None, dict[str, Tensor]]:
        """Back through what lies before a layer: to the spikes of the layer below, and to the weights."""
        parameters, cur = self._weights[index], self.records[index].cur
        assert cur is not None
        below = [self.records[index - 1].spk] if index else []
        wanted, found = [*below, *parameters.feed.values()], list[Tensor | None]()
        if wanted:
            found += torch.autograd.grad(cur, wanted, charge, retain_graph=True, allow_unused=True)
        pairs = zip(parameters.feed, found[len(below) :], strict=True)
        learned = {name: grad for name, grad in pairs if grad is not None}
        return found[0] if index else None, learned | parameters.recurrent(recurrent)


@dataclass(frozen=True, eq=False)
class _Weights:
    """The parameters that make a layer's charge, by name: those of the rows before it, and its recurrent weights."""

    feed: dict[str, Any]
    name: str = ""
    layer: NeuronLayer | None = None

    def recurrent(self, grad: Tensor | None) -> dict[str, Tensor]:
        """The gradient of the recurrent weights, from that of the effective ones."""
        weights = None if self.layer is None else self.layer.recurrent_weights
        if self.layer is None or grad is None or weights is None or not weights.requires_grad:
            return {}
        with torch.enable_grad():
            effective = self.layer.effective_recurrent_weights()
            assert effective is not None
            (own,) = torch.autograd.grad(effective * 1, [weights], grad.to(effective))
        return {f"{self.name}.recurrent_weights": own}


def _weights_of(net: SpikingSequential) -> list[_Weights]:
    found: list[_Weights] = []
    waiting: dict[str, Any] = {}
    for name, row in net.modules_in_order():
        if isinstance(row, NeuronLayer):
            found.append(_Weights(waiting, name, None if row.recurrent_weights is None else row))
            waiting = {}
        else:
            waiting |= {f"{name}.{key}": p for key, p in row.named_parameters() if p.requires_grad}
    return found


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
    recorded = RecordedPass(net, x, loss_fn, seed, weights)
    return scan_recorded_pass(recorded, surrogates, floor=floor)


def scan_recorded_pass(
    recorded: RecordedPass, surrogates: Candidates | None = None, *, floor: float = FLOOR
) -> SlopeScan:
    """As `scan_slopes`, on a pass that has been run."""
    candidates = name_candidates(surrogates, recorded.surrogates)
    rows = [_row(recorded, chosen, floor) for chosen in candidates.values()]
    names: dict[str, None] = {name: None for row in rows for name in row["weights"]}
    return SlopeScan(
        layers=recorded.names,
        candidates=tuple(candidates),
        surrogates=tuple(candidates.values()),
        own=recorded.surrogates,
        norm=np.stack([row["norm"] for row in rows]),
        by_time=np.stack([row["by_time"] for row in rows]),
        usable=np.stack([row["usable"] for row in rows]),
        weight_norm={
            name: np.array([row["weights"].get(name, 0.0) for row in rows]) for name in names
        },
        rates=tuple(record.spk.detach().double().mean().item() for record in recorded.records),
        floor=floor,
    )


def _row(recorded: RecordedPass, chosen: Sequence[Surrogate], floor: float) -> dict[str, Any]:
    L, T = len(recorded.names), recorded.records[-1].spk.shape[1]
    by_time, usable, weights, least = np.empty((L, T)), np.empty(L), dict[str, float](), 0.0
    for gradient in recorded.gradients(chosen):
        grad = gradient.charge.flatten(2)
        by_time[gradient.index] = _norms(grad)
        received = grad.abs().sum((0, 1)).double()
        if gradient.index == L - 1:
            least = floor * received.mean().item()
        usable[gradient.index] = ((received >= least) & (received > 0)).double().mean().item()
        weights |= {
            name: torch.linalg.vector_norm(g.double()).item()
            for name, g in gradient.weights.items()
        }
    return {
        "norm": np.linalg.norm(by_time, axis=1),
        "by_time": by_time,
        "usable": usable,
        "weights": weights,
    }


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
