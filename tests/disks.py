"""A disk that is full (no file of this process can grow beyond some bytes), and files that may not be read."""

from __future__ import annotations

import builtins
import errno
import io
import os
import resource
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest


@contextmanager
def full_after(size: int) -> Iterator[None]:
    """While the body runs, a write beyond `size` bytes of any file fails (EFBIG, where a full disk says ENOSPC)."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def fill() -> None:
    """From now on no file can grow at all; within `full_after`, which puts the limit back."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@contextmanager
def unprivileged() -> Iterator[None]:
    """The body runs without the rights of root, who may read everything."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that every user reaches."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    folder.chmod(0o777)
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(folder)


def deny(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Take away the right to read a file or folder, or to make it; from root, who may all, in the functions that do."""
    if os.geteuid() != 0:
        if place.exists():
            place.chmod(0)
        else:
            place.parent.chmod(0o500)
        return

    def guarded(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any = ".", *args: Any, **keywords: Any) -> Any:
            if isinstance(path, (str, os.PathLike)) and Path(path) == place:
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
            return function(path, *args, **keywords)

        return call

    for module, name in ((builtins, "open"), (io, "open"), (os, "scandir"), (os, "listdir"), (os, "open")):
        monkeypatch.setattr(module, name, guarded(getattr(module, name)))
