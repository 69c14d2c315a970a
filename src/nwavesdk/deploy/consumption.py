"""Power consumption of a net on its chip, computed from the spikes of its neurons."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from nwavesdk.chip import Power, Profile
from nwavesdk.deploy.stages import Stage, stages_and_profile
from nwavesdk.internal.checks import positive_number
from nwavesdk.internal.tensors import require_tensor
from nwavesdk.layers import Recording
from nwavesdk.layers.lengths import check_lengths, sum_over_steps

__all__ = ["Consumption", "get_chip_consumption"]


@dataclass(frozen=True)
class Consumption(Power):
    """Average power and its parts [W], and the profile entries behind it that are assumed.

    Example:
        >>> power = Consumption(static=2e-6, neuron=1e-6, synapse=5e-7, front_end=0.0)
        >>> print(power)
        3.5 µW (static 2, neuron 1, synapse 0.5, front end 0)
    """

    assumed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Total, parts and assumed entries in one line."""
        parts = ", ".join(
            f"{name.replace('_', ' ')} {1e6 * getattr(self, name):.3g}"
            for name in ("static", "neuron", "synapse", "front_end")
        )
        note = f"; assumed: {', '.join(self.assumed)}" if self.assumed else ""
        return f"{1e6 * self.total:.3g} µW ({parts}{note})"


def get_chip_consumption(
    model: nn.Module,
    spikes: Recording | Mapping[str, Tensor] | Sequence[Tensor],
    dt: float,
    profile: Profile | None = None,
    lengths: Tensor | None = None,
) -> Consumption:
    """Average power of a net on its chip during a recording of its spikes.

    Each spike costs energy in its neuron and in each synapse with a nonzero weight that it reaches;
    filters and bias currents always cost power. Input from outside of the chip is not counted. The
    energies are entries of the profile, which are assumptions in the profiles of this package.
    NWAVE's formula is not documented.

    Args:
        model: A net of chip modules, as `SpikingSequential`.
        spikes: Spikes of every neuron layer, each [B, T, N]: the result of `net.record(x)`, or
            tensors by layer name, or tensors in the order of the layers.
        dt: Length of a step [s].
        profile: The chip. [the chip that the net was built for]
        lengths: Steps of each recording, int64 [B]. [the lengths of the `Recording`, else all
            steps]

    Returns:
        Power [W], averaged over time and over the recordings of the batch.

    Raises:
        TypeError: If the model is not a net of chip modules, spikes are not dense tensors, or
            `lengths` is not an int64 tensor.
        ValueError: If spikes are missing or have another shape, or a number is out of its range.

    Example:
        >>> import torch
        >>> from nwavesdk.layers import H1v2Layer, H1v2Synapse, SpikingSequential, prepare_net
        >>> net = SpikingSequential(H1v2Synapse(2, 3), H1v2Layer(3, 20e-3))
        >>> prepare_net(net)
        >>> power = get_chip_consumption(net, net.record(torch.rand(4, 100, 2)), dt=1e-3)
        >>> power.total > power.static
        True
    """
    stages, chip = stages_and_profile(model, profile, "get_chip_consumption")
    dt = positive_number("get_chip_consumption", "dt", dt, "s")
    layer_spikes = _spikes_by_layer(stages, spikes)
    if lengths is None and isinstance(spikes, Recording):
        lengths = spikes.lengths

    steps = math.prod(layer_spikes[0].shape[:2])
    if lengths is not None:
        lengths = check_lengths("get_chip_consumption", lengths, layer_spikes[0])
        steps = int(lengths.sum())

    counts = [sum_over_steps(spk.detach().double(), lengths).sum(0) for spk in layer_spikes]

    events = 0.0
    for i, stage in enumerate(stages):
        feedforward, *recurrent = (edge.stored_weight() for edge in stage.edges)
        if i:  # The first layer has its input from outside of the chip.
            events += _synaptic_events(counts[i - 1], feedforward)
        events += sum(_synaptic_events(counts[i], weight) for weight in recurrent)

    filters = chip.count("filters") if stages[0].is_frontend else 0
    n_spikes = sum(float(count.sum()) for count in counts)
    power = chip.energies.power(n_spikes, events, steps * dt, filters)
    assumed = chip.assumed("static_power", "neuron_energy", "synapse_energy", "filter_power")
    return Consumption(power.static, power.neuron, power.synapse, power.front_end, assumed)


def _spikes_by_layer(
    stages: Sequence[Stage], spikes: Recording | Mapping[str, Tensor] | Sequence[Tensor]
) -> list[Tensor]:
    """The spikes of every layer in order, with their shapes checked."""
    if isinstance(spikes, Recording):
        spikes = {name: record.spk for name, record in spikes.layers.items()}

    if isinstance(spikes, Mapping):
        spikes = [spikes[stage.name] for stage in stages if stage.name in spikes]
    if len(spikes) != len(stages):
        raise ValueError(
            f"get_chip_consumption: the net has {len(stages)} neuron layers, got spikes of "
            f"{len(spikes)} of them: pass spikes of every layer, such as net.record(x)."
        )

    in_order = list(spikes)
    for stage, spk in zip(stages, in_order, strict=True):
        require_tensor(f"get_chip_consumption: layer {stage.name}", spk)
        expected = (*in_order[0].shape[:2], stage.n_neurons)
        if spk.ndim != 3 or spk.shape != expected or not spk.numel():
            raise ValueError(
                f"get_chip_consumption: spikes of layer {stage.name} have the shape "
                f"{list(spk.shape)}, expected [B, T, {stage.n_neurons}] with the same B and T for "
                "all layers."
            )

        if not bool(((spk >= 0) & (spk < math.inf)).all()):
            raise ValueError(
                f"get_chip_consumption: spikes of layer {stage.name} are negative or not finite, "
                "expected 0 or 1."
            )
    return in_order


def _synaptic_events(counts: Tensor, weight: Tensor) -> float:
    """Number of arriving spikes, from `counts` of each input [N_in] and `weight` [N_in, N_out]."""
    return float(counts @ (weight != 0).sum(1).double())
