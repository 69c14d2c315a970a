"""`Synapse`, the base of all dense synapses: a weight [N_in, N_out] and its product with spikes."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import choice, switch, whole_number
from nwavesdk.layers.checks import check_input, check_memory
from nwavesdk.layers.prepare import Prepared
from nwavesdk.solvers.sparse.product import sparse_obstacle, spike_product

__all__ = ["Synapse"]


class Synapse(Prepared):
    """Base of all synapses: `cur = spk @ weight (+ bias)`; subclasses define the effective weight.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: Whether to learn a constant charge per step and neuron.
        product: `"auto"` skips inputs that are 0 where that is faster, according to a table in the
            package (`nwavesdk.solvers.sparse.crossover`). It does so for float32 and float64
            tensors on the CPU, outside of autocast and torch.func. `"sparse"` does so at any
            density, `"dense"` never does. Results differ by rounding.

    Raises:
        ValueError: If a size or `product` is out of its range.
    """

    def __init__(
        self, nb_inputs: int, nb_outputs: int, *, bias: bool = False, product: str = "auto"
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.product = choice(owner, "product", product, ("auto", "dense", "sparse"))
        self.nb_inputs = whole_number(owner, "nb_inputs", nb_inputs)
        self.nb_outputs = whole_number(owner, "nb_outputs", nb_outputs)
        check_memory(owner, self.nb_inputs, self.nb_outputs)
        self.weight = nn.Parameter(torch.empty(self.nb_inputs, self.nb_outputs))
        has_bias = switch(owner, "bias", bias)
        self.bias = nn.Parameter(torch.zeros(self.nb_outputs)) if has_bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new normal weights of standard deviation 2/√N_in; set a bias to 0."""
        nn.init.normal_(self.weight, std=2 / math.sqrt(self.nb_inputs))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def effective_weight(self) -> Tensor:
        """The weight that acts, [N_in, N_out], with gradient for `weight`."""
        return self.weight

    def forward(self, spk: Tensor) -> Tensor:
        """Charge [..., N_out] for spikes or other values [..., N_in].

        Raises:
            TypeError: If the input is not floating, or its dtype is not that of the weights.
            ValueError: If the input has another width.
            RuntimeError: If `product="sparse"` cannot take the input; in backward, if a gradient of
                a gradient goes through a sparse product.
        """
        check_input(self._title, spk, (self.nb_inputs,))
        weight = self.effective_weight()
        if spk.dtype != weight.dtype and not torch.is_autocast_enabled(spk.device.type):
            raise TypeError(
                f"{self._title} has weights of {weight.dtype} and got an input of {spk.dtype}: "
                "convert one, as in spk.to(synapse.weight.dtype), or use torch.autocast."
            )
        cur = self.charge(spk[None] if spk.ndim == 1 else spk, weight)
        return cur if self.bias is None else cur + self.bias

    def charge(self, spk: Tensor, weight: Tensor) -> Tensor:
        """`spk @ weight` by the chosen product; `weight` may be that of another chip.

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

    @property
    def _title(self) -> str:
        return f"{type(self).__name__}({self.nb_inputs}, {self.nb_outputs})"

    def extra_repr(self) -> str:
        bias = ", bias=True" if self.bias is not None else ""
        product = f", product={self.product!r}" if self.product != "auto" else ""
        return f"{self.nb_inputs}, {self.nb_outputs}{bias}{product}"
