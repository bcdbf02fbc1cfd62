"""`milr visualize`: the three kinds of information of seeded episodes, or of a user's own pictures, as figures."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from milr.stages.job import run_chained_stage
from milr.stages.runs import Run
from milr.stages.schema import Visualize
from milr.stages.sources import SourceRun, find_parent
from milr.stages.store import store_schemas

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from torch import Tensor

    from milr.data.pictures import Pictures
    from milr.explanation.figures import Column
    from milr.explanation.maps import Maps
    from milr.explanation.milr import MILR
    from milr.networks.protonet import PrototypicalNetwork

store_schemas()

log = logging.getLogger("milr")


def visualize(settings: Visualize, run: Run, source: SourceRun) -> float:
    """Returns the mean total bits of a location."""
    from milr.data.pictures import load_pictures
    from milr.data.records import Record
    from milr.explanation.milr import MILR
    from milr.networks.protonet import PrototypicalNetwork
    from milr.stages.catalogues import data_entry, open_split
    from milr.stages.checkpoints import load_checkpoint
    from milr.stages.devices import choose_device, example_images

    device = choose_device(settings.device)
    state = load_checkpoint(find_parent(source).checkpoint, "protonet")
    network = PrototypicalNetwork.from_state(state, settings.backbone.name).to(device)
    size, crop = settings.dataset.size, settings.dataset.crop
    explainer = MILR.load(network.network, load_checkpoint(source.checkpoint, "milr"), example_images(size, device))
    if settings.visualize.images:
        records = [
            Record(number, Path(file), class_id=0, class_name=Path(file).stem)
            for number, file in enumerate(settings.visualize.images)
        ]
        pictures = load_pictures(records, size, "none")
        return _draw_pictures(settings, run, explainer, pictures, device)
    catalogue = open_split(settings.dataset)
    run.record(
        data=data_entry(settings.dataset, catalogue), split={settings.dataset.split: [*catalogue.class_names.values()]}
    )
    return _draw_episodes(settings, run, explainer, network, load_pictures(catalogue.records, size, crop), device)


def _draw_episodes(
    settings: Visualize,
    run: Run,
    explainer: MILR,
    network: PrototypicalNetwork,
    pictures: Pictures,
    device: torch.device,
) -> float:
    """One folder an episode."""
    import torch

    from milr.data.episodes import draw_episode

    way, shot, queries = settings.episode.way, settings.episode.shot, settings.visualize.queries
    note = (
        f"{settings.dataset.split} species of {settings.dataset.name}, crop={settings.dataset.crop}, "
        f"{settings.dataset.size} px, {way}-way {shot}-shot, episode "
    )
    totals, figures = [], {}
    for number in range(settings.visualize.episodes):
        episode = draw_episode(pictures.labels, way, shot, queries, seed=settings.seed, number=number)
        chosen = torch.cat([episode.support.flatten(), episode.query.flatten()])
        maps = _maps(explainer, pictures.images[chosen], device)
        columns = episode_columns(pictures, chosen, (way, shot, queries), maps.output.cpu(), network)
        folder = run.folder / f"episode_{number:03d}"
        files = [str(pictures.records[int(i)].path) for i in chosen]
        shows = _export(
            folder, pictures.images[chosen], maps, columns, files, settings.visualize.scale, note + str(number)
        )
        figures.update({f"{folder.name}/{name}": what for name, what in shows.items()})
        totals.append(maps.total.mean().item())
    return _finish(run, figures, totals)


def _draw_pictures(settings: Visualize, run: Run, explainer: MILR, pictures: Pictures, device: torch.device) -> float:
    """A user's own pictures, without a decision."""
    from milr.explanation.figures import Column

    maps = _maps(explainer, pictures.images, device)
    columns = [Column("image", record.path.stem) for record in pictures.records]
    files = [str(record.path) for record in pictures.records]
    shows = _export(run.folder, pictures.images, maps, columns, files, settings.visualize.scale, "pictures of your own")
    return _finish(run, shows, [maps.total.mean().item()])


def episode_columns(
    pictures: Pictures,
    chosen: Tensor,
    shape: tuple[int, int, int],
    output: Tensor,
    network: PrototypicalNetwork,
) -> list[Column]:
    """What stands over each picture: supports first, then queries with the network's decision and its distances."""
    from milr.explanation.batches import query_distances
    from milr.explanation.figures import Column

    way, shot, _ = shape
    names = [pictures.records[int(index)].class_name for index in chosen]
    supports, asked = names[: way * shot], names[way * shot :]
    distances = query_distances(output, shape, network.metric, network.mean)
    columns = [Column("support", name) for name in supports]
    for name, row in zip(asked, distances, strict=True):
        nearest = supports[int(row.argmin()) * shot]
        columns.append(Column("query", name, nearest, tuple(float(d) for d in row)))
    return columns


def _maps(explainer: MILR, images: Tensor, device: torch.device) -> Maps:
    from milr.data.augmentation import to_input
    from milr.explanation.figures import stack

    return stack([explainer.maps(to_input(part).to(device)) for part in images.split(16)])


def _export(
    folder: Path, images: Tensor, maps: Maps, columns: Sequence[Column], files: Sequence[str], scale: str, note: str
) -> dict[str, str]:
    """Figures, maps.npz and maps.csv of one episode; returns what each file shows."""
    import csv

    from milr.explanation.figures import save_figures, save_maps

    folder.mkdir(exist_ok=True)
    shows = save_figures(folder, images, maps, columns, scale, note)
    save_maps(folder / "maps.npz", images, maps, [column.species for column in columns], files)
    rows = [
        {"file": file, "role": column.role, "species": column.species, "predicted": column.predicted or "", **row}
        for file, column, row in zip(files, columns, maps.rows(), strict=True)
    ]
    with (folder / "maps.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return shows | {"maps.npz": "all maps in bits, images, labels, file names", "maps.csv": "one row an image, in bits"}


def _finish(run: Run, figures: dict[str, str], totals: list[float]) -> float:
    import json

    run.path("figures.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    mean = sum(totals) / len(totals)
    run.record(result={"total_mean_bits": mean, "files": sorted(figures)})
    first = next(name for name in figures if name.endswith("sheet.png"))
    log.info("open %s", run.folder / first)
    return mean


@hydra.main(config_path="pkg://milr.conf", config_name="visualize", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return run_chained_stage(cfg, Visualize, visualize, source_stage="fit_milr", free=("dataset", "episode"))
