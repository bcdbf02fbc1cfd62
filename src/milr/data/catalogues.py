"""The data set that a stage was told, read, split, and described for the manifest."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path
from typing import Any

from milr.data.cub import read_cub
from milr.data.folder import read_folder
from milr.data.records import Catalogue
from milr.data.settings import DatasetSettings
from milr.data.split import of_split, require_episodes, split_of
from milr.data.synthetic import read_synthetic
from milr.errors import MilrError

log = logging.getLogger(__name__)

THINNED: ContextVar[Callable[[Catalogue], Catalogue] | None] = ContextVar("thinned", default=None)


def open_catalogue(dataset: DatasetSettings) -> Catalogue:
    """All classes of the data set; what was left out of it is logged.

    Errors: MilrError if it is missing or partial, or has no boxes for crop=bbox.
    """
    root = Path(dataset.root)
    if dataset.name == "synthetic":
        catalogue = read_synthetic(root, **own_settings(dataset))
    else:
        catalogue = read_cub(root) if dataset.name == "cub" else read_folder(root)
    for note in catalogue.notes:
        log.info("%s", note)
    if dataset.crop == "bbox" and any(record.box is None for record in catalogue.records):
        raise MilrError(f"dataset.crop=bbox: not every picture in {root} has a box; take dataset.crop=none")
    thin = THINNED.get()
    return thin(catalogue) if thin else catalogue


@contextmanager
def thinned(thin: Callable[[Catalogue], Catalogue]) -> Iterator[None]:
    """Every catalogue that is opened in the body goes through `thin`: a rehearsal needs a few pictures, not all."""
    token = THINNED.set(thin)
    try:
        yield
    finally:
        THINNED.reset(token)


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


def data_entry(dataset: DatasetSettings, catalogue: Catalogue) -> dict[str, Any]:
    """The manifest's `data`: what was looked at, how, and a fingerprint of it."""
    return {
        "name": dataset.name,
        "root": str(catalogue.root),
        "crop": dataset.crop,
        "size": dataset.size,
        **own_settings(dataset),
        "images": len(catalogue.records),
        "classes": len(catalogue.class_names),
        "fingerprint": fingerprint(catalogue),
    }


def split_entry(catalogue: Catalogue) -> dict[str, list[str]]:
    """The manifest's `split`: the names of the classes of each split."""
    names = catalogue.class_names
    return {split: [names[key] for key in keys] for split, keys in asdict(split_of(catalogue)).items()}


def fingerprint(catalogue: Catalogue) -> str:
    """sha256 over each picture's path below the root, class, box and file size: the same wherever the data set lies.

    The pixels are not read, which would take longer than many a run.
    """
    digest = sha256()
    for record in catalogue.records:
        try:
            size = record.path.stat().st_size
        except OSError as error:
            raise MilrError(f"the picture {record.path} cannot be read: {error.strerror}") from error
        try:
            path = record.path.relative_to(catalogue.root).as_posix()
        except ValueError:  # an index may name a file elsewhere
            path = record.path.name
        digest.update(
            f"{path}\t{record.class_id}\t{record.class_name}\t{record.box}\t{size}\n".encode(errors="surrogateescape")
        )
    return digest.hexdigest()
