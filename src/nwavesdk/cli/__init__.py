"""The command `nwave`. Everything heavy is imported inside the command that needs it, so that help is instant."""

from nwavesdk.cli import bench, deploy, inspect, train  # importing registers the commands
from nwavesdk.cli.app import app, main

__all__ = ["app", "bench", "deploy", "inspect", "main", "train"]
