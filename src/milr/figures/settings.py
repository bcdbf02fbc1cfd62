"""How figures look. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from milr.fields import check, setting


@dataclass
class SheetSettings:
    """How every figure of maps looks."""

    colours: str = setting(
        "viridis",
        "of maps without a sign: viridis, cividis and magma are even and safe for colour-blind eyes | turbo | jet: as "
        "the paper's",
        choices=("viridis", "cividis", "magma", "turbo", "jet"),
    )
    format: str = setting(
        "png", "of figures: png | pdf | svg: the last two for papers, with their fonts", choices=("png", "pdf", "svg")
    )
    width: str = setting(
        "screen",
        "of figures of maps: screen: as wide as the pictures need | column (3.35 inches) | page (7 inches): of a page "
        "of two columns",
        choices=("screen", "column", "page"),
    )


@dataclass
class FigureSettings(SheetSettings):
    """How the figures of maps look.

    Raises:
        MilrError: where figures are drawn, for a value that is no choice.

    Example:
        >>> import milr
        >>> milr.FigureSettings(format="pdf", width="column").colours
        'viridis'
    """

    scale: str = setting(
        "kind",
        "kind: one colour scale for each kind of information | image: one for each picture",
        choices=("kind", "image"),
    )


def check_figure(how: FigureSettings | None) -> FigureSettings:
    """The settings, or the usual ones; MilrError for a value that is no choice."""
    how = how or FigureSettings()
    check(how)
    return how
