"""What goes along with an optimizer: the annealing of signs that a chip shares, and of surrogates."""

from nwavesdk.optim.sign_annealing import SignAnnealing
from nwavesdk.optim.surrogate_annealing import SurrogateAnnealing

__all__ = ["SignAnnealing", "SurrogateAnnealing"]
