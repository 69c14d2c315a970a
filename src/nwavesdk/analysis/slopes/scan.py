"""`scan_slopes`: the gradient that reaches each layer, and the surrogates that follow from it.

`research/slope_study.py` tests the rule of `SlopeScan.recommend`; run it again after a change.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from nwavesdk.analysis.slopes.candidates import Candidates, name_candidates, surrogate_label
from nwavesdk.analysis.slopes.recorded_pass import LossFunction, RecordedPass
from nwavesdk.surrogate import Surrogate

__all__ = ["USABLE_SHARE", "Advice", "SlopeScan", "percent", "scan_recorded_pass", "scan_slopes"]

Array = npt.NDArray[np.float64]

# A neuron's gradient is usable if it is at least this share of the average gradient of a neuron in
# the last layer.
USABLE_SHARE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Advice:
    """The recommendation for one layer.

    Attributes:
        layer: Name of the layer in the net.
        surrogate: The recommended surrogate.
        share: Norm of the gradient in this layer divided by the norm in the last layer, if all
            layers have the recommended surrogate.
        share_now: The same quotient with the net's present surrogates; NaN if they were not a
            candidate.
        transfer: Norm of the gradient in this layer divided by the norm in the next layer, if all
            layers have the recommended surrogate; NaN for the last layer.
        usable: Share of the layer's neurons with a usable gradient under the recommended surrogate;
            see `SlopeScan.usable`.
        reason: The reason in words.
    """

    layer: str
    surrogate: Surrogate
    share: float
    share_now: float
    transfer: float
    usable: float
    reason: str


@dataclass(frozen=True, eq=False, kw_only=True)
class SlopeScan:
    """The gradients of C candidates in L neuron layers over T steps.

    The gradient is ∂L/∂x of a layer's input charge x.

    Attributes:
        layers: Names of the neuron layers in the net, from the first to the last.
        candidates: Names of the candidates.
        surrogates: For each candidate, one surrogate for each layer.
        current: The net's present surrogates, by layer.
        norm: Euclidean norm of the gradient of each layer's charge, [C, L].
        by_time: The norm at each step, [C, L, T].
        usable: Share of neurons with a usable gradient, [C, L]: |∂L/∂x|, summed over batch and
            time, is at least `USABLE_SHARE` of the average over neurons of the last layer under the
            same candidate.
        rates: Mean firing rate of each layer [spikes per step and neuron], which is the same for
            all candidates.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.surrogate import fast_sigmoid
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(LIFSynapse(5, 20), LIFLayer(20, taus=10e-3))
        >>> slopes = [fast_sigmoid(slope) for slope in (5, 25)]
        >>> scan = scan_slopes(net, torch.rand(4, 50, 5), lambda spk, mem: spk.mean(), slopes)
        >>> scan.candidates, bool(scan.norm[0, 0] > scan.norm[1, 0])
        (('fast_sigmoid(slope=5)', 'fast_sigmoid(slope=25)'), True)
    """

    layers: tuple[str, ...]
    candidates: tuple[str, ...]
    surrogates: tuple[tuple[Surrogate, ...], ...]
    current: tuple[Surrogate, ...]
    norm: Array
    by_time: Array
    usable: Array
    rates: tuple[float, ...]

    @property
    def share(self) -> Array:
        """The norm in each layer divided by the norm in the last layer, [C, L].

        NaN where both are 0.
        """
        return _quotient(self.norm, self.norm[:, -1:])

    @property
    def ratio(self) -> Array:
        """The norm in the first layer divided by the norm in the last layer, [C]."""
        return self.share[:, 0]

    @property
    def transfer(self) -> Array:
        """The norm in each layer divided by the norm in the next layer, [C, L - 1].

        NaN where both are 0.
        """
        return _quotient(self.norm[:, :-1], self.norm[:, 1:])

    @property
    def current_row(self) -> int | None:
        """Index of the candidate that equals the net's present surrogates, or None."""
        return self.surrogates.index(self.current) if self.current in self.surrogates else None

    def uniform_rows(self, kind: type[Surrogate]) -> list[int]:
        """Indices of the candidates with one surrogate of the class `kind` in all layers.

        Raises:
            ValueError: If there is none.
        """
        rows = [
            row
            for row, chosen in enumerate(self.surrogates)
            if type(chosen[0]) is kind and len({*chosen}) == 1
        ]
        if not rows:
            raise ValueError(
                f"no candidate is a {kind.__name__} in all layers: add one, or choose another kind."
            )
        return rows

    def recommend(self, kind: type[Surrogate] | None = None) -> tuple[Advice, ...]:
        """A surrogate for each layer, from the candidates with one surrogate in all layers.

        The rule: *Of the surrogates under which the gradient does not shrink from the next layer to
        this layer, take the surrogate under which it grows least. If there is none, take the
        surrogate under which it shrinks least.* The last layer takes the surrogate of the layer
        before it. A net of one layer keeps its surrogate.

        Args:
            kind: Class of the surrogates to choose from. [in each layer, the class of the net]

        Raises:
            ValueError: If no candidate has this class in all layers.
        """
        last = len(self.layers) - 1
        rows = [_best_row(self, layer, kind or type(self.current[layer])) for layer in range(last)]
        advice = [_advice(self, layer, row) for layer, row in enumerate(rows)]
        return (*advice, _last_advice(self, rows[-1] if rows else None, kind))


def scan_slopes(
    net: nn.Module,
    x: Tensor,
    loss_fn: LossFunction,
    surrogates: Candidates | None = None,
    *,
    seed: int | None = None,
    lengths: Tensor | None = None,
) -> SlopeScan:
    """Run the net forward once, and backward once for each candidate.

    The net runs in its present mode: call `net.eval()` for a pass without dropout.

    Args:
        net: A net with at least one neuron layer. It does not change.
        x: Input of the net: [B, T, *features], or [T, B, *features] with `time_first`.
        loss_fn: `loss_fn(spk, mem)`, a scalar from the spikes and membranes that the net returns.
        surrogates: The candidates, as a list, or as a dict with their names. Each is one surrogate
            for all layers, or one for each layer. [`default_grid()` and the net's surrogates]
        seed: Seed of the mismatch; see `prepare_net`.
        lengths: Steps of each recording, int64 [B]; None for all. The loss must not depend on
            padding.

    Raises:
        TypeError: If the net is not a module, or a candidate is not a surrogate.
        ValueError: If the loss does not depend on the net, or a candidate does not have one
            surrogate for each layer.

    Example:
        >>> from nwavesdk.layers import LIFLayer, LIFSynapse, SpikingSequential
        >>> from nwavesdk.surrogate import fast_sigmoid
        >>> _ = torch.manual_seed(0)
        >>> net = SpikingSequential(
        ...     LIFSynapse(5, 20), LIFLayer(20, 10e-3), LIFSynapse(20, 3), LIFLayer(3, 10e-3)
        ... )
        >>> x = torch.rand(4, 50, 5)
        >>> scan = scan_slopes(net, x, lambda spk, mem: spk.mean(), [fast_sigmoid(5)])
        >>> scan.norm.shape
        (1, 2)
    """
    recorded = RecordedPass(net, x, loss_fn, seed=seed, lengths=lengths)
    return scan_recorded_pass(recorded, surrogates)


def scan_recorded_pass(recorded: RecordedPass, surrogates: Candidates | None = None) -> SlopeScan:
    """The backward passes of `scan_slopes`, from a recorded forward pass."""
    candidates = name_candidates(surrogates, recorded.surrogates)
    C = len(candidates)
    L = len(recorded.names)
    by_time = np.empty((C, L, recorded.records[-1].spk.shape[1]))
    usable = np.empty((C, L))

    for row, chosen in enumerate(candidates.values()):
        threshold = 0.0
        # The last layer comes first, so its average is known when other layers need it.
        for name, gradient in recorded.gradients(chosen):
            layer = recorded.names.index(name)
            charge = gradient.flatten(2)
            by_time[row, layer] = _norm_by_step(charge)
            received = charge.abs().sum((0, 1)).double()
            if layer == L - 1:
                threshold = USABLE_SHARE * received.mean().item()
            is_usable = (received >= threshold) & (received > 0)
            usable[row, layer] = is_usable.double().mean().item()

    return SlopeScan(
        layers=recorded.names,
        candidates=tuple(candidates),
        surrogates=tuple(candidates.values()),
        current=recorded.surrogates,
        norm=np.linalg.norm(by_time, axis=2),
        by_time=by_time,
        usable=usable,
        rates=tuple(record.rate().item() for record in recorded.records),
    )


def _norm_by_step(grad: Tensor) -> Array:
    """The norm of a gradient [B, T, N] at each step, [T]."""
    by_sequence = torch.linalg.vector_norm(grad, dim=2)
    # In float32, the squares of norms outside of this range vanish or overflow.
    if not 1e-14 < by_sequence.amax().item() < 1e14:
        by_sequence = torch.linalg.vector_norm(grad, dim=2, dtype=torch.float64)
    norms: Array = torch.linalg.vector_norm(by_sequence.double(), dim=0).cpu().numpy()
    return norms


def _quotient(numerator: Array, denominator: Array) -> Array:
    """The quotient without a warning for a denominator of 0."""
    with np.errstate(divide="ignore", invalid="ignore"):
        quotient: Array = numerator / denominator
    return quotient


def _best_row(scan: SlopeScan, layer: int, kind: type[Surrogate]) -> int:
    """The candidate that the rule takes for a layer; see `SlopeScan.recommend`."""
    rows = scan.uniform_rows(kind)
    # Where no gradient arrives, none is passed on: 0 / 0 and x / 0 count as 0.
    transfer = np.nan_to_num(scan.transfer[rows, layer], nan=0.0, posinf=0.0)

    lossless = np.flatnonzero(transfer >= 1)
    best = lossless[transfer[lossless].argmin()] if len(lossless) else transfer.argmax()
    return rows[int(best)]


def _advice(scan: SlopeScan, layer: int, row: int) -> Advice:
    """The advice to use the surrogate of a candidate in a layer, with the reason in words.

    Args:
        scan: The scan.
        layer: Index of the layer, which is not the last one.
        row: Index of the candidate.
    """
    surrogate = scan.surrogates[row][layer]
    current = scan.current[layer]
    transfer = float(scan.transfer[row, layer])
    share = float(scan.share[row, layer])
    now = math.nan if scan.current_row is None else float(scan.share[scan.current_row, layer])

    shares = f"{percent(share)} of the last layer's gradient at {surrogate_label(surrogate)}"
    if surrogate == current:
        shares += ", its present surrogate"
    elif scan.current_row is not None:
        shares = (
            f"{percent(now)} of the last layer's gradient at {surrogate_label(current)}, "
            f"{percent(share)} at {surrogate_label(surrogate)}"
        )

    why = "no gradient arrives with any candidate: look for silent layers (nwave diagnose)"
    if transfer > 0:
        why = "every candidate loses some, and this one loses least"
    if transfer >= 1:
        why = "of the candidates without loss, this one lets the gradient grow least"

    return Advice(
        layer=scan.layers[layer],
        surrogate=surrogate,
        share=share,
        share_now=now,
        transfer=transfer,
        usable=float(scan.usable[row, layer]),
        reason=f"layer {scan.layers[layer]} receives {shares}; this is {percent(transfer)} of the "
        f"gradient in layer {scan.layers[layer + 1]}: {why}.",
    )


def _last_advice(scan: SlopeScan, row_before: int | None, kind: type[Surrogate] | None) -> Advice:
    """The advice for the last layer, for which the rule has no next layer.

    Args:
        scan: The scan.
        row_before: The candidate of the layer before it; None in a net of one layer.
        kind: Class of the surrogates to choose from; None for the class of the layer's surrogate.
    """
    if row_before is None:
        # The layer keeps its surrogate, which need not be a candidate: the share of usable neurons
        # is read from the first candidate of the class.
        row = scan.uniform_rows(kind or type(scan.current[-1]))[0]
        surrogate = scan.current[-1]
        action = "is the only one and keeps its surrogate"
    else:
        row = row_before
        surrogate = scan.surrogates[row][-1]
        action = f"takes the surrogate of layer {scan.layers[-2]}"

    return Advice(
        layer=scan.layers[-1],
        surrogate=surrogate,
        share=1.0,
        share_now=math.nan if scan.current_row is None else 1.0,
        transfer=math.nan,
        usable=float(scan.usable[row, -1]),
        reason=f"layer {scan.layers[-1]}, the last, {action}: its gradient is that of the loss, "
        "and no layer follows.",
    )


def percent(share: float) -> str:
    """A share as a rounded percentage, or as a factor if it is 2 or more.

    Example:
        >>> percent(0.0031), percent(1.25), percent(54.3)
        ('0.31 %', '125 %', '54 ×')
    """
    if share >= 2:
        return f"{share:.3g} ×" if share >= 1000 else f"{share:.2g} ×"
    return f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"
