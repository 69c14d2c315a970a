"""Schedules and groups next to an optimizer: annealing of signs and surrogates, weight decay."""

from nwavesdk.optim.decay import weight_decay_groups
from nwavesdk.optim.sign_annealing import SignAnnealing
from nwavesdk.optim.surrogate_annealing import SurrogateAnnealing

__all__ = ["SignAnnealing", "SurrogateAnnealing", "weight_decay_groups"]
