"""How pictures look, on light and on dark paper."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

__all__ = ["DARK", "LIGHT", "Draw", "Theme", "render"]


@dataclass(frozen=True)
class Theme:
    """Colours of a picture.

    Args:
        paper: Background.
        ink: Text and what matters most.
        faint: Axes, grids and what only helps.
        hues: Colours that tell series apart; also in grey and for colour-blind readers.
    """

    paper: str
    ink: str
    faint: str
    hues: tuple[str, ...]

    @property
    def ramp(self) -> LinearSegmentedColormap:
        """Colour map from nothing (paper) to much."""
        return LinearSegmentedColormap.from_list("ramp", [self.paper, self.hues[0]])

    @property
    def diverging(self) -> LinearSegmentedColormap:
        """Colour map from negative over zero (paper) to positive."""
        return LinearSegmentedColormap.from_list(
            "diverging", [self.hues[0], self.paper, self.hues[1]]
        )


LIGHT = Theme("#ffffff", "#1d2733", "#b8c1cc", ("#1f66c1", "#d1620f", "#12805c", "#9a3fa0"))
DARK = Theme("#14181d", "#e4e9ef", "#4d5864", ("#6fa8f5", "#f2a154", "#4fc79c", "#d08bd6"))

Draw = Callable[[Theme], Figure]


def render(draw: Draw, theme: Theme) -> bytes:
    """The PNG of a picture.

    Args:
        draw: Draws the picture in the colours of the theme that it is given.
        theme: The colours.
    """
    with rc_context(_settings(theme)):
        figure = draw(theme)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=144)
    return file.getvalue()


def _settings(theme: Theme) -> Any:
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
