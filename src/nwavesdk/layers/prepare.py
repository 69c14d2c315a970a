"""Modules that are prepared for a batch: states, mismatch and effective weights.

Who prepares: until `prepare_net` is called on a module, each call with a whole sequence prepares
the module and the modules in it. The outermost module of this library in the call prepares all of
them. From the first `prepare_net` on, only `prepare_net` and `streaming` prepare the module.
"""

import contextlib
import copy
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import cache, partial
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nwavesdk.layers.masks import without_graphs
from nwavesdk.layers.noise import Noise

__all__ = [
    "DIVERGED",
    "Prepared",
    "SelfPreparing",
    "as_trainable",
    "hold_prepared",
    "leave_graph",
    "mixed_modes",
    "prepare_modules",
    "prepared_modules",
    "running_backward_pass",
    "self_preparing_modules",
]

DIVERGED = "training diverged; lower the learning rate and go back to an earlier checkpoint."


class SelfPreparing(nn.Module):
    """Base of modules that prepare themselves in each call until `prepare_net` is called.

    Attributes:
        _is_prepared: Whether a call may start without preparation: `prepare_net` was called, or
            an enclosing call or `streaming` has prepared the module.
        _is_explicit: Whether `prepare_net` was called. Copies and pickles keep this.
    """

    _is_prepared = False
    _is_explicit = False

    def _require_prepared(self, is_sequence: bool) -> None:
        """Prepare the module and the modules in it for this call, unless they are prepared.

        The call of a module with other modules in it runs within `hold_prepared`, so that these do
        not prepare themselves again.

        Args:
            is_sequence: Whether the input is a whole sequence.

        Raises:
            RuntimeError: If the input is a single step, or `prepare_net` was called on a part of
                the module only.
        """
        if not self._is_prepared:
            modules = self_preparing_modules(self)
            self._require_self_preparation(modules, is_sequence)
            prepare_modules(modules)

    def _require_self_preparation(
        self, modules: Sequence["SelfPreparing"], is_sequence: bool
    ) -> None:
        """Check that a call may prepare these modules; see `_require_prepared`."""
        owner = type(self).__name__
        for module in modules:
            if not isinstance(module, Prepared):
                continue
            if module._is_explicit:
                raise mixed_modes(owner, module)

            # A single step needs the state or the effective weights of an earlier preparation.
            does_more = type(module).prepare is not Prepared.prepare
            if (does_more or module.has_state()) and not is_sequence:
                raise RuntimeError(
                    f"{owner} is not prepared: call prepare_net(model) before the first step, or "
                    "use `with streaming(model):`. Only calls with a whole sequence [B, T, ...] "
                    "prepare themselves."
                )

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which may be made within a call."""
        return vars(self) | {"_is_prepared": self._is_explicit}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """A copy with the attributes that `__getstate__` returns, also of a parametrized module.

        torch's class of parametrized modules would copy all attributes, such as kernels and states
        with a graph.
        """
        plain: Any = parametrize.type_before_parametrizations(self)
        replica: Self = plain.__new__(type(self))
        memo[id(self)] = replica
        plain.__setstate__(replica, copy.deepcopy(plain.__getstate__(self), memo))
        return replica


class Prepared(SelfPreparing):
    """Base of all modules that `prepare_net` prepares before each batch.

    A `SpikingSequential` passes whole sequences to these modules.

    Attributes:
        times_prepared: How often the module was prepared.
        chip_noise: Source of the module's mismatch while a `ChipInstance` is held. None: each
            preparation draws again.

    Example:
        >>> class Gate(Prepared):
        ...     def prepare(self, noise, keep_state):
        ...         self.factors = 1 + 0.1 * noise.normal((3,))
        ...     def forward(self, x):
        ...         return x * self.factors
        >>> from nwavesdk.layers import prepare_net
        >>> gate = Gate()
        >>> prepare_net(gate, seed=0)
        >>> gate(torch.ones(2, 3)).shape, gate.times_prepared
        (torch.Size([2, 3]), 1)
    """

    times_prepared = 0
    chip_noise: Callable[[], Noise] | None = None
    # The attributes that are the state: a tensor, a tuple of tensors, or None before the first
    # call. Their values are replaced, never changed in place. Flags are not tensors, and are None
    # before the first call, too. Resets, copies and restorers of the state use these two lists.
    _state_attributes: tuple[str, ...] = ()
    _state_flags: tuple[str, ...] = ()
    # The attributes with effective weights and mismatch, which are replaced, too.
    _preparation_attributes: tuple[str, ...] = ()
    # The number of the backward pass in which the state was set; -1 outside of all.
    _state_pass = -1

    def check_parameters(self) -> None:
        """Raise a RuntimeError if the module cannot be prepared; changes nothing."""

    def has_finite_state(self) -> bool:
        """Whether the state has no NaN or infinity."""
        return True

    def prepare(self, noise: Noise, keep_state: bool) -> None:  # noqa: ARG002  # for subclasses
        """Draw mismatch, compute effective weights and, unless `keep_state`, reset the state."""
        if not keep_state and self.has_state():
            self.forget_state()

    def prepare_in_graph(self) -> None:
        """Prepare the module in compiled code, which must not read values: reset the state.

        A module with more work interrupts the graph, or raises a RuntimeError in torch.func.
        """
        self.forget_state()

    def has_state(self) -> bool:
        """Whether a call may change attributes that the next call reads."""
        return bool(self._state_attributes or self._state_flags)

    def forget_state(self) -> None:
        """Reset the state: as before the first call."""
        self._set_state()
        for name in self._state_flags:
            setattr(self, name, None)

    def _set_state(self, *values: Any) -> None:
        """Set the state attributes in their order; attributes without a value become None."""
        missing = [None] * (len(self._state_attributes) - len(values))
        names = (*self._state_attributes, "_state_pass")
        _set_attributes(self, names, [*values, *missing, running_backward_pass()])

    def detach_state(self) -> None:
        """Keep the state and drop the graph behind it."""
        for name in self._state_attributes:
            setattr(self, name, _detached(getattr(self, name)))

    def state_restorer(self) -> Callable[[], None]:
        """A function that restores the present state."""
        names = (*self._state_attributes, *self._state_flags, "_state_pass")
        return partial(_set_attributes, self, names, [getattr(self, name) for name in names])

    def _require_own_state(self) -> None:
        """Reject a call within backward that would continue from the state after forward.

        Raises:
            RuntimeError: If it would.
        """
        running = running_backward_pass()
        if running not in (-1, self._state_pass):
            raise RuntimeError(
                f"{type(self).__name__} is called again within backward(), with the state that its "
                "forward pass left: prepare the net within the function that is checkpointed, "
                "never call prepare_net on it, or use SpikingSequential(checkpoint=...)."
            )

    def preparation_restorer(self) -> Callable[[], None]:
        """A function that restores the present effective weights and mismatch."""
        names = self._preparation_attributes
        return partial(_set_attributes, self, names, [getattr(self, name) for name in names])

    def state_tensors(self) -> list[Tensor]:
        """The state as a list of tensors; empty from `prepare` to the first call."""
        tensors: list[Tensor] = []
        for name in self._state_attributes:
            value = getattr(self, name)
            if value is not None:
                tensors += value if isinstance(value, tuple) else [value]

        return [as_trainable(tensor) for tensor in tensors]

    def load_state_tensors(self, tensors: list[Tensor]) -> None:
        """Set the state to a result of `state_tensors`."""
        self._set_state(*tensors)

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles, which get the state without its graph."""
        return without_graphs(super().__getstate__()) | {"_state_pass": -1}


def _detached(value: Any) -> Any:
    """A tensor, or the tensors of a tuple, without a graph."""
    if isinstance(value, tuple):
        return tuple(tensor.detach() for tensor in value)
    return None if value is None else value.detach()


def _set_attributes(module: nn.Module, names: Sequence[str], values: Sequence[Any]) -> None:
    """Set attributes that are neither parameters nor buffers."""
    if torch.compiler.is_compiling():
        for name, value in zip(names, values, strict=True):
            setattr(module, name, value)
    else:  # a tenth of the time of `nn.Module.__setattr__`
        vars(module).update(zip(names, values, strict=True))


def running_backward_pass() -> int:
    """The number of the backward pass that is running in this thread; -1 outside of all."""
    return -1 if torch.compiler.is_compiling() else torch._C._current_graph_task_id()


def leave_graph(owner: str) -> None:
    """Interrupt the graph of a compiled call, to prepare a module outside of it.

    Raises:
        RuntimeError: In a transform of torch.func, which cannot be interrupted.
    """
    if not torch.compiler.is_compiling():
        raise RuntimeError(
            f"{owner} has effective weights or mismatch, which torch.func cannot prepare: call "
            "prepare_net(model) before."
        )

    torch._dynamo.graph_break(
        f"{owner} is prepared outside of the graph: call prepare_net(model) before, or remove "
        "fullgraph=True"
    )


def mixed_modes(owner: str, part: nn.Module) -> RuntimeError:
    """The error of a net after `prepare_net` was called on a part of it only."""
    return RuntimeError(
        f"{owner}: prepare_net was called on a part of it ({type(part).__name__}), but not on the "
        "whole: call prepare_net on the whole net, also after a module was added, or on none of it."
    )


def self_preparing_modules(model: nn.Module) -> list[SelfPreparing]:
    """All modules of `model` that calls or `prepare_net` prepare, and their containers."""
    return [module for module in model.modules() if isinstance(module, SelfPreparing)]


def prepared_modules(model: nn.Module, caller: str) -> list[Prepared]:
    """All modules of `model` that `prepare_net` visits, in their order in the net.

    Args:
        model: Any module.
        caller: Name of the calling function, for the message.

    Raises:
        TypeError: If `model` is not a module.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{caller} takes a torch module, got {type(model).__name__}.")
    return [module for module in model.modules() if isinstance(module, Prepared)]


def prepare_modules(
    modules: Sequence[nn.Module], seed: int | None = None, keep_state: bool = False
) -> None:
    """Prepare the `Prepared` modules among `modules`, all or none; see `prepare_net`.

    Raises:
        RuntimeError: If weights or constants are not finite, or a threshold is not above 0; if a
            state is not finite, which is reset then.
    """
    prepared = [module for module in modules if isinstance(module, Prepared)]

    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        for module in prepared:
            module.prepare_in_graph()
    elif "torch._dynamo" in sys.modules:
        # torch.compile may compile a call in parts. The preparation must not be one of the parts.
        _uncompiled(_prepare_by_value)(prepared, seed, keep_state)
    else:
        _prepare_by_value(prepared, seed, keep_state)


@cache
def _uncompiled(function: Callable[..., None]) -> Callable[..., None]:
    """The function, excluded from `torch.compile`."""
    disabled: Callable[..., None] = torch.compiler.disable(function)  # type: ignore[no-untyped-call]  # torch does not type it
    return disabled


def _prepare_by_value(prepared: Sequence[Prepared], seed: int | None, keep_state: bool) -> None:
    """Prepare the modules by reading the values of their parameters."""
    # A NaN membrane never spikes, and all layers after it look healthy. So states that are not
    # finite are an error; they are forgotten first, so that the next call can run.
    lost = [module for module in prepared if not module.has_finite_state()]
    for module in lost:
        module.forget_state()
    if lost:
        owner = type(lost[0]).__name__
        raise RuntimeError(
            f"{owner}: states are NaN or infinite after the last call: its input "
            f"had such values (torch.isfinite finds them), or {DIVERGED}"
        )

    # All modules are checked before the first is prepared, so that an error changes none of them.
    for module in prepared:
        module.check_parameters()
    for number, module in enumerate(prepared):
        draw_noise = module.chip_noise or Noise
        noise = draw_noise() if seed is None else Noise.of(seed, number)
        module.prepare(noise, keep_state)
        module.times_prepared += 1


@contextlib.contextmanager
def hold_prepared(modules: Sequence[SelfPreparing]) -> Iterator[None]:
    """Mark modules as prepared within a `with` block, so that calls in it do not prepare them."""
    before = [module._is_prepared for module in modules]
    for module in modules:
        module._is_prepared = True

    try:
        yield
    finally:
        for module, was_prepared in zip(modules, before, strict=True):
            module._is_prepared = was_prepared or module._is_explicit


def as_trainable(tensor: Tensor) -> Tensor:
    """A copy if the tensor was made in an inference mode that is over, else the tensor itself."""
    if torch.compiler.is_compiling():
        return tensor
    is_unfit = tensor.is_inference() and not torch.is_inference_mode_enabled()
    return tensor.clone() if is_unfit else tensor
