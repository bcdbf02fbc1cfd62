"""One clear line for an override that Hydra or OmegaConf refuses, with the nearest thing that it would take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from difflib import get_close_matches
from typing import Any, get_type_hints

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    MissingMandatoryValue,
    OmegaConfBaseException,
    ValidationError,
)

from milr.stages.help import group_options, groups_of
from milr.stages.limits import nearest
from milr.stages.schema import DATASETS, STAGES

TYPES = {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text", "list": "a list [a,b]"}
# What stands in hydra/launcher and is not this project's: the extra that brings it.
LAUNCHERS = {"joblib": "joblib", "submitit_slurm": "slurm", "submitit_local": "slurm"}
HINTS = {"source": "give source=latest or source=<run folder>"}


def explain(error: BaseException, stage: str, overrides: Sequence[str]) -> str:
    """The line for `error`, raised while the settings of `stage` were put together from `overrides`."""
    cause = error.__cause__ if isinstance(error.__cause__, OmegaConfBaseException) else error
    if isinstance(error, OverrideParseException):
        if "=" not in error.override:
            return f"cannot read {error.override!r}: an override is key=value"
        return f"cannot read {error.override!r}: {first_line(error)}; quote brackets and blanks for the shell"
    if isinstance(error, MissingConfigException):
        return unknown_option(error.missing_cfg_file or "", first_line(error))
    if isinstance(cause, MissingMandatoryValue):
        key = str(cause.full_key)
        return f"{key} is missing: {HINTS.get(key, f'give {key}=<value>')}"
    if isinstance(cause, ValidationError):
        return wrong_type(cause, stage, overrides)
    if isinstance(cause, (ConfigKeyError, ConfigAttributeError)) and cause.full_key:
        key = str(cause.full_key)  # of an unknown section, its name alone
        typed = [override.lstrip("+").partition("=")[0] for override in overrides]
        return unknown_key(next((word for word in typed if word.startswith(f"{key}.")), key), stage, overrides)
    return composition(first_line(error) or first_line(cause), stage, overrides)


def unknown_key(key: str, stage: str, overrides: Sequence[str]) -> str:
    """The line for a key that the stage's schema does not have."""
    among = [*keys_of(stage, overrides), *groups_of(stage)]
    near = get_close_matches(key, among, n=1, cutoff=0.6)
    if not near:  # the right last name in the wrong section: alpha, train.alpha
        near = [other for other in among if other.rpartition(".")[2] == key.rpartition(".")[2]][:1]
    end = f": did you mean {near[0]!r}?" if near else f"; `milr {stage.replace('_', '-')} --help` lists the keys"
    return f"{stage.replace('_', '-')} has no key {key!r}{end}"


def unknown_option(path: str, message: str) -> str:
    """The line for a file that a group does not have (`backbone/resnet13`)."""
    group, _, option = path.rpartition("/")
    if group == "hydra/launcher" and option in LAUNCHERS:
        extra = LAUNCHERS[option]
        return f"the launcher {option} is not installed: pip install 'milr[{extra}]'"
    options = group_options(group)
    if not options:
        return message
    return f"{group}={option}: choose one of {', '.join(options)}{nearest(option, options)}"


def wrong_type(error: ValidationError, stage: str, overrides: Sequence[str]) -> str:
    """The line for a value of the wrong type."""
    key = str(error.full_key)
    given = [override.partition("=")[2] for override in overrides if override.lstrip("+~").partition("=")[0] == key]
    kind = (
        dict(keyed_types(STAGES[stage], chosen_dataset(overrides))).get(key.partition("[")[0])
        if stage in STAGES
        else None
    )
    if kind is None:
        section = next((other for other in keys_of(stage, overrides) if other.startswith(f"{key}.")), None)
        if section:
            return f"{key} is a section: set one of its keys, such as {section}=<value>"
    name = getattr(kind, "__origin__", kind)
    expected = TYPES.get(getattr(name, "__name__", ""))
    value = f"{key}={given[-1]}" if given else key
    return f"{value}: the value must be {expected}" if expected else f"{value}: {first_line(error)}"


def composition(message: str, stage: str, overrides: Sequence[str]) -> str:
    """The line for what else can go wrong when a config is put together."""
    if match := re.match(r"Could not override '([^']+)'", message):
        return unknown_key(match[1], stage, overrides)
    if match := re.match(r"Could not append to config\. .* '([^']+)'", message):
        return f"{match[1]} is there already: leave the + out"
    if match := re.match(r"Ambiguous value for argument '([^']+)'", message):
        key, _, values = match[1].partition("=")
        return f"{match[1]}: several values need --multirun; one list is written '{key}=[{values}]'"
    if match := re.match(r"Sweep parameters '([^']+)' requires --multirun", message):
        return f"{match[1]}: a range of values needs --multirun"
    if match := re.match(r"Error merging override ~(.+)", message):
        return f"~{match[1]}: a key can be changed, not taken away"
    return message


def keys_of(stage: str, overrides: Sequence[str]) -> list[str]:
    """Every dotted key of a stage with the data set that `overrides` choose."""
    return [key for key, _ in keyed_types(STAGES[stage], chosen_dataset(overrides))] if stage in STAGES else []


def chosen_dataset(overrides: Sequence[str]) -> str:
    """The data set that the overrides name last, else the default."""
    names = [override.partition("=")[2] for override in overrides if override.startswith("dataset=")]
    return names[-1] if names and names[-1] in DATASETS else "synthetic"


def keyed_types(settings: type[Any], dataset: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted key, type) of every leaf of a schema."""
    hints = get_type_hints(settings)
    for field in fields(settings):
        kind = DATASETS[dataset] if prefix == "" and field.name == "dataset" else hints[field.name]
        if is_dataclass(kind):
            yield from keyed_types(kind, dataset, f"{prefix}{field.name}.")
        elif field.name == "layers":
            yield from ((f"layers.{name}", str) for name in ("local", "global"))
        else:
            yield f"{prefix}{field.name}", kind


def first_line(error: BaseException | str) -> str:
    """The first line of a message that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def is_mendable(error: BaseException) -> bool:
    """Whether this error, raised by Hydra around the jobs, is about what the user typed."""
    return isinstance(error, (ConfigCompositionException, OverrideParseException, OmegaConfBaseException))
