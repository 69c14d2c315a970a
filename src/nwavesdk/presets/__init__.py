"""Presets: nets of `nwave train --net NAME`, each one page of Python to copy and change.

A page has `build(inputs, classes, config)`, like the file of a user's net. `nwave net NAME` prints
it. `nwavesdk.presets` imports no page, so that the command line need not load torch.

A new preset is a page, its name and description below, and a class in `train/config/nets.py` with
the fields that its page reads. Parts that pages share are in `blocks`. `default_net` in
`train/config/run_config.py` chooses the preset of a run.

Example:
    >>> from nwavesdk.presets import lif
    >>> from nwavesdk.train.fit.network import sample_config
    >>> net = lif.build((40,), 12, sample_config("lif", (40,), 12, hidden=[64]))
    >>> sum(parameter.numel() for parameter in net.parameters())
    10240
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Literal, get_args

__all__ = ["DESCRIPTIONS", "LAYERED", "NAMES", "PresetName", "page_path"]

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
"""A short description of each preset."""

LAYERED: frozenset[PresetName] = frozenset({"lif", "chip"})
"""Presets whose nets are plain stacks of synapses and neurons on flat frames, for deploy tools."""


def page_path(name: PresetName) -> Path:
    """The file of the page of a preset in the package.

    Args:
        name: One of `NAMES`.

    Example:
        >>> "def build(" in page_path("conv").read_text(encoding="utf-8")
        True
    """
    return Path(str(resources.files(__name__) / f"{name}.py"))
