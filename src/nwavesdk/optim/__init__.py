"""What acts next to an optimizer: annealing of the signs that a chip shares, and of surrogates."""

from nwavesdk.optim.sign_annealing import SignAnnealing
from nwavesdk.optim.surrogate_annealing import SurrogateAnnealing

__all__ = ["SignAnnealing", "SurrogateAnnealing"]
