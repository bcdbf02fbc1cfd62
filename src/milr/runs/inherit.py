"""Settings that a stage takes from its source run, and the overrides that would contradict them.

A network belongs with its pictures' size, its backbone and its metric; what was fitted belongs with all of its source's
data and episodes too. So these come from the source. A value typed on the command line that says otherwise is an error,
never silently dropped; only where `free` allows it (another data set to look at, another episode) does it win.
A recipe (`experiment=`) is no such word: its values for these sections give way to the source's.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser

from milr.data.settings import DatasetSettings
from milr.errors import MilrError
from milr.runs.folder import CONFIG
from milr.runs.sources import SourceRun
from milr.settings.saved import dataset_from, section_from, settings_from
from milr.settings.schema import ChainedStageSettings, FitMilr
from milr.settings.stages import INHERITED

BOUND = ("dataset.size",)  # never free: the network has seen no other size

Settings = TypeVar("Settings", bound=ChainedStageSettings)


def inherit(settings: Settings, source: SourceRun, overrides: Iterable[str], free: Sequence[str] = ()) -> Settings:
    """`settings` with the sections of `source` put in.

    overrides: the command line's, e.g. ["backbone=conv4", "episode.way=5"].
    free: the sections (of INHERITED), or single keys of them, in which an override wins over the source.
    Errors: MilrError that names both values where an override contradicts the source.
    """
    given, where = given_keys(overrides), source.folder / CONFIG
    sections: dict[str, Any] = {}
    for section in INHERITED:
        ours, theirs = getattr(settings, section), source.config.get(section)
        if not isinstance(theirs, dict):
            raise MilrError(f"{where} has no section {section!r}: it is of another version")
        values = merge(section, asdict(ours), theirs, given, free, source)
        sections[section] = (
            dataset_from(values, where) if section == "dataset" else section_from(type(ours), values, section, where)
        )
    return replace(settings, **sections)


def dataset_of(source: SourceRun) -> DatasetSettings:
    """The data set of the source run itself. MilrError if its section is of another version."""
    return dataset_from(source.config.get("dataset") or {}, source.folder / CONFIG)


def fit_settings_of(source: SourceRun) -> FitMilr:
    """The settings with which a fit-milr run was made. MilrError if they are of another version."""
    return settings_from(FitMilr, source.config, source.folder / CONFIG)


def given_keys(overrides: Iterable[str]) -> set[str]:
    """The keys that overrides name; of a section given as a whole, such as `episode={way: 5}`, the keys within."""
    given: set[str] = set()
    for override in OverridesParser.create().parse_overrides(list(overrides)):
        key, value = override.key_or_group, override.value()
        given |= {f"{key}.{within}" for within in value} if isinstance(value, dict) else {key}
    return given


def merge(
    section: str, ours: dict[str, Any], theirs: dict[str, Any], given: set[str], free: Sequence[str], source: SourceRun
) -> dict[str, Any]:
    """The values of one section: the source's, with the overrides that are allowed."""
    merged = dict(theirs)
    whose = ours.get("source", "milr"), ours.get("name")  # of a group: dataset=cub, backbone=resnet18
    if section in given and whose != (theirs.get("source", "milr"), theirs.get("name")):
        if section not in free:
            raise contradiction(section, ours["name"], theirs.get("name"), source)
        merged = {key: theirs[key] if f"{section}.{key}" in BOUND else value for key, value in ours.items()}
    for key, value in ours.items():
        name = f"{section}.{key}"
        if name in given and value != merged.get(key):
            if name in BOUND or not (section in free or name in free):
                raise contradiction(name, value, theirs.get(key), source)
            merged[key] = value
    return merged


def contradiction(key: str, ours: object, theirs: object, source: SourceRun) -> MilrError:
    """The error for an override against the source."""
    return MilrError(
        f"{key}={ours} contradicts the source run, which has {key}={theirs} ({source.folder}): leave it out"
    )
