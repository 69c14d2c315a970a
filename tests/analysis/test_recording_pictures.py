import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nwavesdk.analysis.recording_pictures import (
    Example,
    class_colors,
    draw_event_frames,
    draw_label_bands,
    draw_recording,
    draw_series,
    has_pixels,
    shrink,
)
from nwavesdk.data.source import Events
from nwavesdk.plot.theme import DARK, LIGHT


def panel() -> Axes:
    return Figure().subplots()


def events(*rows: tuple[float, int, int, int], shape: tuple[int, ...] = (2, 3, 4)) -> Events:
    """Events at (time [s], polarity, y, x), within a second."""
    times = np.array([row[0] for row in rows])
    places = [np.ravel_multi_index(row[1:], shape) for row in rows]
    return Events(times, np.array(places, np.int64), shape, 1.0)


def test_a_raster_has_each_event_at_its_time_and_pixel() -> None:
    axes = panel()
    recorded = events((0.1, 0, 2, 3), (0.5, 1, 0, 1), (0.9, 1, 2, 0))
    draw_recording(axes, Example("a", "events", recorded), LIGHT)
    off, on = axes.collections
    np.testing.assert_allclose(off.get_offsets(), [(0.1, 2 * 4 + 3)])
    np.testing.assert_allclose(on.get_offsets(), [(0.5, 1), (0.9, 8)])
    assert to_rgb(LIGHT.hues[0]) == pytest.approx(tuple(off.get_facecolor()[0][:3]))
    assert to_rgb(LIGHT.hues[1]) == pytest.approx(tuple(on.get_facecolor()[0][:3]))


def test_very_many_events_are_thinned_over_the_whole_recording() -> None:
    n = 200_001
    axes = panel()
    recorded = Events(np.linspace(0, 1, n), np.arange(n) % 700, (700,), 1.0)
    draw_recording(axes, Example("a", "events", recorded), LIGHT)
    times = np.asarray(axes.collections[0].get_offsets())[:, 0]
    assert 10_000 < len(times) <= 20_000
    assert times[0] < 0.001
    assert times[-1] > 0.999


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_frames_accumulate_events_in_the_hue_of_their_polarity(theme: object) -> None:
    axes = panel()
    # The first two of six frames, and the last instant, which belongs to the last frame.
    draw_event_frames(axes, events((0.0, 0, 1, 2), (0.2, 1, 1, 2), (1.0, 1, 0, 0)), theme)
    strip = np.asarray(axes.images[0].get_array())
    width = 4 + 1
    assert strip.shape == (3, 6 * width - 1, 3)
    np.testing.assert_allclose(strip[1, 2], to_rgb(theme.hues[0]))
    np.testing.assert_allclose(strip[1, width + 2], to_rgb(theme.hues[1]))
    np.testing.assert_allclose(strip[0, 5 * width], to_rgb(theme.hues[1]))
    is_paper = np.abs(strip - to_rgb(theme.paper)).max(axis=2) < 1e-9
    assert (~is_paper).sum() == 3


def test_which_events_have_pixels() -> None:
    times, places = np.zeros(0), np.zeros(0, np.int64)
    shapes = {(2, 34, 34): True, (34, 34): True, (700,): False, (2, 128): False}
    got = {shape: has_pixels(Events(times, places, shape, 1.0)) for shape in shapes}
    assert got == shapes
    assert not has_pixels(np.zeros((5, 34, 34)))


def test_a_waveform_is_drawn_in_seconds() -> None:
    axes = panel()
    example = Example("a", "sound", (np.array([0.5, -0.25], np.float32), 4))
    draw_recording(axes, example, LIGHT)
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [0.125, 0.375])
    assert (example.duration, example.span) == (0.5, 0.5)


def test_a_long_waveform_keeps_its_peaks() -> None:
    samples = np.zeros(160_000, np.float32)
    samples[77_777] = 0.9
    samples[123] = -0.8
    axes = panel()
    draw_recording(axes, Example("a", "sound", (samples, 16_000)), LIGHT)
    (corners,) = [path.vertices for path in axes.collections[0].get_paths()]
    assert corners[:, 1].max() == pytest.approx(0.9)
    assert corners[:, 1].min() == pytest.approx(-0.8)
    assert corners[corners[:, 1].argmax(), 0] == pytest.approx(77_777 / 16_000, abs=0.01)


@pytest.mark.parametrize(
    ("shape", "drawn"), [((28, 28), (28, 28)), ((8, 6, 2), (8, 6)), ((8, 6, 3), (8, 6, 3))]
)
def test_images_of_gray_and_of_color(shape: tuple[int, ...], drawn: tuple[int, ...]) -> None:
    axes = panel()
    values = np.linspace(0, 1, int(np.prod(shape)), dtype=np.float32).reshape(shape)
    draw_recording(axes, Example("a", "image", values), LIGHT)
    picture = np.asarray(axes.images[0].get_array())
    assert picture.shape == drawn
    np.testing.assert_array_equal(picture, values if shape == drawn else values[..., 0])


def test_few_columns_are_lines_and_many_or_spikes_are_an_image() -> None:
    draw = np.random.default_rng(0)
    for values, n_lines in [
        (draw.normal(size=(50, 3)), 3),
        (draw.normal(size=(50, 20)), 0),
        (draw.integers(0, 2, (50, 3)), 0),
    ]:
        axes = panel()
        draw_series(axes, values.astype(np.float32), 50.0, LIGHT)
        assert len(axes.lines) == n_lines
        if not n_lines:
            np.testing.assert_array_equal(axes.images[0].get_array(), values.T.astype(np.float32))


def test_a_small_image_keeps_the_largest_values() -> None:
    raster = np.zeros((2312, 5000), np.float32)
    raster[1000, 2500] = 1
    raster[2000, 4999] = -3
    small = shrink(raster, 256, 1024)
    assert small.shape == (256, 1024)
    assert sorted(small[small != 0]) == [-3, 1]
    assert small[2000 * 256 // 2312, -1] == -3
    np.testing.assert_array_equal(shrink(raster[:5, :5], 256, 1024), raster[:5, :5])


def test_bands_below_a_recording_show_the_class_of_each_step() -> None:
    axes = panel()
    axes.set_ylim(0, 10)
    colors = class_colors(6, LIGHT)
    draw_label_bands(axes, np.array([0, 5, 5, -1]), 2.0, colors)
    strip = np.asarray(axes.images[0].get_array())
    np.testing.assert_allclose(strip[0, :3, :3], [colors[0], colors[5], colors[5]])
    assert strip[0, :, 3].tolist() == [1, 1, 1, 0]
    left, right, bottom, top = axes.images[0].get_extent()
    assert (left, right) == (0, 2)
    assert bottom < top < 0
    assert axes.get_ylim() == (bottom, 10)


@pytest.mark.parametrize("count", [0, 1, 4, 5, 200])
def test_each_class_has_another_color(count: int) -> None:
    assert len(set(class_colors(count, LIGHT))) == count
