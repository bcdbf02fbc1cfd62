"""Any folder with one folder of pictures for each class, or with such folders in `train`, `val` and `test`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from milr.data.access import readable
from milr.data.records import Catalogue, Record, Split
from milr.data.scan import Scan, require_text
from milr.data.split import SPLIT_NAMES, split_named
from milr.errors import MilrError
from milr.text import alike, first_few

# A folder of this name in `val` or `test`, alone and in no other, holds pictures whose class nobody says.
NO_CLASS = {"image", "images", "img", "imgs", "jpegimages", "pictures", "photos", "unlabeled", "unlabelled", "unknown"}

Classes = dict[str, list[Path]]  # name -> pictures


def read_folder(root: Path) -> Catalogue:
    """Classes get ids from 1 in the order of their folders' names, so that the class split is the same everywhere.

    Folders `train`, `val`, `test` (or of such names) are no classes but hold them. Where no class is in two of them
    they are the split; else a class's pictures are put together. Hidden files and folders count as not there, and what
    else is left out stands in the catalogue's notes.

    MilrError for a folder that is missing, cannot be read, or holds no class with pictures; for pictures of which it
    is not clear what their class is; and for a name that is no UTF-8.
    """
    with readable(root):
        if not root.is_dir():
            raise MilrError(
                f"there is no folder {root}: name the one that holds a folder for each class with dataset.root="
            )
        scan = Scan(root)
        folders = scan.filled(root)
        if not folders:
            raise no_class(scan, [])
        splits = {folder: split for folder in folders if (split := split_named(folder.name))}
        trees = [folder for folder in folders if is_tree(scan, folder)]
        if len(splits) == len(folders) > 1 and not trees:
            raise MilrError(f"{root}: {listed(folders)} hold pictures and no folder for each class")
        if len(splits) == len(folders) and trees:
            classes, own, notes = read_splits(scan, splits)
        else:
            require_classes(scan, folders, trees, splits)
            classes, own, notes = {require_text(f): class_pictures(scan, f) for f in folders}, None, []
            if stray := len(scan.listing(root).pictures):
                notes.append(f"{stray} of the pictures lie directly in {root} and belong to no class: left out")
    return catalogue_of(root, scan, classes, own, notes)


def catalogue_of(
    root: Path, scan: Scan, classes: Classes, own: Mapping[str, set[str]] | None, notes: list[str]
) -> Catalogue:
    """The records of the classes in the order of their names. own: the names of each split, where folders gave them."""
    notes += twins(classes)
    if left_out := scan.left_out():
        notes.append(f"left out: {', '.join(left_out)}")
    records: list[Record] = []
    ids = {name: number for number, name in enumerate(sorted(classes), 1)}
    for name, number in ids.items():
        records += [Record(len(records) + n, file, number, name) for n, file in enumerate(classes[name], 1)]
    if not records:
        raise no_class(scan, notes)
    split = None
    if own:
        split = Split(**{part: tuple(sorted(ids[name] for name in names)) for part, names in own.items()})
    return Catalogue("folder", root, tuple(records), split=split, notes=tuple(notes))


def twins(names: Iterable[str]) -> list[str]:
    """A line where names of classes are one but for capitals, blanks at their ends or the encoding of accents."""
    together: dict[str, list[str]] = {}
    for name in sorted(names):
        together.setdefault(alike(name), []).append(name)
    doubled = [" and ".join(map(repr, each)) for each in together.values() if len(each) > 1]
    if not doubled:
        return []
    return [f"classes whose names are nearly one: {first_few(doubled)}: put their pictures together if they are one"]


def is_tree(scan: Scan, folder: Path) -> bool:
    """Whether a folder holds folders of pictures, other than one alone in a class's folder."""
    inner = scan.filled(folder)
    return bool(inner) and (bool(split_named(folder.name)) or bool(scan.listing(folder).pictures) or len(inner) > 1)


def require_classes(scan: Scan, folders: list[Path], trees: list[Path], splits: Mapping[Path, str]) -> None:
    """MilrError if `folders` are not the classes, with the root that is likely meant."""
    if not trees:
        return
    if mixed := [folder for split in SPLIT_NAMES for folder in trees if splits.get(folder) == split]:
        others = [folder for folder in folders if folder not in splits]
        raise MilrError(
            f"{listed(mixed)} in {scan.root} hold folders of classes, and beside them {listed(others)} hold pictures: "
            f"take dataset.root={mixed[0]}, or move the others away"
        )
    first = trees[0]
    own, inner = len(scan.listing(first).pictures), listed(scan.filled(first))
    if own:
        raise MilrError(
            f"{first} holds {own} picture(s) beside folders of pictures ({inner}), so that their class is not clear: "
            f"put all pictures of a class directly into its folder; if {inner} are classes, take dataset.root={first}"
        )
    raise MilrError(
        f"{first} holds no picture but folders of pictures ({inner}): if these are the classes, take "
        f"dataset.root={first}; if they are of one class, move their pictures into {first}"
    )


def class_pictures(scan: Scan, folder: Path) -> list[Path]:
    """The pictures of a class: those in its folder, or in the one folder in it that holds all of them."""
    inner = scan.filled(folder)
    if not inner:
        return list(scan.listing(folder).pictures)
    if len(inner) > 1 or scan.listing(folder).pictures or scan.filled(inner[0]):
        require_classes(scan, [folder], [folder], {})
    return list(scan.listing(inner[0]).pictures)


def read_splits(scan: Scan, splits: Mapping[Path, str]) -> tuple[Classes, Mapping[str, set[str]] | None, list[str]]:
    """The classes of `train`, `val` and `test`, the names of each if no class is in two of them, and what to say."""
    classes: Classes = {}
    names: dict[str, set[str]] = {split: set() for split in SPLIT_NAMES}
    notes = []
    for folder in sorted(splits, key=lambda folder: [*SPLIT_NAMES].index(splits[folder])):
        inner = scan.filled(folder)
        nameless = len(scan.listing(folder).pictures)
        if len(inner) == 1 and inner[0].name.lower() in NO_CLASS:
            nameless += scan.below(inner.pop())
        if nameless:
            notes.append(f"{nameless} pictures in {folder} lie in no class's folder: left out")
        for each in inner:
            classes.setdefault(require_text(each), []).extend(class_pictures(scan, each))
            names[splits[folder]].add(require_text(each))
    shared = {name for name in classes if sum(name in part for part in names.values()) > 1}
    filled = {split: part for split, part in names.items() if part}
    counts = ", ".join(f"{split} {len(part)}" for split, part in filled.items())
    if shared:
        notes.append(
            f"{listed(splits)} hold the same classes ({len(shared)} of {len(classes)} are in more than one): a class's "
            "pictures are put together, and whole classes are split by their ids"
        )
    elif len(filled) == 1:
        notes.append(f"the classes are those of the {next(iter(filled))} folder alone: they are split by their ids")
    elif filled:
        notes.append(f"the classes are split by the folders {listed(splits)}: {counts}")
        return classes, names, notes
    return classes, None, notes


def listed(folders: Iterable[Path]) -> str:
    """Their first names."""
    return first_few(folder.name for folder in folders)


def no_class(scan: Scan, notes: list[str]) -> MilrError:
    """The error for a folder without any class, with what lies there instead."""
    root, contents = scan.root, "; ".join(notes or scan.left_out())
    if own := len(scan.listing(root).pictures):
        return MilrError(
            f"{root} holds {own} picture(s) itself and no folder with pictures: if it is one class of several, take "
            f"dataset.root={root.parent}"
        )
    return MilrError(
        f"{root} holds no folder with pictures{f' ({contents})' if contents else ''}: one folder a class is needed"
    )
