"""The pictures of a data set as its settings have them: whole splits, or episode by episode."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from milr.data.augmentation import IMAGENET, Normalisation
from milr.data.cache import cached_pictures
from milr.data.catalogues import open_catalogue, open_split, view
from milr.data.episodes import draw_episodes
from milr.data.pictures import Pictures, labels_of, load_pictures
from milr.data.records import Catalogue
from milr.data.settings import DatasetSettings
from milr.data.split import of_split, require_episodes

log = logging.getLogger(__name__)


def load_splits(
    dataset: DatasetSettings,
    cache: str | None,
    splits: Sequence[str] = ("train", "validation", "novel"),
    episodes: Mapping[str, tuple[int, int]] | None = None,
    normalisation: Normalisation = IMAGENET,
    part_of: Callable[[Catalogue, str], Catalogue] = of_split,
) -> tuple[Catalogue, dict[str, Pictures]]:
    """The whole catalogue, and the pictures of each of `splits`, for a network that wants this taken out of them.

    episodes: split -> classes of an episode, and pictures of each. Errors: MilrError, before a picture is read, for a
    split without classes, or with too few for its episodes. part_of: what a split holds.
    """
    catalogue = open_catalogue(dataset)
    for split, (way, each) in (episodes or {}).items():
        require_episodes(catalogue, split, way, each)
    parts = {split: part_of(catalogue, split) for split in splits}
    for split, part in parts.items():
        log.info("%s: %d pictures of %d classes, %s", split, len(part.records), len(part.class_names), view(dataset))
    return catalogue, {split: pictures_of(part, dataset, cache, normalisation) for split, part in parts.items()}


def pictures_of(
    catalogue: Catalogue, dataset: DatasetSettings, cache: str | None, normalisation: Normalisation = IMAGENET
) -> Pictures:
    """All pictures of a catalogue, kept in the folder `cache` if there is one."""
    folder = Path(cache).expanduser() if cache else None
    return replace(cached_pictures(catalogue.records, dataset.size, dataset.crop, folder), normalisation=normalisation)


def episode_pictures(
    dataset: DatasetSettings, shape: tuple[int, int, int], seed: int, numbers: range
) -> Iterator[Pictures]:
    """The pictures of the seeded episodes of these numbers."""
    catalogue = open_split(dataset)
    labels = labels_of(catalogue.records)
    for drawn in draw_episodes(labels, *shape, seed=seed, numbers=numbers):
        chosen = torch.cat([drawn.support.flatten(), drawn.query.flatten()]).tolist()
        yield load_pictures([catalogue.records[index] for index in chosen], dataset.size, dataset.crop)
