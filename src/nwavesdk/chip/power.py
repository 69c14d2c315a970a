"""Average power of a chip from how often its circuits are used."""

from dataclasses import dataclass

__all__ = ["Energies", "Power"]


@dataclass(frozen=True)
class Power:
    """Average power and its parts [W].

    Example:
        >>> f"{Power(static=1e-6, neuron=2e-6, synapse=3e-6, front_end=4e-6).total:.0e} W"
        '1e-05 W'
    """

    static: float
    neuron: float
    synapse: float
    front_end: float

    @property
    def total(self) -> float:
        """All of it [W]."""
        return self.static + self.neuron + self.synapse + self.front_end


@dataclass(frozen=True)
class Energies:
    """What a chip's circuits take.

    Args:
        static: whatever the activity [W].
        neuron: for each spike that a neuron fires [J].
        synapse: for each spike that arrives through a synapse in use [J].
        filter: of each band-pass filter of the front end, always on [W].
    """

    static: float
    neuron: float
    synapse: float
    filter: float

    def power(self, spikes: float, synaptic_events: float, seconds: float, filters: int) -> Power:
        """Average power while `spikes` were fired and `synaptic_events` arrived in `seconds`."""
        return Power(
            static=self.static,
            neuron=self.neuron * spikes / seconds,
            synapse=self.synapse * synaptic_events / seconds,
            front_end=self.filter * filters,
        )
