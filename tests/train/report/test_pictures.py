from functools import partial

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from nwavesdk.plot.theme import DARK, LIGHT, render_png
from nwavesdk.train.report.pictures import (
    LayerTrace,
    confusion_picture,
    learning_curves,
    membrane_traces,
    spike_raster,
)

T, N = 20, 6


def trace(silent: bool = False) -> LayerTrace:
    draw = np.random.default_rng(0)
    u = draw.uniform(-0.5, 0.9 if silent else 1.5, (T, N)).astype(np.float32)
    s = (u > 1).astype(np.float32)
    return LayerTrace(name="hidden 1", threshold=1.0, spikes=s, before=u, after=u - s)


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_colors_are_those_of_the_theme(theme: object) -> None:
    picture = render_png(lambda t: membrane_traces([trace()], 1e-3, t), theme)
    from io import BytesIO

    from matplotlib.image import imread

    corner = imread(BytesIO(picture))[0, 0, :3]
    np.testing.assert_allclose(
        corner, [int(theme.paper[i : i + 2], 16) / 255 for i in (1, 3, 5)], atol=0.01
    )


def test_the_raster_shows_every_spike_once() -> None:
    layers = [trace(), trace()]
    s = layers[0].spikes
    x = np.ones((T, 3), np.float32)
    figure = spike_raster(x, layers, 2e-3, LIGHT, classes=("a", "b", "c"), label=1)
    for raster in (figure.axes[2], figure.axes[4]):
        places = raster.collections[0].get_offsets()
        got = {(round(time / 2 - 0.5), round(neuron)) for time, neuron in places}
        assert got == set(zip(*map(list, np.nonzero(s)), strict=True))
    assert figure.axes[-2].get_xlim() == (0, 40)
    predicted = "abc"[s.sum(0).reshape(3, 2).sum(1).argmax()]
    assert f"predicted '{predicted}'" in figure.axes[4].get_title()


def test_traces_show_membranes_threshold_and_spikes() -> None:
    layer = trace()
    s, u, v = layer[2:]
    figure = membrane_traces([layer], 1e-3, LIGHT)
    threshold, before, after = figure.axes[0].lines
    counts = s.sum(0)
    chosen = next(n for n in range(N) if np.array_equal(before.get_ydata(), u[:, n]))
    assert (counts > counts[chosen]).sum() <= N // 4
    assert set(threshold.get_ydata()) == {1.0}
    np.testing.assert_array_equal(before.get_ydata(), u[:, chosen])
    np.testing.assert_array_equal(after.get_ydata(), v[:, chosen])
    assert len(figure.axes[0].collections[0].get_offsets()) == s[:, chosen].sum()


def test_without_the_length_of_a_step_the_axis_is_in_steps() -> None:
    raster = spike_raster(np.ones((T, 3), np.float32), [trace()], None, LIGHT)
    traces = membrane_traces([trace()], None, LIGHT)
    for axes in (raster.axes[-2], traces.axes[-1]):
        assert (axes.get_xlabel(), axes.get_xlim()) == ("step", (0, T))


def test_silent_layers_and_single_neurons_can_be_drawn() -> None:
    layer = trace(silent=True)
    single = LayerTrace("output", 1.0, *(values[:, :1] for values in layer[2:]))
    render_png(lambda theme: membrane_traces([layer, single], 1e-3, theme), LIGHT)
    x = np.zeros((T, 1), np.float32)
    render_png(lambda theme: spike_raster(x, [layer], 1e-3, theme, classes=("a", "b")), LIGHT)


@pytest.mark.parametrize(("value", "scale"), [(0.5, "log"), (0.0, "linear")])
def test_one_epoch_has_a_picture(value: float, scale: str) -> None:
    names = ("train_loss", "val_loss", "train_accuracy", "val_accuracy", "rate_1", "rate_2")
    history = [{"epoch": 1, **dict.fromkeys(names, value)}]
    figure = learning_curves(history, 1, "accuracy", ("a", "b"), LIGHT)
    assert figure.axes[0].get_yscale() == scale
    render_png(lambda _: figure, LIGHT)


def test_class_names_may_be_long() -> None:
    classes = [f"a_rather_long_name_{index}" for index in range(30)]
    render_png(lambda theme: confusion_picture(np.eye(30, dtype=np.int64), classes, theme), LIGHT)


def test_the_confusion_matrix_counts_errors() -> None:
    figure = confusion_picture(np.array([[4, 1], [2, 3]]), ("no", "yes"), LIGHT)
    assert figure.axes[0].get_title() == "errors: 3 of 10 test recordings"
    assert [text.get_text() for text in figure.axes[0].texts] == ["4", "1", "2", "3"]


def test_any_name_of_a_class_can_be_drawn() -> None:
    names = ("$x$", "$\\frac$", "a $ b", "\\$5$", "two\nlines \x1b[31m", "n" * 300)
    figure = confusion_picture(np.eye(N, dtype=np.int64), names, LIGHT)
    for shown in figure.axes[0].get_yticklabels():
        assert len(shown.get_text()) < 40
        assert shown.get_text().isprintable()
    render_png(lambda _: figure, LIGHT)
    x = np.zeros((T, 1), np.float32)
    draw = partial(spike_raster, x, [trace()], 1e-3, classes=names, label=1)
    render_png(draw, LIGHT)
