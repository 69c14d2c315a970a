"""`ChargeLaw`, the form of all laws from weight to charge; a profile names it without torch."""

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ChargeLaw"]


class ChargeLaw(Protocol):
    """A rising function of the weight that is 0 at 0; all methods keep shape and dtype.

    Raises:
        ValueError: When a law is made, if its numbers are not such a function.

    Example:
        >>> import torch
        >>> from nwavesdk.chip import load_profile
        >>> law = load_profile("h1v1").charge_law
        >>> weight = torch.tensor([-0.5, 0.0, 0.5])
        >>> law.charge(weight), law.weight(law.charge(weight))
        (tensor([-0.3595,  0.0000,  0.3595]), tensor([-0.5000,  0.0000,  0.5000]))
    """

    def charge(self, weight: "Tensor") -> "Tensor":
        """The charge on the membrane per spike [charge unit of the profile]."""

    def slope(self, weight: "Tensor") -> "Tensor":
        """The derivative, d charge / d weight."""

    def weight(self, charge: "Tensor") -> "Tensor":
        """The weight with this charge."""
