"""Surrogates side by side: what they look like."""

from nwavesdk.lab.shape import Shape, catalogue_shapes, shape

__all__ = ["Shape", "catalogue_shapes", "shape"]
