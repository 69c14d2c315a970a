"""The command `nwave`.

Commands import torch and everything else that is heavy when they run, so that help is instant.
"""

from nwavesdk.cli import bench, deploy, inspect, neurons, train  # importing registers the commands
from nwavesdk.cli.app import app, main

__all__ = ["app", "bench", "deploy", "inspect", "main", "neurons", "train"]
