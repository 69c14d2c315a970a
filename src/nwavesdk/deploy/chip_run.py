"""`ChipRun`: a finished run that is deployed on a chip, and the pictures of its deployment."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.collections import PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from nwavesdk.chip import Profile, load_profile
from nwavesdk.deploy.chip_file import pack_net, unpack_net
from nwavesdk.deploy.chip_series import ChipSeries, RightCounter, count_right, draw_series
from nwavesdk.deploy.consumption import Consumption, get_chip_consumption
from nwavesdk.deploy.detector_series import DetectorSeries, detectors_picture, draw_detectors
from nwavesdk.deploy.limits import Violation, find_violations
from nwavesdk.deploy.placement import Placement, place_layers
from nwavesdk.deploy.stages import chip_stages
from nwavesdk.internal.files import check_target, printable, write_atomically
from nwavesdk.layers import ChipInstance, SpikingSequential
from nwavesdk.net.preparation import prepared
from nwavesdk.plot.theme import LIGHT, Draw, Theme, label_text, render_png
from nwavesdk.train import Run
from nwavesdk.train.fit.network import FileNet, RunNet
from nwavesdk.train.run_folder import NetChoice

__all__ = ["ChipRun", "placement_picture", "series_picture"]

# Number of chips that are drawn by default; each chip of a detector runs the whole test stream.
N_CHIPS, N_DETECTORS = 200, 20

# The fields of the file of a series.
SERIES_FIELDS = ("seed", "designed", "accuracy", "misses", "false_alarms_per_hour")


class ChipRun:
    """A run of `nwave train --chip`.

    Args:
        run: The finished run.
        profile: The chip on which its net is deployed.

    Example:
        ```python
        run = ChipRun.open(Path("runs/words"))  # of `nwave train --chip h1v2 --out runs/words`
        print(run.placement())
        print(run.power())
        file, n_spikes = run.export()
        ```
    """

    def __init__(self, run: Run, profile: Profile) -> None:
        self.run = run
        self.profile = profile
        self.net = _chip_net(run.trained().net)

    @classmethod
    def open(
        cls, path: str | Path, chip: str | None = None, net: NetChoice | None = None
    ) -> "ChipRun":
        """Open the run in a folder.

        Args:
            path: The folder.
            chip: Name or path of a profile. [the chip that the run was for]
            net: The file that builds the net, `"FILE.py:build"`, for a run with `--net`.

        Raises:
            ValueError: If there is no finished run, if it was not trained for a chip, or if the
                neurons of `chip` are of another kind.
        """
        run = Run.open(path, net)
        if run.profile is None:
            raise ValueError(
                f"{printable(path)} was not trained for a chip, and a chip does not have its "
                "neurons: train with `nwave train --chip h1v2 --data FOLDER`."
            )

        profile = run.profile if chip is None else load_profile(chip)
        if profile.text("neuron") != run.profile.text("neuron"):
            raise ValueError(
                f"{printable(path)} was trained for {run.profile.name}, which has other neurons "
                f"than {profile.name}: train again with --chip {printable(chip)}."
            )
        return cls(run, profile)

    def violations(self) -> list[Violation]:
        """Every limit of the chip that the net violates, and where."""
        return find_violations(self.net, self.profile)

    def placement(self) -> Placement:
        """The placement of the net on the cores of the chip.

        Raises:
            ValueError: If the net does not fit; the message has the reason.
        """
        return place_layers(self.net, self.profile)

    def export(self, out: str | Path | None = None) -> tuple[Path, int]:
        """Write the chip file, after comparing its spikes with the net's on the validation set.

        Args:
            out: The file. [`chip.safetensors` in the folder of the run]

        Returns:
            The file, and the number of spikes, all of which are equal.

        Raises:
            ValueError: If the net violates a limit of the chip, or the file cannot be written.
            RuntimeError: If a spike differs. Nothing is written then.
        """
        path = Path(out or self.run.folder.path / "chip.safetensors")
        check_target(path)

        config = self.run.config
        assert config.chip is not None
        about = {
            "classes": list(self.run.classes),
            "sample_rate_hz": getattr(config.data, "sample_rate", None),
            "step_s": config.net.dt,
            "gain": config.chip.gain,
            "recording_s": getattr(config.data, "duration", None),
        }
        result = self.run.folder.read_result() if self.run.folder.finished else {}
        if "decision" in result:
            about["decision"] = result["decision"]

        # The file is tested before it is written: the net in it must spike as the trained net does.
        content = pack_net(self.net, self.profile, about)
        expected = self._validation_spikes(self.net)
        read_back = self._validation_spikes(unpack_net(content, path))
        if not all(map(torch.equal, expected, read_back)):
            raise RuntimeError(
                f"{printable(path)} is not written: the exported net spikes differently from "
                "the trained net. This is a bug in nwavesdk, please report it."
            )

        write_atomically(path, content)
        return path, int(sum(spk.sum() for spk in expected))

    def test_measures(self) -> dict[str, float]:
        """The measures of the test set in `result.json`, as `test_accuracy`; empty if not known.

        They are known if the run read its test set, and if the chip is the run's own.
        """
        if self.profile != self.run.profile or not self.run.folder.finished:
            return {}
        result = self.run.folder.read_result()
        return {name: value for name, value in result.items() if name.startswith("test_")}

    def power(self) -> Consumption:
        """Average power on the validation set, on the chip as designed."""
        spikes = self._validation_spikes(self.net)
        lengths = torch.from_numpy(self.run.data.val.lengths)
        dt = self.run.config.net.dt
        return get_chip_consumption(self.net, spikes, dt, self.profile, lengths)

    def count_right(self, seeds: Sequence[int]) -> torch.Tensor:
        """Recordings of the test set that each chip classifies correctly; see `count_right`."""
        test = self.run.test_set.whole()
        net = _chip_net(self.run.trained(mismatch=True).net).eval()
        n_classes = len(self.run.classes)
        return count_right(net, test.x, test.y, n_classes, seeds, test.lengths)

    def series(
        self,
        n: int | None,
        seed: int,
        wanted: float | None = None,
        count: RightCounter | None = None,
    ) -> ChipSeries | DetectorSeries:
        """Test the net on drawn chips and write their accuracies, or their misses and false alarms.

        Args:
            n: Number of chips. [200; 20 for a detector]
            seed: See `draw_series`.
            wanted: See `draw_series`; a detector has the budget of its run. [0.9]
            count: See `draw_series` and `draw_detectors`.

        Raises:
            ValueError: If an argument is out of its range, or the file cannot be written.
        """
        name, task = printable(self.run.folder.path), self.run.task.name
        if task not in ("classification", "detect"):
            raise ValueError(
                f"{name}: drawn chips are compared by the accuracy of recordings, or by the false "
                f"alarms of a detector, got a run for {task}, expected classification or detect: "
                "nwave eval tests the chip as designed."
            )
        if task == "detect" and wanted is not None:
            raise ValueError(
                f"{name}: the chips of a detector are compared with the run's budget of false "
                f"alarms per hour, got a wanted accuracy of {wanted:g}: remove --wanted."
            )

        path = self.run.folder.path / f"chips-{seed}.json"
        check_target(path)
        series: ChipSeries | DetectorSeries
        if task == "detect":
            series = draw_detectors(self.run, n or N_DETECTORS, seed, count)
        else:
            test = self.run.test_set.whole()
            series = draw_series(
                _chip_net(self.run.trained(mismatch=True).net),
                test.x,
                test.y,
                len(self.run.classes),
                n or N_CHIPS,
                seed,
                0.9 if wanted is None else wanted,
                test.lengths,
                count,
            )

        content = {name: value for name, value in series.fields.items() if name in SERIES_FIELDS}
        write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())
        return series

    def draw_placement(self, path: Path | None = None) -> Path:
        """Draw the placement as a PNG. [`placement.png` among the run's pictures]"""
        sizes = {stage.name: stage.n_neurons for stage in chip_stages(self.net, "draw_placement")}
        placement = self.placement()

        return self._draw(
            path, "placement.png", lambda theme: placement_picture(placement, sizes, theme)
        )

    def draw_series(self, series: ChipSeries | DetectorSeries, path: Path | None = None) -> Path:
        """Draw the chips of a series as a PNG. [`chips.png` among the run's pictures]"""
        picture: Any = detectors_picture if self.run.task.name == "detect" else series_picture
        return self._draw(
            path, "chips.png", lambda theme: picture(series, self.profile.name, theme)
        )

    def picture_target(self, name: str, path: Path | None = None) -> Path:
        """The file of a picture, which is checked; call it before the work.

        Args:
            name: Its name among the run's pictures.
            path: The file. [`name` among the run's pictures]

        Raises:
            FileError: If the file cannot be written.
        """
        path = path or self.run.folder.pictures / name
        check_target(path)
        return path

    def _draw(self, path: Path | None, name: str, draw: Draw) -> Path:
        path = self.picture_target(name, path)
        write_atomically(path, render_png(draw, LIGHT))
        return path

    @torch.no_grad()
    def _validation_spikes(self, net: SpikingSequential) -> list[torch.Tensor]:
        """Spikes of every layer on the validation set, on the chip as designed."""
        net.eval()
        with ChipInstance(None).on(net), prepared(net):
            recording = net.record(self.run.data.val.whole().x)
        return [record.spk for record in recording.layers.values()]


def _chip_net(net: RunNet) -> SpikingSequential:
    """The net itself, also if a file built it.

    Raises:
        ValueError: If no chip can have it.
    """
    if not isinstance(net, FileNet):
        return net

    try:
        chip_stages(net.net, "the net of the file")
    except TypeError as error:
        raise ValueError(str(error)) from None

    assert isinstance(net.net, SpikingSequential)
    return net.net


COLUMNS = 10  # Neurons per row in the drawing of a core.


def placement_picture(placement: Placement, sizes: Mapping[str, int], theme: Theme) -> Figure:
    """Draw each core as a grid of neurons in the colors of their layers.

    Args:
        placement: The placement.
        sizes: Number of neurons of each layer, in order.
        theme: Colors.
    """
    hues = {name: theme.hues[i % len(theme.hues)] for i, name in enumerate(sizes)}

    heights = [math.ceil(size / COLUMNS) for size in placement.cores]
    figure = Figure(figsize=(1 + 2.1 * len(heights), 1.3 + 0.2 * max(heights)))
    panels = figure.subplots(1, len(heights), squeeze=False)[0]

    for core, (size, axes) in enumerate(zip(placement.cores, panels, strict=True)):
        layer_at = [""] * size
        for piece in placement.pieces:
            if piece.core == core:
                layer_at[piece.start : piece.start + piece.size] = [piece.layer] * piece.size

        corners = [(position % COLUMNS, position // COLUMNS) for position in range(size)]
        squares = [Rectangle(corner, 0.82, 0.82) for corner in corners]
        faces = [hues[layer] if layer else theme.paper for layer in layer_at]
        # One collection, because a large core has a thousand neurons.
        neurons = PatchCollection(squares, facecolor=faces, edgecolor=theme.faint, linewidth=0.6)
        axes.add_collection(neurons)

        axes.set(xlim=(-0.3, COLUMNS), ylim=(max(heights), -0.3), aspect="equal")
        axes.set(xticks=[], yticks=[], title=f"core {core}: {placement.used(core)} of {size}")
        axes.spines[:].set_visible(False)

    titles = {name: placement.titles.get(name, f"layer {name}") for name in sizes}
    labels = [f"{label_text(titles[name])}: {size} neurons" for name, size in sizes.items()]
    keys = [Rectangle((0, 0), 1, 1, facecolor=hue) for hue in hues.values()]
    figure.legend(keys, labels, loc="outside lower center", ncols=min(4, len(labels)))
    figure.suptitle(f"{sum(sizes.values())} neurons on {label_text(placement.chip)}", fontsize=10)
    return figure


def series_picture(series: ChipSeries, chip: str, theme: Theme) -> Figure:
    """Draw a histogram of accuracies with quantiles, the wanted and the designed accuracy.

    Args:
        series: Accuracies of drawn chips.
        chip: Name of the chip.
        theme: Colors.
    """
    figure = Figure(figsize=(7, 3.4))
    axes = figure.subplots()

    # Accuracies are multiples of one recording, so each value that occurs has its own bar.
    values, chips = np.unique(series.accuracy, return_counts=True)
    width = 0.8 * float(np.diff(values).min()) if len(values) > 1 else 0.01
    colors = [theme.hues[0] if value >= series.wanted else theme.faint for value in values]
    axes.bar(values, chips, width, color=colors)

    for percent, style in ((5, ":"), (50, "-"), (95, "--")):
        value = series.quantile(percent / 100)
        label = f"{percent} % quantile {value:.3f}"
        axes.axvline(value, color=theme.ink, linewidth=1, linestyle=style, label=label)

    for value, hue, label in (
        (series.wanted, theme.hues[1], f"wanted {series.wanted:g}"),
        (series.designed, theme.hues[2], f"as designed {series.designed:.3f}"),
    ):
        axes.axvline(value, color=hue, linewidth=1.4, label=label)

    axes.set(xlabel="test accuracy", ylabel="chips", ylim=(0, 1.05 * chips.max()))
    title = (
        f"{chips.sum()} chips of {label_text(chip)}: {series.share:.0%} reach the wanted accuracy"
    )
    axes.set_title(f"{title} (blue)")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
