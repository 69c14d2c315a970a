"""Pictures draw letters that their usual font lacks, or say that they cannot."""

import re
import warnings
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")

from matplotlib.figure import Figure
from matplotlib.font_manager import FontEntry, fontManager

from nwavesdk.plot.theme import DARK, LIGHT, Theme, label_text, render_png

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


def test_a_font_whose_file_is_gone_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = FontEntry(
        str(tmp_path / "gone.ttf"), "Gone", "normal", "normal", 400, "normal", "scalable"
    )
    monkeypatch.setattr(fontManager, "ttflist", [*fontManager.ttflist, gone])
    (tmp_path / "text.ttf").write_text("no font")
    monkeypatch.setattr("nwavesdk.plot.theme.findSystemFonts", lambda: [str(tmp_path / "text.ttf")])
    with pytest.warns(UserWarning, match="'.U0010fffc'"):
        render_png(lambda _: figure_with("\U0010fffc"), LIGHT)


def test_letters_in_two_parts_are_joined() -> None:
    assert label_text("e\u0301") == "\u00e9"


def test_other_warnings_of_a_drawing_are_given_once() -> None:
    def draw(_: Theme) -> Figure:
        warnings.warn("something else", stacklevel=1)
        return figure_with(ONLY_IN_STIX)

    with pytest.warns(UserWarning, match="something else") as caught:
        render_png(draw, LIGHT)
    assert len(caught) == 1
    render_png(draw, DARK)  # a warning would be an error
