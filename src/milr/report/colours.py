"""The colours of maps, as a page's script and style take them."""

from __future__ import annotations

from matplotlib import colormaps

STOPS = 33  # of a gradient; the colours between two of them are mixed


def stops(name: str) -> list[str]:
    """A colour map as colours at even steps, #rrggbb."""
    colours = colormaps[name]
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colours(n / (STOPS - 1))[:3]) for n in range(STOPS)]
