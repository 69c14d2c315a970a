"""Pictures draw letters that their usual font lacks, or say that they cannot."""

import re
import warnings

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure

from nwavesdk.plot.theme import DARK, LIGHT, Theme, render_png

ONLY_IN_STIX = "\u2322"  # a frown, in STIXGeneral, which comes with matplotlib
IN_NO_FONT = "\U0010fffd"  # for private use


def figure_with(text: str) -> Figure:
    figure = Figure(figsize=(1, 1))
    figure.suptitle(text)
    return figure


def test_a_letter_that_another_font_has_is_drawn_in_it() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        drawn = render_png(lambda _: figure_with(ONLY_IN_STIX), LIGHT)
    assert drawn != render_png(lambda _: figure_with(" "), LIGHT)


def test_a_letter_that_no_font_has_is_said_once() -> None:
    def draw(_: Theme) -> Figure:
        return figure_with(IN_NO_FONT + ONLY_IN_STIX)

    message = (
        "pictures: no installed font has 1 of the letters in names, such as '\\U0010fffd': boxes "
        "stand for them. Install a font of this script, such as Noto Sans."
    )
    with pytest.warns(UserWarning, match=f"^{re.escape(message)}$"):
        render_png(draw, LIGHT)
    render_png(draw, DARK)  # a warning would be an error


def test_other_warnings_of_a_drawing_are_not_lost() -> None:
    def draw(_: Theme) -> Figure:
        warnings.warn("something else", stacklevel=1)
        return Figure(figsize=(1, 1))

    with pytest.warns(UserWarning, match="something else"):
        render_png(draw, LIGHT)
