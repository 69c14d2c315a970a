"""The network of a run, and the seeds of its random numbers.

A net of layers is that of the preset `lif` or `chip`, whose pages in `nwavesdk.presets` build it.
Each use of random numbers has its own seed, a function of the run's seed and of the use. No state
of a generator is carried from one epoch to the next, so a resumed run draws the same numbers.
"""

import math
import warnings
from zlib import crc32

import numpy as np
from torch import nn

from nwavesdk.layers import NeuronLayer, SpikingSequential
from nwavesdk.presets import chip, lif
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.facts import Facts
from nwavesdk.train.config.sections import NetConfig
from nwavesdk.train.fit.tasks import TASKS

__all__ = [
    "build_run_network",
    "chip_seed",
    "has_recurrence",
    "nearest_tau_note",
    "stream_seed",
    "warn_of_constants",
]


def stream_seed(seed: int, use: str, *place: int) -> int:
    """The seed of a stream of random numbers.

    Args:
        seed: The run's seed.
        use: What the numbers are for.
        place: Where they are used, for example the epoch and the process.

    Returns:
        An integer below 2^32.

    Example:
        >>> stream_seed(0, "order", 1) == stream_seed(0, "order", 1)
        True
        >>> stream_seed(0, "order", 1) == stream_seed(1, "order", 0)
        False
    """
    entropy = [seed, crc32(use.encode()), len(place), *place]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def chip_seed(seed: int, use: str, *place: int, drawn: bool) -> int:
    """The seed of one chip of the series.

    Seeds are even for training and selection and odd for testing. So a net is never tested on a
    chip that it was trained on, whatever the seeds.

    Args:
        seed: The run's seed, or the seed of the test.
        use: What the chip is for.
        place: Which of the chips for this use it is.
        drawn: Whether the chip is drawn for testing.

    Example:
        >>> chip_seed(0, "mismatch", 1, 2, drawn=False) % 2
        0
        >>> chip_seed(0, "chips", 7, drawn=True) % 2
        1
    """
    return 2 * stream_seed(seed, use, *place) + drawn


def build_run_network(
    config: RunConfig, facts: Facts, *, deployed: bool = False, mismatch: bool = False
) -> SpikingSequential:
    """Build the net of layers of a run with random weights: the preset `lif`, or `chip`.

    Args:
        config: The config of the run.
        facts: What the run's data decide: inputs, outputs, and the numbers of the chip.
        deployed: Whether to build the net as it is used after training. For a chip its weights
            then have the chip's bits, also if training ignores them.
        mismatch: Whether `prepare_net` draws the mismatch of a chip.

    Raises:
        ValueError: If the net cannot have the output layer of the task.
    """
    output = TASKS[facts.task].output_layer(config.net, config.chip, facts)
    # Frames of images and events are flat in a net of layers.
    inputs = (facts.n_features,)
    config = config.model_copy(update={"facts": facts})
    if config.chip is None:
        return lif.build(inputs, output.n_outputs, config)
    if mismatch:
        training = "mismatch"
    elif deployed or config.chip.training != "plain":
        training = "hardware"
    else:
        training = "plain"
    of_chip = config.chip.model_copy(update={"training": training})
    return chip.build(inputs, output.n_outputs, config.model_copy(update={"chip": of_chip}))


def has_recurrence(config: NetConfig, facts: Facts) -> bool:
    """Whether the hidden layers of a run are recurrent: as chosen, or as its task needs it."""
    return TASKS[facts.task].is_recurrent if config.recurrent is None else config.recurrent


def nearest_tau_note(config: RunConfig) -> str | None:
    """What to know if the chip of a run lacks its time constant, or None.

    Args:
        config: The config of a run, with facts.
    """
    profile = config.facts.chip if config.facts is not None else None
    if profile is None or not profile.tau_profiles or config.net_file is not None:
        return None
    tau = config.net.tau
    nearest = min(profile.tau_profiles, key=lambda one: abs(math.log(one / tau)))
    if math.isclose(nearest, tau, rel_tol=0.01):
        return None
    return (
        f"{profile.name} has no time constant of {tau:g} s: its neurons have the nearest one, "
        f"{nearest:g} s."
    )


def warn_of_constants(net: nn.Module) -> None:
    """Warn once if time constants of a net are shorter than a step, or probably in milliseconds."""
    layers = {name: m for name, m in net.named_modules() if isinstance(m, NeuronLayer)}
    short = {name: layer.short_constants() for name, layer in layers.items()}
    long = {name: layer.long_constants() for name, layer in layers.items()}
    raise_them = (
        "whose neurons forget each input within a step: raise them (--tau, or in the file of the "
        "net), or lower --dt."
    )
    in_seconds = "but they are in seconds: 20 ms are 20e-3."
    for fault, constants, remedy in (
        ("shorter than the step", short, raise_them),
        ("longer than 1,000 steps", long, in_seconds),
    ):
        texts = [
            f"{name}: {', '.join(f'{argument} of {tau:.4g} s' for argument, tau in taus.items())}"
            for name, taus in constants.items()
            if taus
        ]
        if texts:
            dt = next(layers[name].dt for name, taus in constants.items() if taus)
            warnings.warn(
                f"time constants are {fault} of {dt:.4g} s in {len(texts)} of {len(layers)} layers "
                f"({'; '.join(texts)}), {remedy}",
                stacklevel=3,
            )
