"""`milr sweep-report FOLDER`: a sweep of fits as a table, a grid of alpha and beta, and a contact sheet of maps."""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milr.data.augmentation import to_input
from milr.data.loading import episode_pictures
from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.evaluation.methods import KINDS
from milr.evaluation.sweep_chart import draw_contact_sheet, draw_grids
from milr.evaluation.tables import write_csv
from milr.explanation.figures import readable
from milr.explanation.maps import Maps
from milr.runs.folder import REPORT
from milr.runs.inherit import dataset_of
from milr.runs.names import sweep_name
from milr.stages.devices import choose_device
from milr.stages.explainers import load_explainer
from milr.stages.job import console
from milr.sweeps.fits import FIELDS, Fit, draw_lines, finished, point_of, sweep_fits, title_of
from milr.sweeps.jobs import number

log = logging.getLogger("milr")

Pair = tuple[float, float]


@dataclass(frozen=True)
class Line:
    """A line of sweep.csv; figures of the validation episodes, NaN of a fit that is not finished."""

    name: str
    state: str
    others: str  # what the sweep varies beside alpha and beta
    alpha: float
    beta: float
    accuracy_kept: float
    untouched_accuracy: float
    accuracy: float
    mask_mean: float
    decision_bits: float
    redundant_bits: float
    total_bits: float
    error: str


def main(options: Namespace) -> int:
    """`milr sweep-report`: write the report into the sweep's folder."""
    with console():
        report(Path(options.folder).expanduser(), options.device, options.episode, options.query)
    return 0


def report(sweep: Path, device: str, episode: int, query: int) -> None:
    """Write sweep.csv and the figures. Errors: MilrError if the folder is no sweep of fits, or none is finished."""
    fits = sweep_fits(sweep)
    folder = sweep / REPORT
    folder.mkdir(exist_ok=True)
    lines = [line_of(fit) for fit in fits]
    write_csv(folder / "sweep.csv", lines)
    for text in table(lines):
        log.info("%s", text)
    groups = {others: [fit for fit in fits if fit.others == others] for others in dict.fromkeys(f.others for f in fits)}
    for others, group in groups.items():
        ends = f"_{sweep_name(others.split(','), left_out=())}.png" if len(groups) > 1 else ".png"
        done = [fit for fit in group if fit.run]
        if len({fit.pair for fit in done}) < len(done):
            raise MilrError(f"{sweep} holds two fits of the same settings: {', '.join(fit.name for fit in done)}")
        if not done:
            finished(group, sweep) if len(groups) == 1 else log.warning("no fit is finished of: %s", others)
            continue
        draw(folder, ends, done, empty_cells(group), device, episode, query)
    log.info("open %s", folder)


def line_of(fit: Fit) -> Line:
    """What the table says of a fit."""
    point = point_of(fit) if fit.run else None
    figures = {name: getattr(point, name, math.nan) for name in ("accuracy_kept", *FIELDS)}
    return Line(fit.name, fit.state, fit.others, *fit.pair, **figures, error=fit.error)


def table(lines: Sequence[Line]) -> list[str]:
    """The lines as text."""
    shown = ("accuracy_kept", *FIELDS)
    width = max(map(len, [*(line.others for line in lines), ""]))
    texts = [f"{'':<{width}} {'alpha':>8} {'beta':>8} {'state':>11} " + " ".join(f"{name[:14]:>14}" for name in shown)]
    for line in lines:
        figures = [getattr(line, name) for name in shown]
        cells = " ".join(f"{number(None if math.isnan(figure) else figure):>14}" for figure in figures)
        texts.append(f"{line.others:<{width}} {line.alpha:>8g} {line.beta:>8g} {line.state:>11} {line.error or cells}")
    return texts


def empty_cells(fits: Sequence[Fit]) -> dict[Pair, str]:
    """(alpha, beta) -> why there is nothing to draw."""
    return {fit.pair: fit.state for fit in fits if not fit.run and not any(map(math.isnan, fit.pair))}


def draw(
    folder: Path, ends: str, fits: Sequence[Fit], missing: Mapping[Pair, str], device: str, episode: int, query: int
) -> None:
    """The figures of finished fits that differ in alpha and beta alone; their names end in `ends`."""
    draw_grids(folder / f"alpha_beta{ends}", [point_of(fit) for fit in fits], missing, title_of(fits))
    draw_lines(folder / f"along_beta{ends}", fits)
    pictures = episode_of(fits[0], episode)
    shown = len(pictures.records) - fits[0].settings["episode.way"] + query
    if not 0 <= query < fits[0].settings["episode.way"]:
        raise MilrError(f"--query {query}: the episode has {fits[0].settings['episode.way']} queries, from 0")
    maps = {fit.pair: maps_of(fit, pictures, device) for fit in fits}
    record = pictures.records[shown]
    for kind in KINDS:
        name = "decision-related" if kind == "decision" else kind
        own = {pair: getattr(found, kind)[shown].cpu() for pair, found in maps.items()}
        rest = f"\n{fits[0].others}" if fits[0].others else ""
        title = f"{name} information\n{readable(record.class_name)}\nquery {query} of episode {episode}{rest}"
        draw_contact_sheet(folder / f"maps_{kind}{ends}", pictures.images[shown], own, missing, kind, title)


def episode_of(fit: Fit, number: int) -> Pictures:
    """The pictures of the episode that `milr visualize source=<fit>` draws under this number: queries stand last."""
    assert fit.run
    episode = fit.run.config["episode"]
    shape = episode["way"], episode["shot"], 1
    return next(episode_pictures(dataset_of(fit.run), shape, seed=0, numbers=range(number, number + 1)))


def maps_of(fit: Fit, pictures: Pictures, device: str) -> Maps:
    """The maps of an episode's pictures by one fit."""
    assert fit.run
    chosen = choose_device(device)
    explainer, _ = load_explainer(fit.run, fit.settings["backbone.name"], fit.settings["dataset.size"], chosen)
    return explainer.maps(to_input(pictures.images).to(chosen))
