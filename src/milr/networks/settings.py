"""The settings of a network, of how it compares pictures, and of its training. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from numbers import Integral
from typing import Any

from milr.errors import MilrError
from milr.fields import check, nearest, setting


def not_sides(grid: Any) -> str:
    """What is wrong with a grid, or nothing."""
    sides = list(grid) if isinstance(grid, Sequence) else [grid]
    right = len(sides) in (0, 2) and all(isinstance(side, Integral) and int(side) > 0 for side in sides)
    return "" if right else "rows and columns, such as [14, 14]"


@dataclass
class LayerSettings:
    """The layer pair, and how its tensors are read where their shapes leave it open. Empty and -1: as it shows itself.

    Example:
        >>> import milr
        >>> milr.LayerSettings(local="blocks.3", z="norm", read="cls").prefix
        -1
    """

    local: str = setting("", "the layer whose places are explained, a name of the module tree; empty: a first guess")
    z: str = setting(
        "",
        "a later layer that is the representation, or NAME.input: what goes into it; empty: the last pooled embedding",
    )
    read: str = setting(
        "auto",
        "what of that layer is z: auto (the class token; of other tokens the mean; of maps all) | flatten (all) | pool "
        "(the mean over places) | cls (the class token)",
        choices=("auto", "flatten", "pool", "cls"),
    )
    layout: str = setting(
        "auto",
        "how the layers' tensors hold places: channels_first [K, C, H, W] | channels_last [K, H, W, C] | tokens "
        "[K, T, C] of a grid | sequence [K, T, C] of words or times",
        choices=("auto", "channels_first", "channels_last", "tokens", "sequence"),
    )
    prefix: int = setting(-1, "tokens before the grid: of the class, registers; -1: what the grid leaves", low=-1)
    grid: list[int] = setting([], "rows and columns of the tokens; []: as the patch embedding gives", rule=not_sides)
    output: str = setting("", "of a network that gives a tuple or a dict: the number or the name of its output")
    call: int = setting(-1, "which run of layers that run more than once, from 0; -1: they run once", low=-1)


def layer_settings(layers: LayerSettings | None, **given: Any) -> LayerSettings:
    """The settings of `layers`, overridden by single fields. MilrError for unknown fields."""
    names = [each.name for each in fields(LayerSettings)]
    if unknown := [name for name in given if name not in names]:
        near = nearest(unknown[0], names)
        raise MilrError(f"there is no argument {unknown[0]}={near}: of the layers there are {', '.join(names)}")
    if layers is not None and not isinstance(layers, LayerSettings):
        raise MilrError(
            f"layers={layers!r}: they are milr.LayerSettings(local=..., z=...), or single fields, MILR(network, "
            "local=..., z=...)"
        )
    chosen = {name: value for name, value in given.items() if value not in ("", None)}
    if "output" in chosen:
        chosen["output"] = str(chosen["output"])  # the number of an output is no less than its name
    if isinstance(chosen.get("grid"), Sequence):
        chosen["grid"] = list(chosen["grid"])
    settings = replace(layers or LayerSettings(), **chosen)
    check(settings)
    return settings


@dataclass
class MetricSettings:
    """How queries are compared with prototypes."""

    distance: str = setting(
        "euclidean", "euclidean: minus the squared distance | cosine", choices=("euclidean", "cosine")
    )
    temperature: float = setting(1.0, "the logits are divided by it", low=1e-6)
    centre: bool = setting(False, "subtract the mean representation of the training images first")
