"""How a sequence is run: the torch reference, the compiled serial solvers, and comPaSSo, behind one entry."""

from nwavesdk.solvers.problem import Problem, Solution, Spec, membrane, name_of
from nwavesdk.solvers.run import NOT_COMPILED, SOLVERS, choose, run, serial_runs
from nwavesdk.solvers.sweep import charge_gradient

__all__ = [
    "NOT_COMPILED",
    "SOLVERS",
    "Problem",
    "Solution",
    "Spec",
    "charge_gradient",
    "choose",
    "membrane",
    "name_of",
    "run",
    "serial_runs",
]
