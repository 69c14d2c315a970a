"""How a sequence is run: torch reference, compiled serial solvers and comPaSSo, behind `solve`."""

from nwavesdk.solvers.dispatch import NOT_COMPILED, SOLVERS, choose_solver, has_serial_kernel, solve
from nwavesdk.solvers.feedback import has_loop_gain, loop_gain
from nwavesdk.solvers.problem import (
    PassResult,
    Problem,
    Spec,
    named_value,
    spec_name,
    spike_argument,
    state_trajectories,
)
from nwavesdk.solvers.sweep import charge_gradient

__all__ = [
    "NOT_COMPILED",
    "SOLVERS",
    "PassResult",
    "Problem",
    "Spec",
    "charge_gradient",
    "choose_solver",
    "has_loop_gain",
    "has_serial_kernel",
    "loop_gain",
    "named_value",
    "solve",
    "spec_name",
    "spike_argument",
    "state_trajectories",
]
