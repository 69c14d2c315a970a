"""What a neuron does in one step: its equation and its adjoint, written once for every machine."""

from nwavesdk.dynamics.h1 import h1
from nwavesdk.dynamics.lif import lif
from nwavesdk.dynamics.neuron import RESETS, Neuron, Reset, bind

__all__ = ["RESETS", "Neuron", "Reset", "bind", "h1", "lif"]
