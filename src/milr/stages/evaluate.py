"""`milr evaluate`: what the maps claim, measured on seeded episodes beside controls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from math import isnan
from pathlib import Path

from torch import Tensor

from milr.baselines.choice import available, methods_of
from milr.baselines.methods import CONTROLS, KINDS, METHODS, OURS, Methods, made
from milr.baselines.passes import Passes
from milr.data.augmentation import to_input
from milr.errors import MilrError
from milr.evaluation.cases import Cases, cases_from, cases_of, shown_cases, state_of, worst_losses
from milr.evaluation.charts import AREA, BARS, case_inches, draw_bars, draw_cases, draw_curves, draw_parts
from milr.evaluation.fills import FILLS
from milr.evaluation.metrics import MEASURES, METRIC_KINDS
from milr.evaluation.study import Ground, Shares
from milr.evaluation.summary import main_metrics
from milr.evaluation.tables import Measurement, Result, cells, compare, read_measurements, summarise, write_csv
from milr.explanation.dataset_decisions import DatasetDecision
from milr.explanation.fitting import Batch
from milr.explanation.milr import MILR
from milr.runs.folder import METRICS, Run
from milr.runs.sources import SourceRun, find_parent
from milr.runs.states import saved_states
from milr.settings.schema import Evaluate
from milr.settings.stages import EVALUATE_SHEETS
from milr.stages.devices import choose_device, example_images
from milr.stages.episodes import fitted_decision, scenes, tested_batches, title_of, training_batches
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
    data_set = title_of(settings.dataset)
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
    training = partial(training_batches, source, settings.cache, network, device)
    methods = methods_of(explainer, baselines, decision, training, settings.evaluate.refine)
    batches, count = tested_batches(settings.episode, decision.section, settings.seed), settings.evaluate.episodes
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


def known_fills(fills: Sequence[str]) -> Sequence[str]:
    """The fills, each once. MilrError for one that does not exist."""
    unknown = [name for name in fills if name not in FILLS]
    if unknown:
        raise MilrError(f"evaluate.fills={unknown}: choose among {', '.join(FILLS)}")
    return list(dict.fromkeys(fills))


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
