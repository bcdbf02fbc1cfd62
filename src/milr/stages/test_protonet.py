"""`milr test-protonet`: a trained network's accuracy over many seeded episodes, with its 95 % interval."""

from __future__ import annotations

import csv
import logging
from collections.abc import Iterable, Sequence
from math import ceil

from torch import Tensor

from milr.backbones.protonet import PrototypicalNetwork, represent
from milr.bars import bar
from milr.data.catalogues import data_entry, open_split, view
from milr.data.episodes import Episode, draw_episodes
from milr.data.loading import pictures_of
from milr.errors import MilrError
from milr.evaluation.accuracy import episode_accuracies, mean_and_interval
from milr.evaluation.views import represent_views
from milr.runs.checkpoints import load_checkpoint
from milr.runs.folder import Run
from milr.runs.sources import SourceRun
from milr.settings.schema import TestProtonet
from milr.stages.devices import choose_device

log = logging.getLogger("milr")


def test_protonet(settings: TestProtonet, run: Run, source: SourceRun) -> float:
    """Returns the mean accuracy."""
    device = choose_device(settings.device)
    state = load_checkpoint(source.checkpoint, "protonet")
    protonet = PrototypicalNetwork.from_state(state, settings.backbone.name).to(device)
    dataset, episode, views = settings.dataset, settings.episode, settings.test.mirror or settings.test.zoom
    if views and protonet.metric.centre:
        raise MilrError(
            "the network was trained with metric.centre=true: its mean is not one of several views; leave "
            "test.mirror and test.zoom out"
        )
    catalogue = open_split(dataset, (episode.way, episode.shot + episode.query))
    if not settings.test.allow_seen:
        refuse_seen(catalogue.class_names.values(), protonet.classes)
    run.record(data=data_entry(dataset, catalogue), split={dataset.split: [*catalogue.class_names.values()]})
    pictures = pictures_of(catalogue, dataset, settings.cache, protonet.origin.normalisation)
    numbers = range(settings.test.episodes)
    episodes = draw_episodes(pictures.labels, episode.way, episode.shot, episode.query, settings.seed, numbers)
    size = settings.test.batch_size
    batches = bar(pictures.batches(device, size), total=ceil(len(pictures.images) / size), desc="test", unit="batch")
    if views:
        representation = represent_views(protonet.network, batches, settings.test.mirror, settings.test.zoom)
    else:
        representation = represent(protonet.network, batches)
    accuracies = episode_accuracies(representation, episodes, protonet.metric, protonet.mean).cpu()
    mean, half = mean_and_interval(accuracies)
    write_episodes(run, episodes, accuracies, catalogue.class_names)
    run.metrics(split=dataset.split, accuracy=mean, interval=half, episodes=len(episodes))
    run.record(result={"accuracy": mean, "interval": half, "episodes": len(episodes)})
    log.info(
        "%d-way %d-shot accuracy %.4f ± %.4f (95 %%, %d episodes of %d queries; %s split, %d classes, %s)",
        *(episode.way, episode.shot, mean, half, len(episodes), episode.way * episode.query),
        *(dataset.split, len(catalogue.class_names), view(dataset)),
    )
    return mean


def refuse_seen(tested: Iterable[str], trained: Sequence[str]) -> None:
    """MilrError with the list, if classes to be tested are among those the network was trained on."""
    seen = sorted(set(tested) & set(trained))
    if seen:
        raise MilrError(
            f"the network was trained on {len(seen)} of these classes, so their accuracy says nothing about new ones; "
            f"take dataset.split=novel, or test.allow_seen=true if that is what you want: {', '.join(seen)}"
        )


def write_episodes(run: Run, episodes: Sequence[Episode], accuracies: Tensor, names: dict[int, str]) -> None:
    """episodes.csv: one row an episode, its classes with semicolons between them: a name may hold spaces."""
    with run.path("episodes.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["episode", "accuracy", "classes"])
        for number, (episode, accuracy) in enumerate(zip(episodes, accuracies.tolist(), strict=True)):
            writer.writerow([number, f"{accuracy:.6f}", ";".join(names[label] for label in episode.classes)])
