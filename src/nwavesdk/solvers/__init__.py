"""How a sequence is run: the torch reference, the compiled serial solvers, and comPaSSo, behind one entry."""

from nwavesdk.solvers.problem import Problem, Solution, Spec, membrane
from nwavesdk.solvers.run import SOLVERS, run, serial_runs

__all__ = ["SOLVERS", "Problem", "Solution", "Spec", "membrane", "run", "serial_runs"]
