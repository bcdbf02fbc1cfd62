"""What lies in the folders of a data set: pictures, folders, and what is left out of it, counted."""

from __future__ import annotations

import errno
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from milr.data.endings import common_endings, is_hidden, is_picture, is_unreadable_picture, remedy
from milr.data.split import split_named
from milr.errors import MilrError

DEEPEST = 3  # folders below the root that are read: train / a class / images


@dataclass(frozen=True)
class Listing:
    """One folder: its pictures and folders in the order of their names, and how many pictures Pillow cannot read."""

    pictures: tuple[Path, ...]
    folders: tuple[Path, ...]
    unreadable: int


@dataclass
class Scan:
    """The folders under `root`, each read once; hidden files and folders are as if they were not there.

    A link to a folder can be a class, unless its pictures are there already: it leads into the root, or to a folder
    that another link led to. In a class's folder none is followed.
    """

    root: Path
    listings: dict[Path, Listing] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)  # what is no picture of the data set, in words
    linked: set[str] = field(default_factory=set)

    def listing(self, folder: Path) -> Listing:
        """What one folder holds. OSError if it cannot be read; MilrError for a name that is no UTF-8."""
        if folder not in self.listings:
            with os.scandir(folder) as entries:
                visible = sorted((e for e in entries if not is_hidden(e.name)), key=lambda e: e.name)
            folders = tuple(Path(e.path) for e in visible if is_kind(e, "dir") and self.is_meant(e))
            pictures, unreadable = [], 0
            for entry in visible:
                path = Path(entry.path)
                if is_kind(entry, "dir"):
                    continue
                if not is_kind(entry, "file"):  # a pipe or a device too
                    self.counts["link(s) that lead nowhere"] += entry.is_symlink()
                elif is_picture(path):
                    pictures.append(path)
                elif is_unreadable_picture(path):
                    ending = path.suffix.lower()
                    self.counts[f"file(s) of {ending}, which Pillow does not read here ({remedy(ending)})"] += 1
                    unreadable += 1
                else:
                    self.counts["file(s) that are no pictures"] += 1
            for path in (*folders, *pictures):
                require_text(path)
            self.listings[folder] = Listing(tuple(pictures), folders, unreadable)
        return self.listings[folder]

    def is_meant(self, entry: os.DirEntry[str]) -> bool:
        """Whether a folder is one of the data set's: not named like a picture, and no link that is not followed."""
        if Path(entry.name).suffix.lower() in common_endings():
            self.counts["folder(s) named like pictures"] += 1
            return False
        if not entry.is_symlink():
            return True
        target, root, folder = os.path.realpath(entry.path), os.path.realpath(self.root), Path(entry.path).parent
        of_classes = folder == self.root or split_named(folder.name) is not None
        meant = of_classes and target not in self.linked and os.path.commonpath([target, root]) not in (target, root)
        self.linked.add(target)
        self.counts["link(s) to folders that are there already, or lie in a class"] += not meant
        return meant

    def below(self, folder: Path, deepest: int = DEEPEST) -> int:
        """The number of pictures in a folder and those in it, of kinds that Pillow does not read here too."""
        listing = self.listing(folder)
        own = len(listing.pictures) + listing.unreadable
        return own + sum(self.below(inner, deepest - 1) for inner in listing.folders if deepest > 1)

    def filled(self, folder: Path) -> list[Path]:
        """The folders of a folder that hold pictures, at any depth."""
        return [inner for inner in self.listing(folder).folders if self.below(inner)]

    def left_out(self) -> list[str]:
        """What is no picture of the data set, each with its number."""
        return [f"{count} {what}" for what, count in sorted(self.counts.items()) if count]


def is_kind(entry: os.DirEntry[str], kind: str) -> bool:
    """Whether an entry, or what it links to, is a plain file or a folder ("dir"); a link to itself is neither."""
    try:
        return entry.is_dir() if kind == "dir" else entry.is_file()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def require_text(path: Path) -> str:
    """The name of a file or folder. MilrError where its bytes are no UTF-8: no table or manifest could hold it.

    Its bytes, and not what Python made of them, which in an ASCII locale is no text either.
    """
    try:
        return os.fsencode(path.name).decode()
    except UnicodeDecodeError as error:
        raise MilrError(f"the name of {str(path)!a} is no UTF-8: rename it") from error
