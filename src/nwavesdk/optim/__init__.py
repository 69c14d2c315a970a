"""What goes along with an optimizer: the annealing of signs that a chip shares."""

from nwavesdk.optim.sign_annealing import SignAnnealing

__all__ = ["SignAnnealing"]
