"""Surrogates side by side, data folders in numbers: looking before training."""

from nwavesdk.lab.data_report import data_lines, data_report
from nwavesdk.lab.shape import Shape, catalogue_shapes, shape

__all__ = ["Shape", "catalogue_shapes", "data_lines", "data_report", "shape"]
