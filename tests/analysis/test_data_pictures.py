import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from nwavesdk.analysis.data_pictures import DataPicture, choose_examples, draw_data
from nwavesdk.analysis.recording_pictures import Example
from nwavesdk.chip import FilterBank
from nwavesdk.data.source import Events
from nwavesdk.plot.theme import DARK, LIGHT, Theme, render_png

HOSTILE = ("$x_{$", "two\nlines \x1b[31m", "\u202eabc", "n" * 300)


def picture(
    examples: Sequence[Example],
    task: str = "classification",
    classes: Sequence[str] = (),
    per_class: int = 4,
) -> DataPicture:
    """A data set with `per_class` recordings of each class for training, one for each other set."""
    sizes = {"train": per_class, "val": 1, "test": 1}
    n = max(1, len(classes))
    return DataPicture(
        task=task,
        classes=tuple(classes),
        examples=tuple(examples),
        feature_text="things",
        lengths={part: np.arange(10, 10 + n * size) for part, size in sizes.items()},
        step=None,
        counts={part: np.full(n, size) for part, size in sizes.items()},
        groups={},
    )


def series(length: int = 20, columns: int = 2) -> np.ndarray:
    return np.random.default_rng(length).normal(size=(length, columns)).astype(np.float32)


def titles(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


KINDS = {
    "sound": Example("a", "sound", (series(900)[:, 0], 8000), series(9, 32), step=0.01),
    "series": Example("a", "series", series(), series()),
    "image": Example("a", "image", np.ones((8, 8), np.float32), np.ones((5, 64), np.float32)),
    "events": Example(
        "a",
        "events",
        Events(np.array([0.1, 0.2]), np.array([0, 31]), (2, 4, 4), 0.3),
        series(3, 32),
    ),
    "cochlea": Example(
        "a", "events", Events(np.array([0.1]), np.array([650]), (700,), 0.3), series(3, 700)
    ),
}


@pytest.mark.parametrize(
    ("kind", "first", "n_columns"),
    [
        ("sound", "a: sound, 0.113 s", 2),
        ("series", "a: 20 steps of 2 values", 2),
        ("image", "a: image, 8 × 8", 2),
        ("events", "a: 2 events in 0.3 s", 3),
        ("cochlea", "a: 1 events in 0.3 s", 2),
    ],
)
def test_a_row_for_each_example_of_each_kind(kind: str, first: str, n_columns: int) -> None:
    figure = draw_data(picture([KINDS[kind]] * 3, classes=["a", "b", "c"]), LIGHT)
    # Below the examples are the lengths and the counts.
    assert len(figure.axes) == 3 * n_columns + 2
    got = titles(figure)
    assert got[0] == first
    assert got[n_columns - 1] == "Input of the net: things"
    assert ("Events, accumulated" in got) == (kind == "events")


def test_the_features_are_those_of_the_example() -> None:
    figure = draw_data(picture([KINDS["sound"]], classes=["a", "b"]), LIGHT)
    features = figure.axes[1]
    np.testing.assert_array_equal(features.images[0].get_array(), KINDS["sound"].frames.T)
    assert features.get_xlabel() == "time [s]"
    assert features.get_xlim() == (0, pytest.approx(0.09))


def test_all_rows_have_the_time_axis_of_the_longest() -> None:
    examples = [Example("a", "series", series(n), series(n)) for n in (5, 40, 12)]
    figure = draw_data(picture(examples, classes=["a"]), LIGHT)
    assert {axes.get_xlim() for axes in figure.axes[:-2]} == {(0, 40)}
    assert [axes.get_xlabel() for axes in figure.axes[:-2:2]] == ["", "", "step"]


def test_labels_of_steps_are_bands_with_a_legend() -> None:
    target = np.repeat([0, 1], 10)
    example = Example("r/1", "series", series(), series(), target)
    figure = draw_data(picture([example], "labels", ["P wave", "$x$"]), LIGHT)
    strip = np.asarray(figure.axes[0].images[0].get_array())[0]
    assert len(np.unique(strip[:10], axis=0)) == len(np.unique(strip[10:], axis=0)) == 1
    assert (strip[0] != strip[-1]).any()
    legends = [legend for part in figure.subfigs for legend in part.legends]
    assert [text.get_text() for text in legends[0].get_texts()] == ["P wave", r"\$x\$"]
    assert titles(figure)[-1] == "Steps in each set"


@pytest.mark.parametrize("task", ["regression", "pattern"])
def test_targets_have_their_own_column(task: str) -> None:
    values = None if task == "pattern" else series()
    target = series(20, 3)
    figure = draw_data(picture([Example("r/1", "series", values, values, target)], task), LIGHT)
    drawn = np.array([line.get_ydata() for line in figure.axes[-3].lines])
    np.testing.assert_array_equal(drawn, target.T)
    assert titles(figure)[0] == (
        "r/1: target" if task == "pattern" else "r/1: 20 steps of 2 values"
    )
    bars = [bar.get_height() for bar in figure.axes[-1].patches]
    assert bars == [4, 1, 1]


def test_features_that_have_no_recording_are_described_in_each_row() -> None:
    example = Example("7", "series", None, series())
    figure = draw_data(picture([example] * 2, classes=["7"]), LIGHT)
    assert titles(figure)[:2] == ["7: input of the net: things"] * 2


def test_bars_count_each_class_in_each_set() -> None:
    content = picture([KINDS["series"]], classes=["no", "yes"])
    content = dataclasses.replace(
        content,
        counts={"train": np.array([5, 2]), "val": np.array([1, 0]), "test": np.array([2, 3])},
        groups={"train": 4, "val": 1, "test": 2},
    )
    figure = draw_data(content, LIGHT)
    bars = figure.axes[-1].patches
    assert [bar.get_height() for bar in bars] == [5, 2, 1, 0, 2, 3]
    assert [bar.get_y() for bar in bars] == [0, 0, 5, 2, 6, 2]
    (legend,) = figure.subfigs[-1].legends
    assert [text.get_text() for text in legend.get_texts()] == [
        "training: 7 of 4 speakers",
        "validation: 1 of 1 speakers",
        "test: 5 of 2 speakers",
    ]


def test_lengths_are_counted_by_set() -> None:
    content = picture([KINDS["series"]], classes=["a"])
    lengths = {"train": np.array([3, 3, 90]), "val": np.zeros(0, int), "test": np.array([50])}
    axes = draw_data(dataclasses.replace(content, lengths=lengths, step=0.5), LIGHT).axes[-2]
    assert axes.get_title() == "Lengths: 3 to 90, median 26 steps (13.2 s)"
    train, test = axes.containers
    assert sum(bar.get_height() for bar in train) == 3
    assert sum(bar.get_height() for bar in test) == 1
    assert train[0].get_x() <= 3 < train[0].get_x() + train[0].get_width()
    assert test[0].get_facecolor() != train[0].get_facecolor()


def test_a_chip_has_its_filters_above_the_channels() -> None:
    bank = FilterBank(8000, lowest=100, highest=1600, count=5, order=2)
    channels = np.abs(series(30, 5))
    example = dataclasses.replace(KINDS["sound"], frames=channels)
    content = dataclasses.replace(picture([example], classes=["a"]), bank=bank)
    response, _, features, *_ = draw_data(content, LIGHT).axes
    assert response.get_xscale() == "log"
    assert len(response.lines) == 5 + 1
    # Each channel lies on its own height, from the lowest to the highest band.
    lines = [line for line in features.lines if len(line.get_xdata()) == 30]
    heights = np.array(sorted((line.get_ydata() for line in lines), key=np.min)).T
    scale = 2.6 / channels.max()
    np.testing.assert_allclose(heights, np.arange(5) + scale * channels, rtol=1e-6)


@pytest.mark.parametrize(
    ("labels", "lengths", "n_classes", "expected"),
    [
        ([0, 0, 0, 1, 1], [9, 5, 7, 1, 2], 2, [2, 4]),
        ([1] * 3, [3, 1, 2], 5, [2]),
        ([0], [7], 0, [0]),
        ([0] * 8, [8, 7, 6, 5, 4, 3, 2, 1], 0, [7, 6, 4, 3, 1, 0]),
        (list(range(200)), [1] * 200, 200, [0, 40, 80, 119, 159, 199]),
    ],
)
def test_examples_are_of_spread_classes_and_median_length(
    labels: list[int], lengths: list[int], n_classes: int, expected: list[int]
) -> None:
    assert choose_examples(np.array(labels), np.array(lengths), n_classes) == expected


def test_200_classes_are_bars_without_names() -> None:
    names = [*HOSTILE, *map(str, range(196))]
    examples = [dataclasses.replace(KINDS["series"], name=name) for name in HOSTILE]
    figure = draw_data(picture(examples, classes=names), LIGHT)
    assert all(title.isprintable() and len(title) < 90 for title in titles(figure))
    bars = figure.axes[-1]
    assert len(bars.patches) == 600
    assert bars.get_xlabel() == "class, 0 to 199"


@pytest.mark.parametrize(("kind", "theme"), [("events", LIGHT), ("sound", DARK)])
def test_hostile_names_can_be_rendered(kind: str, theme: Theme) -> None:
    example = dataclasses.replace(KINDS[kind], name=HOSTILE[0], target=np.array([0, 1, 3]))
    content = picture([example], "labels", HOSTILE)
    assert render_png(lambda theme: draw_data(content, theme), theme).startswith(b"\x89PNG")


@pytest.mark.filterwarnings("error")
def test_an_empty_recording_can_be_drawn() -> None:
    nothing = Events(np.zeros(0), np.zeros(0, np.int64), (2, 4, 4), 0.0)
    example = Example("a", "events", nothing, np.zeros((1, 32), np.float32))
    draw_data(picture([example], classes=["a"]), LIGHT)
