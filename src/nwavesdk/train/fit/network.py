"""The net of a run: built by the page of its preset or by the user's file, and tried once."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import load_profile
from nwavesdk.internal.files import one_line
from nwavesdk.layers import ChipInstance, NeuronLayer, SpikingSequential
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import finish_rounding, quantize, record
from nwavesdk.net.container import takes_argument
from nwavesdk.net.preparation import prepared
from nwavesdk.net.sequential import takes_held
from nwavesdk.presets import PresetName
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.completed import Facts, Origin
from nwavesdk.train.config.net_file import (
    NetFileError,
    load_function,
    locate_error,
)
from nwavesdk.train.config.recipes import apply_recipe, complete
from nwavesdk.train.fit.tasks import task_of

__all__ = [
    "FileNet",
    "RunNet",
    "finish_network",
    "nearest_tau_note",
    "network_of_run",
    "rounded_network",
    "sample_config",
    "warn_of_constants",
]

# Values of the fields that follow from the data, for a config without data.
SAMPLE_VALUES = {
    "hold": 1,
    "steps": 8,
    "sample_rate": 16_000,
    "bin": 1e-3,
    "add_standardized": False,
}


class FileNet(nn.Module):
    """The net of a file, from the inputs of a run to its outputs.

    Args:
        net: The net that `build` returned.
        inputs: Shape of one step.
    """

    def __init__(self, net: nn.Module, inputs: tuple[int, ...]) -> None:
        super().__init__()
        self.net = net
        self.inputs = inputs

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spikes and membranes of the outputs; for scores, the same tensor twice.

        Args:
            x: Frames, [B, T, F].
            lengths: Number of steps of each recording, int64 [B], or None.
        """
        # Held steps share their memory. A module of the user may write to each step.
        sequence = x.reshape(*x.shape[:2], *self.inputs)
        if not takes_held(self.net):
            sequence = sequence.contiguous()

        options = {"lengths": lengths} if takes_argument(type(self.net), "lengths") else {}
        outputs = self.net(sequence, **options)
        return outputs if isinstance(outputs, tuple) else (outputs, outputs)


# The net of a run: a stack of layers, or the net of a page or a file.
RunNet = SpikingSequential | FileNet


@without_step_warnings()  # a run that begins warns once
def network_of_run(
    config: CompletedConfig,
    *,
    deployed: bool = False,
    mismatch: bool = False,
    trains: bool = False,
) -> RunNet:
    """Build the net of a run with random weights, and try it once.

    Args:
        config: The config of the run.
        deployed: Whether to build the net as it is used after training: the weights for a chip
            have the chip's bits, even if training ignores them.
        mismatch: Whether `prepare_net` draws the mismatch of a chip; otherwise, modules of a chip
            have the properties of the chip as designed.
        trains: Whether to build the net as it is trained: rounded weights can change.

    Raises:
        NetFileError: If the file, its function or its net does not work.
        ValueError: If its weights cannot be rounded.
    """
    facts = config.facts
    n_outputs = len(facts.classes) or facts.n_targets

    # Nets of layers take the frames of images and events as flat vectors.
    shape = () if config.is_layered else facts.feature_shape
    inputs = shape or (facts.n_features,)
    net = _build(_as_trained(config, deployed=deployed, mismatch=mismatch), inputs, n_outputs)
    if not config.is_layered:
        net = FileNet(net, inputs)
        _try(net, config, n_outputs)
        if not mismatch:
            ChipInstance(None).hold(net)

    assert isinstance(net, RunNet)
    bits = config.learning.weight_bits
    return net if bits is None else rounded_network(net, bits, trains=trains)


def rounded_network(
    net: RunNet, weight_bits: int, inputs: Tensor | None = None, *, trains: bool = False
) -> RunNet:
    """The net of a run with rounded inputs and weights; see `quantize`.

    Args:
        net: The net.
        weight_bits: Number of bits of a weight.
        inputs: Inputs of the net, [B, T, F]; None for a net whose weights are read from a file.
        trains: Whether the weights can be trained, until `finish_network`.

    Raises:
        ValueError: If the net cannot be rounded.
    """
    inner = net.net if isinstance(net, FileNet) else net
    if inputs is not None and inputs.layout is not torch.strided:
        raise ValueError(
            "--weight-bits: rounds frames, got lists of events: train without --events lists."
        )
    if inputs is not None and isinstance(net, FileNet):
        inputs = inputs.reshape(*inputs.shape[:2], *net.inputs)

    step = 1.0 if inputs is None else None
    try:
        inner = quantize(inner, inputs, step=step, weight_bits=weight_bits, trains=trains)  # type: ignore[arg-type]  # it checks the type
    except (TypeError, ValueError) as error:
        raise ValueError(f"--weight-bits: {error}") from None
    return FileNet(inner, net.inputs) if isinstance(net, FileNet) else inner


def finish_network(net: RunNet) -> None:
    """Make the rounded weights of a net that was trained plain parameters."""
    finish_rounding(net.net if isinstance(net, FileNet) else net)  # type: ignore[arg-type]  # rounded nets are sequential


def _build(config: CompletedConfig, inputs: tuple[int, ...], n_outputs: int) -> nn.Module:
    """The net that the page of a config builds."""
    page, preset = config.page, config.net.name
    build = load_function(page)
    try:
        net = build(inputs, n_outputs, config)
    except (Exception, SystemExit) as error:
        if preset != "file" and isinstance(error, ValueError):
            raise NetFileError(f"--net {preset}: {one_line(error)}") from error
        raise locate_error(
            error, page, f"{page.function}(inputs, classes, config) failed"
        ) from error

    if not isinstance(net, nn.Module):
        raise NetFileError(
            f"{page.name}: got {type(net).__name__}, expected a torch.nn.Module: return the net."
        )
    return net


def _as_trained(config: CompletedConfig, *, deployed: bool, mismatch: bool) -> CompletedConfig:
    """The config for the page of a chip: its training decides the weights of the net."""
    chip = config.chip
    if chip is None:
        return config
    training = "plain" if chip.training == "plain" and not deployed else "hardware"
    chip = chip.model_copy(update={"training": "mismatch" if mismatch else training})
    return config.model_copy(update={"chip": chip})


def sample_config(
    preset: PresetName,
    inputs: tuple[int, ...],
    classes: int,
    kind: str | None = None,
    *,
    task: str = "classification",
    **net: Any,
) -> CompletedConfig:
    """The config of a run of a preset with its defaults for inputs of this shape, without data.

    Args:
        preset: Its name.
        inputs: Shape of one step: bands of sound, values of a series, pixels of an image, or places
            of events.
        classes: Number of classes, or of values for regression.
        kind: The kind of the recordings; None: sound for one axis, events for [2, H, W], and
            otherwise images.
        task: The name of the task.
        net: Options of the net.
    """
    is_polarized = len(inputs) == 3 and inputs[0] == 2
    if task == "pattern":
        kind = "series"
    if kind is None:
        kind = "sound" if len(inputs) == 1 else "events" if is_polarized else "image"

    chip = {"profile": "h1v2", "gain": 1.0, "bits": 4} if preset == "chip" else None
    choices = {
        "data": {"kind": kind},
        "task": {"name": task},
        "net": {"name": preset, **net},
        "chip": chip,
    }
    config = apply_recipe(RunConfig.of(choices))

    # Facts and values that a run takes from its data.
    has_classes = task in ("classification", "labels", "detect")
    facts = Facts(
        classes=tuple(map(str, range(classes))) if has_classes else (),
        n_targets=0 if has_classes else classes,
        n_features=math.prod(inputs),
        feature_shape=inputs if len(inputs) > 1 else (),
        fingerprint="",
        recordings=(1, 1, 1),
        typical_steps=100,
        split_by="recording",
        split_reason="",
        split_version=1,
        profile=load_profile("h1v2").to_json() if chip else None,
        begun_with=Origin.current(),
    )
    fields = type(config.data).model_fields
    values = {name: value for name, value in SAMPLE_VALUES.items() if name in fields}
    return complete(config.filled({"data": values}), facts, torch.get_num_threads())


@torch.no_grad()
def _try(net: FileNet, config: CompletedConfig, n_outputs: int) -> None:
    """Run silence of two lengths through net and decoder, which also creates lazy parameters.

    Raises:
        NetFileError: If the net fails, does not spike, or returns outputs of other shapes.
    """
    n_steps = config.facts.typical_steps
    x = torch.zeros(2, n_steps, config.facts.n_features)
    lengths = torch.tensor([n_steps, max(1, n_steps - 1)])
    decoder = task_of(config).decoder()

    net.eval()
    try:
        with torch.random.fork_rng(devices=[]), prepared(net), prepared(decoder):
            recording = record(net, x, lengths=lengths)
            outputs = decoder(recording.spk, recording.mem, lengths)
    except Exception as error:
        problem = f"the net failed for an input of shape {[2, n_steps, *net.inputs]}"
        raise locate_error(error, config.page, problem) from error
    net.train()

    if not recording.spiking:
        raise NetFileError(
            f"{config.page.name}: the net has no layer that spikes, got {type(net.net).__name__}, "
            "expected at least one neuron layer of nwavesdk: add one, such as LIFLayer."
        )

    steps = [] if config.task.name == "classification" else [n_steps]
    if list(outputs.shape) != [2, *steps, n_outputs]:
        raise NetFileError(
            f"{config.page.name}: the net must return scores [B, T, {n_outputs}], or spk, mem of "
            f"this shape; for a class per recording also scores [B, {n_outputs}], or spk, mem "
            f"[B, T, N] with N a multiple of {n_outputs}; got the shapes "
            f"{list(recording.spk.shape)} and {list(recording.mem.shape)}: change its last module."
        )


def nearest_tau_note(config: CompletedConfig) -> str | None:
    """A note if the chip of a run lacks its time constant, or None.

    Args:
        config: The config of a run.
    """
    profile, tau = config.facts.chip, getattr(config.net, "tau", 0.0)
    if config.net.name != "chip" or profile is None or not profile.tau_profiles:
        return None
    nearest = min(profile.tau_profiles, key=lambda value: abs(math.log(value / tau)))
    if math.isclose(nearest, tau, rel_tol=0.01):
        return None
    return (
        f"{profile.name} has no time constant of {tau:g} s: its neurons have the nearest one, "
        f"{nearest:g} s."
    )


def warn_of_constants(net: nn.Module) -> None:
    """Warn once if time constants of a net are shorter than a step, or probably in milliseconds."""
    layers = {name: m for name, m in net.named_modules() if isinstance(m, NeuronLayer)}
    faults = [
        f"{name}: {argument} of {tau:.4g} s"
        for name, layer in layers.items()
        for constants in (layer.short_constants(), layer.long_constants())
        for argument, tau in constants.items()
    ]
    if faults:
        dt = next(iter(layers.values())).dt
        warnings.warn(
            f"time constants are in seconds, expected from 1 to 1,000 steps of {dt:.4g} s, got "
            f"{'; '.join(faults)}: change them (--tau, or in the file of the net), or --dt.",
            stacklevel=3,
        )
