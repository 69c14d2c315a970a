"""Plots of recordings: what is drawn where, given axes, new axes, and errors by words."""

import numpy as np
import pytest
import torch

pytest.importorskip("matplotlib")

from matplotlib import pyplot
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from nwavesdk import plot


@pytest.fixture(autouse=True)
def close_figures():
    yield
    pyplot.close("all")


def axes():
    return Figure().subplots()


def spikes(*shape):
    draw = torch.Generator().manual_seed(2)
    return (torch.rand(*shape, generator=draw) < 0.3).float()


@pytest.mark.parametrize("dt", [None, 2e-3])
def test_a_raster_has_a_mark_for_each_spike(dt):
    spk, given = spikes(20, 6), axes()
    ax = plot.raster(spk, given, dt=dt, color="#ff0000")
    assert ax is given
    unit = 1 if dt is None else 2
    places = ax.collections[0].get_offsets()
    got = {(round(time / unit - 0.5), round(neuron)) for time, neuron in places}
    assert got == set(map(tuple, spk.nonzero().tolist()))
    assert ax.get_xlim() == (0, 20 * unit)
    assert ax.get_xlabel() == ("step" if dt is None else "time [ms]")
    assert ax.get_ylabel() == "neuron"
    image = plot.raster(spk.reshape(20, 1, 2, 3).bfloat16().requires_grad_(), axes())
    assert len(image.collections[0].get_offsets()) == len(places)


def test_few_columns_are_lines_many_an_image_and_spikes_marks():
    few = plot.series(torch.randn(50, 3), axes(), dt=1e-3, name="input")
    assert (len(few.lines), few.get_xlabel(), few.get_xlim()) == (3, "time [ms]", (0, 50))
    assert few.get_ylabel() == "input"
    values = torch.randn(50, 5, 4)
    many = plot.series(values, axes())
    np.testing.assert_array_equal(many.images[0].get_array(), values.flatten(1).T)
    assert many.get_xlabel() == "step"
    spk = spikes(50, 3)
    assert len(plot.series(spk, axes()).collections[0].get_offsets()) == spk.sum()
    assert plot.series(2 * spikes(50, 20), axes()).images


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("shape", [(5, 40), (1, 2), (1,)])
def test_silence_and_one_step_can_be_drawn(shape):
    for value in (0.0, 0.5):
        plot.series(torch.full(shape, value), axes()).figure.canvas.draw()


def test_membranes_have_a_line_per_neuron_and_marks_above():
    v = torch.randn(30, 3)
    u, s = v + 0.5, spikes(30, 3)
    ax = plot.membranes(v, axes(), spikes=s, before=u, threshold=1.0, dt=1e-3)
    threshold, *lines = ax.lines
    assert set(threshold.get_ydata()) == {1.0}
    for n in range(3):
        np.testing.assert_array_equal(lines[2 * n].get_ydata(), u[:, n])
        np.testing.assert_array_equal(lines[2 * n + 1].get_ydata(), v[:, n])
        places = ax.collections[n].get_offsets()
        assert len(places) == s[:, n].sum()
        assert (places[:, 1] > max(u.max(), 1.0)).all()
    single = plot.membranes(v[:, 0], axes(), spikes=s[:, 0])
    assert single.get_legend_handles_labels()[1] == ["after reset", "spike"]


def test_rates_are_bars_of_the_mean():
    spk = spikes(4, 50, 5)
    ax = plot.rates(spk, axes())
    got = [bar.get_width() for bar in ax.patches]
    np.testing.assert_allclose(got, spk.mean((0, 1)), rtol=1e-6)
    hertz = plot.rates(spk[0], axes(), dt=2e-3)
    got = [bar.get_width() for bar in hertz.patches]
    np.testing.assert_allclose(got, spk[0].mean(0) / 2e-3, rtol=1e-6)
    assert hertz.get_xlabel() == "rate [Hz]"


def test_event_frames_are_pictures_side_by_side():
    frames = np.zeros((7, 2, 3, 4))
    frames[0, 0, 1, 2] = frames[1, 0, 1, 2] = 2  # the first of three pictures, 0 and 1
    frames[6, 1, 0, 0] = 1  # the last, 4 to 6
    ax = plot.event_frames(frames, axes(), n_pictures=3, dt=0.5)
    strip = np.asarray(ax.images[0].get_array())
    assert strip.shape == (3, 3 * 4 + 2, 3)
    np.testing.assert_allclose(strip[1, 2], to_rgb(plot.LIGHT.hues[0]))
    half = (np.array(to_rgb(plot.LIGHT.hues[1])) + 1) / 2  # the root of a quarter, from white
    np.testing.assert_allclose(strip[0, 10], half)
    assert (strip.min(2) < 1).sum() == 2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0–", "1–", "2–"]
    assert not any(frame.get_clip_on() for frame in ax.patches), "a border is cut at the edge"
    gray = plot.event_frames(frames.sum(1), axes(), n_pictures=20)
    assert np.asarray(gray.images[0].get_array()).shape == (3, 7 * 5 - 1, 3)


def test_without_axes_there_is_a_new_figure():
    for ax in (plot.raster(spikes(9, 3)), plot.rates(spikes(9, 3))):
        assert ax.figure.number in pyplot.get_fignums()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda: plot.raster(spikes(9, 3), Figure()),
            "raster: ax must be matplotlib axes, got <Figure",
        ),
        (
            lambda: plot.rates(spikes(9, 3), theme="dark"),
            "rates: theme must be a Theme, got 'dark': pass plot.LIGH",
        ),
        (lambda: plot.raster("x"), "raster takes a tensor or an array of numbers, got 'x'"),
    ],
)
def test_arguments_of_other_types_are_rejected(draw, words):
    with pytest.raises(TypeError, match=words):
        draw()


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda: plot.series(torch.tensor(1.0)),
            r"series takes a series \[T, \*features\] .* shape \[\]",
        ),
        (lambda: plot.raster(spikes(9)), r"raster takes spikes \[T, \*features\].* shape \[9\]"),
        (
            lambda: plot.membranes(spikes(2, 9, 3)),
            r"membranes takes membranes \[T\] or \[T, N\] .*mem\[0\]",
        ),
        (
            lambda: plot.membranes(spikes(9, 3), spikes=spikes(9, 2)),
            r"spikes has the shape \[9, 2\], expected \[9, 3\]",
        ),
        (lambda: plot.rates(spikes(9, 3), dt=0), "rates: dt must be a finite number above 0"),
        (lambda: plot.event_frames(spikes(9, 3, 4, 4)), "draws up to two polarities, got 3"),
    ],
)
def test_arguments_of_other_values_are_rejected(draw, words):
    with pytest.raises(ValueError, match=words):
        draw()


def test_a_threshold_that_changes_is_a_curve() -> None:
    v = torch.linspace(0.0, 0.9, 5)
    ax = plot.membranes(v, axes(), before=v, threshold=1 + v)
    threshold, before, _ = ax.lines
    assert threshold.get_ydata() == pytest.approx((1 + v).numpy())
    assert before.get_label() == "before reset"
    with pytest.raises(ValueError, match=r"threshold has the shape \[4\], expected \[5\]"):
        plot.membranes(v, axes(), threshold=v[1:])
