"""The command `nwave`.

Commands import torch and everything else that is heavy when they run, so that help is instant.
"""

# Importing a module registers its commands.
from nwavesdk.cli import bench, deploy, inspect, net, neurons, nir, predict, train, tune
from nwavesdk.cli.app import app, main

__all__ = [
    "app",
    "bench",
    "deploy",
    "inspect",
    "main",
    "net",
    "neurons",
    "nir",
    "predict",
    "train",
    "tune",
]
