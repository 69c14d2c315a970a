"""Common parts of plots: the look on light and on dark pages, new axes, the time, and PNG."""

import io
import logging
import re
import unicodedata
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.font_manager import findSystemFonts, fontManager, get_font

from nwavesdk.internal.checks import positive_number, shown
from nwavesdk.internal.files import printable, write_atomically
from nwavesdk.internal.tensors import require_tensor

__all__ = [
    "DARK",
    "LIGHT",
    "Array",
    "Draw",
    "Theme",
    "as_array",
    "label_text",
    "label_time",
    "render_png",
    "time_unit",
    "wanted_axes",
    "write_png",
]


@dataclass(frozen=True)
class Theme:
    """Colors of a picture.

    Args:
        paper: Background.
        ink: Text and the most important marks.
        faint: Axes, grids and other aids.
        hues: Colors of series; they also differ in gray and for color-blind readers.

    Example:
        >>> from dataclasses import replace
        >>> beige = replace(LIGHT, paper="#f5f0e6")
        >>> png = render_png(lambda theme: Figure((1, 1)), beige)
        >>> png[1:4]
        b'PNG'
    """

    paper: str
    ink: str
    faint: str
    hues: tuple[str, ...]

    @property
    def ramp(self) -> LinearSegmentedColormap:
        """Color map from zero (paper) to large."""
        return LinearSegmentedColormap.from_list("ramp", [self.paper, self.hues[0]])

    @property
    def diverging(self) -> LinearSegmentedColormap:
        """Color map from negative over zero (paper) to positive."""
        return LinearSegmentedColormap.from_list(
            "diverging", [self.hues[0], self.paper, self.hues[1]]
        )


LIGHT = Theme("#ffffff", "#1d2733", "#b8c1cc", ("#1f66c1", "#d1620f", "#12805c", "#9a3fa0"))
"""The theme of pictures on white pages."""

DARK = Theme("#14181d", "#e4e9ef", "#4d5864", ("#6fa8f5", "#f2a154", "#4fc79c", "#d08bd6"))
"""The theme of pictures on dark pages."""

# Both come with matplotlib. The second has a box for every letter.
USUAL_FONTS = ("DejaVu Sans",)
FONT_OF_BOXES = "Last Resort"

# The causes of warnings that this process has issued: missing letters, or texts.
_WARNED: set[str] = set()

Draw = Callable[[Theme], Figure]


def label_text(name: str, most: int = 24) -> str:
    r"""A name from a user or a file, as a picture shows it: short, on one line, never as a formula.

    Args:
        name: Such as the name of a class or a folder.
        most: Letters of a name to show.

    Example:
        >>> label_text("cash in $ or in $\n")
        'cash in \\$ or in \\$\\n'
    """
    text = printable(unicodedata.normalize("NFC", name))
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    # Matplotlib reads text between two dollar signs as a formula, which may be an error.
    return text.replace("$", r"\$")


def write_png(path: Path, draw: Draw) -> None:
    """Write a picture on a light page as PNG; its folder is created if it does not exist."""
    write_atomically(path, render_png(draw, LIGHT))


def render_png(draw: Draw, theme: Theme) -> bytes:
    """Render a picture as PNG.

    Letters that the usual font lacks, such as Chinese ones, are drawn in an installed font that has
    them.

    Args:
        draw: Draws the picture in the colors of a theme; called again if letters are missing.
        theme: The theme.

    Warns:
        UserWarning: If no installed font has a letter: a box is drawn in its place. It is issued
            once per process and set of letters.
    """
    png, missing, others = _render(draw, theme, USUAL_FONTS)
    if missing:
        fonts = (*USUAL_FONTS, *_fonts_with(missing))
        with suppress(RuntimeError):  # a font is damaged
            png, missing, others = _render(draw, theme, fonts)

    for text, category in others.items():
        _warn_once(text, text, category)
    if missing:
        _warn_once(
            missing,
            f"pictures: no installed font has {len(missing)} of the letters in names, such as "
            f"{missing[0]!r}: boxes stand for them. Install a font of this script, such as Noto "
            "Sans.",
        )
    return png


def _render(
    draw: Draw, theme: Theme, fonts: tuple[str, ...]
) -> tuple[bytes, str, dict[str, type[Warning]]]:
    """Render a picture with some fonts: the first that has a letter draws it.

    Returns:
        The file, the letters that no font has, and the text and category of other warnings.
    """
    settings = {**_matplotlib_settings(theme), "font.family": list(fonts)}
    file = io.BytesIO()
    with rc_context(settings), _any_weight(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        draw(theme).savefig(file, format="png", dpi=144)

    missing = set()
    others = {}
    for warning in caught:
        text = str(warning.message)
        if glyph := re.match(r"Glyph (\d+) .*missing from (current )?font", text):
            missing.add(chr(int(glyph[1])))
        else:
            others[text] = warning.category
    return file.getvalue(), "".join(sorted(missing)), others


def _warn_once(cause: str, text: str, category: type[Warning] = UserWarning) -> None:
    """Warn once per process and cause, however many pictures there are."""
    if cause not in _WARNED:
        _WARNED.add(cause)
        warnings.warn(text, category, stacklevel=3)


@contextmanager
def _any_weight() -> Iterator[None]:
    """Let matplotlib take a font of another weight without a log message: better than a box."""
    log = logging.getLogger("matplotlib.font_manager")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(level)


@cache
def _fonts_with(letters: str) -> tuple[str, ...]:
    """The installed fonts that have some of these letters."""
    known = {font.fname for font in fontManager.ttflist}
    for path in set(findSystemFonts()) - known:  # installed after matplotlib listed its fonts
        with suppress(Exception):  # whatever a damaged font raises
            fontManager.addfont(path)

    codes = set(map(ord, letters))
    names = set()
    for font in fontManager.ttflist:
        with suppress(Exception):  # as above
            if not codes.isdisjoint(get_font(font.fname).get_charmap()):
                names.add(font.name)
    return tuple(sorted(name for name in names if not name.startswith(FONT_OF_BOXES)))


def _matplotlib_settings(theme: Theme) -> Any:
    # Few lines: no frame on the top and on the right, and a grid only where a plot asks for it.
    return {
        "figure.facecolor": theme.paper,
        "figure.constrained_layout.use": True,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.faint,
        "axes.labelcolor": theme.ink,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.labelsize": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": theme.faint,
        "grid.alpha": 0.35,
        "text.color": theme.ink,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "xtick.labelsize": 8,
        "ytick.labelsize": 8,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "font.size": 9,
    }


Array = npt.NDArray[np.float32]


def wanted_axes(owner: str, ax: Axes | None, theme: Theme) -> Axes:
    """The given axes, or the axes of a new figure of pyplot; checks the theme, too.

    Raises:
        TypeError: If `ax` is neither axes nor None, or `theme` is not a theme.
    """
    if not isinstance(theme, Theme):
        raise TypeError(
            f"{owner}: theme must be a Theme, got {shown(theme)}: pass plot.LIGHT or plot.DARK."
        )

    if ax is None:
        # Loaded here, because it chooses a way to show figures, which reports do not need.
        from matplotlib import pyplot

        return pyplot.subplots(layout="constrained")[1]

    if not isinstance(ax, Axes):
        raise TypeError(
            f"{owner}: ax must be matplotlib axes, got {shown(ax)}: pass axes of a figure, as in "
            "figure.subplots()."
        )
    return ax


def as_array(owner: str, values: Any, shapes: dict[int, str], remedy: str) -> Array:
    """Values as a float32 array on the CPU.

    Args:
        owner: The plot, for the message.
        values: A tensor, or anything that NumPy takes as an array of numbers.
        shapes: The shapes that it takes, by their number of dimensions.
        remedy: The remedy for other shapes, in the message.

    Raises:
        TypeError: If the values are not numbers.
        ValueError: If `shapes` does not have the number of dimensions, or there are no values.
    """
    if isinstance(values, torch.Tensor):
        require_tensor(owner, values)
        array = values.detach().to("cpu", torch.float32).numpy()
    else:
        try:
            array = np.asarray(values, np.float32)
        except (TypeError, ValueError):
            raise TypeError(
                f"{owner} takes a tensor or an array of numbers, got {shown(values)}."
            ) from None

    if array.ndim not in shapes or not array.size:
        expected = " or ".join(dict.fromkeys(shapes.values()))
        raise ValueError(
            f"{owner} takes {expected} with at least one element, got the shape "
            f"{list(array.shape)}: {remedy}."
        )
    return array


def time_unit(owner: str, dt: float | None) -> float:
    """Length of a step on the axis of time: in ms with `dt`, else 1."""
    return 1.0 if dt is None else 1e3 * positive_number(owner, "dt", dt, "s")


def label_time(ax: Axes, n_steps: int, unit: float, dt: float | None) -> None:
    """Name the axis of time and let it end with the recording."""
    ax.set(xlabel="step" if dt is None else "time [ms]", xlim=(0, n_steps * unit))
