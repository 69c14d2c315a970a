"""The command `nwave`.

Commands import torch and everything else that is heavy when they run, so that help is instant.
"""

# Importing a module registers its commands.
from nwavesdk.cli import (
    catalogue,
    deploy,
    inspect,
    machine,
    nir,
    predict,
    train,
)
from nwavesdk.cli.app import app, main

__all__ = [
    "app",
    "catalogue",
    "deploy",
    "inspect",
    "machine",
    "main",
    "nir",
    "predict",
    "train",
]
