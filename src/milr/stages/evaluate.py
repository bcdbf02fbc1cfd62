"""`milr evaluate`: what the maps claim, measured on seeded episodes beside controls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from math import isnan
from pathlib import Path

import torch
from torch import Tensor

from milr.backbones.protonet import PrototypicalNetwork
from milr.baselines.iba import FeatureStatistics, feature_statistics
from milr.baselines.methods import BASELINES, CONTROLS, KINDS, METHODS, OURS, Methods, made, refusal
from milr.baselines.passes import Passes
from milr.data.augmentation import Normalisation, to_input
from milr.data.catalogues import view
from milr.data.loading import load_splits
from milr.errors import MilrError
from milr.evaluation.cases import Cases, cases_from, cases_of, shown_cases, state_of, worst_losses
from milr.evaluation.charts import AREA, BARS, case_inches, draw_bars, draw_cases, draw_curves, draw_parts
from milr.evaluation.fills import FILLS
from milr.evaluation.metrics import MEASURES, METRIC_KINDS
from milr.evaluation.study import Ground, Shares
from milr.evaluation.summary import main_metrics
from milr.evaluation.tables import Measurement, Result, cells, compare, read_measurements, summarise, write_csv
from milr.explanation.dataset_decisions import Batches, DatasetDecision, part
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.runs.folder import METRICS, Run
from milr.runs.inherit import dataset_of
from milr.runs.sources import SourceRun, find_parent
from milr.runs.states import saved_states
from milr.settings.schema import Evaluate
from milr.settings.stages import EVALUATE_SHEETS
from milr.stages.devices import choose_device, example_images
from milr.stages.episodes import decision_of, fitted_decision, scenes
from milr.stages.explainers import further_fits, load_explainer, on_network
from milr.text import aligned

log = logging.getLogger("milr")


PARTS_OF = ("decision", "total", "redundant")  # maps of the charts of parts, ordered by the first


def evaluate(settings: Evaluate, run: Run, source: SourceRun) -> float:
    """Returns the area between the keep and the remove curve of the decision map."""
    shares = Shares(
        shares_of(settings.evaluate.percent),
        shares_of(settings.evaluate.pixel_percent),
        known_fills(settings.evaluate.fills),
    )
    case_inches(settings, len(KINDS) + len(CONTROLS) + len(settings.evaluate.baselines))  # before hours are spent
    baselines = available(settings.evaluate.baselines)
    measurements, cases, decision = measured(settings, run, source, baselines, shares)
    name = "/".join(Path(settings.dataset.root).parts[-2:])  # two subsets may both lie in a CUB_200_2011
    data_set = f"{name}, {settings.dataset.split}, {view(settings.dataset)}"
    results = summarise(measurements, data_set)
    write_csv(run.path("results.csv"), results)
    write_csv(run.path("paired.csv"), compare(measurements, data_set, OURS))
    count = len({measurement.episode for measurement in measurements})
    fits = len({measurement.fit for measurement in measurements})
    units = ("episode", "episodes") if decision.section.name == "prototypes" else ("batch", "batches")
    title = (
        f"{decision.title((settings.episode.way, settings.episode.shot))}, {data_set}, {count} {units[count > 1]}"
        + f", {fits} fits" * (fits > 1)
    )
    if "refined" in baselines:
        title += f", refined={settings.evaluate.refine}"
    draw(run, results, shares, title, settings.format)
    draw_sheets(run, cases, measurements, settings, title)
    log_table(results, title)
    for result in results:
        run.metrics(**cells(result))
    area = next(r.value for r in results if (r.map, r.metric) == ("decision", AREA))
    measured_maps = {measurement.map for measurement in measurements}
    shown = [name for name in baselines if name in measured_maps]
    run.record(result={"decision_area": area, "rows": len(measurements), "baselines": shown})
    log.info("open %s", run.path(f"curves_accuracy.{settings.format}"))
    return area


def measured(
    settings: Evaluate, run: Run, source: SourceRun, baselines: Sequence[str], shares: Shares
) -> tuple[list[Measurement], Cases, DatasetDecision]:
    """Every measurement of every map, episode by episode, the queries for the sheets, and the decision. Goes on where
    it was."""
    device, dataset = choose_device(settings.device), settings.dataset
    fits = further_fits(source, settings.evaluate.sources, Path(settings.outputs))
    explainer, network = load_explainer(source, settings.backbone.name, dataset.size, device, settings.precision)
    if len(fits) > 1:
        run.record(fits=[{"seed": seed, **fit.as_parent()} for seed, fit in fits.items()])
    others = {
        seed: on_network(fit, find_parent(fit), network, example_images(dataset.size, device), settings.precision)
        for seed, fit in [*fits.items()][1:]
    }
    decision = fitted_decision(source, dataset, network, device)
    methods = methods_of(settings, source, explainer, explaining(possible(baselines, explainer), decision), network)
    shape, count = (settings.episode.way, settings.episode.shot, settings.episode.query), settings.evaluate.episodes
    batches = Batches(shape, decision.section.images, decision.section.each, settings.seed)
    with saved_states(run, every=1, appended=(METRICS, "per_image.csv")) as continuation:
        done = continuation.done
        measurements = read_measurements(run.path("per_image.csv")) if done else []
        cases = cases_from(continuation.state["cases"]) if continuation.state else {}
        drawn = scenes(settings, run, decision, batches, count, done)
        with Passes(methods.names, len(others), shares.passes, count, done) as bar:
            for number, pictures, question in drawn:
                batch = Batch(to_input(pictures.images, device, methods.normalisation), question.ask(pictures.records))
                ground = Ground.of(explainer, batch, pictures, dataset.crop, shares, number)
                maps, rows = of_episode(methods, ground, batch, next(iter(fits)), others, bar)
                write_csv(run.path("per_image.csv"), rows, append=number > 0)  # at once: hours should not be lost
                measurements += rows
                cases |= cases_of(number, pictures, maps, question.first_query)
                cases = shown_cases(cases, measurements, settings.evaluate.sheet_rows)
                continuation.on_state(number + 1, partial(state_of, number + 1, cases))
    return measurements, cases, decision


def methods_of(
    settings: Evaluate, source: SourceRun, explainer: MILR, baselines: Sequence[str], network: PrototypicalNetwork
) -> Methods:
    """What makes the maps, with the statistics of training pictures where one needs them."""
    how, statistics = network.origin.normalisation, None
    if any(METHODS[name].statistics for name in baselines):
        device = next(explainer.modules.parameters()).device
        statistics = training_statistics(explainer, source, settings.cache, device, how)
    return Methods(explainer, baselines, statistics, how, settings.evaluate.refine)


def of_episode(
    methods: Methods, ground: Ground, batch: Batch, seed: int, others: Mapping[int, MILR], bar: Passes
) -> tuple[dict[str, Tensor], list[Measurement]]:
    """The maps of the first fit, and every measurement: of what depends on the fit, of the other fits' maps too."""
    maps: dict[str, Tensor] = {}
    rows = []
    for fit, explainer in {seed: methods.explainer, **others}.items():
        scene = replace(methods, explainer=explainer).scene(batch, ground.episode)
        for name in methods.names:
            if fit == seed or METHODS[name].fitted:
                heat = made(name, scene)
                maps.setdefault(name, heat)
                rows += ground.rows(name, heat, fit)
                bar.update(name)
    return maps, rows


def available(baselines: Sequence[str], key: str = "evaluate.baselines") -> list[str]:
    """The baselines that can be made here; the others are named. MilrError for one that does not exist."""
    missing = missing_packages(baselines, key)
    for name, package in missing.items():
        log.warning("skipped, since %s is not installed: %s (pip install 'milr[baselines]')", package, name)
    return [name for name in baselines if name not in missing]


def missing_packages(baselines: Sequence[str], key: str = "evaluate.baselines") -> dict[str, str]:
    """Those baselines that cannot be made here, with the package that each wants. MilrError for one unknown."""
    unknown = [name for name in baselines if name not in BASELINES]
    if unknown:
        raise MilrError(f"{key}={unknown}: choose among {', '.join(BASELINES)}")
    packages = {name: METHODS[name].package for name in baselines}
    return {name: package for name, package in packages.items() if package and find_spec(package) is None}


def known_fills(fills: Sequence[str]) -> Sequence[str]:
    """The fills, each once. MilrError for one that does not exist."""
    unknown = [name for name in fills if name not in FILLS]
    if unknown:
        raise MilrError(f"evaluate.fills={unknown}: choose among {', '.join(FILLS)}")
    return list(dict.fromkeys(fills))


def possible(baselines: Sequence[str], explainer: MILR) -> list[str]:
    """The baselines that have maps of this network; the log says why the others have none."""
    refusals = {name: refusal(name, explainer) for name in baselines}
    for name, why in refusals.items():
        if why:
            log.warning("skipped, %s: %s", name, why)
    return [name for name in baselines if not refusals[name]]


def explaining(baselines: Sequence[str], decision: DatasetDecision) -> list[str]:
    """The baselines that explain a decision of this kind; the log names the others."""
    without = [name for name in baselines if name in decision.row.without]
    if without:
        log.warning("skipped, for classes alone: %s (decision=%s)", ", ".join(without), decision.section.name)
    return [name for name in baselines if name not in without]


def training_statistics(
    explainer: MILR, source: SourceRun, cache: str | None, device: torch.device, normalisation: Normalisation
) -> FeatureStatistics:
    """Of single features over the training pictures of the fit, whatever data set is looked at now."""
    chosen = partial(part, decision_of(source))
    _, pictures = load_splits(dataset_of(source), cache, ["train"], normalisation=normalisation, part_of=chosen)
    return feature_statistics(explainer.layers, pictures["train"].batches(device))


def draw(run: Run, results: Sequence[Result], shares: Shares, title: str, format: str) -> None:
    """Curves, bars and parts."""
    for measure in MEASURES:
        draw_curves(run.path(f"curves_{measure}.{format}"), results, shares, measure, title)
    for name, metrics in BARS.items():
        if any(result.metric in metrics for result in results):
            draw_bars(run.path(f"bars_{name}.{format}"), results, metrics, title)
        else:
            log.info("skipped, since nothing is marked on these pictures: bars_%s.%s", name, format)
    for kind in (name for name, row in METRIC_KINDS.items() if row.over == "parts"):
        if not draw_parts(run.path(f"parts_{kind}.{format}"), results, PARTS_OF, kind, title):
            log.info("skipped, since these pictures have no parts: parts_%s.%s", kind, format)


def draw_sheets(run: Run, cases: Cases, measurements: Sequence[Measurement], settings: Evaluate, title: str) -> None:
    """The first queries or pictures as they were drawn, and the ones in which the decision map fails most."""
    rows = settings.evaluate.sheet_rows
    first, worst_file = (run.path(name.format(format=settings.format)) for name in EVALUATE_SHEETS)
    draw_cases(first, list(cases.values())[:rows], f"the first; {title}", how=settings)
    metric, losses = worst_losses(measurements, rows)
    worst = [cases[m.episode, m.file] for m in losses]
    says = f"the worst: highest {metric.name} by the decision map; {title}"
    draw_cases(worst_file, worst, says, how=settings)


def shares_of(percent: Sequence[float]) -> list[float]:
    """Shares in (0, 1)."""
    return [value / 100 for value in percent]


def log_table(results: Sequence[Result], title: str) -> None:
    """A compact table: one line a metric, one column a map; the files hold the rest."""
    names = list(dict.fromkeys(result.map for result in results))
    table = {(result.map, result.metric): result for result in results}
    metrics = main_metrics(results)
    rows = [("", *(name[:10] for name in names), "chance")]
    for metric in metrics:
        numbers = [*(table[name, metric].value for name in names), table[names[0], metric].chance]
        rows.append((metric.name, *("" if isnan(number) else f"{number:.3f}" for number in numbers)))
    log.info("%s\n%s", title, "\n".join(aligned(rows, right=range(1, len(names) + 2))))
    if more := len({result.metric for result in results}) - len(metrics):
        log.info("%d more metrics, and the intervals of all, are in results.csv", more)
