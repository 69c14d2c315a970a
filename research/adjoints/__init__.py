"""The adjoint of a neuron, derived from the source of its step; a second source for our own."""

from research.adjoints.derivation import (
    Adjoint,
    constant_inputs,
    derive_adjoint,
    find_saved,
    function_text,
)
from research.adjoints.graph import PageError, Step, decay, free_scope, held, read_step, spike

__all__ = [
    "Adjoint",
    "PageError",
    "Step",
    "constant_inputs",
    "decay",
    "derive_adjoint",
    "find_saved",
    "free_scope",
    "function_text",
    "held",
    "read_step",
    "spike",
]
