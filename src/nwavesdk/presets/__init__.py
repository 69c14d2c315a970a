"""Presets: nets of `nwave train --net NAME`, each one page of Python to copy and change.

A page has `build(inputs, classes, config)`, as the file of a user's net. `nwave net NAME` prints
it. Pages are imported on first use, so that the command line need not load torch.

Example:
    >>> from nwavesdk.presets import lif
    >>> from nwavesdk.train import RunConfig
    >>> net = lif.build((40,), 12, RunConfig.of({"net": {"hidden": [64]}}))
    >>> sum(parameter.numel() for parameter in net.parameters())
    10240
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from nwavesdk.internal.imports import import_on_use

__all__ = ["DESCRIPTIONS", "LAYERED", "NAMES", "PresetName", "page_path", "text"]

PresetName = Literal["lif", "adlif", "recurrent", "conv", "delay", "chip"]
"""The name of a preset, one of `NAMES`."""

NAMES: tuple[PresetName, ...] = get_args(PresetName)
"""The names of the presets."""

DESCRIPTIONS: Mapping[PresetName, str] = {
    "lif": "dense layers of LIF or other neurons, chosen by options",
    "adlif": "dense layers of adaptive LIF neurons with batch norm",
    "recurrent": "recurrent layers of adaptive LIF neurons with batch norm",
    "conv": "convolutions over time, and over frequency or space, with batch norm",
    "delay": "dense layers with a learned delay for each connection, with batch norm",
    "chip": "the neurons and synapses of an H1 chip behind its filter bank",
}
"""What each preset is."""

LAYERED: frozenset[PresetName] = frozenset({"lif", "chip"})
"""Presets whose nets are plain stacks of synapses and neurons on flat frames, for deploy tools."""

if TYPE_CHECKING:
    from nwavesdk.presets import adlif as adlif
    from nwavesdk.presets import chip as chip
    from nwavesdk.presets import conv as conv
    from nwavesdk.presets import delay as delay
    from nwavesdk.presets import lif as lif
    from nwavesdk.presets import recurrent as recurrent
else:
    __getattr__, __dir__ = import_on_use(__name__, {}, modules=NAMES)


def text(name: PresetName) -> str:
    """The text of the page of a preset.

    Args:
        name: One of `NAMES`.

    Example:
        >>> "def build(" in text("conv")
        True
    """
    return (resources.files(__name__) / f"{name}.py").read_text(encoding="utf-8")


def page_path(name: PresetName) -> Path:
    """The file of the page of a preset in the package.

    Args:
        name: One of `NAMES`.

    Example:
        >>> page_path("conv").read_text(encoding="utf-8") == text("conv")
        True
    """
    return Path(str(resources.files(__name__) / f"{name}.py"))
