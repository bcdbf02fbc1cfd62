"""Which of the wanted baselines can be made: with the packages installed here, of this network and this decision."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from importlib.util import find_spec

from torch import Tensor

from milr.baselines.iba import feature_statistics
from milr.baselines.methods import BASELINES, METHODS, Methods, refusal
from milr.errors import MilrError
from milr.explanation.dataset_decisions import DatasetDecision
from milr.explanation.milr import MILR

log = logging.getLogger("milr")


def missing_packages(baselines: Sequence[str], key: str = "evaluate.baselines") -> dict[str, str]:
    """The baselines whose package is not installed, with its name. MilrError for a baseline that does not exist."""
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise MilrError(f"{key}={unknown}: choose among {', '.join(BASELINES)}")
    packages = {name: METHODS[name].package for name in baselines}
    return {name: package for name, package in packages.items() if package and find_spec(package) is None}


def available(baselines: Sequence[str], key: str = "evaluate.baselines") -> list[str]:
    """Those whose package is installed; the log names the others. MilrError for a baseline that does not exist."""
    missing = missing_packages(baselines, key)
    for name, package in missing.items():
        log.warning("skipped, since %s is not installed: %s (pip install 'milr[baselines]')", package, name)
    return [name for name in baselines if name not in missing]


def possible(baselines: Sequence[str], explainer: MILR) -> list[str]:
    """Those that have maps of this network; the log says why the others have none."""
    refusals = {name: refusal(name, explainer) for name in baselines}
    for name, why in refusals.items():
        if why:
            log.warning("skipped, %s: %s", name, why)
    return [name for name in baselines if not refusals[name]]


def explaining(baselines: Sequence[str], decision: DatasetDecision) -> list[str]:
    """Those that explain a decision of this kind; the log names the others."""
    without = [name for name in baselines if name in decision.row.without]
    if without:
        log.warning("skipped, for classes alone: %s (decision=%s)", ", ".join(without), decision.section.name)
    return [name for name in baselines if name not in without]


def methods_of(
    explainer: MILR,
    baselines: Sequence[str],
    decision: DatasetDecision,
    training: Callable[[], Iterable[Tensor]],
    refine: int = 10,
) -> Methods:
    """What makes the maps: MI-LR, the controls, and those of the available baselines that fit network and decision.

    training: gives batches [K, 3, S, S] of the training images; called where a baseline needs their statistics.
    """
    names = explaining(possible(baselines, explainer), decision)
    needed = any(METHODS[name].statistics for name in names)
    statistics = feature_statistics(explainer.layers, training()) if needed else None
    return Methods(explainer, names, statistics, decision.network.origin.normalisation, refine)
