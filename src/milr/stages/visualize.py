"""`milr visualize`: the three kinds of information of seeded episodes, or of a user's own pictures, as figures."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from milr.backbones.protonet import PrototypicalNetwork
from milr.bars import bar
from milr.baselines.attribution import own_decision
from milr.data.augmentation import to_input
from milr.data.catalogues import view
from milr.data.pictures import Pictures, load_pictures
from milr.data.records import Record
from milr.decisions.answers import DECISIONS, Answer, Masked, answers_of, masked_answers
from milr.decisions.batches import query_distances
from milr.decisions.decisions import Batch
from milr.decisions.questions import Question
from milr.errors import MilrError
from milr.evaluation.tables import write_csv
from milr.explanation.dataset_decisions import DatasetDecision
from milr.explanation.maps import Maps
from milr.explanation.milr import MILR
from milr.fields import pick
from milr.figures.columns import Column
from milr.figures.export import export
from milr.figures.settings import FigureSettings
from milr.information.readings import READINGS
from milr.networks.layers import frozen
from milr.runs.folder import Run
from milr.runs.sources import SourceRun
from milr.settings.schema import Visualize
from milr.stages.devices import choose_device
from milr.stages.episodes import columns_of, few_pictures, fitted_decision, scenes
from milr.stages.explainers import load_explainer

log = logging.getLogger("milr")


def visualize(settings: Visualize, run: Run, source: SourceRun) -> float:
    """Returns the mean total bits of a location."""
    device = choose_device(settings.device)
    explainer, network = load_explainer(source, settings.backbone.name, settings.dataset.size, device)
    decision = None if settings.images else fitted_decision(source, settings.dataset, network, device)
    refine = settings.visualize.refine
    require_decision(refine, decision)
    totals, shows = [], {}
    for name, pictures, question in drawn(settings, run, decision) if decision else own_pictures(settings):
        images = to_input(pictures.images, device, network.origin.normalisation)
        maps, masked = maps_of(explainer, images, pictures, question, refine)
        columns = with_masked(named_columns(settings, pictures, question, maps, network), masked)
        files = [str(record.path) for record in pictures.records]
        note = f"{name}: {describe(settings, decision)}"
        written = export(run.folder / name, pictures.images, maps, columns, files, pick(FigureSettings, settings), note)
        if question and (rows := answers(settings, pictures, question, maps, network)):
            write_csv(run.path(f"{name}/{DECISIONS}"), rows)
            written = {**written, DECISIONS: "what the network answers about each image"}
        shows.update({f"{name}/{file}": what for file, what in written.items()})
        totals.append(maps.total.mean().item())
        run.metrics(scene=name, total_mean_bits=totals[-1], decision_mean_bits=maps.decision.mean().item())
    run.promise(*shows)
    run.path("figures.json").write_text(json.dumps(shows, indent=2) + "\n", encoding="utf-8")
    mean = sum(totals) / len(totals)
    run.record(result={"total_mean_bits": mean, "files": sorted(shows), "refine": refine})
    log.info("open %s", run.folder / next(name for name in shows if Path(name).stem == "sheet"))
    return mean


def maps_of(
    explainer: MILR, images: Tensor, pictures: Pictures, question: Question | None, refine: int
) -> tuple[Maps, dict[int, Masked]]:
    """The maps of pictures and, where they are asked about, what is answered through their mask.

    `refine`: steps of the mask towards each picture's own decision.
    """
    if question is None:
        return explainer.maps(images, READINGS), {}
    batch, target = Batch(images, question.ask(pictures.records)), None
    with frozen(explainer.layers.network, *batch.modules):
        if refine:
            with torch.no_grad():
                target = own_decision(batch, explainer.layers.first_pass(images).output)
        maps, outputs = explainer.maps_and_outputs(images, READINGS, refine, target)
        with torch.no_grad():
            return maps, masked_answers(pictures.records, question, outputs)


def require_decision(refine: int, decision: DatasetDecision | None) -> None:
    """MilrError where the mask is to be refined, and no choice is made for which it could be."""
    if refine and decision is None:
        raise MilrError(
            f"visualize.refine={refine}: your own pictures (images=) are in no episode, and nothing is decided"
        )
    if refine and decision and "refined" in decision.row.without:
        raise MilrError(
            f"visualize.refine={refine}: decision={decision.section.name} is no choice that a mask is refined for"
        )


def own_pictures(settings: Visualize) -> Iterator[tuple[str, Pictures, None]]:
    """The user's files, all in one folder of figures."""
    files = [Path(file) for file in settings.images]
    records = [Record(number, file, class_id=0, class_name=file.stem) for number, file in enumerate(files, 1)]
    yield "pictures", load_pictures(records, settings.dataset.size, crop="none"), None


def drawn(settings: Visualize, run: Run, decision: DatasetDecision) -> Iterator[tuple[str, Pictures, Question]]:
    """Each seeded episode, or batch, in a folder of its own."""
    batches = few_pictures(settings.episode, settings.visualize.queries, settings.seed)
    word = "episode" if decision.section.name == "prototypes" else "batch"
    count = settings.visualize.episodes
    drawn_from = scenes(settings, run, decision, batches, count)
    for number, pictures, question in bar(drawn_from, total=count, desc="drawing", unit=word):
        yield f"{word}_{number:03d}", pictures, question


def named_columns(
    settings: Visualize, pictures: Pictures, question: Question | None, maps: Maps, network: PrototypicalNetwork
) -> list[Column]:
    """What stands over each picture: its name and, where it is asked about, the network's decision."""
    if question is None:
        return [Column("image", record.path.stem) for record in pictures.records]
    if question.first_query:
        return episode_columns(settings, pictures, maps, network)
    return columns_of(pictures.records, question, maps.output)


def with_masked(columns: Sequence[Column], masked: Mapping[int, Masked]) -> list[Column]:
    """The columns with what their pictures are taken for through the mask."""
    return [
        replace(column, masked=one.answer, masked_right=one.right, masked_share=one.share)
        if (one := masked.get(number))
        else column
        for number, column in enumerate(columns)
    ]


def episode_columns(settings: Visualize, pictures: Pictures, maps: Maps, network: PrototypicalNetwork) -> list[Column]:
    """What stands over each picture; over a query the network's decision, under it the distances to the prototypes."""
    way, shot, queries = settings.episode.way, settings.episode.shot, settings.visualize.queries
    names = [record.class_name for record in pictures.records]
    supports, queried = names[: way * shot], names[way * shot :]
    distances = query_distances(maps.output, (way, shot, queries), network.metric, network.mean)
    columns, prototypes = [Column("support", name) for name in supports], tuple(supports[::shot])
    for name, row in zip(queried, distances.cpu().tolist(), strict=True):
        nearest = prototypes[row.index(min(row))]
        columns.append(Column("query", name, nearest, tuple(row), prototypes))
    return columns


def answers(
    settings: Visualize, pictures: Pictures, question: Question, maps: Maps, network: PrototypicalNetwork
) -> list[Answer]:
    """The network's answers about the pictures of a batch; of an episode the distances to the prototypes."""
    distances = None
    if question.first_query:
        shape = settings.episode.way, settings.episode.shot, settings.visualize.queries
        distances = query_distances(maps.output, shape, network.metric, network.mean)
    return answers_of(pictures.records, question, maps.output, distances)


def describe(settings: Visualize, decision: DatasetDecision | None) -> str:
    """What stands over a sheet: whose pictures, how they were cut, which episodes, and how far the mask was refined."""
    if decision is None:
        return f"your own, crop=none, {settings.dataset.size} px"
    what = decision.title((settings.episode.way, settings.episode.shot))
    refined = f", refine={settings.visualize.refine}" * bool(settings.visualize.refine)
    return f"{what}, {settings.dataset.split} {decision.part}, {view(settings.dataset)}{refined}"
