"""Checkpoints: tensors and plain values in one file that is either whole or not there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from milr.errors import MilrError
from milr.files import write_atomically


def save_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Save tensors and plain values (`content["kind"]` says what they are) under a temporary name, then rename.

    Errors: TypeError for a value that `load_checkpoint` would refuse (a programming error).
    """
    if not isinstance(content.get("kind"), str):
        raise TypeError("a checkpoint names its kind")
    require_plain(content, "checkpoint")
    write_atomically(path, lambda file: torch.save(content, file))


def load_checkpoint(path: Path, kind: str) -> dict[str, Any]:
    """Load what `save_checkpoint` saved, onto the CPU. Errors: MilrError if it is missing, truncated or foreign."""
    if not path.is_file():
        raise MilrError(f"there is no checkpoint {path}")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # many kinds for a broken file: EOFError, RuntimeError, UnpicklingError, ...
        raise MilrError(f"{path} is no checkpoint of milr, or it is truncated ({type(error).__name__})") from error
    saved_kind = content.get("kind") if isinstance(content, dict) else None
    if saved_kind != kind:
        what = f"a checkpoint of kind {saved_kind!r}" if isinstance(saved_kind, str) else "not written by milr"
        raise MilrError(f"{path} is {what}; needed is one of kind {kind!r}")
    return dict(content)


def require_plain(value: Any, where: str) -> None:
    """Raise TypeError unless `value` is made of tensors, numbers, text, None, lists, tuples and dicts alone."""
    if value is None or type(value) in (bool, int, float, str) or isinstance(value, torch.Tensor):
        return
    if isinstance(value, dict):
        for key, entry in value.items():
            if type(key) not in (str, int):
                raise TypeError(f"{where}: a key of type {type(key).__name__}")
            require_plain(entry, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for index, entry in enumerate(value):
            require_plain(entry, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__name__}, neither a tensor nor a plain value")
