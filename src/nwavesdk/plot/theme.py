"""The look of pictures on light and on dark pages, and their rendering to PNG."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from nwavesdk.internal.files import printable

__all__ = ["DARK", "LIGHT", "Draw", "Theme", "label_text", "render_png"]


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
    text = printable(name)
    if len(text) > most:
        text = f"{text[: most - 1]}…"
    # Matplotlib reads text between two dollar signs as a formula, which may be an error.
    return text.replace("$", r"\$")


def render_png(draw: Draw, theme: Theme) -> bytes:
    """Render a picture as PNG.

    Args:
        draw: Draws the picture in the colors of a theme.
        theme: The theme.
    """
    with rc_context(_matplotlib_settings(theme)):
        figure = draw(theme)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=144)
    return file.getvalue()


def _matplotlib_settings(theme: Theme) -> Any:
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
