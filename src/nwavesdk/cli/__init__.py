"""The command `nwave`. Everything heavy is imported inside the command that needs it, so that help is instant."""

from nwavesdk.cli import compare, deploy, gradients, learn, look, speed  # importing registers the commands
from nwavesdk.cli.app import app, main

__all__ = ["app", "compare", "deploy", "gradients", "learn", "look", "main", "speed"]
