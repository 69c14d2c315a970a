"""The net of a run: built by the page of its preset or by the user's file, and tried once."""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.chip import load_profile
from nwavesdk.internal.files import one_line, printable
from nwavesdk.layers import ChipInstance, NeuronLayer, SpikingSequential
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.net import record
from nwavesdk.net.container import takes_argument
from nwavesdk.net.preparation import prepared
from nwavesdk.net.sequential import takes_held
from nwavesdk.presets import LAYERED, PresetName
from nwavesdk.train.config import CompletedConfig, RunConfig
from nwavesdk.train.config.facts import Facts, Origin
from nwavesdk.train.config.recipes import apply_recipe, complete, fill
from nwavesdk.train.fit.arithmetic import current_arithmetic
from nwavesdk.train.fit.net_file import NetFileError, load_function, located

__all__ = [
    "FileNet",
    "RunNet",
    "build_preset",
    "nearest_tau_note",
    "network_of_run",
    "sample_config",
    "warn_of_constants",
]


class FileNet(nn.Module):
    """The net of a file, from the inputs of a run to its outputs.

    Args:
        net: What `build` returned.
        inputs: Shape of one step.
        n_outputs: Number of classes, or of values per step.
        decides_once: Whether there is one decision per recording, not one per step.
        place: File and line of `build`, for errors.
    """

    def __init__(
        self,
        net: nn.Module,
        inputs: tuple[int, ...],
        n_outputs: int,
        *,
        decides_once: bool,
        place: str,
    ) -> None:
        super().__init__()
        self.net = net
        self.inputs = inputs
        self.n_outputs = n_outputs
        self.decides_once = decides_once
        self.place = place

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Spikes and membranes of the outputs; for scores, the same tensor twice.

        Args:
            x: Frames, [B, T, F].
            lengths: Number of steps of each recording, int64 [B], or None.

        Raises:
            NetFileError: If the net returns something else.
        """
        sequence = x.reshape(*x.shape[:2], *self.inputs)
        if not takes_held(self.net):
            sequence = sequence.contiguous()  # a user's module may need a memory for each step
        options = {"lengths": lengths} if takes_argument(type(self.net), "lengths") else {}
        outputs = self.net(sequence, **options)
        pair = outputs if isinstance(outputs, tuple) else (outputs, outputs)
        if len(pair) != 2 or not all(isinstance(value, Tensor) for value in pair):
            raise self._wrong(type(outputs).__name__)
        spk, mem = pair
        if spk is mem:
            self._check_scores(spk, x)
        else:
            self._check_spikes(spk, mem, x)
        return spk, mem

    def _check_scores(self, scores: Tensor, x: Tensor) -> None:
        per_step = (*x.shape[:2], self.n_outputs)
        per_recording = (len(x), self.n_outputs)
        expected = (per_step, per_recording) if self.decides_once else (per_step,)
        if tuple(scores.shape) not in expected:
            raise self._wrong(f"scores of shape {list(scores.shape)}")

    def _check_spikes(self, spk: Tensor, mem: Tensor, x: Tensor) -> None:
        is_sequence = spk.ndim == 3 and spk.shape[:2] == x.shape[:2] and spk.shape == mem.shape
        n_neurons = spk.shape[-1] if spk.ndim else 0
        fits = n_neurons % self.n_outputs == 0 if self.decides_once else n_neurons == self.n_outputs
        if not (is_sequence and n_neurons and fits):
            raise self._wrong(f"spk, mem of shapes {list(spk.shape)} and {list(mem.shape)}")

    def _wrong(self, got: str) -> NetFileError:
        count = self.n_outputs
        if self.decides_once:
            expected = (
                f"scores [B, {count}] or [B, T, {count}], or spk, mem [B, T, N] with N a multiple "
                f"of {count}"
            )
        else:
            expected = f"outputs [B, T, {count}], or spk, mem of this shape"
        return NetFileError(
            f"{self.place}: the net must return {expected}, got {got}: change its last module."
        )


# The net of a run: a stack of layers, or what a page or a file builds.
RunNet = SpikingSequential | FileNet


@without_step_warnings()  # a run that begins warns once
def network_of_run(
    config: CompletedConfig, *, deployed: bool = False, mismatch: bool = False
) -> RunNet:
    """Build the net of a run with random weights, and try it once.

    Args:
        config: The config of the run.
        deployed: Whether to build the net as it is used after training. For a chip its weights
            then have the chip's bits, also if training ignores them.
        mismatch: Whether `prepare_net` draws the mismatch of a chip; otherwise, modules of a chip
            are those of the chip as designed.

    Raises:
        NetFileError: If the file, its function or its net does not work.
    """
    facts = config.facts
    build = load_function(config.page)
    place = f"{printable(config.page.file)}:{build.__code__.co_firstlineno}"
    n_outputs = len(facts.classes) or facts.n_targets
    is_layered = config.net.name in LAYERED
    # Frames of images and events are flat in a net of layers.
    inputs = (facts.n_features,) if is_layered else facts.feature_shape or (facts.n_features,)
    try:
        net = build(inputs, n_outputs, _as_trained(config, deployed=deployed, mismatch=mismatch))
    except (Exception, SystemExit) as error:
        if config.net.name != "file" and isinstance(error, ValueError):
            raise NetFileError(f"--net {config.net.name}: {one_line(error)}") from error
        raise located(error, config.page, f"{config.page.function} failed", place) from error
    if is_layered:
        assert isinstance(net, SpikingSequential)
        return net
    if not isinstance(net, nn.Module):
        raise NetFileError(
            f"{place}: {config.page.function} returned {type(net).__name__}, expected a "
            "torch.nn.Module: return the net."
        )
    decides_once = config.task.name == "classification"
    file_net = FileNet(net, inputs, n_outputs, decides_once=decides_once, place=place)
    _try(file_net, config)
    if not mismatch:
        ChipInstance(None).hold(file_net)
    return file_net


def _as_trained(config: CompletedConfig, *, deployed: bool, mismatch: bool) -> CompletedConfig:
    """The config with the training that a page for a chip builds its net for."""
    if config.chip is None:
        return config
    training = config.chip.training
    if mismatch:
        training = "mismatch"
    elif deployed or training != "plain":
        training = "hardware"
    return config.model_copy(update={"chip": config.chip.model_copy(update={"training": training})})


def sample_config(
    preset: PresetName, inputs: tuple[int, ...], classes: int, kind: str | None = None, **net: Any
) -> CompletedConfig:
    """The config of a run of a preset with its defaults for inputs of this shape, without data.

    Args:
        preset: Its name.
        inputs: Shape of one step: bands of sound, values of a series, pixels of an image, or places
            of events.
        classes: Number of classes.
        kind: What the recordings are; None takes sound for one axis, events for [2, H, W], and
            otherwise images.
        net: Options of the net.
    """
    is_polarized = len(inputs) == 3 and inputs[0] == 2
    if kind is None:
        kind = "sound" if len(inputs) == 1 else "events" if is_polarized else "image"
    choices: dict[str, Any] = {
        "data": {"kind": kind, "source": "digits"},
        "task": {"name": "classification"},
        "net": {"name": preset, **net},
    }
    if preset == "chip":
        choices["chip"] = {"profile": "h1v2"}
    config = apply_recipe(RunConfig.of(choices))
    found = {"hold": 1, "sample_rate": 16_000, "bin": 1e-3, "add_standardized": False}
    fields = type(config.data).model_fields
    data = {name: value for name, value in found.items() if name in fields}
    chip = {"gain": 1.0, "bits": 4} if config.chip is not None else {}
    facts = Facts(
        classes=tuple(map(str, range(classes))),
        n_targets=0,
        n_features=math.prod(inputs),
        feature_shape=inputs if len(inputs) > 1 else (),
        fingerprint="",
        recordings=(1, 1, 1),
        typical_steps=100,
        split_by="recording",
        split_reason="",
        split_version=1,
        profile=None if config.chip is None else load_profile(config.chip.profile).to_json(),
        begun_with=Origin.current(),
    )
    filled = fill(config, {"data": data, **({"chip": chip} if chip else {})})
    return complete(filled, facts, current_arithmetic())


def build_preset(
    preset: PresetName, inputs: tuple[int, ...], classes: int, kind: str | None = None
) -> nn.Module:
    """Build the net of a preset with the defaults for inputs of this shape; see `sample_config`.

    Raises:
        NetFileError: If the preset has no net for these inputs.
    """
    config = sample_config(preset, inputs, classes, kind)
    try:
        net: nn.Module = load_function(config.page)(inputs, classes, config)
    except ValueError as error:
        raise NetFileError(f"--net {preset}: {one_line(error)}") from None
    return net


@torch.no_grad()
def _try(net: FileNet, config: CompletedConfig) -> None:
    """Run silence of two lengths through the net, which also creates lazy parameters."""
    n_steps = config.facts.typical_steps
    x = torch.zeros(2, n_steps, config.facts.n_features)
    lengths = torch.tensor([n_steps, max(1, n_steps - 1)])
    net.eval()
    try:
        with torch.random.fork_rng(devices=[]), prepared(net):
            recording = record(net, x, lengths=lengths)
    except NetFileError:
        raise
    except Exception as error:
        shape = [2, n_steps, *net.inputs]
        what = f"the net failed for an input of shape {shape}"
        raise located(error, config.page, what, net.place) from error
    if not recording.spiking:
        raise NetFileError(
            f"{net.place}: the net has no layer that spikes, got {type(net.net).__name__}, "
            "expected at least one neuron layer of nwavesdk: add one, such as LIFLayer."
        )
    net.train()


def nearest_tau_note(config: CompletedConfig) -> str | None:
    """What to know if the chip of a run lacks its time constant, or None.

    Args:
        config: The config of a run.
    """
    profile = config.facts.chip
    if profile is None or not profile.tau_profiles or config.net.name != "chip":
        return None
    tau = config.option("net.tau")
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
