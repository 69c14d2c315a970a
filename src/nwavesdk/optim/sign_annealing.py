"""`SignAnnealing`: weights grow, epoch by epoch, into the signs that the blocks of a chip share."""

import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from nwavesdk.internal.checks import choice, positive_number, whole_number
from nwavesdk.layers.edges import Edge, find_edges
from nwavesdk.optim.signed_blocks import (
    Annealed,
    SignedBlocks,
    annealed_weights,
    attach,
    guard_replaced,
)

__all__ = ["SignAnnealing"]

_BLOCK, _AXIS, _LIMIT = 5, "inputs", 0.9  # off chip; those of H1v1


class SignAnnealing:
    """Trains 2-D weights as W = tanh(alpha · s) · limit · sigmoid(m): s one number a block, m one a weight.

    alpha grows geometrically from `alpha_start` in epoch 1 to `alpha_end` in the last: at first a block may change its
    sign, at last it is decided. A step changes no weight: m gives way to what alpha does. NWAVE documents the
    schedule's ends, not its form, and no formula: both are ours.

    Build it after the weights were initialized and before the optimizer: it replaces the parameters `weight` and
    `recurrent_weights` of synapses and neuron layers by s and m (front ends keep theirs). Call `step`, then
    `prepare_net`, then the pass. At the start alpha · s is 2 Σw / Σ|w| of the block, and weights keep their magnitudes
    as far as tanh(alpha · |s|) · limit reaches; all of a block have one sign from then on.

    `net.state_dict()` has the keys of a plain net and its weights as they act, and takes such; `state_dict()` of the
    annealing has what a resumed run needs beside it. Load the net first, then the annealing, then the optimizer. A
    `copy.deepcopy` of the net is annealed too; `pickle` and `torch.save` of a whole net are refused by torch until
    `finish` was called. Where a layer is called step by step, `torch.nn.utils.parametrize.cached()` around the loop
    saves time: each call computes W anew.

    Args:
        net: Any module with synapses or neuron layers.
        total_epochs: The last epoch.
        alpha_start: alpha in epoch 1, and before.
        alpha_end: alpha in the last epoch.
        block: Weights that share a sign. None takes that of each module's chip, or 5.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`. None takes that of each module's chip, or
            `"inputs"`.
        limit: Largest magnitude. None takes that of each module's chip, or 0.9.

    Attributes:
        epoch: The epoch of the last `step`, 0 before the first.
        alpha: The steepness that acts.

    Raises:
        TypeError: `net` is no module.
        ValueError: An argument is out of its range, there are no 2-D weights, or two modules share one.
        RuntimeError: A weight is parametrized already; in the step of an optimizer, when it was built before.

    Example:
        >>> from nwavesdk.layers import H1v1Layer, H1v1Synapse, SpikingSequential
        >>> net = SpikingSequential(H1v1Synapse(16, 8), H1v1Layer(8, taus=20e-3))
        >>> annealing = SignAnnealing(net, total_epochs=10)
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> for epoch in range(1, 11):
        ...     annealing.step(net, epoch)  # then prepare_net, the pass, and the optimizer's step, for each batch
        >>> annealing.finish()
        >>> bool((net[0].weight[:5] >= 0).all(dim=0).logical_or((net[0].weight[:5] <= 0).all(dim=0)).all())
        True
    """

    def __init__(
        self,
        net: nn.Module,
        total_epochs: int,
        alpha_start: float = 0.5,
        alpha_end: float = 20.0,
        block: int | None = None,
        axis: str | None = None,
        limit: float | None = None,
    ) -> None:
        what = "SignAnnealing"
        self.total_epochs = whole_number(what, "total_epochs", total_epochs)
        self.alpha_start = positive_number(what, "alpha_start", alpha_start, "1")
        self.alpha_end = positive_number(what, "alpha_end", alpha_end, "1")
        if self.alpha_end < self.alpha_start:
            raise ValueError(
                f"{what}: alpha_end must not lie below alpha_start, got {alpha_end} and {alpha_start}."
            )
        block = None if block is None else whole_number(what, "block", block)
        axis = None if axis is None else choice(what, "axis", axis, ["inputs", "outputs"])
        limit = None if limit is None else positive_number(what, "limit", limit, "weight")
        planes = _planes(net)
        self.epoch, self.alpha, self._finished, self._net = 0, self.alpha_start, False, net
        guard = guard_replaced([getattr(one.module, one.key) for one in planes], what)
        self._unguard = weakref.finalize(self, guard.remove)
        self._unguard.atexit = False
        for one in planes:
            shape = tuple(one.weight.shape)
            attach(
                one.module,
                one.key,
                SignedBlocks(shape, *_rules(one, block, axis, limit), self.alpha),
            )

    def step(self, net: nn.Module, epoch: int) -> None:
        """Set alpha for an epoch, before its pass and before `prepare_net`.

        Args:
            net: The net that it was built for, or a module that has it within.
            epoch: From 1 to `total_epochs`.

        Raises:
            ValueError: `epoch` is out of its range, or `net` is another.
            RuntimeError: `finish` was called.
        """
        self._check_open("step")
        epoch = whole_number("SignAnnealing.step", "epoch", epoch, most=self.total_epochs)
        if not self._is_own(net):
            raise ValueError(
                f"SignAnnealing.step: this {type(net).__name__} has not the weights that it was built for: hand on "
                "the same net."
            )
        rise = 1.0 if self.total_epochs == 1 else (epoch - 1) / (self.total_epochs - 1)
        alpha = self.alpha_start ** (1 - rise) * self.alpha_end**rise
        for one in annealed_weights(self._net):
            one.signed.harden(alpha, one.sign, one.magnitude)
        self._set(epoch, alpha)

    def finish(self, net: nn.Module | None = None) -> None:
        """Decide all signs, W = sign(s) · limit · sigmoid(m), and leave plain parameters under the old names.

        Nothing is left in the net but weights that agree. Build a new optimizer to train on, and call `prepare_net`.

        Args:
            net: None for the net that it was built for, or a deep copy of it, which alone is then finished.

        Raises:
            ValueError: `net` has no annealed weights.
            RuntimeError: `finish` was called before.
        """
        self._check_open("finish")
        target = self._net if net is None else net
        found = list(annealed_weights(target))
        if not found:
            raise ValueError(
                f"SignAnnealing.finish: {type(target).__name__} has no annealed weights."
            )
        if self._is_own(target):
            self._unguard()
            self._finished = True
        for one in found:
            one.detach()

    def state_dict(self) -> dict[str, Any]:
        """The schedule, the epoch, and s and m of every weight: all that a resumed run needs beside the net's.

        Raises:
            RuntimeError: `finish` was called.
        """
        self._check_open("state_dict")
        parts = {
            one.name: {
                "sign": one.sign.detach().clone(),
                "magnitude": one.magnitude.detach().clone(),
            }
            for one in annealed_weights(self._net)
        }
        return self._schedule() | {"epoch": self.epoch, "alpha": self.alpha, "weights": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state_dict` gave; after `net.load_state_dict`, which sets s and m from the weights.

        Raises:
            ValueError: It is of another schedule, or of other weights; nothing has changed then.
            RuntimeError: `finish` was called.
        """
        self._check_open("load_state_dict")
        own, schedule = {one.name: one for one in annealed_weights(self._net)}, self._schedule()
        wanted = {key: state.get(key) for key in schedule}
        if wanted != schedule:
            raise ValueError(
                f"SignAnnealing: the state is of the schedule {wanted}, this one is {schedule}."
            )
        weights = state.get("weights", {})
        if _shapes(weights) != (expected := _shapes({k: _parts(one) for k, one in own.items()})):
            raise ValueError(
                f"SignAnnealing: the state is of the weights {_shapes(weights)}, the net has {expected}."
            )
        with torch.no_grad():
            for name, one in own.items():
                one.sign.copy_(weights[name]["sign"])
                one.magnitude.copy_(weights[name]["magnitude"])
        self._set(state["epoch"], state["alpha"])

    def _schedule(self) -> dict[str, Any]:
        return {
            "total_epochs": self.total_epochs,
            "alpha_start": self.alpha_start,
            "alpha_end": self.alpha_end,
        }

    def _set(self, epoch: int, alpha: float) -> None:
        self.epoch, self.alpha = epoch, alpha
        for one in annealed_weights(self._net):
            one.signed.alpha = alpha

    def _is_own(self, net: nn.Module) -> bool:
        inside = {id(one.signed) for one in annealed_weights(net)}
        return all(id(one.signed) in inside for one in annealed_weights(self._net))

    def _check_open(self, method: str) -> None:
        if self._finished:
            raise RuntimeError(
                f"SignAnnealing.{method}: finish() was called and the net has plain weights: save them by "
                "net.state_dict(), or build a new SignAnnealing."
            )


def _planes(net: nn.Module) -> list[Edge]:
    """The weights to be annealed."""
    planes = [one for one in find_edges(net).edges if one.weight.ndim == 2]
    if not planes:
        raise ValueError(
            f"SignAnnealing: {type(net).__name__} has no 2-D weights of synapses or neuron layers."
        )
    first: dict[int, str] = {}
    for one in planes:
        if parametrize.is_parametrized(one.module, one.key):
            raise RuntimeError(
                f"SignAnnealing: {one.name} is parametrized already: call finish() of the SignAnnealing that holds it, "
                "or remove the parametrization, before a new one."
            )
        if (other := first.setdefault(id(one.weight), one.name)) != one.name:
            raise ValueError(
                f"SignAnnealing: {other} and {one.name} are one parameter, which could not stay one: give each "
                "module its own."
            )
    return planes


def _rules(
    one: Edge, block: int | None, axis: str | None, limit: float | None
) -> tuple[int, str, float]:
    """What was asked for; else what the chip asks for; else what H1v1 would."""
    if one.profile is None:
        return block or _BLOCK, axis or _AXIS, limit or _LIMIT
    chip = one.profile
    return (
        block or chip.count("sign_block"),
        axis or chip.text("sign_axis"),
        limit or chip.number("weight_limit"),
    )


def _parts(one: Annealed) -> dict[str, torch.Tensor]:
    return {"sign": one.sign, "magnitude": one.magnitude}


def _shapes(weights: Mapping[str, Mapping[str, torch.Tensor]]) -> dict[str, list[list[int]]]:
    """Shape of s and m by name, in one order."""
    return {
        name: [list(parts["sign"].shape), list(parts["magnitude"].shape)]
        for name, parts in sorted(weights.items())
    }
