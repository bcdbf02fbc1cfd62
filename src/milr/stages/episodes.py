"""The sizes of a stage's episodes, and the pictures of seeded ones, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator

from milr.data.catalogues import data_entry, open_split
from milr.data.loading import episode_pictures
from milr.data.pictures import Pictures
from milr.data.settings import EpisodeSettings
from milr.runs.folder import Run
from milr.settings.schema import ChainedStageSettings, MilrSection, TrainSection


def learned_shape(section: TrainSection | MilrSection, episode: EpisodeSettings) -> tuple[int, int, int]:
    """Way, shot and query of an episode that is learned from: the section's own where it says so."""
    return section.way or episode.way, episode.shot, section.query or episode.query


def needed_pictures(section: TrainSection | MilrSection, episode: EpisodeSettings) -> dict[str, tuple[int, int]]:
    """Of each split, the classes of an episode and the pictures of each."""
    way, shot, query = learned_shape(section, episode)
    return {"train": (way, shot + query), "validation": (episode.way, episode.shot + episode.query)}


def drawn_episodes(
    settings: ChainedStageSettings, run: Run, shape: tuple[int, int, int], count: int, done: int = 0
) -> Iterator[tuple[int, Pictures]]:
    """Number and pictures of episodes `done` to count - 1 of (way, shot, queries): supports by class, then queries.

    Records the data and the split in the run's manifest.
    """
    dataset, (way, shot, queries) = settings.dataset, shape
    catalogue = open_split(dataset, (way, shot + queries))
    run.record_data(data_entry(dataset, catalogue), {dataset.split: [*catalogue.class_names.values()]})
    numbers = range(done, count)
    yield from zip(numbers, episode_pictures(dataset, shape, settings.seed, numbers, catalogue), strict=True)
