"""The sizes of a stage's episodes, and the batches of pictures that it looks at, by the decision that was fitted."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from milr.backbones.protonet import PrototypicalNetwork, represent
from milr.data.catalogues import data_entry, open_catalogue, view
from milr.data.loading import load_splits
from milr.data.pictures import Pictures, labels_of, load_pictures
from milr.data.records import Record
from milr.data.settings import DatasetSettings, EpisodeSettings
from milr.data.split import require_episodes
from milr.decisions.decisions import Batch
from milr.decisions.heads import head_from
from milr.decisions.questions import Listed, Question
from milr.decisions.settings import DecisionSettings
from milr.errors import MilrError
from milr.explanation.dataset_decisions import Batches, DatasetDecision, class_list, part
from milr.figures.columns import Column
from milr.runs.checkpoints import load_checkpoint
from milr.runs.folder import CONFIG, Run
from milr.runs.inherit import dataset_of
from milr.runs.sources import SourceRun
from milr.settings.saved import section_from
from milr.settings.schema import ChainedStageSettings
from milr.settings.sections import MilrSection, TrainSection
from milr.text import first_few

log = logging.getLogger(__name__)


def learned_shape(section: TrainSection | MilrSection, episode: EpisodeSettings) -> tuple[int, int, int]:
    """Way, shot and query of an episode that is learned from: the section's own where it says so."""
    return section.way or episode.way, episode.shot, section.query or episode.query


def needed_pictures(section: TrainSection | MilrSection, episode: EpisodeSettings) -> dict[str, tuple[int, int]]:
    """Of each split, the classes of an episode and the pictures of each."""
    way, shot, query = learned_shape(section, episode)
    return {"train": (way, shot + query), "validation": (episode.way, episode.shot + episode.query)}


def decision_of(source: SourceRun) -> DecisionSettings:
    """What a fit-milr run explains; prototypes where it is of a version that knew no other."""
    return section_from(DecisionSettings, source.config.get("decision") or {}, "decision", source.folder / CONFIG)


def fitted_decision(
    source: SourceRun, dataset: DatasetSettings, network: PrototypicalNetwork, device: torch.device
) -> DatasetDecision:
    """The decision that a fit-milr run explains, with the head of its checkpoint where it has one.

    MilrError for a data set with other classes than those that it decides among.
    """
    saved = load_checkpoint(source.checkpoint, "milr")
    head = head_from(saved["head"], device) if "head" in saved else None
    decision = DatasetDecision(decision_of(source), open_catalogue(dataset), network, head)
    known = saved.get("classes", [])
    if known and class_list(decision) != known:
        raise MilrError(
            f"the fit explains a decision among {len(known)} classes, {known[0]} and others, and {dataset.root} has "
            "other classes: look at the data set of the fit, or fit again"
        )
    return decision


def with_own_mean(
    decision: DatasetDecision, network: nn.Module, pictures: Pictures, device: torch.device
) -> DatasetDecision:
    """The decision for another network: a metric that centres takes the mean that this one has over the pictures."""
    whole = decision.network
    if not whole.metric.centre:
        return decision
    mean = represent(network, pictures.batches(device)).mean(0)
    return replace(decision, network=replace(whole, mean=mean))


def scenes(
    settings: ChainedStageSettings, run: Run, decision: DatasetDecision, batches: Batches, count: int, done: int = 0
) -> Iterator[tuple[int, Pictures, Question]]:
    """Numbers `done` to count - 1 of the batches of dataset.split, their pictures read as they are needed.

    Records the data and the split in the run's manifest. No batch only repeats pictures: there may be fewer.
    """
    dataset = settings.dataset
    drawn = pictures_of(decision, dataset, batches, count, done)
    chosen = part(decision.section, decision.catalogue, dataset.split)
    fingerprinted = decision.catalogue if decision.row.divided else chosen  # what the fingerprint is of
    run.record_data(data_entry(dataset, fingerprinted, decision.table), split_looked_at(decision, [dataset.split]))
    yield from drawn


def split_looked_at(
    decision: DatasetDecision, names: Sequence[str] = ("train", "validation", "novel")
) -> dict[str, list[str]]:
    """The manifest's `split`, as of `split_entry`. A warning where classes that are to be new to the network are among
    those that it was trained on: they have other ids since the data set was changed, or it is another one."""
    split = decision.split_entry(names)
    for name in ("validation", "novel") if not decision.row.divided else ():
        classes = split.get(name, [])
        if seen := [each for each in classes if each in decision.network.classes]:
            log.warning(
                "%s: the network was trained on %d of these %d classes (%s), so that what is measured of them is not "
                "of new ones: was the data set changed since, or is it another one?",
                *(name, len(seen), len(classes), first_few(seen)),
            )
    return split


def pictures_of(
    decision: DatasetDecision, dataset: DatasetSettings, batches: Batches, count: int, done: int = 0
) -> Iterator[tuple[int, Pictures, Question]]:
    """The same without a record. MilrError at once for a split with too few classes or pictures."""
    way, shot, query = batches.shape
    if decision.section.name == "prototypes":
        require_episodes(decision.catalogue, dataset.split, way, shot + query)
    chosen, question = part(decision.section, decision.catalogue, dataset.split), decision.question(batches)
    listed = Listed(labels_of(chosen.records), chosen.records)

    def each() -> Iterator[tuple[int, Pictures, Question]]:
        """One batch after the other, read when it is its turn."""
        for number in range(done, question.count(count, len(chosen.records))):
            records = [chosen.records[index] for index in question.draw(listed, number).tolist()]
            yield number, load_pictures(records, dataset.size, dataset.crop), question

    return each()


def tested_batches(episode: EpisodeSettings, section: DecisionSettings, seed: int) -> Batches:
    """Batches that maps are measured on: of an episode's shape, or of the decision's number of pictures."""
    return Batches((episode.way, episode.shot, episode.query), section.images, section.each, seed)


def few_pictures(episode: EpisodeSettings, queries: int, seed: int) -> Batches:
    """Batches to look at: of an episode, and of the other kinds as many pictures, so many of each class."""
    each = episode.shot + queries
    return Batches((episode.way, episode.shot, queries), episode.way * each, max(2, each), seed)


def training_batches(
    source: SourceRun, cache: str | None, network: PrototypicalNetwork, device: torch.device
) -> Iterator[Tensor]:
    """The training pictures of a fit-milr run as batches for the network, whatever data set is looked at now."""
    normalisation, part_of = network.origin.normalisation, partial(part, decision_of(source))
    _, pictures = load_splits(dataset_of(source), cache, ["train"], normalisation=normalisation, part_of=part_of)
    return pictures["train"].batches(device)


def title_of(dataset: DatasetSettings) -> str:
    """A data set in titles: the last two folders of its root (two may both end in CUB_200_2011), split and framing."""
    return f"{'/'.join(Path(dataset.root).parts[-2:])}, {dataset.split}, {view(dataset)}"


def columns_of(records: Sequence[Record], question: Question, output: Tensor | None = None) -> list[Column]:
    """What stands over each picture; with the network's output what it answers: a class, or the nearest picture."""
    roles = ["support" if place < question.first_query else "query" for place in range(len(records))]
    if not question.first_query:
        roles = ["image"] * len(records)
    given: list[str | None] = [None] * len(records)
    right: list[bool | None] = [None] * len(records)
    if output is not None and (question.answers or question.compares):
        decided = Batch(output, question.ask(records)).decided(output)
        answers = decided.answers().argmax(1).tolist()
        for owner, answer, score in zip(decided.owners(len(records)), answers, decided.score.tolist(), strict=True):
            if question.compares:
                roles[owner], right[owner] = f"{owner + 1}: nearest is {answer + 1}", bool(score)
            else:
                given[owner] = question.answers[answer]
    named = zip(roles, [record.class_name for record in records], given, right, strict=True)
    return [Column(role, name, answer, right=so) for role, name, answer, so in named]
