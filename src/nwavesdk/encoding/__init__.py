"""Encoders of values as spikes, and decoders: functions, and modules that stream.
`docs/encoders.md` has formulas and pictures. Values, spikes, `lengths` or a `generator` of the
wrong type are a `TypeError`; values out of their range and wrong shapes, lengths and options a
`ValueError`.
"""

from typing import TYPE_CHECKING

from nwavesdk.encoding.changes import (
    DeltaEncoder,
    StepForwardEncoder,
    decode_delta,
    decode_step_forward,
    encode_delta,
    encode_step_forward,
)
from nwavesdk.encoding.encoder import Encoder
from nwavesdk.encoding.population import PopulationEncoder, decode_population, encode_population
from nwavesdk.encoding.rates import (
    PoissonEncoder,
    RateDecoder,
    RateEncoder,
    decode_poisson,
    decode_rate,
    encode_poisson,
    encode_rate,
)
from nwavesdk.encoding.times import (
    LatencyEncoder,
    PhaseEncoder,
    decode_latency,
    decode_phase,
    encode_latency,
    encode_phase,
)
from nwavesdk.internal.imports import import_on_use

__all__ = [
    "DeltaEncoder",
    "Encoder",
    "LatencyEncoder",
    "PhaseEncoder",
    "PoissonEncoder",
    "PopulationEncoder",
    "RateDecoder",
    "RateEncoder",
    "StepForwardEncoder",
    "decode_delta",
    "decode_latency",
    "decode_phase",
    "decode_poisson",
    "decode_population",
    "decode_rate",
    "decode_step_forward",
    "encode_delta",
    "encode_latency",
    "encode_phase",
    "encode_poisson",
    "encode_population",
    "encode_rate",
    "encode_step_forward",
]

if not TYPE_CHECKING:
    # For errors that suggest a near name.
    __getattr__, __dir__ = import_on_use(__name__, {})
