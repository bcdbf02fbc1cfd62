"""The sizes of a stage's episodes."""

from __future__ import annotations

from milr.data.settings import EpisodeSettings
from milr.settings.schema import MilrSection, TrainSection


def learned_shape(section: TrainSection | MilrSection, episode: EpisodeSettings) -> tuple[int, int, int]:
    """Way, shot and query of an episode that is learned from: the section's own where it says so."""
    return section.way or episode.way, episode.shot, section.query or episode.query


def needed_pictures(section: TrainSection | MilrSection, episode: EpisodeSettings) -> dict[str, tuple[int, int]]:
    """Of each split, the classes of an episode and the pictures of each."""
    way, shot, query = learned_shape(section, episode)
    return {"train": (way, shot + query), "validation": (episode.way, episode.shot + episode.query)}
