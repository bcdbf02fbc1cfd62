"""Settings as dotted keys and their values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any


def leaves(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every (dotted key, value) of nested dataclasses and mappings; lists count as values."""
    if is_dataclass(settings):
        entries = [(field.name, getattr(settings, field.name)) for field in fields(settings)]
    else:
        entries = list(settings.items())
    for name, value in entries:
        if (is_dataclass(value) and not isinstance(value, type)) or isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def nearest(word: str, among: tuple[str, ...] | list[str]) -> str:
    """ " (did you mean 'bbox'?)", or nothing where no word is near."""
    near = get_close_matches(word, among, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""
