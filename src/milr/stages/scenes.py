"""The pictures of seeded episodes, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from milr.stages.runs import Run
from milr.stages.schema import ChainedStageSettings, DatasetSettings

if TYPE_CHECKING:
    from milr.data.pictures import Pictures
    from milr.data.records import Catalogue


def drawn_episodes(
    settings: ChainedStageSettings, run: Run, shape: tuple[int, int, int], count: int, done: int = 0
) -> Iterator[tuple[int, Pictures]]:
    """Number and pictures of episodes `done` to count - 1 of (way, shot, queries): supports by class, then queries.

    Records the data and the split in the run's manifest.
    """
    from milr.stages.catalogues import data_entry, open_split

    dataset, (way, shot, queries) = settings.dataset, shape
    catalogue = open_split(dataset, (way, shot + queries))
    run.record_data(data_entry(dataset, catalogue), {dataset.split: [*catalogue.class_names.values()]})
    numbers = range(done, count)
    yield from zip(numbers, episode_pictures(dataset, shape, settings.seed, numbers, catalogue), strict=True)


def episode_pictures(
    dataset: DatasetSettings,
    shape: tuple[int, int, int],
    seed: int,
    numbers: range,
    catalogue: Catalogue | None = None,
) -> Iterator[Pictures]:
    """The pictures of the seeded episodes of these numbers. catalogue: of the split, if it was opened already."""
    import torch

    from milr.data.episodes import draw_episodes
    from milr.data.pictures import load_pictures
    from milr.stages.catalogues import open_split

    catalogue = catalogue or open_split(dataset)
    labels = torch.tensor([record.class_id for record in catalogue.records])
    for drawn in draw_episodes(labels, *shape, seed=seed, numbers=numbers):
        chosen = torch.cat([drawn.support.flatten(), drawn.query.flatten()]).tolist()
        yield load_pictures([catalogue.records[index] for index in chosen], dataset.size, dataset.crop)
