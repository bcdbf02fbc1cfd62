"""What a manifest says of the software that ran."""

from __future__ import annotations

import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "torchvision", "hydra-core", "omegaconf", "pillow", "numpy")


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that decide over the numbers; asks the metadata, imports nothing."""
    found: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package.removesuffix("-core")] = version(package)
        except PackageNotFoundError:
            found[package.removesuffix("-core")] = None
    return found


def git_state() -> dict[str, str | bool] | None:
    """The commit of the checkout that this package runs from, and whether tracked files were changed since.

    None without git, and for an installed copy: it may lie in another project's repository, whose commit says nothing.
    """
    here = Path(__file__).resolve().parent
    if shutil.which("git") is None or ask_git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = ask_git(here, "rev-parse", "HEAD")
    changes = ask_git(here, "status", "--porcelain", "--untracked-files=no", ":/")
    return None if commit is None else {"commit": commit, "dirty": bool(changes)}


def ask_git(folder: Path, *words: str) -> str | None:
    """What git answers, or None where it does not."""
    try:
        answer = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
