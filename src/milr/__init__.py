"""milr: what a network's representation knows, place by place, in bits.

The public surface is the list below; imported on first use, so that the command line's help need not wait for torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from milr.decisions.batches import episode_decision
    from milr.decisions.comparisons import pairs, prototypes
    from milr.decisions.decision_kinds import classify, multilabel, regress
    from milr.decisions.decisions import Batch, Decided
    from milr.decisions.questions import EpisodeBatches
    from milr.errors import MilrError
    from milr.explanation.fitting import fit, validate
    from milr.explanation.maps import Maps
    from milr.explanation.milr import MILR, load
    from milr.explanation.objective import Terms
    from milr.explanation.quantus import quantus_explain
    from milr.explanation.settings import (
        BottleneckSettings,
        CriticSettings,
        FitSettings,
        InfomaxSettings,
        MaskSettings,
        MilrSettings,
    )
    from milr.explanation.targets import towards, towards_class
    from milr.figures.columns import Column
    from milr.figures.export import export
    from milr.figures.figures import save_figures
    from milr.figures.settings import FigureSettings
    from milr.networks.layer_table import layers
    from milr.networks.settings import LayerSettings

__version__ = "0.1.0"

_PLACES = {
    "milr.errors": ("MilrError",),
    "milr.decisions.batches": ("episode_decision",),
    "milr.decisions.questions": ("EpisodeBatches",),
    "milr.figures.export": ("export",),
    "milr.figures.columns": ("Column",),
    "milr.figures.figures": ("save_figures",),
    "milr.figures.settings": ("FigureSettings",),
    "milr.decisions.comparisons": ("pairs", "prototypes"),
    "milr.decisions.decision_kinds": ("classify", "multilabel", "regress"),
    "milr.decisions.decisions": ("Batch", "Decided"),
    "milr.explanation.fitting": ("fit", "validate"),
    "milr.explanation.maps": ("Maps",),
    "milr.explanation.milr": ("MILR", "load"),
    "milr.explanation.objective": ("Terms",),
    "milr.explanation.targets": ("towards", "towards_class"),
    "milr.explanation.quantus": ("quantus_explain",),
    "milr.explanation.settings": (
        *("BottleneckSettings", "CriticSettings", "FitSettings", "InfomaxSettings", "MaskSettings", "MilrSettings"),
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
