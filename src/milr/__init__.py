"""milr: what a network's representation knows, place by place, in bits.

The public surface is the list below; imported on first use, so that the command line's help need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milr.errors import MilrError
    from milr.explanation.batches import episode_decision
    from milr.explanation.columns import Column
    from milr.explanation.comparisons import pairs, prototypes
    from milr.explanation.decision_kinds import classify, multilabel, regress
    from milr.explanation.decisions import Batch, Decided
    from milr.explanation.export import export
    from milr.explanation.figures import save_figures
    from milr.explanation.fitting import fit, validate
    from milr.explanation.maps import Maps
    from milr.explanation.milr import MILR, load
    from milr.explanation.objective import Terms
    from milr.explanation.quantus import quantus_explain
    from milr.explanation.questions import EpisodeBatches
    from milr.explanation.refinement import towards, towards_class
    from milr.explanation.settings import (
        BottleneckSettings,
        CriticSettings,
        FigureSettings,
        FitSettings,
        InfomaxSettings,
        MaskSettings,
        MilrSettings,
    )
    from milr.networks.layer_table import layers
    from milr.networks.settings import LayerSettings

__version__ = "0.1.0"

_PLACES = {
    "milr.errors": ("MilrError",),
    "milr.explanation.batches": ("episode_decision",),
    "milr.explanation.questions": ("EpisodeBatches",),
    "milr.explanation.export": ("export",),
    "milr.explanation.columns": ("Column",),
    "milr.explanation.figures": ("save_figures",),
    "milr.explanation.comparisons": ("pairs", "prototypes"),
    "milr.explanation.decision_kinds": ("classify", "multilabel", "regress"),
    "milr.explanation.decisions": ("Batch", "Decided"),
    "milr.explanation.fitting": ("fit", "validate"),
    "milr.explanation.maps": ("Maps",),
    "milr.explanation.milr": ("MILR", "load"),
    "milr.explanation.objective": ("Terms",),
    "milr.explanation.refinement": ("towards", "towards_class"),
    "milr.explanation.quantus": ("quantus_explain",),
    "milr.explanation.settings": (
        *("BottleneckSettings", "CriticSettings", "FigureSettings", "FitSettings", "InfomaxSettings"),
        *("MaskSettings", "MilrSettings"),
    ),
    "milr.networks.layer_table": ("layers",),
    "milr.networks.settings": ("LayerSettings",),
}
_HOMES = {name: module for module, names in _PLACES.items() for name in names}

__all__ = [
    "MILR",
    "Batch",
    "BottleneckSettings",
    "Column",
    "CriticSettings",
    "Decided",
    "EpisodeBatches",
    "FigureSettings",
    "FitSettings",
    "InfomaxSettings",
    "LayerSettings",
    "Maps",
    "MaskSettings",
    "MilrError",
    "MilrSettings",
    "Terms",
    "classify",
    "episode_decision",
    "export",
    "fit",
    "layers",
    "load",
    "multilabel",
    "pairs",
    "prototypes",
    "quantus_explain",
    "regress",
    "save_figures",
    "towards",
    "towards_class",
    "validate",
]


if not TYPE_CHECKING:  # a type checker knows the names above, and refuses any other

    def __getattr__(name: str) -> Any:
        """A public name, imported from where it lives."""
        if name not in _HOMES:
            raise AttributeError(f"module 'milr' has no attribute '{name}'")
        return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    """Every public name, imported already or not."""
    return sorted({*globals(), *__all__})
