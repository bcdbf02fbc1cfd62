"""Names and paths among the settings that no type and no bound can judge."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from milr.backbones.settings import SOURCES
from milr.command.help import group_options
from milr.data.settings import DATA_SETS
from milr.errors import MilrError
from milr.fields import leaves, nearest
from milr.settings.paths import MAY_BE_EMPTY, PATHS


def check_paths(settings: Any) -> None:
    """Raise MilrError, naming the key, where a path is empty: it would be the folder that one happens to be in."""
    for key, value in leaves(settings):
        if key in PATHS and key not in MAY_BE_EMPTY and value == "":
            raise MilrError(f"{key}= is empty: give {key}=<path>")
        if key == "images" and "" in value:
            raise MilrError(f"images={value}: one of the paths is empty")


def check_names(settings: Any) -> None:
    """Raise MilrError for a data set or a backbone that is none, and for another data set's keys under a name."""
    for group, known in (("dataset", DATA_SETS), ("backbone", group_options("backbone"))):
        section = getattr(settings, group, None)
        options = [name for name in group_options(group) if name in known and name not in SOURCES]
        if section is None or (section.name and getattr(section, "source", "milr") != "milr"):
            continue
        if not section.name:
            raise MilrError(f"{group}.name is missing: give {group}.name=<name>")
        if section.name not in options:
            near = nearest(section.name, options)
            raise MilrError(f"{group}.name={section.name}: choose one of {', '.join(options)}{near}")
        if group == "dataset" and {key for key, _ in leaves(section)} != {
            field.name for field in fields(DATA_SETS[section.name].settings)
        }:
            raise MilrError(
                f"dataset.name={section.name} with the keys of another data set: choose it with dataset={section.name}"
            )
