"""The pictures of seeded episodes, read as they are needed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from milr.stages.runs import Run
from milr.stages.schema import ChainedStageSettings

if TYPE_CHECKING:
    from milr.data.pictures import Pictures


def drawn_episodes(
    settings: ChainedStageSettings, run: Run, shape: tuple[int, int, int], count: int, done: int = 0
) -> Iterator[tuple[int, Pictures]]:
    """Number and pictures of episodes `done` to count - 1 of (way, shot, queries): supports by class, then queries.

    Records the data and the split in the run's manifest.
    """
    import torch

    from milr.data.episodes import draw_episodes
    from milr.data.pictures import load_pictures
    from milr.stages.catalogues import data_entry, open_split

    dataset = settings.dataset
    catalogue = open_split(dataset)
    run.record_data(data_entry(dataset, catalogue), {dataset.split: [*catalogue.class_names.values()]})
    labels = torch.tensor([record.class_id for record in catalogue.records])
    numbers = range(done, count)
    for number, drawn in zip(numbers, draw_episodes(labels, *shape, settings.seed, numbers), strict=True):
        chosen = torch.cat([drawn.support.flatten(), drawn.query.flatten()]).tolist()
        records = [catalogue.records[index] for index in chosen]
        yield number, load_pictures(records, dataset.size, dataset.crop)
