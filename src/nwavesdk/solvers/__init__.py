"""How a sequence is run: torch reference, compiled serial solvers and comPaSSo, behind `solve`."""

from nwavesdk.solvers.dispatch import NOT_COMPILED, SOLVERS, choose_solver, has_serial_kernel, solve
from nwavesdk.solvers.feedback import has_loop_gain, loop_gain
from nwavesdk.solvers.plan import Plan
from nwavesdk.solvers.problem import (
    Problem,
    Solution,
    Spec,
    named_value,
    recent_spikes,
    spec_name,
    spike_argument,
    state_trajectories,
)
from nwavesdk.solvers.sweep import charge_gradient

__all__ = [
    "NOT_COMPILED",
    "SOLVERS",
    "Plan",
    "Problem",
    "Solution",
    "Spec",
    "charge_gradient",
    "choose_solver",
    "has_loop_gain",
    "has_serial_kernel",
    "loop_gain",
    "named_value",
    "recent_spikes",
    "solve",
    "spec_name",
    "spike_argument",
    "state_trajectories",
]
