"""The command `nwave`.

Commands import torch and everything else that is heavy when they run, so that help is instant.
"""

# Importing a module registers its commands.
from nwavesdk.cli import (
    bench,
    deploy,
    evaluate,
    inspect,
    net,
    neurons,
    nir,
    predict,
    train,
    tune,
)
from nwavesdk.cli.app import app, main

__all__ = [
    "app",
    "bench",
    "deploy",
    "evaluate",
    "inspect",
    "main",
    "net",
    "neurons",
    "nir",
    "predict",
    "train",
    "tune",
]
