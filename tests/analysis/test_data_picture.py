"""The picture of a data set: panels of recordings, inputs and targets, lengths and sets."""

import shutil
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("lightning")
pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.image import imread

from examples import small_data
from nwavesdk.analysis.data_picture import draw_data, draw_recording
from nwavesdk.analysis.data_report import data_report, describe_lengths
from nwavesdk.data import RecordingError
from nwavesdk.data.source import Events, Sample
from nwavesdk.plot.theme import DARK, LIGHT, render_png, write_png
from nwavesdk.train import RunConfig
from nwavesdk.train.data.load import complete_data

pytestmark = pytest.mark.usefixtures("own_cache")

HOSTILE = ("$x_{$", "two\nlines \x1b[31m", "\u202eabc", "n" * 200)


def load(source: Path | str, **sections: Any) -> Any:
    """The config, the sets and the report of a data set."""
    data = {"source": str(source), **sections.pop("data", {})}
    config, sets = complete_data(RunConfig.of({"data": data, **sections}))
    return config, sets, data_report(config, sets)


def drawn(source: Path | str, **sections: Any) -> Figure:
    return draw_data(*load(source, **sections), LIGHT)


def panel() -> Axes:
    return Figure().subplots()


# For each maker of a data set: the title of the first panel, and the number of columns.
KINDS = {
    "wav": ("high: sound, 0.2 s", 2),
    "csv": ("high: 16 steps of 2 values", 2),
    "png": ("high: image, 4 × 5", 2),
    "events": ("high: 60 events in 0.055 s", 2),
    "labels": ("labels.npz/0: 20 steps of 2 values", 3),
    "values": ("values.npz/1: 20 steps of 2 values", 3),
    "pattern": ("pattern.npz/0", 2),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_for_each_example_of_each_kind(tmp_path: Path, kind: str) -> None:
    title, n_columns = KINDS[kind]
    figure = drawn(small_data.FORMATS[kind](tmp_path / kind))
    examples = figure.subfigs[0]
    assert len(examples.axes) % n_columns == 0
    assert examples.axes[0].get_gridspec().ncols == n_columns
    assert examples.axes[0].get_title().startswith(title)
    assert examples.get_suptitle().startswith("Input of the net: ")
    ends = [axes.get_xlim()[1] for axes in examples.axes[n_columns - 1 :: n_columns]]
    assert len(set(ends)) == 1, "all rows have the time axis of the longest"


def test_the_input_and_the_target_are_those_of_the_recording(tmp_path: Path) -> None:
    config, sets, report = load(small_data.make_npz_values(tmp_path / "values"), data={"hold": 3})
    figure = draw_data(config, sets, report, LIGHT)
    title = figure.axes[0].get_title().partition(":")[0]
    index = sets.train.recordings.keys.index(title)
    inputs, targets = figure.axes[1].lines, figure.axes[2].lines
    got = np.array([line.get_ydata() for line in inputs]).T
    np.testing.assert_array_equal(got, sets.train.input_of(index))
    expected = np.repeat(sets.train.recordings.targets[index], 3, axis=0)
    np.testing.assert_array_equal(targets[0].get_ydata(), expected[:, 0])


def test_classes_of_steps_are_lines_over_their_names(tmp_path: Path) -> None:
    config, sets, report = load(small_data.make_npz_labels(tmp_path / "labels"))
    axes = draw_data(config, sets, report, LIGHT).axes[2]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["none", "0", "1"]
    assert set(axes.lines[0].get_ydata()) == {0, 1}


def test_bars_and_lengths_have_every_recording_of_each_set(tones: Path) -> None:
    config, sets, report = load(tones, data={"bands": 12})
    report["groups"], report["group_name"] = {"train": 4, "val": 1, "test": 2}, "speakers"
    figure = draw_data(config, sets, report, LIGHT)
    lengths, counts = figure.subfigs[1].axes
    assert lengths.get_title().split() == ["Lengths:", *describe_lengths(report["lengths"]).split()]
    assert sum(bar.get_height() for bars in lengths.containers for bar in bars) == 48
    assert [bar.get_height() for bar in counts.patches] == [12] * 3 + [2] * 6
    assert [bar.get_y() for bar in counts.patches] == [0] * 3 + [12] * 3 + [14] * 3
    (legend,) = figure.subfigs[1].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "train: 36 of 4 speakers",
        "val: 6 of 1 speakers",
        "test: 6 of 2 speakers",
    ]


def test_the_input_is_the_output_of_the_filters_of_a_chip(tones: Path, tmp_path: Path) -> None:
    data = {"duration": 0.3, "sample_rate": 8000}
    config, sets, report = load(tones, data=data, chip={"profile": "h1v2"}, net={"dt": 5e-3})
    write_png(tmp_path / "new" / "data.png", partial(draw_data, config, sets, report))
    picture = imread(tmp_path / "new" / "data.png")[..., :3]
    assert picture.shape[1] == 12 * 144
    figure = draw_data(config, sets, report, LIGHT)
    assert figure.axes[1].images[0].get_array().shape[0] == 16


def test_a_recording_that_is_gone(tones: Path, tmp_path: Path) -> None:
    shutil.copytree(tones, tmp_path / "tones")
    contents = load(tmp_path / "tones")
    for file in (tmp_path / "tones" / "low").iterdir():
        file.write_bytes(b"no sound")
    with pytest.raises(RecordingError, match=r"\.wav cannot be read as sound"):
        draw_data(*contents, LIGHT)


def test_hostile_names_of_many_classes_can_be_rendered() -> None:
    config, sets, report = load("digits", data={"limit": 30})
    names = [*HOSTILE, *map(str, range(6))]
    for kind, theme in (("few", LIGHT), ("many", DARK)):
        classes = names if kind == "few" else [*names, *(f"class {i}" for i in range(190))]
        facts = config.facts.model_copy(update={"classes": tuple(classes)})
        hostile = config.model_copy(update={"facts": facts})
        counts = dict.fromkeys(classes, 1)
        changed = {**report, "classes": classes, "per_class": {"train": counts}}
        changed["recordings"] = {"train": len(classes)}

        png = render_png(lambda theme: draw_data(hostile, sets, changed, theme), theme)  # noqa: B023
        assert png.startswith(b"\x89PNG")

        figure = draw_data(hostile, sets, changed, theme)
        assert all(axes.get_title().isprintable() for axes in figure.axes)
        ticks = [label.get_text() for label in figure.axes[-1].get_xticklabels()]
        assert (len(ticks) == len(classes)) == (kind == "few")


def events(*rows: tuple[float, int, int, int], shape: tuple[int, ...] = (2, 3, 4)) -> Events:
    """Events at (time [s], polarity, y, x), within a second."""
    times = np.array([row[0] for row in rows])
    places = [np.ravel_multi_index(row[1:], shape) for row in rows]
    return Events(times, np.array(places, np.int64), shape, 1.0)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_pictures_of_events_have_the_hue_of_their_polarity(theme: Any) -> None:
    axes = panel()
    # The first two of six frames, and the last instant, which belongs to the last frame.
    recorded = events((0.0, 0, 1, 2), (0.2, 1, 1, 2), (1.0, 1, 0, 0))
    assert draw_recording(axes, Sample(recorded), "events", theme) == "3 events in 1 s"
    strip = np.asarray(axes.images[0].get_array())
    width = 4 + 1
    assert strip.shape == (3, 6 * width - 1, 3)
    np.testing.assert_allclose(strip[1, 2], to_rgb(theme.hues[0]))
    np.testing.assert_allclose(strip[1, width + 2], to_rgb(theme.hues[1]))
    np.testing.assert_allclose(strip[0, 5 * width], to_rgb(theme.hues[1]))
    is_paper = np.abs(strip - to_rgb(theme.paper)).max(axis=2) < 1e-9
    assert (~is_paper).sum() == 3


@pytest.mark.parametrize(
    ("shape", "has_pixels"),
    [((2, 34, 34), True), ((34, 34), True), ((700,), False), ((2, 128), False)],
)
def test_a_sensor_without_pixels_has_marks_over_time(
    shape: tuple[int, ...], has_pixels: bool
) -> None:
    axes = panel()
    recorded = Events(np.array([0.1, 0.25]), np.array([5, 40]), shape, 0.5)
    draw_recording(axes, Sample(recorded), "events", LIGHT)
    assert bool(axes.images) == has_pixels
    if not has_pixels:
        (marks,) = axes.collections
        np.testing.assert_allclose(marks.get_offsets(), [(101.25, 5), (251.25, 40)])


@pytest.mark.filterwarnings("error")
def test_an_empty_recording_and_silence_can_be_drawn() -> None:
    nothing = Events(np.zeros(0), np.zeros(0, np.int64), (2, 4, 4), 0.0)
    draw_recording(panel(), Sample(nothing), "events", LIGHT)
    draw_recording(panel(), Sample((np.zeros(400, np.float32), 8000)), "sound", LIGHT)


def test_a_long_waveform_keeps_its_peaks() -> None:
    samples = np.zeros(160_000, np.float32)
    samples[77_777] = 0.9
    samples[123] = -0.8
    axes = panel()
    draw_recording(axes, Sample((samples, 16_000)), "sound", LIGHT)
    time, values = axes.lines[0].get_data()
    assert len(time) <= 3000
    assert (values.max(), values.min()) == (np.float32(0.9), np.float32(-0.8))
    assert time[values.argmax()] == pytest.approx(1e3 * 77_777 / 16_000, abs=10)


@pytest.mark.parametrize(
    ("shape", "expected"), [((28, 28), (28, 28)), ((8, 6, 2), (8, 6)), ((8, 6, 3), (8, 6, 3))]
)
def test_images_of_gray_and_of_color(shape: tuple[int, ...], expected: tuple[int, ...]) -> None:
    axes = panel()
    values = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    draw_recording(axes, Sample(values), "image", LIGHT)
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == expected
    np.testing.assert_array_equal(picture, values if shape == expected else values[..., 0])
