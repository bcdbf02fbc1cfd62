"""What a manifest says of the software and the machine that ran."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from hashlib import sha256
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

PACKAGES = (
    "torch",
    "torchvision",
    "hydra-core",
    "omegaconf",
    "pillow",
    "numpy",
    "captum",
    "zennit",
    "timm",
    "transformers",
)


def versions() -> dict[str, str | None]:
    """The versions of Python and of the packages that decide over the numbers; asks the metadata, imports nothing."""
    result: dict[str, str | None] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            result[package.removesuffix("-core")] = version(package)
        except PackageNotFoundError:
            result[package.removesuffix("-core")] = None
    return result


def git_state() -> dict[str, str | bool | None] | None:
    """The commit of the checkout that this package runs from, whether tracked files were changed since, and the sha256
    of those changes, by which two dirty states can be recognised as the same.

    None without git, and for an installed copy: it may lie in another project's repository, whose commit says nothing.
    """
    here = Path(__file__).resolve().parent
    if shutil.which("git") is None or ask_git(here, "ls-files", "--error-unmatch", Path(__file__).name) is None:
        return None
    commit = ask_git(here, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = ask_git(here, "diff", "HEAD", "--no-ext-diff", "--binary")
    return {
        "commit": commit,
        "dirty": bool(changes),
        "changes_sha256": sha256(changes.encode()).hexdigest() if changes else None,
    }


def ask_git(folder: Path, *words: str) -> str | None:
    """What git answers, or None where it does not."""
    command = ["git", "-C", str(folder), *words]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None


def host(device: str) -> dict[str, str | int | None]:
    """What of the machine can change a number or a time: never its name.

    device: the stage's setting; the entry names the GPU that it leads to, or says cpu.
    """
    on_gpu = device != "cpu" and torch.cuda.is_available()
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if on_gpu else "cpu",
    }


def available_cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str | None:
    """The processor's name; None where the system does not tell."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return platform.processor() or None
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), None)
