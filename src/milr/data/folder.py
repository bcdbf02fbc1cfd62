"""Any folder with one folder of pictures for each class."""

from __future__ import annotations

import os
from pathlib import Path

from milr.data.records import Catalogue, Record
from milr.errors import MilrError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


def read_folder(root: Path) -> Catalogue:
    """Classes get ids from 1 in the order of their folders' names, so that the class split is the same everywhere.

    MilrError for a folder that is missing or holds no class with pictures, and for a name that is no UTF-8.
    """
    if not root.is_dir():
        raise MilrError(
            f"there is no folder {root}: name the one that holds a folder for each class with dataset.root="
        )
    records: list[Record] = []
    class_id = 0
    for folder in sorted(entry for entry in root.iterdir() if entry.is_dir()):
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES)
        for entry in (folder, *files):
            require_text(entry)
        if files:
            class_id += 1
            records += [
                Record(len(records) + n, file, class_id, require_text(folder)) for n, file in enumerate(files, 1)
            ]
    if not records:
        raise MilrError(
            f"{root} holds no folder with pictures ({', '.join(sorted(SUFFIXES))}): one folder a class is needed"
        )
    return Catalogue("folder", root, tuple(records))


def require_text(path: Path) -> str:
    """The name of a file or folder. MilrError where its bytes are no UTF-8: no table or manifest could hold it.

    Its bytes, and not what Python made of them, which in an ASCII locale is no text either.
    """
    try:
        return os.fsencode(path.name).decode()
    except UnicodeDecodeError as error:
        raise MilrError(f"the name of {str(path)!a} is no UTF-8: rename it") from error
