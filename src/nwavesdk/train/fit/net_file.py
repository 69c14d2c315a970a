"""A net that a Python file of the user builds, as the net of a run.

Design requirements:

- Only the file that the user gives is run, after its hash was compared with that of the run.
- What is wrong in the file ends in one line, which begins with the file and the line.
"""

import inspect
import math
import sys
import traceback
from collections.abc import Callable, Set
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from nwavesdk.internal.files import one_line, printable
from nwavesdk.layers import ChipInstance, SpikingSequential
from nwavesdk.layers.constants import without_step_warnings
from nwavesdk.layers.equation import EquationLayer
from nwavesdk.net import record
from nwavesdk.net.container import takes_argument
from nwavesdk.net.preparation import prepared
from nwavesdk.net.sequential import takes_held
from nwavesdk.presets import PresetName
from nwavesdk.train.config import RunConfig
from nwavesdk.train.config.facts import Facts
from nwavesdk.train.config.net_choice import NetFileConfig, page_of
from nwavesdk.train.config.recipes import DataKind, complete_config
from nwavesdk.train.config.sections import NetConfig
from nwavesdk.train.fit.network import build_run_network

__all__ = [
    "FileNet",
    "NetFileError",
    "RunNet",
    "build_file_net",
    "build_preset",
    "load_function",
    "load_layer",
    "load_module",
    "network_of_run",
    "unread_fields",
]

# What `build` gets.
ARGUMENTS = "(inputs, classes, config)"

# Steps of the input that a new net is tried with, for data whose lengths are not recorded.
USUAL_STEPS = 100


class NetFileError(ValueError):
    """Something is wrong in the file of a net; the text begins with file and line."""


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


# The net of a run: of layers that its options choose, or of a file.
RunNet = SpikingSequential | FileNet


@without_step_warnings()  # a run that begins warns once
def network_of_run(
    config: RunConfig, facts: Facts, *, deployed: bool = False, mismatch: bool = False
) -> RunNet:
    """Build the net of a run with random weights; see `build_run_network`."""
    if config.net_file is not None:
        return build_file_net(config, facts, mismatch=mismatch)
    return build_run_network(config, facts, deployed=deployed, mismatch=mismatch)


def build_file_net(config: RunConfig, facts: Facts, *, mismatch: bool = False) -> FileNet:
    """Build the net of a run with `build` of its file, and try it once.

    Args:
        config: The config of the run, with the file; `build` gets it.
        facts: What the data are.
        mismatch: Whether `prepare_net` draws the mismatch of a chip; otherwise, modules of a chip
            are those of the chip as designed.

    Raises:
        NetFileError: If the file, its function or its net does not work.
    """
    assert config.net_file is not None
    build = load_function(config.net_file)
    place = f"{printable(config.net_file.file)}:{build.__code__.co_firstlineno}"
    inputs = facts.feature_shape or (facts.n_features,)
    n_outputs = len(facts.classes) or facts.n_targets
    try:
        net = build(inputs, n_outputs, config)
    except (Exception, SystemExit) as error:
        if config.net.preset is not None and isinstance(error, ValueError):
            raise NetFileError(f"--net {config.net.preset}: {one_line(error)}") from error
        what = f"{config.net_file.function} failed"
        raise _located(error, config.net_file, what, place) from error
    if not isinstance(net, nn.Module):
        raise NetFileError(
            f"{place}: {config.net_file.function} returned {type(net).__name__}, expected a "
            "torch.nn.Module: return the net."
        )
    decides_once = facts.task == "classification"
    file_net = FileNet(net, inputs, n_outputs, decides_once=decides_once, place=place)
    _try(file_net, config.net_file, facts)
    if not mismatch:
        ChipInstance(None).hold(file_net)
    return file_net


def unread_fields(config: RunConfig, facts: Facts, names: Set[str]) -> list[str]:
    """Those fields of `config.net` that neither `build` of a user's file nor its net reads.

    A function that reads the choices as a whole, as `config.model_dump()` does, reads all.

    Args:
        config: The config of the run, with the file.
        facts: What the data are.
        names: The fields that count.
    """
    read: set[str] = set()

    class Watched(NetConfig):
        def __getattribute__(self, name: str) -> Any:
            read.add(name)
            return super().__getattribute__(name)

    net = Watched.model_construct(**dict(config.net))
    read.clear()
    with without_step_warnings():
        build_file_net(config.model_copy(update={"net": net}), facts)
    return [] if "__dict__" in read else sorted(names - read)


def build_preset(
    preset: PresetName, inputs: tuple[int, ...], classes: int, kind: DataKind | None = None
) -> nn.Module:
    """Build the net of a preset with the defaults for inputs of this shape.

    Args:
        preset: Its name.
        inputs: Shape of one step: bands of sound, values of a series, pixels of an image, or places
            of events.
        classes: Number of classes.
        kind: What the recordings are; None takes sound for one axis, events for [2, H, W], and
            otherwise images.

    Raises:
        NetFileError: If the preset has no net for these inputs.
    """
    choices: dict[str, Any] = {"net": {"preset": preset}}
    if preset == "chip":
        choices["chip"] = {"profile": "h1v2"}
    if kind is None:
        is_polarized = len(inputs) == 3 and inputs[0] == 2
        kind = "sound" if len(inputs) == 1 else "events" if is_polarized else "image"
    config, reason = complete_config(RunConfig.of(choices), kind, "classification")
    facts = Facts(
        kind=kind,
        classes=tuple(map(str, range(classes))),
        n_features=math.prod(inputs),
        feature_shape=inputs if len(inputs) > 1 else (),
        fingerprint="",
        recordings=(1, 1, 1),
        net_reason=reason,
    )
    config = config.model_copy(update={"facts": facts})
    try:
        net: nn.Module = load_function(page_of(preset))(inputs, classes, config)
    except ValueError as error:
        raise NetFileError(f"--net {preset}: {one_line(error)}") from None
    return net


def load_function(net_file: NetFileConfig) -> Callable[..., Any]:
    """The function of the file that builds the net.

    Raises:
        NetFileError: If it is missing or takes other arguments.
        ValueError: If the file has changed.
    """
    module = load_module(net_file)
    name = net_file.function
    function = vars(module).get(name)
    if not inspect.isfunction(function):
        problem = "is missing" if function is None else f"is of type {type(function).__name__}"
        raise NetFileError(
            f"{printable(net_file.file)}:1: the function {name} {problem}, expected def "
            f"{name}{ARGUMENTS}: add it, or name another one, as in --net FILE.py:NAME."
        )
    signature = inspect.signature(function)
    try:
        signature.bind((), 0, None)
    except TypeError:
        line = function.__code__.co_firstlineno
        raise NetFileError(
            f"{printable(net_file.file)}:{line}: got {name}{signature}, expected "
            f"{name}{ARGUMENTS}: change its parameters."
        ) from None
    return function


def load_layer(net_file: NetFileConfig) -> type[EquationLayer]:
    """The layer of the file that `neuron` made; its name is the `function` of the config.

    Raises:
        NetFileError: If it is missing or is something else.
        ValueError: If the file has changed.
    """
    layers = {
        name: value
        for name, value in vars(load_module(net_file)).items()
        if isinstance(value, type) and issubclass(value, EquationLayer) and hasattr(value, "page")
    }
    name = net_file.function
    if name not in layers:
        known = f"one of {', '.join(layers)}" if layers else "a function under @neuron"
        raise NetFileError(
            f"{printable(net_file.file)}:1: there is no layer {name}, expected {known}: name it, "
            "as in FILE.py:NAME."
        )
    return layers[name]


def load_module(net_file: NetFileConfig) -> ModuleType:
    """The module of the file, registered under a name of its hash.

    Pickles of its classes can be read in any process that has called this.

    Raises:
        NetFileError: If the file raises.
        ValueError: If the file has changed.
    """
    name = f"nwave_net_{net_file.sha256[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    content = net_file.content()
    module = ModuleType(name)
    module.__file__ = net_file.file
    sys.modules[name] = module
    try:
        exec(compile(content, net_file.file, "exec"), vars(module))
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        line = getattr(error, "lineno", None) if isinstance(error, SyntaxError) else None
        default = f"{printable(net_file.file)}:{line or 1}"
        raise _located(error, net_file, "the file failed", default) from error
    return module


@torch.no_grad()
def _try(net: FileNet, net_file: NetFileConfig, facts: Facts) -> None:
    """Run silence of two lengths through the net, which also creates lazy parameters."""
    n_steps = facts.typical_steps or USUAL_STEPS
    x = torch.zeros(2, n_steps, facts.n_features)
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
        raise _located(error, net_file, what, net.place) from error
    if not recording.spiking:
        raise NetFileError(
            f"{net.place}: the net has no layer that spikes, got {type(net.net).__name__}, "
            "expected at least one neuron layer of nwavesdk: add one, such as LIFLayer."
        )
    net.train()


def _located(
    error: Exception | SystemExit, net_file: NetFileConfig, what: str, default: str
) -> NetFileError:
    """An error with the last line of the file that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == net_file.file]
    place = f"{printable(net_file.file)}:{lines[-1]}" if lines else default
    reason = one_line(error) if isinstance(error, Exception) else str(error)
    return NetFileError(f"{place}: {what} ({type(error).__name__}: {reason}).")
