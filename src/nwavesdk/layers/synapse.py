"""`Synapse`, the contract of all synapses, and `DenseSynapse`: the product with a dense weight."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import choice, switch, whole_number
from nwavesdk.internal.tensors import is_list, is_plain
from nwavesdk.layers.checks import check_input, check_memory, check_shape
from nwavesdk.layers.prepare import Prepared
from nwavesdk.layers.weight import parameter_of
from nwavesdk.solvers.sparse.finite import FiniteWeight
from nwavesdk.solvers.sparse.limits import NEVER, SparseLimits
from nwavesdk.solvers.sparse.product import (
    is_sparse_operand,
    list_obstacle,
    list_product,
    most_nonzeros,
    product_limits,
    product_within,
    sparse_obstacle,
    spike_product,
)

__all__ = ["DenseSynapse", "Synapse"]

_MAX_PLANS = 8


class Synapse(Prepared):
    """Contract of all synapses: spikes of N_in neurons become the charge of N_out neurons.

    A subclass defines `charge` and `forward`. It may have another effective weight, and a state.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: Whether to learn a constant charge per step and neuron.

    Attributes:
        nb_inputs: N_in; of a convolution, its input channels.
        nb_outputs: N_out; of a convolution, its output channels.
        weight: [N_in, N_out], or of `weight_shape`.
        bias: [N_out], or None.

    Raises:
        ValueError: If a size is out of its range.

    Example:
        >>> class ScaledSynapse(Synapse):
        ...     def charge(self, spk, weight):
        ...         return 0.5 * spk @ weight
        ...     def forward(self, spk):
        ...         return self.charge(spk, self.effective_weight())
        >>> ScaledSynapse(3, 2)(torch.ones(1, 5, 3)).shape
        torch.Size([1, 5, 2])
    """

    def __init__(self, nb_inputs: int, nb_outputs: int, *, bias: bool = False) -> None:
        super().__init__()
        owner = type(self).__name__
        self.nb_inputs = whole_number(owner, "nb_inputs", nb_inputs)
        self.nb_outputs = whole_number(owner, "nb_outputs", nb_outputs)
        check_memory(owner, *self.weight_shape)

        self.weight = nn.Parameter(torch.empty(self.weight_shape))
        has_bias = switch(owner, "bias", bias)
        self.bias = nn.Parameter(torch.zeros(self.nb_outputs)) if has_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new normal weights of standard deviation 2/√fan_in; set a bias to 0."""
        nn.init.normal_(self.weight, std=2 / math.sqrt(self.fan_in))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """Shape of the weight."""
        return self.nb_inputs, self.nb_outputs

    @property
    def fan_in(self) -> int:
        """Number of inputs of each target neuron."""
        return self.nb_inputs

    @property
    def step_axes(self) -> int:
        """Dimensions of one step of the input, without the batch; more than 1 only of images."""
        return 1

    def effective_weight(self) -> Tensor:
        """The weight that acts, in the shape of `weight`, with gradient for it."""
        weight: Tensor = parameter_of(self, "weight")
        return weight

    def charge(self, spk: Tensor, weight: Tensor) -> Tensor:
        """Charge [..., N_out] of spikes [..., N_in], without bias.

        Args:
            spk: Spikes or other values, one step or a sequence.
            weight: The effective weight, of this module or of another drawn chip.
        """
        raise NotImplementedError(
            f"{type(self).__name__} does not define charge(spk, weight): "
            "override it in the subclass."
        )

    def _weight_for(self, spk: Tensor) -> Tensor:
        """The effective weight, after a check that it has the dtype of the input."""
        weight = self.effective_weight()
        if spk.dtype is not weight.dtype and not torch.is_autocast_enabled(spk.device.type):
            raise TypeError(
                f"{self._title} has weights of {weight.dtype} and got an input of {spk.dtype}: "
                "convert one, as in spk.to(synapse.weight.dtype), or use torch.autocast."
            )
        return weight

    @property
    def takes_lists(self) -> bool:
        """Whether the input may be a list of events, see `DenseSynapse.forward`."""
        return False

    @property
    def _title(self) -> str:
        return f"{type(self).__name__}({self.nb_inputs}, {self.nb_outputs})"

    def extra_repr(self) -> str:
        bias = ", bias=True" if self.bias is not None else ""
        return f"{self.nb_inputs}, {self.nb_outputs}{bias}"


class DenseSynapse(Synapse):
    """Base of all dense synapses: `cur = spk @ weight (+ bias)`; subclasses define the weight.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: Whether to learn a constant charge per step and neuron.
        product: See `LIFSynapse`. A weight that is not finite takes the dense product, in which 0 ·
            inf is NaN. After a write to `weight.data`, call `prepare_net`.

    Raises:
        ValueError: If a size or `product` is out of its range.

    Example:
        >>> class PositiveSynapse(DenseSynapse):
        ...     def effective_weight(self):
        ...         return super().effective_weight().abs()
        >>> bool((PositiveSynapse(3, 2)(torch.ones(1, 5, 3)) > 0).all())
        True
    """

    def __init__(
        self, nb_inputs: int, nb_outputs: int, *, bias: bool = False, product: str = "auto"
    ) -> None:
        super().__init__(nb_inputs, nb_outputs, bias=bias)
        self.product = choice(type(self).__name__, "product", product, ("auto", "dense", "sparse"))
        # The limits of sparse products, after all checks, for inputs of one shape and dtype and
        # all else that a call reads; see `_make_plan`.
        self._plans: dict[object, SparseLimits] = {}
        self._finite_weight = FiniteWeight()

    def forward(self, spk: Tensor) -> Tensor:
        """Charge [..., N_out] for spikes or other values [..., N_in].

        A sparse COO tensor [B, N_in] or [B, T, N_in] is a list of events. Its product has the bits
        of a dense input's, runs on the CPU, and has no gradient for the events.

        Raises:
            TypeError: If the input is not floating, or its dtype differs from the weights' dtype.
            ValueError: If the input has another width.
            RuntimeError: If `product="sparse"` cannot take the input, or a second derivative goes
                through it.
        """
        limits = None
        if is_plain(spk):
            limits = self._plans.get((spk.shape, spk.dtype, self.product, self.nb_inputs))
            if limits is None:
                limits = self._make_plan(spk)

        # Without a plan, each call checks its input and chooses the product.
        if limits is None and self.takes_lists and is_list(spk):
            cur = self._multiply_list(spk)
        elif limits is None:
            check_input(self._title, spk, (self.nb_inputs,))
            cur = self.charge(spk[None] if spk.ndim == 1 else spk, self._weight_for(spk))
        else:
            cur = self._multiply_within(limits, spk)

        bias: Tensor | None = parameter_of(self, "bias")
        return cur if bias is None else cur + bias

    @property
    def takes_lists(self) -> bool:
        """Whether the input may be a list of events."""
        return self.product != "dense" and type(self).charge is DenseSynapse.charge

    def _multiply_list(self, spk: Tensor) -> Tensor:
        """The product of a list of events and the effective weight."""
        check_shape(self._title, spk.shape, (self.nb_inputs,))
        weight = self._weight_for(spk)
        obstacle = list_obstacle(spk, weight)
        if obstacle is not None:
            raise RuntimeError(
                f"{self._title}: a list of events does not work with {obstacle}: pass a dense "
                "input, as in x.to_dense()."
            )
        return list_product(spk, weight)

    def _make_plan(self, spk: Tensor) -> SparseLimits | None:
        """Check a plain input and the weight; None where every call has to choose its product."""
        check_input(self._title, spk, (self.nb_inputs,))
        with torch.no_grad():
            weight = self._weight_for(spk)
        if sparse_obstacle(spk, weight) is not None or type(self).charge is not DenseSynapse.charge:
            return None

        limits = NEVER
        if self.product != "dense":
            limits = product_limits(spk, weight, always=self.product == "sparse")
        if len(self._plans) >= _MAX_PLANS:
            self._plans.clear()
        self._plans[spk.shape, spk.dtype, self.product, self.nb_inputs] = limits
        return limits

    def _multiply(self, spk: Tensor) -> Tensor:
        """The dense product of a plain input and the effective weight."""
        weight = self.effective_weight()
        if weight.dtype is not spk.dtype:
            weight = self._weight_for(spk)
        return spk @ weight

    def _multiply_within(self, limits: SparseLimits, spk: Tensor) -> Tensor:
        """The product of a plain input and the effective weight, sparse within the limits."""
        x = spk[None] if spk.ndim == 1 else spk
        # Negative limits: the dense product is faster, however few spikes there are.
        if max(limits) < 0:
            return self._multiply(x)
        # A neuron layer attaches the number of its spikes to the tensor that it returns.
        nonzeros = getattr(spk, "nonzeros", None)

        # Too many spikes for a sparse product: known before the effective weight is computed.
        plain_weight = self._parameters.get("weight")
        if plain_weight is not None:
            most = most_nonzeros(limits, x, plain_weight)
            if most < 0 or (nonzeros is not None and nonzeros > most):
                return self._multiply(x)

        weight = self._weight_for(spk)
        if not is_sparse_operand(weight, spk.dtype):
            return self.charge(x, weight)

        stored = self._stored_weight(weight)
        is_finite = partial(self._finite_weight.check, stored, self.times_prepared)
        return product_within(x, weight, limits, nonzeros, is_finite)

    def _stored_weight(self, weight: Tensor) -> Tensor:
        """The tensor that stores the values of the effective weight `weight` between two calls."""
        return weight

    def charge(self, spk: Tensor, weight: Tensor) -> Tensor:
        """`spk @ weight` by the chosen product: charge [..., N_out] of spikes [..., N_in].

        `weight` [N_in, N_out] may be the weight of another chip.

        Raises:
            RuntimeError: If `product="sparse"` cannot take the input.
        """
        if self.product == "dense":
            return spk @ weight

        is_forced = self.product == "sparse"
        obstacle = sparse_obstacle(spk, weight)
        if obstacle is None:
            if torch.compiler.is_compiling():
                from nwavesdk.solvers.ops import product_in_graph

                return product_in_graph(spk, weight, always=is_forced)

            # A neuron layer attaches the number of its spikes to the tensor that it returns.
            return spike_product(spk, weight, getattr(spk, "nonzeros", None), always=is_forced)

        if is_forced:
            raise RuntimeError(
                f'{self._title}: product="sparse" does not take {obstacle}: use product="auto" or '
                '"dense".'
            )
        return spk @ weight

    def __getstate__(self) -> dict[str, Any]:
        """For copies and pickles: they make their own plans."""
        return super().__getstate__() | {"_plans": {}}

    def extra_repr(self) -> str:
        product = f", product={self.product!r}" if self.product != "auto" else ""
        return super().extra_repr() + product
