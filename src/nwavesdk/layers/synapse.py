"""What synapses share: a weight [N_in, N_out] and a product over whatever batch and time dimensions come."""

import math

import torch
from torch import Tensor, nn

from nwavesdk.internal.checks import choice, whole_number
from nwavesdk.layers.checks import checked_input
from nwavesdk.layers.prepare import Prepared
from nwavesdk.solvers.sparse import product as sparse

__all__ = ["Synapse"]


class Synapse(Prepared):
    """Base of all synapses: `cur = spk @ weight (+ bias)`; subclasses say which weight is effective.

    Args:
        nb_inputs: N_in.
        nb_outputs: N_out.
        bias: learn a constant charge per step and neuron.
        product: `"auto"` passes over inputs that are 0 where that is faster, by a table that ships with the package
            (`nwavesdk.solvers.sparse.crossover`): float32 and float64 tensors on the CPU, outside of autocast and
            torch.func. `"sparse"` does so at any density, `"dense"` never does. Results differ by rounding.
    """

    def __init__(
        self, nb_inputs: int, nb_outputs: int, *, bias: bool = False, product: str = "auto"
    ) -> None:
        super().__init__()
        owner = type(self).__name__
        self.product = choice(owner, "product", product, ("auto", "dense", "sparse"))
        self.nb_inputs, self.nb_outputs = (
            whole_number(owner, "nb_inputs", nb_inputs),
            whole_number(owner, "nb_outputs", nb_outputs),
        )
        self.weight = nn.Parameter(torch.empty(nb_inputs, nb_outputs))
        self.bias = nn.Parameter(torch.zeros(nb_outputs)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights anew: normal, standard deviation 2/√N_in; a bias becomes 0."""
        nn.init.normal_(self.weight, std=2 / math.sqrt(self.nb_inputs))
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def effective_weight(self) -> Tensor:
        """The weight that acts, [N_in, N_out], with gradient for `weight`."""
        return self.weight

    def forward(self, spk: Tensor) -> Tensor:
        """Charge [..., N_out] from spikes, or any values, [..., N_in].

        Raises:
            TypeError: the input is not floating.
            ValueError: the input has another width.
            RuntimeError: `product="sparse"` cannot take the input; or in backward, for a gradient of a gradient
                through a sparse product.
        """
        owner = f"{type(self).__name__}({self.nb_inputs}, {self.nb_outputs})"
        checked_input(owner, spk, (self.nb_inputs,))
        weight = self.effective_weight()
        if spk.dtype != weight.dtype and not torch.is_autocast_enabled(spk.device.type):
            raise TypeError(
                f"{owner} has weights of {weight.dtype} and got an input of {spk.dtype}: convert one, as in "
                "spk.to(synapse.weight.dtype), or use torch.autocast."
            )
        cur = self.charge(spk[None] if spk.ndim == 1 else spk, weight)
        return cur if self.bias is None else cur + self.bias

    def charge(self, spk: Tensor, weight: Tensor) -> Tensor:
        """`spk @ weight` by the product that was chosen, for a weight like this one's: another chip's, say.

        Raises:
            RuntimeError: `product="sparse"` cannot take the input.
        """
        if self.product == "dense":
            return spk @ weight
        obstacle = sparse.sparse_obstacle(spk, weight)
        if obstacle is None:
            if torch.compiler.is_compiling():
                from nwavesdk.solvers.ops import product_in_graph

                return product_in_graph(spk, weight, always=self.product == "sparse")
            nonzeros = getattr(spk, "nonzeros", None)  # a neuron layer has counted its spikes
            return sparse.spike_product(spk, weight, nonzeros, always=self.product == "sparse")
        if self.product == "sparse":
            owner = f"{type(self).__name__}({self.nb_inputs}, {self.nb_outputs})"
            raise RuntimeError(
                f'{owner}: product="sparse" does not take {obstacle}: use product="auto" or "dense".'
            )
        return spk @ weight

    def extra_repr(self) -> str:
        """Sizes, for `print(model)`."""
        return (
            f"{self.nb_inputs}, {self.nb_outputs}"
            + (", bias=True" if self.bias is not None else "")
            + (f", product={self.product!r}" if self.product != "auto" else "")
        )
