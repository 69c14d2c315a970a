"""How well a surrogate's gradient points to where the loss of a net with noisy thresholds falls."""

from research.fidelity.fidelity import GradientFidelity, gradient_fidelity
from research.fidelity.likelihood_ratio import Control, LikelihoodRatio
from research.fidelity.noisy_net import NoisyNet
from research.fidelity.threshold_noise import SHAPES, ThresholdNoise

__all__ = [
    "SHAPES",
    "Control",
    "GradientFidelity",
    "LikelihoodRatio",
    "NoisyNet",
    "ThresholdNoise",
    "gradient_fidelity",
]
