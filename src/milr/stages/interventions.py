"""`milr interventions`: the maps held against pictures from which single parts are gone, whose effect is known."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from milr.bars import bar
from milr.baselines.choice import available, methods_of
from milr.baselines.methods import OURS, Methods
from milr.data.augmentation import to_input
from milr.data.catalogues import data_entry
from milr.data.pictures import load_pictures
from milr.data.records import Catalogue, Record
from milr.data.settings import DatasetSettings
from milr.data.split import split_of
from milr.decisions.batches import queries_of_first
from milr.decisions.decisions import Batch, Decision
from milr.errors import MilrError
from milr.evaluation.charts import draw_bars
from milr.evaluation.interventions import (
    BEST,
    OWN,
    PictureResult,
    all_rows,
    best_threshold,
    contrast_rows,
    picture_results,
    table_of_checks,
)
from milr.evaluation.metrics import Metric
from milr.evaluation.parts import network_rows, part_rows
from milr.evaluation.protocol import Contrast, contrast_of
from milr.evaluation.removals import Subject
from milr.evaluation.tables import Measurement, cells, compare, summarise, write_csv
from milr.explanation.dataset_decisions import DatasetDecision, class_list, part
from milr.runs.folder import Run
from milr.runs.sources import SourceRun
from milr.settings.schema import Interventions
from milr.stages.devices import choose_device
from milr.stages.episodes import (
    fitted_decision,
    pictures_of,
    split_looked_at,
    tested_batches,
    title_of,
    training_batches,
)
from milr.stages.evaluate import log_table
from milr.stages.explainers import load_explainer

log = logging.getLogger("milr")

CHART = (
    *(Metric("completeness", whose) for whose in (OWN, BEST)),
    *(Metric("correctness", what) for what in ("logit", "log probability")),
    *(Metric("contrastivity", what) for what in ("sums", "shares")),
)


@dataclass(frozen=True)
class Bench:
    """What is measured, with what."""

    settings: Interventions
    decision: DatasetDecision  # about pictures that have interventions alone
    subject: Subject
    methods: Methods
    device: torch.device

    def batch(self, records: Sequence[Record], decide: Decision) -> Batch:
        """Whole birds, as the network takes them, with a decision about them."""
        dataset = self.settings.dataset
        pictures = self.subject.whole(load_pictures(records, dataset.size, dataset.crop))
        return Batch(to_input(pictures.images, self.device, self.subject.normalisation), decide)

    def classes(self, records: Sequence[Record]) -> list[int]:
        """The class id of each answer about a batch of them."""
        if self.decision.section.name == "classes":
            ids = {name: class_id for class_id, name in self.decision.catalogue.class_names.items()}
            return [ids[name] for name in class_list(self.decision)]
        return list(dict.fromkeys(record.class_id for record in records))  # supports first, class by class


def interventions(settings: Interventions, run: Run, source: SourceRun) -> float:
    """Returns the correctness of the decision map."""
    bench = bench_of(settings, source)
    decision, dataset = bench.decision, settings.dataset
    catalogue = (
        decision.catalogue if decision.row.divided else part(decision.section, decision.catalogue, dataset.split)
    )
    run.record_data(data_entry(dataset, catalogue, decision.table), split_looked_at(decision, [dataset.split]))
    chosen = thresholds_of(bench)
    pictures = list(results_of(bench, dataset, settings.interventions.episodes))
    names = list(pictures[0].sums)
    rows, thresholds = all_rows(pictures, names, chosen)
    rows += list(contrasts_in(bench))
    data_set = title_of(dataset)
    title = f"{decision.title((settings.episode.way, settings.episode.shot))}, {data_set}, {len(pictures)} pictures"
    results = summarise(rows, data_set)
    write_csv(run.path("per_image.csv"), [row for row in rows if row.metric.kind != "completeness"])
    write_csv(run.path("results.csv"), results)
    write_csv(run.path("paired.csv"), compare(rows, data_set, OURS))
    about = part_rows(pictures, bench.subject.interventions.parts)
    write_csv(run.path("parts.csv"), about)
    draw_bars(run.path("interventions.png"), results, CHART, title)
    log_table(results, title)
    network = network_rows(pictures)
    log.info("; ".join(f"{name} {value:.3f} [{low:.3f}, {high:.3f}]" for name, (value, low, high) in network.items()))
    for result in results:
        run.metrics(**cells(result))
    numbers = {(result.map, result.metric): result.value for result in results}
    correct = numbers["decision", Metric("correctness", "logit")]
    complete = numbers["decision", Metric("completeness", OWN if chosen else BEST)]
    figures = {name.replace(" ", "_"): value for name, (value, _, _) in network.items()}
    figures |= {"decision_correctness": correct, "decision_completeness": complete}
    run.record(result={**figures, "pictures": len(pictures), "thresholds": thresholds})
    log.info("open %s", run.path("interventions.png"))
    return correct


def bench_of(settings: Interventions, source: SourceRun) -> Bench:
    """Everything loaded. MilrError for a data set or a decision of which nothing of this can be asked."""
    device, dataset, how = choose_device(settings.device), settings.dataset, settings.interventions
    explainer, network = load_explainer(source, settings.backbone.name, dataset.size, device, settings.precision)
    decision = fitted_decision(source, dataset, network, device)
    if decision.section.name not in ("prototypes", "classes"):
        raise MilrError(
            f"decision={decision.section.name}: milr interventions takes parts away from decisions among classes only"
        )
    birds = decision.catalogue.interventions
    if birds is None:
        raise MilrError(f"dataset={dataset.name} has no pictures without parts: take dataset=synthetic or funnybirds")
    covered = tuple(record for record in decision.catalogue.records if birds.covers(record))
    decision = replace(decision, catalogue=replace(decision.catalogue, records=covered))
    training = partial(training_batches, source, settings.cache, network, device)
    methods = methods_of(explainer, available(how.baselines), decision, training)
    subject = Subject(explainer, birds, dataset.crop, network.origin.normalisation)
    return Bench(settings, decision, subject, methods, device)


def results_of(bench: Bench, dataset: DatasetSettings, count: int, done: int = 0) -> Iterator[PictureResult]:
    """The results of the pictures of episodes `done` to count - 1."""
    batches = tested_batches(bench.settings.episode, bench.decision.section, bench.settings.seed)
    drawn = pictures_of(bench.decision, dataset, batches, count, done)
    for number, pictures, question in bar(drawn, total=count - done, desc=f"{dataset.split} episodes"):
        batch = bench.batch(pictures.records, question.ask(pictures.records))
        classes = bench.classes(pictures.records)
        yield from picture_results(bench.subject, bench.methods, batch, pictures.records, classes, number)


def thresholds_of(bench: Bench) -> dict[str, int]:
    """Of each map the place of its threshold, the best on the validation split; nothing where that has no pictures.

    Where this split itself is looked at, other episodes of it choose.
    """
    section = bench.settings.interventions
    dataset = replace(bench.settings.dataset, split="validation")
    own = split_of(bench.decision.catalogue).validation
    if bench.decision.row.divided and bench.decision.catalogue.tests:
        own = ()  # a data set with test pictures of its own has interventions of these alone
    if not section.validation_episodes or not own:
        log.info("no thresholds are chosen on validation pictures: completeness is reported at the best ones alone")
        return {}
    done = section.episodes if bench.settings.dataset.split in ("validation", "all") else 0
    results = list(results_of(bench, dataset, done + section.validation_episodes, done))
    return {name: best_threshold(table_of_checks(results, name)) for name in (results[0].sums if results else ())}


def contrasts_in(bench: Bench) -> Iterator[Measurement]:
    """Contrastivity, of episodes of three classes, or of batches among all classes."""
    settings, decision, birds = bench.settings, bench.decision, bench.subject.interventions
    count, any_of = settings.interventions.contrasts, False
    scenes = contrast_episodes(bench) if decision.section.name == "prototypes" else contrast_batches(bench)
    for number, records, decide, contrasts in bar(scenes, total=count, desc="contrasts"):
        batch = bench.batch(records, decide)
        for row in contrast_rows(bench.subject, bench.methods, batch, records, contrasts, number):
            any_of = True
            yield row
    if count and not any_of:
        log.info("no contrastivity: no two classes share other parts of %s with a third", ", ".join(birds.parts))


Scenes = Iterator[tuple[int, Sequence[Record], Decision, Sequence[Contrast | None]]]


def contrast_batches(bench: Bench) -> Scenes:
    """Batches as they are, each picture with two classes that share parts with its own."""
    dataset, count = bench.settings.dataset, bench.settings.interventions.contrasts
    birds = bench.subject.interventions
    batches = tested_batches(bench.settings.episode, bench.decision.section, bench.settings.seed)
    drawn = pictures_of(bench.decision, dataset, batches, count)
    for number, pictures, question in drawn:
        looks = {answer: birds.looks(class_id) for answer, class_id in enumerate(bench.classes(pictures.records))}
        seeds = [f"contrast:{bench.settings.seed}:{number}:{item}" for item in range(len(pictures.records))]
        looked = [birds.look_of(record) for record in pictures.records]
        contrasts = [contrast_of(look, looks, seed) for look, seed in zip(looked, seeds, strict=True)]
        yield number, pictures.records, question.ask(pictures.records), contrasts


def contrast_episodes(bench: Bench) -> Scenes:
    """Episodes of a class and two that share other parts with it: supports of all three, queries of the first."""
    settings, network, birds = bench.settings, bench.decision.network, bench.subject.interventions
    shot, query, dataset = settings.episode.shot, settings.episode.query, settings.dataset
    members = by_class(part(bench.decision.section, bench.decision.catalogue, dataset.split), shot + query)
    looks = {class_id: birds.looks(class_id) for class_id in members}
    own = [class_id for class_id in members if len(looks[class_id]) == 1]
    decide = queries_of_first(3, shot, network.metric, network.mean)
    for number in range(settings.interventions.contrasts):
        generator = random.Random(f"contrast:{settings.seed}:{number}")
        order = generator.sample(own, len(own))
        tried = ((key, contrast_of(looks[key][0], looks, f"{settings.seed}:{number}")) for key in order)
        chosen, contrast = next(((key, pair) for key, pair in tried if pair), (0, None))
        if contrast is None:
            return
        drawn = [generator.sample(members[each], shot + query) for each in (chosen, *contrast.classes)]
        records = [record for each in drawn for record in each[:shot]] + drawn[0][shot:]
        yield number, records, decide, [replace(contrast, classes=(1, 2))] * query


def by_class(catalogue: Catalogue, least: int) -> dict[int, list[Record]]:
    """The pictures of each class that has enough."""
    members: dict[int, list[Record]] = {}
    for record in catalogue.records:
        members.setdefault(record.class_id, []).append(record)
    return {class_id: records for class_id, records in members.items() if len(records) >= least}
