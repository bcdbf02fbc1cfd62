"""A sweep of fits over alpha and beta: a grid whose cells open the maps of one episode."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.evaluation.sweep_chart import SweepPoint
from milr.explanation.maps import KINDS, Maps
from milr.lineage.sweep_report import episode_of, maps_of
from milr.report.drawn import Read
from milr.report.tables import number, percent
from milr.sweeps.fits import Fit, point_of, sweep_fits


@dataclass(frozen=True)
class Cell:
    """A pair of alpha and beta."""

    name: str  # of the run, which its strips have; nothing where there is no finished one
    state: str
    kept: str  # the share of the untouched accuracy that passes the mask
    decision: str  # bits a place
    redundant: str


@dataclass(frozen=True)
class Grid:
    """The cells of a sweep that differ in alpha and beta alone."""

    others: str  # what the sweep varies beside them
    alphas: Sequence[str]
    betas: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Sweep:
    """A sweep with the maps of one episode by each finished fit."""

    folder: Path
    fits: Sequence[Fit]  # the finished ones
    grids: Sequence[Grid]
    points: Sequence[SweepPoint]
    pictures: dict[str, list[Read]]  # name of a run -> its pictures


def read_sweep(folder: Path, device: str) -> Sweep:
    """The sweep in a folder, with its maps, which are computed here. MilrError if no fit of it is finished."""
    fits = sweep_fits(folder)
    done = [fit for fit in fits if fit.run]
    if not done:
        raise MilrError(f"no fit in {folder} is finished")
    pictures = episode_of(done[0], 0)
    reads = {fit.name: reads_of(pictures, maps_of(fit, pictures, device), done[0]) for fit in done}
    groups = [[fit for fit in fits if fit.others == others] for others in dict.fromkeys(fit.others for fit in fits)]
    return Sweep(folder, done, [grid_of(group) for group in groups], [point_of(fit) for fit in done], reads)


def reads_of(pictures: Pictures, maps: Maps, fit: Fit) -> list[Read]:
    """The pictures of an episode with their maps by one fit: queries, one a class, stand last."""
    queries, arrays = len(pictures.records) - fit.settings["episode.way"], maps.arrays()
    return [
        Read(
            ("episode_000", number, str(record.path)),
            pictures.images[number].numpy(),
            record.class_name,
            "support" if number < queries else "query",
            "",
            {kind: arrays[kind][number] for kind in KINDS},
            maps.cap,
        )
        for number, record in enumerate(pictures.records)
    ]


def grid_of(fits: Sequence[Fit]) -> Grid:
    """Rows are alphas, columns betas."""
    pairs = {fit.pair: fit for fit in fits if not any(map(math.isnan, fit.pair))}
    alphas, betas = sorted({alpha for alpha, _ in pairs}), sorted({beta for _, beta in pairs})
    rows = [[cell_of(pairs.get((alpha, beta))) for beta in betas] for alpha in alphas]
    return Grid(fits[0].others, [f"{alpha:g}" for alpha in alphas], [f"{beta:g}" for beta in betas], rows)


def cell_of(fit: Fit | None) -> Cell:
    """What a cell shows."""
    if fit is None or fit.run is None:
        return Cell("", fit.state if fit else "not tried", "", "", "")
    point = point_of(fit)
    bits = number(point.decision_bits, 2), number(point.redundant_bits, 2)
    return Cell(fit.name, fit.state, percent(point.accuracy_kept), *bits)
