"""The constants of neuron layers: how they are checked, stored and read, for any page."""

import math
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from nwavesdk.dynamics import Kind, Page
from nwavesdk.internal.checks import close_name, looks_like_milliseconds, shown
from nwavesdk.internal.tensors import is_plain
from nwavesdk.layers.checks import per_neuron_tensor
from nwavesdk.layers.prepare import DIVERGED
from nwavesdk.layers.stateful import StatefulNeurons
from nwavesdk.solvers.cpu.parameters import ParameterValues

__all__ = [
    "ConstantNeurons",
    "StoredConstant",
    "learned_names",
    "stored_constants",
    "without_step_warnings",
]

# Parts of the warnings about a time constant, by which they can be ignored.
SHORTER = "is shorter than the step"
LONGER = "is longer than 1,000 steps"

# A time constant of one step may be shorter by a rounding error of float32.
ROUNDING = 1e-5


@dataclass(frozen=True, kw_only=True)
class StoredConstant:
    """How a layer stores a constant of its page, learned or not.

    Attributes:
        name: Name in the page.
        argument: Name of the layer's argument.
        kind: The values that it may have.
        is_plain: Whether it is stored unchanged. Otherwise, a positive constant is stored as its
            logarithm, and a bounded constant as the argument of a sigmoid.
        is_persistent: Whether it is in the `state_dict`.
    """

    name: str
    argument: str
    kind: Kind
    is_plain: bool = False
    is_persistent: bool = True

    @property
    def key(self) -> str:
        """Name of the stored tensor."""
        if self._is_unchanged:
            return self.argument
        return f"log_{self.argument}" if self.kind.high is None else f"logit_{self.argument}"

    @property
    def _is_unchanged(self) -> bool:
        return self.is_plain or self.kind.low is None

    def store(self, value: Tensor) -> Tensor:
        """The stored tensor of a value."""
        low, high = self.kind.low, self.kind.high
        if self._is_unchanged or low is None:
            return value.clone()
        if high is None:
            return value.log()
        return (value - low).log() - (high - value).log()

    def read(self, stored: Tensor) -> Tensor:
        """The value of a stored tensor, with gradient."""
        low, high = self.kind.low, self.kind.high
        if self._is_unchanged or low is None:
            return stored
        if high is None:
            return stored.exp()
        return low + (high - low) * stored.sigmoid()


def stored_constants(page: Page) -> tuple[StoredConstant, ...]:
    """How a layer stores the constants of a page, under their names."""
    return tuple(
        StoredConstant(name=name, argument=name, kind=c.kind) for name, c in page.constants.items()
    )


def learned_names(owner: str, learn: object, names: Collection[str]) -> tuple[str, ...]:
    """The argument `learn` as names of constants.

    Raises:
        ValueError: If it is not a name or several of `names`.
    """
    wanted = (learn,) if isinstance(learn, str) else learn
    known = ", ".join(names) or "none"

    if not isinstance(wanted, tuple | list | set | frozenset):
        raise ValueError(
            f"{owner}: learn must be the name of a constant ({known}) or a tuple of names, got "
            f"{shown(learn)}."
        )
    for name in wanted:
        if not isinstance(name, str) or name not in names:
            raise ValueError(
                f"{owner}: learn must name constants of the neuron ({known}), got "
                f"{shown(name)}{close_name(name, names) or '.'}"
            )
    return tuple(wanted)


@contextmanager
def without_step_warnings() -> Iterator[None]:
    """Build layers without warnings about time constants that do not suit the step."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", f".* ({SHORTER}|{LONGER}) of ", UserWarning)
        yield


class ConstantNeurons(StatefulNeurons):
    """Neurons with the constants of their page; base of `NeuronLayer`.

    A constant has three forms: the stored tensor (`stored_constants`, a logarithm for example), its
    value on the page (`constant`, and `effective_constants` after mismatch), and the value that
    solvers get (`constants`, a decay for example).

    A time constant that is shorter than a step, or probably in milliseconds, is a warning when the
    layer is built.

    Constants are stored in float32, also in a net of float64, so that a stored net does not depend
    on the default dtype. Only a learned constant of float64 can have more digits. A call in float64
    uses the values that the user passed, except where they were learned or loaded.

    Args:
        features: Shape of the neurons.
        dt: Length of a step [s].
        values: The constants of the page by name: a number, one per neuron, or one per channel.
        learned: Names of the constants that are trained.
    """

    stored_constants: ClassVar[tuple[StoredConstant, ...]]
    rounds_decays: bool  # to 8 or 16 bits; `quantize` sets it

    def __init__(
        self,
        features: tuple[int, ...],
        dt: float,
        values: Mapping[str, Any],
        learned: Collection[str] = (),
    ) -> None:
        super().__init__(features)
        self.dt = dt
        self.rounds_decays = False

        # The passed value of each constant in float64, and its stored tensor, by the stored key.
        self._given: dict[str, tuple[Tensor, Tensor]] = {}
        self._keys = tuple(constant.key for constant in self.stored_constants)
        owner = type(self).__name__
        for constant in self.stored_constants:
            value = values[constant.name]
            given = per_neuron_tensor(owner, constant.argument, value, features, constant.kind)
            self._register_constant(constant, given, constant.name in learned)

        for argument, shortest in self.short_constants().items():
            # The caller of a layer that is a direct subclass of `NeuronLayer`: its constructor is
            # wrapped by `accept_other_spelling`.
            warnings.warn(
                f"{owner}: {argument} of {shortest:.4g} s {SHORTER} of {dt:.4g} s, so a neuron "
                "forgets each input within a step: raise it, or lower dt.",
                stacklevel=5,
            )

        for argument, longest in self.long_constants().items():
            warnings.warn(
                f"{owner}: {argument} of {longest:.4g} s {LONGER} of {dt:.4g} s: time constants "
                f"are in seconds, so {longest:.4g} ms are {longest / 1000:.4g}; for neurons "
                "without a leak, use IFLayer.",
                stacklevel=5,
            )

    def short_constants(self) -> dict[str, float]:
        """The time constants that are shorter than a step, by argument: the shortest value [s]."""
        return {
            name: tau
            for name, tau in self._times(torch.min).items()
            if tau < self.dt * (1 - ROUNDING)
        }

    def long_constants(self) -> dict[str, float]:
        """The time constants probably given in milliseconds, by argument: the longest value [s]."""
        return {
            name: tau
            for name, tau in self._times(torch.max).items()
            if looks_like_milliseconds(tau, self.dt)
        }

    def _times(self, extreme: Callable[[Tensor], Tensor]) -> dict[str, float]:
        """The smallest or the largest value of each time constant [s], by argument."""
        times = [c for c in self.stored_constants if c.kind.is_time]
        return {c.argument: extreme(self.constant(c.name).detach()).item() for c in times}

    def _register_constant(self, constant: StoredConstant, given: Tensor, is_learned: bool) -> None:
        """Store a constant; learned or not, `state_dict` has the same keys."""
        is_wide = is_learned and torch.get_default_dtype() == torch.float64
        stored = constant.store(given if is_wide else given.float())
        self._given[constant.key] = (given, stored.clone())

        if is_learned:
            setattr(self, constant.key, nn.Parameter(stored))
        else:
            self.register_buffer(constant.key, stored, persistent=constant.is_persistent)

    def _apply(self, fn: Any, recurse: bool = True) -> Self:
        """For `.to()`, `.double()` and the like: the passed values stay in float64."""
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]  # torch does not type it
        for constant in self.stored_constants:
            given, before = self._given[constant.key]
            stored = getattr(self, constant.key)
            device = given.device if stored.is_meta else stored.device
            as_stored = before.to(device, stored.dtype)
            given = given.to(device)

            is_widened = stored.dtype == torch.float64 != before.dtype
            if is_widened and stored.requires_grad and not stored.is_meta:
                # `_in_float64` reads learned constants as they are stored. So the digits that
                # float32 has cut off are restored here, where the value is unchanged.
                exact = constant.store(given)
                stored.data = torch.where(stored == as_stored, exact, stored.data)
                as_stored = exact

            self._given[constant.key] = (given, as_stored)
        return self

    def _in_float64(self, constant: StoredConstant) -> Tensor:
        """A constant: the passed value where it is stored unchanged, else the stored value."""
        stored: Tensor = getattr(self, constant.key)
        given, as_stored = self._given[constant.key]

        if stored.requires_grad or stored.device != as_stored.device:
            return constant.read(stored.double())
        if _are_equal(stored, as_stored):
            return given
        return torch.where(stored == as_stored, given, constant.read(stored.double()))

    def constant(self, name: str) -> Tensor:
        """A constant of the page as designed, with gradient if it is learned.

        Args:
            name: Its name in the page.

        Returns:
            A tensor of shape [], or of the shape that was passed, in the dtype of the layer.

        Raises:
            ValueError: If there is no such constant.
        """
        by_name = {constant.name: constant for constant in self.stored_constants}
        if name not in by_name:
            raise ValueError(
                f"{type(self).__name__} has the constants {', '.join(by_name) or 'none'}, got "
                f"{shown(name)}{close_name(name, by_name) or '.'}"
            )

        stored: Tensor = getattr(self, by_name[name].key)
        if stored.dtype == torch.float64:
            return self._in_float64(by_name[name]).clone()
        return by_name[name].read(stored)

    def effective_constants(self, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
        """The constants of the page that act (after mismatch) by name, in float64.

        Args:
            dtype: The dtype of the call. A call in float64 uses the values that the user passed,
                except where they were learned or loaded; narrower dtypes use the stored values.
        """
        if dtype == torch.float64:
            return {constant.name: self._in_float64(constant) for constant in self.stored_constants}

        return {
            constant.name: constant.read(getattr(self, constant.key).double())
            for constant in self.stored_constants
        }

    def constants(self, dtype: torch.dtype = torch.float32) -> tuple[Tensor, ...]:
        """The inputs of solvers: the values that `neuron.constants` names, each [N], in `dtype`."""
        return self._evaluate_constants(self.effective_constants(dtype), dtype)

    def _evaluate_constants(
        self, values: Mapping[str, Tensor], dtype: torch.dtype
    ) -> tuple[Tensor, ...]:
        N = math.prod(self.features)
        if self.page.takes_dt:
            values = {**values, "dt": torch.tensor(self.dt, dtype=torch.float64, device="cpu")}
        evaluated = self.neuron.evaluate_constants(
            values, self.dt, rounds_decays=self.rounds_decays
        )

        # A single number is expanded to all neurons, without a copy.
        return tuple(
            c.to(dtype).expand(self.features).reshape(N) if c.ndim else c.to(dtype).expand(N)
            for c in evaluated
        )

    def _stored_tensors(self) -> list[Tensor] | None:
        """The stored constants; None if torch computes one of them in each read (parametrized)."""
        # Every call reads the constants; `getattr` of a module takes longer.
        attributes = vars(self)
        stored = []
        for key in attributes["_keys"]:
            tensor = attributes["_parameters"].get(key)
            if tensor is None:
                tensor = attributes["_buffers"].get(key)
            if tensor is None:
                # Pruned constants, and constants of replicas of `nn.DataParallel`.
                tensor = attributes.get(key)
            if tensor is None:
                return None
            stored.append(tensor)
        return stored

    def _derivatives(self, learned: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Derivatives of the solver's constants with respect to stored constants.

        Args:
            learned: Positions of the stored constants, in `stored_constants`.
            dtype: The dtype of the call.

        Returns:
            For each neuron, [constants, learned, N] in float64.
        """
        values = {name: v.detach() for name, v in self.effective_constants(dtype).items()}
        leaves = []
        with torch.enable_grad():
            for i in learned:
                constant = self.stored_constants[i]
                stored = getattr(self, constant.key).detach().double()
                # One leaf value per neuron, because neurons that share a value have their own
                # derivatives.
                leaf = stored.expand(self.features).clone().requires_grad_()
                values[constant.name] = constant.read(leaf)
                leaves.append(leaf)

            # The gradient of a sum over neurons has the derivative of each neuron: constants of a
            # neuron depend on its own values only.
            rows = []
            for value in self._evaluate_constants(values, torch.float64):
                grads: Sequence[Tensor | None] = [None] * len(leaves)
                if value.requires_grad:
                    grads = torch.autograd.grad(
                        value.sum(), leaves, retain_graph=True, allow_unused=True
                    )
                rows.append(
                    [
                        torch.zeros_like(x) if g is None else g
                        for g, x in zip(grads, leaves, strict=True)
                    ]
                )

        N = math.prod(self.features)
        return torch.stack([torch.stack(row).reshape(len(leaves), N) for row in rows])

    def check_parameters(self) -> None:
        stored = self._stored_tensors()
        if stored is None:
            self._check_values([getattr(self, key) for key in self._keys])
            return

        # Reading the values takes longer than comparing them with the last checked values.
        if self._checked is not None and self._checked.are_unchanged(stored):
            return
        self._check_values(stored)
        can_compare = all(is_plain(t.detach()) and t.is_contiguous() for t in stored)
        self._checked = ParameterValues(stored) if can_compare else None

    def _check_values(self, tensors: Sequence[Tensor]) -> None:
        owner = type(self).__name__
        for constant, stored in zip(self.stored_constants, tensors, strict=True):
            lowest, highest = (bound.item() for bound in torch.aminmax(stored.detach()))
            subject = f"{owner}: values of {constant.argument}"
            if not (math.isfinite(lowest) and math.isfinite(highest)):
                raise RuntimeError(f"{subject} are not finite: {DIVERGED}")

            # Only values that are stored unchanged can leave their range.
            low = constant.kind.low
            if constant.is_plain and low is not None and lowest <= low:
                raise RuntimeError(f"{subject} must stay above {low:g}, got {lowest}: {DIVERGED}")

    def _constant_texts(self) -> list[str]:
        """The constants with their values, for `print`."""
        texts = []
        for constant in self.stored_constants:
            value = self.constant(constant.name).detach()
            text = f"{constant.argument}={value.min().item():.4g}"
            text += f"…{value.max().item():.4g}" if value.ndim else ""
            text += " (learned)" if getattr(self, constant.key).requires_grad else ""
            texts.append(text)
        return texts


def _are_equal(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors are equal; False where a comparison is slow or cannot be traced."""
    is_traced = torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()
    return a.is_cpu and not is_traced and a.dtype == b.dtype and torch.equal(a, b)
