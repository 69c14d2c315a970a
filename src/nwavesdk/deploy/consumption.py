"""How much power a net takes on a chip, from what its neurons do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nwavesdk.chip import Power, Profile
from nwavesdk.deploy.stages import Stage, chip_profile, chip_stages
from nwavesdk.layers import Recording

__all__ = ["Consumption", "get_chip_consumption"]


@dataclass(frozen=True)
class Consumption(Power):
    """Average power and its parts [W], and which of the numbers behind it are assumed."""

    assumed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Total, parts and what is assumed, in one line."""
        parts = ", ".join(
            f"{name.replace('_', ' ')} {1e6 * getattr(self, name):.3g}"
            for name in ("static", "neuron", "synapse", "front_end")
        )
        told = f"; assumed: {', '.join(self.assumed)}" if self.assumed else ""
        return f"{1e6 * self.total:.3g} µW ({parts}{told})"


def get_chip_consumption(
    model: nn.Module,
    spikes: Recording | Mapping[str, Tensor] | Sequence[Tensor],
    dt: float,
    profile: Profile | None = None,
) -> Consumption:
    """Average power of a net on its chip while it fired `spikes`.

    Each spike of a layer costs its neuron, and each synapse with a weight that is not 0 through which it arrives; what
    comes in from outside is not counted. Filters and bias
    currents cost always. The energies are those of the profile, and assumed in the profiles that ship with the package:
    the number is as good as they are. NWAVE's own formula is not documented.

    Args:
        model: A net of the chip's modules, as `SpikingSequential`.
        spikes: Of every neuron layer, [B, T, N] each: a `net.record(x)`, or tensors by layer name, or in order.
        dt: Length of a step [s].
        profile: The chip. [the one that the net was built for]

    Returns:
        Power for each recording of the batch on average [W].

    Raises:
        TypeError: The model is no chip's net.
        ValueError: Spikes are missing or of another shape, or `dt` is not above 0.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential, prepare_net
        >>> net = SpikingSequential(H1v2Synapse(2, 3), H1v2Layer(3, 20e-3))
        >>> prepare_net(net)
        >>> power = get_chip_consumption(net, net.record(torch.rand(4, 100, 2)), dt=1e-3)
        >>> power.total > power.static
        True
    """
    rows = chip_stages(model, "get_chip_consumption")
    chip = chip_profile(model, "get_chip_consumption") if profile is None else profile
    if not dt > 0:
        raise ValueError(f"get_chip_consumption: dt must be above 0 [s], got {dt!r}.")
    fired = _fired(rows, spikes)
    B, T = fired[0].shape[:2]
    counts = [spk.detach().double().sum((0, 1)) for spk in fired]
    events = 0.0
    for i, row in enumerate(rows):
        into, *within = (weight.held() for weight in row.weights())
        if i:
            events += _events(counts[i - 1], into)
        events += sum(_events(counts[i], held) for held in within)
    filters = chip.count("filters") if rows[0].diagonal else 0
    power = chip.energies.power(sum(float(c.sum()) for c in counts), events, B * T * dt, filters)
    keys = ("static_power", "neuron_energy", "synapse_energy", "filter_power")
    return Consumption(
        power.static, power.neuron, power.synapse, power.front_end, chip.assumed(*keys)
    )


def _fired(
    rows: Sequence[Stage], spikes: Recording | Mapping[str, Tensor] | Sequence[Tensor]
) -> list[Tensor]:
    if isinstance(spikes, Recording):
        spikes = {name: record.spk for name, record in spikes.layers.items()}
    if isinstance(spikes, Mapping):
        lacking = [row.name for row in rows if row.name not in spikes]
        if lacking:
            raise ValueError(
                f"get_chip_consumption: spikes of layer {lacking[0]} are missing, got {sorted(spikes)}."
            )
        found = [spikes[row.name] for row in rows]
    else:
        found = list(spikes)
        if len(found) != len(rows):
            raise ValueError(
                f"get_chip_consumption: the net has {len(rows)} neuron layers, got spikes of {len(found)}: give those "
                "of every layer, as net.record(x) has them."
            )
    for row, spk in zip(rows, found, strict=True):
        if (
            spk.ndim != 3
            or spk.shape[2] != row.n_neurons
            or spk.shape[:2] != found[0].shape[:2]
            or not spk.numel()
        ):
            raise ValueError(
                f"get_chip_consumption: spikes of layer {row.name} have the shape {list(spk.shape)}, expected "
                f"[B, T, {row.n_neurons}] with one B and T for all layers."
            )
    return found


def _events(spikes: Tensor, held: Tensor) -> float:
    """Arrivals, where each input fired so many `spikes` [N_in], through those weights [N_in, N_out] that are not 0."""
    return float(spikes @ (held != 0).sum(1).double())
