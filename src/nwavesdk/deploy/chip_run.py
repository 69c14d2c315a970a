"""A finished run as something to put on a chip: its net, its chip, its recordings, and where pictures go.

Pictures of a net on a chip: where its neurons lie, and what a series of chips makes of it.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nwavesdk.chip import Profile, load_profile
from nwavesdk.deploy.chip_file import export, load_export
from nwavesdk.deploy.chip_series import ChipSeries, draw_series
from nwavesdk.deploy.consumption import Consumption, get_chip_consumption
from nwavesdk.deploy.limits import Violation, find_violations
from nwavesdk.deploy.placement import Placement, place_layers
from nwavesdk.deploy.stages import chip_stages
from nwavesdk.internal.extras import require
from nwavesdk.internal.files import write_atomically
from nwavesdk.layers import ChipInstance, SpikingSequential, prepare_net
from nwavesdk.train import Run
from nwavesdk.train.theme import Theme

__all__ = ["ChipRun", "placement_picture", "series_picture"]


class ChipRun:
    """A run of `nwave train --chip`.

    Args:
        run: The run, finished.
        profile: The chip that its net is to go on.
    """

    def __init__(self, run: Run, profile: Profile) -> None:
        self.run, self.profile = run, profile
        self.net = run.model()

    @classmethod
    def open(cls, path: Path, chip: str | None = None) -> "ChipRun":
        """The run in a folder.

        Args:
            path: The folder.
            chip: A name, or the path of a profile; None: the chip that the run was for.

        Raises:
            ValueError: There is no finished run, it is for no chip, or for one with other neurons.
        """
        run = Run.open(path)
        own = run.profile
        if own is None:
            raise ValueError(
                f"{path} is a run for no chip, with neurons that a chip has not: train one with "
                "`nwave train --chip h1v2 --data FOLDER`."
            )
        profile = own if chip is None else load_profile(chip)
        if profile.text("neuron") != own.text("neuron"):
            raise ValueError(
                f"{path} is a run for {own.name}, whose neurons are not those of {profile.name}: train again with "
                f"--chip {chip}."
            )
        return cls(run, profile)

    def violations(self) -> list[Violation]:
        """Where the net breaks a limit of the chip."""
        return find_violations(self.net, self.profile)

    def placement(self) -> Placement:
        """Where its neurons go.

        Raises:
            ValueError: They do not fit; the text says why.
        """
        return place_layers(self.net, self.profile)

    def export(self, out: Path | None = None) -> tuple[Path, int]:
        """Write the file for the chip, read it back, and compare what both nets do on the validation part.

        Returns:
            The file, and how many spikes were the same.

        Raises:
            ValueError: The net breaks a limit of the chip.
            RuntimeError: A spike differs; the file is removed.
        """
        path, config = out or self.run.folder.path / "chip.safetensors", self.run.config
        assert config.chip is not None
        about = {
            "classes": list(self.run.classes), "sample_rate_hz": config.data.sample_rate, "step_s": config.net.dt,
            "gain": config.chip.gain, "recording_s": config.chip.duration,
        }  # fmt: skip
        export(self.net, path, self.profile, about)
        x = torch.from_numpy(self.run.parts.val.x)
        own, back = (_spikes(net, x) for net in (self.net, load_export(path)))
        if any(not torch.equal(a, b) for a, b in zip(own, back, strict=True)):
            path.unlink()
            raise RuntimeError(
                f"{path}: the net read back fires otherwise; this is a fault of nwavesdk, please tell."
            )
        return path, int(sum(spk.sum() for spk in own))

    def power(self) -> Consumption:
        """Average power on the validation part, on the chip as it was designed."""
        spikes = _spikes(self.net, torch.from_numpy(self.run.parts.val.x))
        return get_chip_consumption(self.net, spikes, self.run.config.net.dt, self.profile)

    def series(self, n: int, seed: int, wanted: float) -> ChipSeries:
        """Test the net on drawn chips."""
        test = self.run.parts.test
        net = self.run.model(mismatch=True)
        x, labels = torch.from_numpy(test.x), torch.from_numpy(test.labels)
        series = draw_series(net, x, labels, len(self.run.classes), n, seed, wanted)
        path = self.run.folder.path / f"chips-{seed}.json"
        write_atomically(path, (json.dumps(_content(series), indent=2) + "\n").encode())
        return series

    def draw_placement(self, path: Path | None = None) -> Path:
        """The picture of where neurons go."""
        sizes = {row.name: row.n_neurons for row in chip_stages(self.net, "draw_placement")}
        placement = replace(self.placement(), chip=self.profile.name)
        return self._draw(
            path, "placement.png", lambda theme: placement_picture(placement, sizes, theme)
        )

    def draw_series(self, series: ChipSeries, path: Path | None = None) -> Path:
        """The picture of accuracies."""
        return self._draw(
            path, "chips.png", lambda theme: series_picture(series, self.profile.name, theme)
        )

    def _draw(self, path: Path | None, name: str, draw: Any) -> Path:
        require("matplotlib", "train")
        from nwavesdk.train.pictures import LIGHT, render

        if path is None:
            self.run.folder.pictures.mkdir(exist_ok=True)
        target = path or self.run.folder.pictures / name
        write_atomically(target, render(draw, LIGHT))
        return target


def _content(series: ChipSeries) -> dict[str, Any]:
    return {"seed": series.seed, "designed": series.designed, "accuracy": list(series.accuracy)}


@torch.no_grad()
def _spikes(net: SpikingSequential, x: torch.Tensor) -> list[torch.Tensor]:
    net.eval()
    with ChipInstance(None).on(net):
        prepare_net(net)
        return [record.spk for record in net.record(x).layers.values()]


COLUMNS = 10
"""Neurons in a row of a drawn core."""


def placement_picture(placement: Placement, sizes: Mapping[str, int], theme: Theme) -> Figure:
    """Each core a grid of neurons, in the colour of the layer that uses them.

    Args:
        placement: Where neurons go.
        sizes: Neurons of each layer, in order.
        theme: Colours.
    """
    hues = {name: theme.hues[i % len(theme.hues)] for i, name in enumerate(sizes)}
    rows = [-(-size // COLUMNS) for size in placement.cores]
    figure = Figure(figsize=(1 + 2.1 * len(rows), 1.3 + 0.2 * max(rows)))
    axes = figure.subplots(1, len(rows), squeeze=False)[0]
    for core, (size, ax) in enumerate(zip(placement.cores, axes, strict=True)):
        owners = [""] * size
        for piece in placement.pieces:
            if piece.core == core:
                owners[piece.start : piece.start + piece.size] = [piece.layer] * piece.size
        for position, owner in enumerate(owners):
            corner = (position % COLUMNS, position // COLUMNS)
            face = hues[owner] if owner else theme.paper
            ax.add_patch(
                Rectangle(corner, 0.82, 0.82, facecolor=face, edgecolor=theme.faint, linewidth=0.6)
            )
        ax.set(xlim=(-0.3, COLUMNS), ylim=(max(rows), -0.3), aspect="equal", xticks=[], yticks=[])
        ax.set_title(f"core {core}: {placement.used(core)} of {size}")
        for side in ax.spines.values():
            side.set_visible(False)
    labels = [f"layer {name}: {size} neurons" for name, size in sizes.items()]
    keys = [Rectangle((0, 0), 1, 1, facecolor=hue) for hue in hues.values()]
    figure.legend(keys, labels, loc="outside lower center", ncols=min(4, len(labels)))
    figure.suptitle(f"{sum(sizes.values())} neurons on {placement.chip}", fontsize=10)
    return figure


def series_picture(series: ChipSeries, chip: str, theme: Theme) -> Figure:
    """The histogram of accuracies, with quantiles, the wanted accuracy and the chip as designed.

    Args:
        series: Accuracies of drawn chips.
        chip: Name of the chip.
        theme: Colours.
    """
    figure = Figure(figsize=(7, 3.4))
    ax = figure.subplots()
    values, chips = np.unique(series.accuracy, return_counts=True)
    width = 0.8 * float(np.diff(values).min()) if len(values) > 1 else 0.01
    colors = [theme.hues[0] if value >= series.wanted else theme.faint for value in values]
    ax.bar(values, chips, width, color=colors)
    for share, value in ((5, series.q05), (50, series.q50), (95, series.q95)):
        ax.axvline(value, color=theme.ink, linewidth=1, linestyle=":")
        ax.text(
            value,
            1.01,
            f"{share} %",
            transform=ax.get_xaxis_transform(),
            ha="center",
            va="bottom",
            fontsize=8,
        )
    ax.axvline(series.wanted, color=theme.hues[1], linewidth=1.4, label=f"wanted {series.wanted:g}")
    ax.axvline(
        series.designed,
        color=theme.hues[2],
        linewidth=1.4,
        label=f"as designed {series.designed:.3f}",
    )
    ax.set(xlabel="test accuracy", ylabel="chips", ylim=(0, 1.05 * chips.max()))
    ax.set_title(
        f"{chips.sum()} chips of {chip}: {series.share:.0%} are good enough (blue)", pad=16
    )
    ax.legend(loc="upper left")
    return figure
