"""`milr sweep-report FOLDER`: a sweep of fits as a table, a grid of alpha and beta, and a contact sheet of maps."""

from __future__ import annotations

import logging
import math
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from milr.baselines.methods import KINDS
from milr.console import console
from milr.data.augmentation import to_input
from milr.data.loading import episode_pictures
from milr.data.pictures import Pictures
from milr.errors import MilrError
from milr.evaluation.sweep_chart import contact_inches, draw_contact_sheet, draw_grids, draw_sweep
from milr.evaluation.tables import write_csv
from milr.explanation.maps import Maps
from milr.figures.columns import readable
from milr.figures.settings import SheetSettings
from milr.runs.folder import REPORT
from milr.runs.inherit import dataset_of
from milr.stages.devices import choose_device
from milr.stages.explainers import load_explainer
from milr.sweeps.fits import FIELDS, Fit, point_of, sweep_fits, title_of
from milr.sweeps.jobs import number
from milr.sweeps.names import sweep_name
from milr.text import aligned

log = logging.getLogger("milr")

Pair = tuple[float, float]

FIGURES = ("accuracy_kept", *FIELDS)


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
        how = SheetSettings(options.colours, options.format, options.width)
        write_report(Path(options.folder).expanduser(), options.device, options.episode, options.query, how)
    return 0


def write_report(sweep: Path, device: str, episode: int, query: int, how: SheetSettings) -> None:
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
        ends = f"_{sweep_name(others.split(','), left_out=())}" * (len(groups) > 1) + f".{how.format}"
        done = [fit for fit in group if fit.run]
        if len({fit.pair for fit in done}) < len(done):
            raise MilrError(f"{sweep} holds two fits of the same settings: {', '.join(fit.name for fit in done)}")
        if not done and len(groups) == 1:
            raise MilrError(f"no fit in {sweep} is finished")
        if not done:
            log.warning("no fit is finished of: %s", others)
            continue
        missing = {fit.pair: fit.state for fit in group if not fit.run and not any(map(math.isnan, fit.pair))}
        draw(folder, ends, done, missing, device, episode, query, how)
    log.info("open %s", folder)


def line_of(fit: Fit) -> Line:
    """What the table says of a fit."""
    point = point_of(fit) if fit.run else None
    figures = {name: getattr(point, name, math.nan) for name in FIGURES}
    return Line(fit.name, fit.state, fit.others, *fit.pair, **figures, error=fit.error)


def table(lines: Sequence[Line]) -> list[str]:
    """The lines as text."""
    rows = [["", "alpha", "beta", "state", *(name[:14] for name in FIGURES)]]
    for line in lines:
        cells = [line.error] if line.error else [number(getattr(line, name)) for name in FIGURES]
        rows.append([line.others, f"{line.alpha:g}", f"{line.beta:g}", line.state, *cells])
    return aligned(rows, right=range(1, len(rows[0])))


def draw(
    folder: Path,
    ends: str,
    fits: Sequence[Fit],
    missing: Mapping[Pair, str],
    device: str,
    episode: int,
    query: int,
    how: SheetSettings,
) -> None:
    """The figures of finished fits that differ in alpha and beta alone; their names end in `ends`."""
    contact_inches(how, len({fit.pair[1] for fit in fits} | {beta for _, beta in missing}))  # before maps are made
    points, way = [point_of(fit) for fit in fits], fits[0].settings["episode.way"]
    draw_grids(folder / f"alpha_beta{ends}", points, missing, title_of(fits))
    draw_sweep(folder / f"along_beta{ends}", points, 1 / way, title_of(fits))
    if not 0 <= query < way:
        raise MilrError(f"--query {query}: the episode has {way} queries, from 0")
    pictures = episode_of(fits[0], episode)
    shown = len(pictures.records) - way + query
    maps = {fit.pair: maps_of(fit, pictures, device) for fit in fits}
    record = pictures.records[shown]
    for kind in KINDS:
        name = "decision-related" if kind == "decision" else kind
        own = {pair: getattr(result, kind)[shown].cpu() for pair, result in maps.items()}
        rest = f"\n{fits[0].others}" if fits[0].others else ""
        title = f"{name} information\n{readable(record.class_name)}\nquery {query} of episode {episode}{rest}"
        draw_contact_sheet(folder / f"maps_{kind}{ends}", pictures.images[shown], own, missing, kind, title, how)


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
    explainer, network = load_explainer(fit.run, fit.settings["backbone.name"], fit.settings["dataset.size"], chosen)
    return explainer.maps(to_input(pictures.images, chosen, network.origin.normalisation))
