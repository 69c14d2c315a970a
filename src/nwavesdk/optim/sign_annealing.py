"""`SignAnnealing`: over the epochs, weights grow into the signs that the blocks of a chip share."""

import weakref
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook
from torch.utils.hooks import RemovableHandle

from nwavesdk.internal.checks import choice, positive_number, whole_number
from nwavesdk.layers.masks import is_pruned
from nwavesdk.net.edges import Edge, dense_edges
from nwavesdk.optim.annealed_weights import SignedBlocks, annealed_weights, attach

__all__ = ["SignAnnealing"]

# For modules without a chip: the values of H1v1.
_BLOCK = 5
_AXIS = "inputs"
_LIMIT = 0.9


class SignAnnealing:
    """Trains 2-D weights as W = tanh(alpha · s) · limit · sigmoid(m).

    s is one number per block of weights, m one per weight. alpha grows geometrically from
    `alpha_start` in epoch 1 to `alpha_end` in the last epoch: at first a block may change its sign,
    at the end the sign is decided. NWAVE documents only the ends of the schedule.

    Build it after the weights are initialized and before the optimizer: it replaces the parameters
    `weight` and `recurrent_weights` of synapses, linear layers and neuron layers by s and m, but
    not the weights of front ends. In each epoch, call `step`, then `prepare_net`. From the start,
    all weights of a block have one sign.

    `net.state_dict()` has the keys and weights of a plain net, `state_dict()` of the annealing the
    rest that a resumed run needs. Load the net first, then the annealing, then the optimizer. torch
    rejects `pickle` and `torch.save` of a whole net until `finish` is called. If you call a layer
    step by step, wrap the loop in `torch.nn.utils.parametrize.cached()`, for speed.

    Args:
        net: Any module with synapses or neuron layers.
        total_epochs: The last epoch.
        alpha_start: Value of alpha in epoch 1 and before.
        alpha_end: Value of alpha in the last epoch.
        block: Number of weights that share a sign. If None, the number of each module's chip, or 5.
        axis: `"inputs"` or `"outputs"`, see `nwavesdk.chip.signs`. If None, the axis of each
            module's chip, or `"inputs"`.
        limit: Largest magnitude. If None, the limit of each module's chip, or 0.9.

    Attributes:
        epoch: The epoch of the last `step`, 0 before the first.
        alpha: The current steepness.

    Raises:
        TypeError: If `net` is not a module.
        ValueError: If an argument is out of its range, there are no 2-D weights, two modules share
            one, or the net has other weights, such as a convolution.
        RuntimeError: If a weight is pruned or parametrized, and in the next step of an optimizer
            that was built before.

    Example:
        >>> from nwavesdk.layers import H1v1Layer, H1v1Synapse, SpikingSequential
        >>> net = SpikingSequential(H1v1Synapse(16, 8), H1v1Layer(8, taus=20e-3))
        >>> annealing = SignAnnealing(net, total_epochs=10)
        >>> optimizer = torch.optim.Adam(net.parameters())
        >>> for epoch in range(1, 11):
        ...     annealing.step(net, epoch)  # then, for each batch: prepare_net, pass, optimizer
        >>> annealing.finish()
        >>> block = net[0].weight[:5]
        >>> bool(((block >= 0).all(dim=0) | (block <= 0).all(dim=0)).all())
        True
    """

    def __init__(
        self,
        net: nn.Module,
        total_epochs: int,
        *,
        alpha_start: float = 0.5,
        alpha_end: float = 20.0,
        block: int | None = None,
        axis: str | None = None,
        limit: float | None = None,
    ) -> None:
        owner = "SignAnnealing"
        self.total_epochs = whole_number(owner, "total_epochs", total_epochs)
        self.alpha_start = positive_number(owner, "alpha_start", alpha_start, "1")
        self.alpha_end = positive_number(owner, "alpha_end", alpha_end, "1")
        if self.alpha_end < self.alpha_start:
            raise ValueError(
                f"{owner}: alpha_end must not be below alpha_start, got {alpha_end} and "
                f"{alpha_start}."
            )

        block = None if block is None else whole_number(owner, "block", block)
        axis = None if axis is None else choice(owner, "axis", axis, ["inputs", "outputs"])
        limit = None if limit is None else positive_number(owner, "limit", limit, "weight")
        edges = _edges_to_anneal(net)

        self.epoch = 0
        self.alpha = self.alpha_start
        self._finished = False
        self._net = net

        # Optimizers that hold a replaced weight are rejected as long as this object lives.
        guard = _guard_replaced([getattr(edge.module, edge.key) for edge in edges])
        self._unguard = weakref.finalize(self, guard.remove)
        self._unguard.atexit = False

        for edge in edges:
            attach(edge.module, edge.key, _signed_blocks(edge, block, axis, limit, self.alpha))

    def step(self, net: nn.Module, epoch: int) -> None:
        """Set alpha for an epoch, before its pass and before `prepare_net`.

        Args:
            net: The net of the constructor, or a module that contains it.
            epoch: From 1 to `total_epochs`.

        Raises:
            ValueError: If `epoch` is out of its range, or `net` is another net.
            RuntimeError: If `finish` was called.
        """
        self._require_unfinished("step")
        epoch = whole_number("SignAnnealing.step", "epoch", epoch, most=self.total_epochs)
        if not self._contains_annealed_net(net):
            raise ValueError(
                f"SignAnnealing.step: this {type(net).__name__} does not have the weights that it "
                "was built for: pass the same net."
            )

        progress = 1.0 if self.total_epochs == 1 else (epoch - 1) / (self.total_epochs - 1)
        alpha = self.alpha_start ** (1 - progress) * self.alpha_end**progress
        for annealed in annealed_weights(self._net):
            annealed.signed.harden(alpha, annealed.sign, annealed.magnitude)
        self._set_alpha(epoch, alpha)

    def finish(self, net: nn.Module | None = None) -> None:
        """Decide all signs, W = sign(s) · limit · sigmoid(m), as plain parameters under old names.

        To train on, build a new optimizer and call `prepare_net`.

        Args:
            net: None for the net of the constructor, or a deep copy of it. Only the copy is then
                finished.

        Raises:
            ValueError: If `net` has no annealed weights.
            RuntimeError: If `finish` was called before.
        """
        self._require_unfinished("finish")
        target = self._net if net is None else net
        weights = list(annealed_weights(target))
        if not weights:
            raise ValueError(
                f"SignAnnealing.finish: {type(target).__name__} has no annealed weights: pass the "
                "net of the constructor, or a deep copy of it."
            )

        # If a copy is finished, this annealing and its own net stay unchanged.
        if self._contains_annealed_net(target):
            self._unguard()
            self._finished = True
        for annealed in weights:
            annealed.detach()

    def state_dict(self) -> dict[str, Any]:
        """The schedule, the epoch, and s and m of every weight.

        Raises:
            RuntimeError: If `finish` was called.
        """
        self._require_unfinished("state_dict")
        parts = {
            annealed.name: {
                "sign": annealed.sign.detach().clone(),
                "magnitude": annealed.magnitude.detach().clone(),
            }
            for annealed in annealed_weights(self._net)
        }
        return self._schedule() | {"epoch": self.epoch, "alpha": self.alpha, "weights": parts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict`. Call `net.load_state_dict` before: it sets s and m too.

        Raises:
            ValueError: If the state is of another schedule or of other weights; nothing has changed
                then.
            RuntimeError: If `finish` was called.
        """
        self._require_unfinished("load_state_dict")
        schedule = self._schedule()
        saved_schedule = {key: state.get(key) for key in schedule}
        if saved_schedule != schedule:
            raise ValueError(
                f"SignAnnealing: the state is of the schedule {saved_schedule}, this one is "
                f"{schedule}: build it with the arguments of the saved annealing."
            )

        annealed = {weight.name: weight for weight in annealed_weights(self._net)}
        saved = state.get("weights", {})
        saved_shapes = {name: _shapes(**parts) for name, parts in saved.items()}
        shapes = {name: _shapes(weight.sign, weight.magnitude) for name, weight in annealed.items()}
        if saved_shapes != shapes:
            raise ValueError(
                f"SignAnnealing: the state is of the weights {saved_shapes}, the net has {shapes}: "
                "build the net of the saved state."
            )

        with torch.no_grad():
            for name, weight in annealed.items():
                weight.sign.copy_(saved[name]["sign"])
                weight.magnitude.copy_(saved[name]["magnitude"])
        self._set_alpha(state["epoch"], state["alpha"])

    def _schedule(self) -> dict[str, Any]:
        return {name: vars(self)[name] for name in ("total_epochs", "alpha_start", "alpha_end")}

    def _set_alpha(self, epoch: int, alpha: float) -> None:
        self.epoch = epoch
        self.alpha = alpha
        for annealed in annealed_weights(self._net):
            annealed.signed.alpha = alpha

    def _contains_annealed_net(self, net: nn.Module) -> bool:
        inside = {id(annealed.signed) for annealed in annealed_weights(net)}
        return all(id(annealed.signed) in inside for annealed in annealed_weights(self._net))

    def _require_unfinished(self, method: str) -> None:
        if self._finished:
            raise RuntimeError(
                f"SignAnnealing.{method}: finish() was called and the net has plain weights: save "
                "them by net.state_dict(), or build a new SignAnnealing."
            )


def _shapes(sign: Tensor, magnitude: Tensor) -> tuple[list[int], list[int]]:
    return list(sign.shape), list(magnitude.shape)


def _edges_to_anneal(net: nn.Module) -> list[Edge]:
    edges = dense_edges("SignAnnealing", net)
    first: dict[int, str] = {}
    for edge in edges:
        if parametrize.is_parametrized(edge.module, edge.key):
            raise RuntimeError(
                f"SignAnnealing: {edge.name} is already parametrized: before you build it, call "
                "finish() of the SignAnnealing that holds it, or remove the parametrization."
            )

        if is_pruned(edge.module, edge.key):
            raise RuntimeError(
                f"SignAnnealing: {edge.name} is pruned, and annealed weights are never 0: make the "
                "mask permanent by torch.nn.utils.prune.remove, or prune after finish()."
            )

        # A parameter that two modules share would be split into s and m twice.
        other = first.setdefault(id(edge.weight), edge.name)
        if other != edge.name:
            raise ValueError(
                f"SignAnnealing: {other} and {edge.name} are one parameter, which cannot be "
                "annealed: build each module with its own parameter."
            )
    return edges


def _signed_blocks(
    edge: Edge, block: int | None, axis: str | None, limit: float | None, alpha: float
) -> SignedBlocks:
    """The parametrization of a weight; where an argument is None, the value of its chip or H1v1."""
    chip = edge.profile
    axis = axis or (_AXIS if chip is None else chip.text("sign_axis"))
    if edge.output_axis == 0:
        # nn.Linear has [N_out, N_in], where the blocks lie the other way.
        axis = "outputs" if axis == "inputs" else "inputs"

    return SignedBlocks(
        tuple(edge.weight.shape),
        block=block or (_BLOCK if chip is None else chip.count("sign_block")),
        axis=axis,
        limit=limit or (_LIMIT if chip is None else chip.number("weight_limit")),
        alpha=alpha,
    )


def _guard_replaced(parameters: Iterable[nn.Parameter]) -> RemovableHandle:
    """Let every optimizer that holds one of `parameters` raise a RuntimeError in its next step.

    Such an optimizer would train nothing, silently. Weak references do not keep the parameters
    alive: usually all are gone when the optimizer is built, and a step then costs nothing.

    Args:
        parameters: Parameters that no longer belong to their net.

    Returns:
        A handle; `remove()` ends the check.
    """
    replaced = [weakref.ref(parameter) for parameter in parameters]

    def check_optimizer(optimizer: Optimizer, args: Any, kwargs: Any) -> None:  # noqa: ARG001
        alive = {id(parameter) for ref in replaced if (parameter := ref()) is not None}
        optimized = (id(p) for group in optimizer.param_groups for p in group["params"])
        if alive and not alive.isdisjoint(optimized):
            raise RuntimeError(
                f"{type(optimizer).__name__} holds weights that SignAnnealing has replaced since, "
                "and would train nothing: build SignAnnealing before the optimizer."
            )

    return register_optimizer_step_pre_hook(check_optimizer)
