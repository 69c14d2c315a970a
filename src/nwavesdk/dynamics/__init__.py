"""A step of a neuron: its page, read as a graph, and the adjoint that is derived from the graph."""

from nwavesdk.dynamics.lif import H1_PAGES, LIF_PAGES
from nwavesdk.dynamics.neuron import Neuron, TorchMaths, torch_function
from nwavesdk.dynamics.page import Constant, Page, read_page
from nwavesdk.dynamics.program import SAVES, Program, QueryText, StepText, program_of
from nwavesdk.dynamics.vocabulary import (
    Bounded,
    Kind,
    PageError,
    Positive,
    Real,
    TimeConstant,
    decay,
    held,
    spike,
)

__all__ = [
    "H1_PAGES",
    "LIF_PAGES",
    "SAVES",
    "Bounded",
    "Constant",
    "Kind",
    "Neuron",
    "Page",
    "PageError",
    "Positive",
    "Program",
    "QueryText",
    "Real",
    "StepText",
    "TimeConstant",
    "TorchMaths",
    "decay",
    "held",
    "program_of",
    "read_page",
    "spike",
    "torch_function",
]
