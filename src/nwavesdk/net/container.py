"""`Container`, the base of modules that run other modules on sequences, and how each is run."""

import inspect
from abc import abstractmethod
from collections.abc import Callable
from functools import cache
from textwrap import indent
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from nwavesdk.internal.tensors import is_list, require_tensor
from nwavesdk.layers.lengths import check_lengths, reads_batch, valid_places
from nwavesdk.layers.neuron import NeuronLayer
from nwavesdk.layers.prepare import (
    Prepared,
    SelfPreparing,
    hold_prepared,
    prepare_modules,
    self_preparing_modules,
)
from nwavesdk.layers.record import Recording
from nwavesdk.layers.synapse import DenseSynapse, Synapse
from nwavesdk.net.calls import Outputs, call_module, is_watched
from nwavesdk.net.folding import require_tensor_output, run_folded, run_rows
from nwavesdk.net.recording import record
from nwavesdk.net.sizes import count_parameters, describe_module

__all__ = [
    "Container",
    "Pass",
    "run_module",
    "takes_argument",
]


class Pass(NamedTuple):
    """The data that all modules of a container share in one call.

    Attributes:
        lengths: Number of steps of each recording, int64 [B], or None.
        single_step: Whether the input is one step, whatever its shape.
        restorers: A function for each state that the call may change, which sets it back.
    """

    lengths: Tensor | None
    single_step: bool
    restorers: list[Callable[[], None]]

    def is_sequence(self, x: Tensor) -> bool:
        """Whether `x` has a dimension of time."""
        return x.ndim > 2 and not self.single_step


class Container(SelfPreparing):
    """Base of modules that run other modules on sequences: `spk, mem = net(x)`.

    A subclass decides in `_run_inside` how they are run. If a call fails, all states are restored.
    """

    time_first = False

    @abstractmethod
    def _run_inside(self, x: Tensor, run: Pass) -> Outputs:
        """One pass with an input that was checked; adds to `run.restorers`."""

    def forward(
        self, x: Tensor, lengths: Tensor | None = None, single_step: bool = False
    ) -> Outputs:
        """The last spikes and membranes; see the class."""
        self._require_input(x, single_step)
        run = Pass(None, single_step, [])

        is_turned = self.time_first and run.is_sequence(x)
        if is_turned:
            x = x.transpose(0, 1)
        if lengths is not None:
            run = run._replace(lengths=_checked_lengths(type(self).__name__, lengths, x, run))

        # The outputs are not unpacked here: after a graph break, compiled code continues at this
        # line, and torch would warn of tensors.
        outputs = self._run(x, run) if self._is_prepared else self._prepare_and_run(x, run)
        if not is_turned:
            return outputs

        spk, mem = outputs
        spk_first = spk.transpose(0, 1)
        return spk_first, spk_first if mem is spk else mem.transpose(0, 1)

    def step(self, x: Tensor) -> Outputs:
        """One step, of any shape: [B, *features], such as images [B, C, H, W].

        Raises:
            RuntimeError: If `prepare_net` is missing.
            ValueError: If the input has another shape.
        """
        spk, mem = self(x, single_step=True)
        return spk, mem

    def record(self, x: Tensor, charges: bool = False, lengths: Tensor | None = None) -> Recording:
        """Run one pass and record each neuron layer; see `nwavesdk.net.record`."""
        return record(self, x, charges, lengths)

    def _prepare_and_run(self, x: Tensor, run: Pass) -> Outputs:
        """A pass of a net for which `prepare_net` was not called."""
        modules = self_preparing_modules(self)
        # `prepare_net` may have been called for each part.
        if not all(module._is_prepared for module in modules if isinstance(module, Prepared)):
            self._require_self_preparation(modules, run.is_sequence(x))
            prepare_modules(modules)

        with hold_prepared(modules):
            outputs = self._run(x, run)

        # A state with a graph would hold the graph of this call in memory.
        for module in modules:
            if isinstance(module, Prepared) and not module._is_prepared:
                module.detach_state()
        return outputs

    def _run(self, x: Tensor, run: Pass) -> Outputs:
        """One pass of a prepared net; if an error occurs, all states are set back."""
        try:
            return self._run_inside(x, run)
        except BaseException:
            for restore in reversed(run.restorers):
                restore()
            raise

    def _require_input(self, x: Tensor, single_step: bool) -> None:
        """Reject an input that the first module does not take."""
        first = self._first_module()
        is_usual = type(x) is Tensor and x.layout is torch.strided and not x.is_nested
        if is_usual and isinstance(first, DenseSynapse):
            return  # The synapse checks it.

        owner = type(self).__name__
        if is_list(x) and not torch.compiler.is_compiling():
            if isinstance(first, DenseSynapse) and first.takes_lists:
                return
            raise TypeError(
                f"{owner} takes a dense tensor for its first module, {type(first).__name__}, got "
                "torch.sparse_coo: convert it, as in x.to_dense(), or begin with LIFSynapse."
            )

        require_tensor(owner, x)
        if isinstance(first, _ConvNd | Synapse):
            _check_axes(owner, first, x, single_step, self.time_first)

    def _first_module(self) -> nn.Module | None:
        """The module that gets the input, if there is only one; nested containers are entered."""
        first = next(iter(self._modules.values()), None)
        return first._first_module() if isinstance(first, Container) else first

    def __repr__(self) -> str:
        """The modules with the shape of a step of their output, if it is known, and parameters."""
        lines = [
            describe_module(name, module, is_container=isinstance(module, Container))
            for name, module in self._modules.items()
        ]

        options = self.extra_repr()
        head = f"{type(self).__name__}(" + (f"{options}," if options else "")
        body = indent("\n".join(lines), "  ")
        return "\n".join([head, body, f")  # {count_parameters(self)}"])


def run_module(module: nn.Module, x: Tensor, run: Pass, *, is_last: bool) -> Outputs:
    """Run one module of a container on a sequence [B, T, ...] or a step [B, ...].

    Args:
        module: Any module.
        x: Its input.
        run: The data that the modules of the call share.
        is_last: Whether the caller may read the membrane of a neuron layer.

    Returns:
        Spikes and membranes, or twice the output of a module without a membrane.

    Raises:
        RuntimeError: If the module is not prepared.
        TypeError: If the module returns neither a tensor nor two of them.
        ValueError: If a single step has too many dimensions, or a container has `time_first`.
    """
    if isinstance(module, SelfPreparing) and not module._is_prepared:
        raise _unprepared(module)

    if isinstance(module, NeuronLayer):
        run.restorers.append(module.state_restorer())
        if run.single_step:
            _check_step(module, x, len(module.features))
        if is_last:
            return call_module(module, x)  # type: ignore[no-any-return]  # layers return two tensors
        spk = module(x)[0] if is_watched(module) else module.spikes(x)
        return spk, spk

    if isinstance(module, Container):
        if module.time_first:
            # Its input is [B, T, ...]. A call with hooks would read it as [T, B, ...].
            raise ValueError(
                f"{type(module).__name__}: got time_first=True within another container, expected "
                "it only for the outermost container: remove it here."
            )
        if not is_watched(module):
            return module._run_inside(x, run)

    elif isinstance(module, Prepared) and not module._modules:
        if _has_state(module):
            run.restorers.append(module.state_restorer())
        if run.lengths is None and not run.single_step:
            y = call_module(module, x)
            return y, y

        if run.single_step and isinstance(module, Synapse):
            _check_step(module, x, module.step_axes)
        y = module(x, **_options(module, run))
        return y, y

    return _run_other(module, x, run)


def _run_other(module: nn.Module, x: Tensor, run: Pass) -> Outputs:
    """Run a module of torch or of a user, with or without modules of this library in it."""
    inside = _prepared_inside(module)
    for inner in inside:
        if not inner._is_prepared:
            raise _unprepared(inner)
    run.restorers.extend(inner.state_restorer() for inner in inside)

    takes_lengths = takes_argument(type(module), "lengths")
    if not inside and not takes_lengths:
        if run.is_sequence(x):
            return run_folded(module, x, run.lengths)
        y = run_rows(module, x, **_options(module, run))
        return y, y

    if run.lengths is not None and not takes_lengths and reads_batch(module):
        _check_padding(module, x, run.lengths)

    # Only modules of this library, and those with layers in them, may return `spk, mem`.
    outputs = module(x, **_options(module, run))
    is_ours = bool(inside) or isinstance(module, Container)
    if is_ours and isinstance(outputs, tuple) and len(outputs) == 2:
        return outputs

    y = require_tensor_output(module, outputs)
    return y, y


def _options(module: nn.Module, run: Pass) -> dict[str, Any]:
    """The keyword arguments of this call that the module's `forward` takes."""
    options: dict[str, Any] = {}
    if not run.single_step and takes_argument(type(module), "lengths"):
        options["lengths"] = run.lengths
    if run.single_step and takes_argument(type(module), "single_step"):
        options["single_step"] = True
    return options


def _check_padding(module: nn.Module, x: Tensor, lengths: Tensor) -> None:
    """Reject a module that would keep statistics of padding in modules within it."""
    if valid_places(lengths, x.shape[1]) is not None:
        raise RuntimeError(
            f"SpikingSequential: {type(module).__name__} holds a module that keeps statistics of "
            "its inputs, and would see padding: add a parameter lengths to its forward, and remove "
            "padding there."
        )


def _unprepared(module: SelfPreparing) -> RuntimeError:
    """The error of a module that was added to a net after `prepare_net`."""
    return RuntimeError(
        f"{type(module).__name__} is not prepared, but the net around it is: call prepare_net "
        "on the whole net, also after a module was added."
    )


def _check_step(module: nn.Module, x: Tensor, axes: int) -> None:
    """Reject a sequence where a single step is expected."""
    if x.ndim > axes + 1:
        raise ValueError(
            f"net.step(x): {type(module).__name__} takes one step with {axes} dimensions after the "
            f"batch, got an input of shape {list(x.shape)}: pass a sequence to net(x)."
        )


def _check_axes(
    owner: str, first: _ConvNd | Synapse, x: Tensor, single_step: bool, time_first: bool
) -> None:
    """Reject an input whose dimensions are ambiguous for the convolution that gets it."""
    axes = first.step_axes if isinstance(first, Synapse) else len(first.kernel_size) + 1
    if axes == 1:
        return

    if single_step and axes <= x.ndim <= axes + 1:
        return
    # One step [C, L] without a batch is not mistaken for a sequence.
    if not single_step and (x.ndim == axes + 2 or x.ndim == axes == 2):
        return

    features = {2: "C, L", 3: "C, H, W", 4: "C, D, H, W"}[axes]
    leading = "T, B" if time_first else "B, T"
    raise ValueError(
        f"{owner} begins with {type(first).__name__}: net(x) takes a sequence "
        f"[{leading}, {features}], and net.step(x) one step [B, {features}], got an input of shape "
        f"{list(x.shape)} in net{'.step' if single_step else ''}(x): use the "
        "other call, or add the missing dimension, as in "
        f"x.unsqueeze({0 if time_first else 1}) for T = 1 or "
        "x.unsqueeze(2) for one channel."
    )


def _checked_lengths(owner: str, lengths: Tensor, x: Tensor, run: Pass) -> Tensor:
    """The lengths, which start at 0 because a recording may have ended in an earlier call."""
    if not run.is_sequence(x):
        raise ValueError(
            f"{owner}: lengths belong to sequences [B, T, *features], got an input of shape "
            f"{list(x.shape)}: remove them for single steps."
        )
    return check_lengths(owner, lengths, x, least=0)


def _has_state(module: Prepared) -> bool:
    """Whether a call may change a state of the module."""
    has_own_restorer = type(module).state_restorer is not Prepared.state_restorer
    return has_own_restorer or module.has_state()


def _prepared_inside(module: nn.Module) -> list[Prepared]:
    """The module and the modules in it that `prepare_net` visits."""
    if not module._modules:
        return [module] if isinstance(module, Prepared) else []
    return [inner for inner in module.modules() if isinstance(inner, Prepared)]


# `torch.compile` takes the answer as a constant: it neither traces nor guards a cached function.
# The decorator has no types in torch.
@torch.compiler.assume_constant_result  # type: ignore[untyped-decorator]
def takes_argument(kind: type[nn.Module], name: str) -> bool:
    """Whether `forward` of a class has a parameter of that name."""
    return name in _parameters_of(kind.forward)


@cache
def _parameters_of(forward: Callable[..., Any]) -> frozenset[str]:
    try:
        return frozenset(inspect.signature(forward).parameters)
    except (AttributeError, TypeError, ValueError):  # scripted and native modules
        return frozenset()
