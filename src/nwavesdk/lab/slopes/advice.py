"""Which surrogate each layer should have, and why."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from nwavesdk.surrogate import Surrogate

if TYPE_CHECKING:
    from nwavesdk.lab.slopes.scan import SlopeScan

__all__ = ["Advice", "advise"]


@dataclass(frozen=True)
class Advice:
    layer: str
    surrogate: Surrogate
    reason: str


def advise(scan: "SlopeScan", kind: type[Surrogate] | None = None) -> tuple[Advice, ...]:
    return ()
