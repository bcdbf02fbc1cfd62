"""A setting, once: its default, its bounds, its choices and its meaning stand together, in a dataclass's field."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import Field, field, fields, is_dataclass
from difflib import get_close_matches
from importlib import import_module
from numbers import Integral
from typing import Any, TypeVar

from milr.errors import MilrError

Kind = TypeVar("Kind")

MISSING = "???"  # what OmegaConf calls a value that must be given


def setting(
    default: Any,
    meaning: str,
    *,
    low: float = -math.inf,
    high: float = math.inf,
    choices: Sequence[str] = (),
    never: Mapping[Any, str] | None = None,
    rule: Callable[[Any], str] | None = None,
    kw_only: bool = False,
) -> Any:
    """The field of a setting.

    meaning: one line for people, shown by `milr STAGE --help`. low, high: the smallest and the largest value that
    makes sense. choices: the words that it takes. never: single values that make no sense, each with the reason. rule:
    gives what is wrong with a value, or nothing.
    """
    bounds = {"low": low, "high": high, "choices": tuple(choices), "never": never or {}, "rule": rule}
    metadata = {"meaning": meaning, **bounds}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata, kw_only=kw_only)
    return field(default=default, metadata=metadata, kw_only=kw_only)


def named_fields(settings: Any, prefix: str = "") -> Iterator[tuple[str, Any, Field[Any]]]:
    """(dotted key, value, field) of every setting of nested dataclasses."""
    for each in fields(settings):
        value = getattr(settings, each.name)
        if is_dataclass(value):
            yield from named_fields(value, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}", value, each


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


def check(settings: Any) -> None:
    """Raise MilrError, naming the key, for the first value that is outside what makes sense."""
    for key, value, each in named_fields(settings):
        low, high = each.metadata.get("low", -math.inf), each.metadata.get("high", math.inf)
        choices, never = each.metadata.get("choices"), each.metadata.get("never")
        for entry in value if isinstance(value, (list, tuple)) else [value]:
            if isinstance(entry, float) and not math.isfinite(entry):
                raise MilrError(f"{key}={value}: the value must be a finite number")
            if isinstance(value, list) and isinstance(entry, (list, dict)):
                raise MilrError(f"{key}={value}: there is a list within the list, give its values alone")
            if isinstance(entry, str) and "\0" in entry:  # which no file's name can have
                raise MilrError(f"{key}={value}: there is a NUL character in the text")
        if each.type == "int" and not isinstance(value, Integral):
            shown = repr(value) if isinstance(value, str) else value  # '20' is no 20
            raise MilrError(f"{key}={shown}: the value must be a whole number")
        if choices and value not in choices:
            raise MilrError(f"{key}={value}: choose one of {', '.join(choices)}{nearest(str(value), choices)}")
        if never and value in never:
            raise MilrError(f"{key}={value}: {never[value]}")
        if (rule := each.metadata.get("rule")) and (wrong := rule(value)):
            raise MilrError(f"{key}={value}: {wrong}")
        if isinstance(value, (int, float)) and not low <= value <= high:
            bound = f"at least {low:.10g}" if high == math.inf else f"from {low:.10g} to {high:.10g}"
            raise MilrError(f"{key}={value}: the value must be {bound}")


def pick(kind: type[Kind], *sections: Any, **given: Any) -> Kind:
    """A dataclass from the values that sections have under its fields' names; what is `given` wins."""
    names = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    own = {each.name: getattr(section, each.name) for section in sections for each in fields(section)}
    return kind(**{**{name: value for name, value in own.items() if name in names}, **given})


def nearest(word: str, among: Sequence[str]) -> str:
    """ " (did you mean 'bbox'?)", or nothing where no word is near."""
    near = get_close_matches(word, among, n=1, cutoff=0.5)
    return f" (did you mean {near[0]!r}?)" if near else ""


def load(path: str) -> Any:
    """What the dotted path "module:name" of a table leads to: the one place where milr imports by name."""
    module, _, name = path.partition(":")
    return getattr(import_module(module), name)
