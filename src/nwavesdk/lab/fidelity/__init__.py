"""How well a surrogate's gradient points to where the loss falls, once thresholds are noisy and it has a gradient."""

from nwavesdk.lab.fidelity.fidelity import GradientFidelity, gradient_fidelity
from nwavesdk.lab.fidelity.likelihood_ratio import Control, LikelihoodRatio
from nwavesdk.lab.fidelity.noisy_net import NoisyNet
from nwavesdk.lab.fidelity.threshold_noise import SHAPES, ThresholdNoise

__all__ = [
    "SHAPES",
    "Control",
    "GradientFidelity",
    "LikelihoodRatio",
    "NoisyNet",
    "ThresholdNoise",
    "gradient_fidelity",
]
