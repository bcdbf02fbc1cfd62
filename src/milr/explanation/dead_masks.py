"""Masks that tell no place from another: a fit's end and a figure warn of them, since their maps look like others."""

from __future__ import annotations

import logging

from torch import Tensor

log = logging.getLogger("milr")

NEARLY = 0.005  # how near to 0, to 1, or to each other masks are that count as the same


def fault_of(mask: Tensor) -> str:
    """What is wrong with the masks [K, H, W] or [K, T] of some images, and what to do; nothing where they tell places
    apart."""
    values = mask.detach().flatten(1).double()
    if not values.numel():
        return ""
    mean = float(values.mean())
    if mean < NEARLY:
        return (
            f"the mask lets hardly anything pass (mean {mean:.2g}), so that nothing is kept or decision-related: "
            "fit again with a lower beta (milr.beta=, or milr.MilrSettings(beta=...) in Python)"
        )
    if mean > 1 - NEARLY:
        return (
            f"the mask lets nearly everything pass (mean {mean:.4g}), so that nothing is redundant: "
            "fit again with a higher beta (milr.beta=, or milr.MilrSettings(beta=...) in Python)"
        )
    if float((values.amax(1) - values.amin(1)).max()) < NEARLY:
        return (
            f"the mask is the same at every place ({mean:.3g}), so that what it keeps says nothing of places: "
            f"fit again with more steps, or a {'lower' if mean < 0.5 else 'higher'} beta (milr.beta=, or "
            "milr.MilrSettings(beta=...) in Python)"
        )
    return ""


def warn_of(mask: Tensor) -> None:
    """A warning in the log where the masks are dead."""
    if fault := fault_of(mask):
        log.warning("%s", fault)
