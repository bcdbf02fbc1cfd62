"""Which files are pictures: by their ending where Pillow reads it on this machine, else by what they begin with."""

from __future__ import annotations

import contextlib
from functools import cache
from importlib import import_module
from pathlib import Path

from PIL import EpsImagePlugin, Image, ImageFile

# Pictures that Pillow reads only with a plugin, by ending; a plugin that is installed is used.
PLUGINS = {
    "pillow-heif": ("pillow_heif.HeifImagePlugin", (".heic", ".heics", ".heif", ".heifs", ".hif")),
    "pillow-jxl-plugin": ("pillow_jxl", (".jxl",)),
}
# Pictures that Pillow reads never, or of which it would read the thumbnail alone: drawings, layers, raw photographs.
UNREADABLE_ENDINGS = {
    *(".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng", ".erf", ".fff", ".iiq", ".k25", ".kdc", ".mef", ".mos"),
    *(".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw", ".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"),
    *(".svg", ".svgz", ".eps", ".ps", ".wmf", ".emf", ".xcf", ".exr", ".hdr", ".jxr", ".wdp", ".dcm", ".djvu"),
}
VIDEOS = {"MPEG"}  # has an entry among Pillow's readers and none of pixels
# Half a download, or what an editor saved aside: a picture's beginning, and no picture of the data set.
TEMPORARY_ENDINGS = {".part", ".crdownload", ".download", ".tmp", ".temp", ".bak", ".orig", ".old", ".swp"}
# Formats that begin with a mark of their own: a text or an array is never taken for one of them.
MARKED = ("AVIF", "BMP", "GIF", "HEIF", "JPEG", "JPEG2000", "JXL", "PNG", "TIFF", "WEBP")

SYSTEM_NAMES = {
    *("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "$recycle.bin"),
    *("system volume information", "lost+found", "__pycache__"),
}


def is_hidden(name: str) -> bool:
    """Whether a file or folder is the system's and not the user's: `.DS_Store`, `._a.jpg`, `__MACOSX`, `Thumbs.db`."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


@cache
def register_plugins() -> None:
    """Let Pillow know of those of PLUGINS that are installed."""
    for module, _ in PLUGINS.values():
        with contextlib.suppress(ImportError):
            import_module(module)


@cache
def readable_endings() -> frozenset[str]:
    """The endings, in small letters, of the kinds that Pillow reads here."""
    register_plugins()
    Image.init()
    return frozenset(ending for ending, kind in Image.registered_extensions().items() if is_readable(kind))


@cache
def common_endings() -> frozenset[str]:
    """Those of MARKED formats: `.jpg`, but not the `.im` or `.fit` in which a class's name may end."""
    kinds = Image.registered_extensions()
    return frozenset(ending for ending in readable_endings() if kinds[ending] in MARKED)


def is_readable(kind: str) -> bool:
    """Whether Pillow reads the pixels of a format (`PNG`) here, and not only its header."""
    if kind not in Image.OPEN or kind in VIDEOS or (kind == "EPS" and not EpsImagePlugin.has_ghostscript()):
        return False
    reader = Image.OPEN[kind][0]
    return not (isinstance(reader, type) and issubclass(reader, ImageFile.StubImageFile))


def is_picture(path: Path) -> bool:
    """Whether a file is a picture that Pillow reads here. OSError where it would have to be opened and cannot."""
    ending = path.suffix.lower()
    if ending in readable_endings():
        return True
    if ending in TEMPORARY_ENDINGS or path.name.endswith("~") or is_unreadable_picture(path):
        return False
    formats = [kind for kind in MARKED if kind in Image.OPEN]
    try:
        with path.open("rb") as file, Image.open(file, formats=formats):
            return True
    except PermissionError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        return True  # too large a picture, which is said where it is read
    except Exception:  # each of Pillow's readers has its own way to stumble over what is none of its files
        return False


def is_unreadable_picture(path: Path) -> bool:
    """Whether a file is a picture by its ending, and of a kind that Pillow does not read here."""
    ending = path.suffix.lower()
    known = UNREADABLE_ENDINGS.union(*(endings for _, endings in PLUGINS.values()))
    return ending in known and ending not in readable_endings()


def remedy(ending: str) -> str:
    """How pictures of an ending that Pillow does not read here can be used."""
    plugin = next((name for name, (_, endings) in PLUGINS.items() if ending in endings), None)
    return f"pip install {plugin}" if plugin else "convert them to PNG or JPEG"


def kind_of_file(path: Path) -> str:
    """What a file is that Pillow does not know, as far as its first bytes tell."""
    with path.open("rb") as file:
        start = file.read(256)
    if start[4:8] == b"ftyp" and start[8:11] in (b"hei", b"hev", b"mif", b"msf"):
        return f"it is HEIC, which Pillow does not read here: {remedy('.heic')}"
    if start.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return f"it is JPEG XL, which Pillow does not read here: {remedy('.jxl')}"
    text = start.lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "it is a web page"
    if text.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS: git lfs pull fetches the picture"
    return "it is empty" if not start else "no kind that Pillow knows here"
