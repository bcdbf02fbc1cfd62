"""The data set that a stage names, read, split, and described for the manifest."""

from __future__ import annotations

import logging
from dataclasses import asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from milr.data.access import readable
from milr.data.records import Catalogue, Record
from milr.data.settings import DATA_SETS, DatasetSettings
from milr.data.split import of_split, require_episodes, split_of
from milr.errors import MilrError
from milr.fields import load

log = logging.getLogger(__name__)


def open_catalogue(dataset: DatasetSettings) -> Catalogue:
    """All classes of the data set; what was left out of it is logged.

    Errors: MilrError if it is missing or partial, or has no boxes for crop=bbox.
    """
    root = Path(dataset.root)
    catalogue: Catalogue = load(DATA_SETS[dataset.name].reader)(root, **own_settings(dataset))
    for note in catalogue.notes:
        log.info("%s", note)
    if dataset.crop == "bbox" and any(record.box is None for record in catalogue.records):
        raise MilrError(f"dataset.crop=bbox: not every picture in {root} has a box; take dataset.crop=none")
    return few(catalogue, dataset.classes, dataset.pictures) if dataset.classes or dataset.pictures else catalogue


def few(catalogue: Catalogue, classes: int, pictures: int) -> Catalogue:
    """Of each split the first classes that have enough pictures, and so many pictures of each; 0: all."""
    by_class: dict[int, list[Record]] = {}
    for record in catalogue.records:
        by_class.setdefault(record.class_id, []).append(record)
    enough = catalogue.only(key for key, records in by_class.items() if len(records) >= pictures)
    chosen = [key for keys in asdict(split_of(enough)).values() for key in keys[: classes or None]]
    chosen_records = [record for key in sorted(chosen) for record in by_class[key][: pictures or None]]
    return replace(catalogue, records=tuple(chosen_records))


def own_settings(dataset: DatasetSettings) -> dict[str, Any]:
    """The settings that this kind of data set alone has: how the birds were drawn."""
    return {key: value for key, value in asdict(dataset).items() if key not in DatasetSettings.__annotations__}


def open_split(dataset: DatasetSettings, episode: tuple[int, int] | None = None) -> Catalogue:
    """The classes that `dataset.split` names. MilrError for too few for an episode of (classes, pictures of each)."""
    catalogue = open_catalogue(dataset)
    if episode:
        require_episodes(catalogue, dataset.split, *episode)
    return of_split(catalogue, dataset.split)


def view(dataset: DatasetSettings) -> str:
    """What stands beside every number: the data set, how its pictures are cut out, and their size."""
    return f"{dataset.name}, crop={dataset.crop}, {dataset.size} px"


def data_entry(dataset: DatasetSettings, catalogue: Catalogue, table: Path | None = None) -> dict[str, Any]:
    """The manifest's `data`: what was looked at, how, and a fingerprint of it and of the table of answers."""
    return {
        "name": dataset.name,
        "root": str(catalogue.root),
        "crop": dataset.crop,
        "size": dataset.size,
        **own_settings(dataset),
        "images": len(catalogue.records),
        "classes": len(catalogue.class_names),
        **({"table": str(table)} if table else {}),
        "fingerprint": catalogue_sha256(catalogue, table),
    }


def split_entry(catalogue: Catalogue) -> dict[str, list[str]]:
    """The manifest's `split`: the names of the classes of each split."""
    names = catalogue.class_names
    return {split: [names[key] for key in keys] for split, keys in asdict(split_of(catalogue)).items()}


def catalogue_sha256(catalogue: Catalogue, table: Path | None = None) -> str:
    """sha256 over each picture's path below the root, class, box and file size, and a table's content.

    It is the same wherever the data set lies.

    The pixels are not read, which would take longer than many a run.
    """
    digest = sha256()
    with readable(catalogue.root):
        for record in catalogue.records:
            path, size = record.path.relative_to(catalogue.root).as_posix(), record.path.stat().st_size
            line = f"{path}\t{record.class_id}\t{record.class_name}\t{record.box}\t{size}\n"
            digest.update(line.encode(errors="surrogateescape"))
    if table:
        with readable(table):
            digest.update(table.read_bytes())
    return digest.hexdigest()
