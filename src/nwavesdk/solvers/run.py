"""The one entry to all solvers."""

import torch
from torch import Tensor

from nwavesdk.solvers import reference, serial
from nwavesdk.solvers.problem import Problem, Solution

__all__ = ["SOLVERS", "run"]

SOLVERS = {"reference": reference.solve, "serial": serial.solve}


def run(problem: Problem, solver: str = "serial") -> Solution:
    return SOLVERS[solver](problem)
