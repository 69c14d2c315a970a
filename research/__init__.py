"""Studies of surrogate gradients that are not part of the installed library."""

from pathlib import Path

__all__ = ["RESULTS"]

RESULTS = Path(__file__).parent / "results"
"""Folder with the results of the studies."""
