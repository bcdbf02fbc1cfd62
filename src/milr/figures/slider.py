"""`Maps.show`: what a notebook shows of maps, with a slider for the share of places that are kept; no kernel needed."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib import colormaps
from PIL import Image
from torch import Tensor

from milr.explanation.dead_masks import warn_of
from milr.explanation.maps import KINDS, SUMMED, Maps
from milr.figures.columns import readable
from milr.figures.figures import require_one_each
from milr.figures.palette import colour_map, colour_scale, reach_of
from milr.figures.settings import FigureSettings, check_figure
from milr.figures.shown import drawn

MOST = 8  # images of one output; the rest is said to be there
SIDE = 132  # pixels of a tile's width
TITLES = {"total": "total", "kept": "kept by the mask", "redundant": "redundant", "decision": "decision-related"}
# Grey over every place whose rank, the red of `ranks`, is not above 1 - s: alpha = 255 (1 - s) + 1 - 255 red.
GREY = "0 0 0 0 .6  0 0 0 0 .6  0 0 0 0 .6  -255 0 0 0 "
MOVE = (
    f"const r=this.closest('.milr');r.querySelector('feColorMatrix').setAttribute('values','{GREY}'+"
    "(255*(1-this.value/100)+1));r.querySelector('output').textContent=this.value+' %'"
)


@dataclass(frozen=True, repr=False)
class Page:
    """HTML that a notebook shows; `html` can be written into any page."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def show(
    maps: Maps,
    images: Any,
    names: Sequence[str] | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    **look: str,
) -> Page:
    """As `Maps.show` says."""
    how, note = check_figure(FigureSettings(**look)), ""
    warn_of(maps.mask)
    pictures = None
    if images is not None:
        pictures, note = drawn(images, mean, std)
        require_one_each(images=len(pictures), maps=len(maps))
    if names is not None:
        require_one_each(names=len(names), maps=len(maps))
    count = min(len(maps), MOST)
    few = maps[:count].to("cpu")
    titles = [readable(str(name)) for name in names or [f"image {number}" for number in range(count)]][:count]
    key = hashlib.sha256(few.decision.numpy().tobytes()).hexdigest()[:12]
    rows = "".join(
        row_of(few, number, title, None if pictures is None else pictures[number], how, f"milr-{key}")
        for number, title in enumerate(titles)
    )
    more = f"{len(maps) - count} more images: maps[{count}:].show(...)" if len(maps) > count else ""
    notes = "".join(f"<p>{escape(text)}</p>" for text in (note, more) if text)
    return Page(
        f'<div class="milr"><svg width="0" height="0" aria-hidden="true"><filter id="milr-{key}" x="0" y="0" width="1"'
        f' height="1" color-interpolation-filters="sRGB"><feColorMatrix values="{GREY}1"/></filter></svg>'
        '<label>places kept, the highest of the decision map first: <input type="range" min="1" max="100" value="100"'
        f' oninput="{MOVE}"/> <output>100 %</output></label>{rows}{notes}</div>'
    )


def row_of(maps: Maps, number: int, title: str, picture: Tensor | None, how: FigureSettings, cover: str) -> str:
    """One image: the picture, where there is one, and its maps, each under the same cover."""
    hidden = uri(ranks(at_least_a_row(maps.decision[number])))
    tiles = []
    if picture is not None:
        tiles.append(tile(title, picture.permute(1, 2, 0).numpy(), hidden, cover, ""))
    for kind in KINDS:
        heat, every = getattr(maps, kind)[number], getattr(maps, kind)
        signed = kind == "redundant"
        reach = reach_of(maps.total if how.scale == "kind" else maps.total[number]) if kind in SUMMED else None
        norm = colour_scale(every if how.scale == "kind" else heat, signed, reach)
        painted = colormaps[colour_map(signed, how.colours)](norm(at_least_a_row(heat).numpy()), bytes=True)[..., :3]
        mean = f"{float(heat.mean()):.3g} bits a place ({norm.vmin:.3g} to {norm.vmax:.3g})"
        tiles.append(tile(TITLES[kind], painted, hidden, cover, mean))
    return f'<div style="display:flex;flex-wrap:wrap;gap:6px;margin:6px 0">{"".join(tiles)}</div>'


def tile(title: str, painted: npt.NDArray[np.uint8], hidden: str, cover: str, below: str) -> str:
    """A picture or a map with the cover over what is not kept, its title and a line below."""
    high, wide = painted.shape[:2]
    tall = min(max(round(SIDE * high / wide), 16), 3 * SIDE)
    whole = 'width="100%" height="100%" preserveAspectRatio="none" style="image-rendering:pixelated"'
    return (
        f'<figure style="margin:0;width:{SIDE}px;font-size:11px"><figcaption>{escape(title)}</figcaption>'
        f'<svg width="{SIDE}" height="{tall}" role="img" aria-label="{escape(f"{title} {below}".strip())}">'
        f'<image href="{uri(painted)}" {whole}/><image href="{hidden}" filter="url(#{cover})" {whole}/></svg>'
        f"<div>{escape(below)}</div></figure>"
    )


def ranks(heat: Tensor) -> npt.NDArray[np.uint8]:
    """A map [H, W] as grey: 255 at its highest place, evenly down to 1 at the lowest, so that a share is a level."""
    order = torch.empty(heat.numel(), dtype=torch.long)
    order[heat.flatten().argsort(descending=True, stable=True)] = torch.arange(heat.numel())
    level = (255 * (1 - order / heat.numel())).ceil().clamp(1, 255)
    return level.to(torch.uint8).view(heat.shape).numpy()


def at_least_a_row(heat: Tensor) -> Tensor:
    """A map [H, W], or [T] of a sequence as [1, T]."""
    return heat if heat.ndim == 2 else heat[None]


def uri(painted: npt.NDArray[np.uint8]) -> str:
    """A picture as an address that holds it."""
    file = BytesIO()
    Image.fromarray(painted).convert("RGB").save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
