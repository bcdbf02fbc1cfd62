"""`milr data`: make, download or check a data set, and say what it holds. It makes no run folder."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from milr.bars import bar
from milr.data.access import readable
from milr.data.catalogues import catalogue_sha256, open_catalogue
from milr.data.cub import find_masks, find_root
from milr.data.cub_checks import IncompleteError
from milr.data.download import IMAGES, SEGMENTATIONS, fetch, is_empty_folder
from milr.data.duplicates import line_of, thumbnail, twins
from milr.data.marks import Faults, faults_of_mask, require_usable
from milr.data.pictures import read_mask, read_picture
from milr.data.records import Catalogue, Record
from milr.data.split import split_of
from milr.errors import MilrError
from milr.settings.schema import Data
from milr.settings.sections import DataSection
from milr.text import first_few

log = logging.getLogger("milr")


def data(settings: Data) -> float:
    """Returns the number of pictures. Errors: MilrError for whatever is missing or broken, the first ones by name."""
    dataset = settings.dataset
    if dataset.name == "cub" and settings.data.download:
        fetch_missing(Path(dataset.root), settings.data)
    catalogue = open_catalogue(dataset)
    for line in description(catalogue):
        log.info("%s", line)
    if settings.data.check_pictures:
        sizes = check_pictures(catalogue.records, splits_of(catalogue))
        log.info("all %d pictures can be read; sizes from %s to %s", len(catalogue.records), *sizes)
    return float(len(catalogue.records))


def fetch_missing(root: Path, download: DataSection) -> None:
    """Download, verify and unpack what is not there yet: the pictures with their index, the segmentations if wanted.

    What is there, whole or not, is left as it is.
    """
    address = download.address.rstrip("/")
    with readable(root):
        missing = not root.exists() or is_empty_folder(root)
    if missing:
        log.info("%s is missing: %s/%s, %d MB", root, address, IMAGES.name, IMAGES.size // 10**6)
        fetch(IMAGES, f"{address}/{IMAGES.name}", root, "CUB_200_2011")
    if download.segmentations:
        try:
            with readable(root):
                data_set = find_root(root)
                missing = find_masks(data_set) is None
        except IncompleteError:
            return  # which is said, with its remedy, when the index is read
        if missing:
            fetch(SEGMENTATIONS, f"{address}/{SEGMENTATIONS.name}", data_set / "segmentations", "segmentations")


def description(catalogue: Catalogue) -> list[str]:
    """What a person wants to know of a data set before using it."""
    records, names = catalogue.records, catalogue.class_names
    parts = vars(split_of(catalogue))
    pictures = Counter(record.class_id for record in records)
    lines = [f"{catalogue.name} in {catalogue.root}: {len(records)} pictures of {len(names)} classes"]
    for part, ids in parts.items():
        shown = first_few(names[key] for key in ids)
        count = sum(pictures[key] for key in ids)
        lines.append(f"  {part}: {len(ids)} classes, {count} pictures" + (f" ({shown})" if ids else ""))
    lines.append(f"  pictures of a class: {min(pictures.values())} to {max(pictures.values())}")
    marked = {
        "boxes": sum(record.box is not None for record in records),
        "parts": sum(bool(record.parts) for record in records),
        "segmentations": sum(record.segmentation is not None for record in records),
    }
    lines += [f"  with {what}: {count} of {len(records)}" for what, count in marked.items()]
    return [*lines, f"  fingerprint: {catalogue_sha256(catalogue)}"]


def splits_of(catalogue: Catalogue) -> dict[int, str]:
    """Class id -> the split that it is in."""
    return {number: split for split, numbers in vars(split_of(catalogue)).items() for number in numbers}


def check_pictures(records: Sequence[Record], splits: Mapping[int, str] | None = None) -> tuple[str, str]:
    """Open every picture and its masks; the smallest and the largest, as "width x height".

    A warning where boxes, parts or masks do not go with their pictures, or a picture is there twice. Errors: MilrError
    that names the first pictures that cannot be read, or whose masks cannot be used, and says how many there are.
    """
    sizes, broken, first, faults = [], [], "", Faults()
    seen: list[tuple[Record, npt.NDArray[np.uint8]]] = []
    for record in bar(records, desc="checking pictures", unit="picture"):
        try:
            picture = read_picture(record.path)
            sizes.append(picture.size)
            seen.append((record, thumbnail(picture)))
            faults.check(record, sizes[-1])
            for file in filter(None, (record.segmentation, record.defining_mask)):
                require_usable(mask := read_mask(file), record, sizes[-1])
                faults.add(record, faults_of_mask(mask, record.box) if file == record.segmentation else [])
        except MilrError as error:
            broken.append(record.path)
            first = first or str(error)
    faults.warn()
    pairs = [(seen[later][0], seen[earlier][0]) for later, earlier in twins([small for _, small in seen])]
    if pairs:
        log.warning("%s", line_of(pairs, len(records), splits or {}))
    if broken:
        raise MilrError(
            f"{len(broken)} of {len(records)} pictures cannot be read, or their masks not used: "
            f"{first_few(broken, 5)}; the first: {first}"
        )
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    return f"{by_area[0][0]}x{by_area[0][1]}", f"{by_area[-1][0]}x{by_area[-1][1]}"
