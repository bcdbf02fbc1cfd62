"""Settings as a run's config.yaml holds them, made into their classes again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from milr.data.settings import DATA_SETS, DatasetSettings
from milr.errors import MilrError
from milr.settings.schema import StageSettings
from milr.text import first_line

Settings = TypeVar("Settings", bound=StageSettings)
Section = TypeVar("Section")


def settings_from(kind: type[Settings], saved: Mapping[str, Any], where: Path) -> Settings:
    """A stage's settings from a mapping; what it has not keeps its default. MilrError if it is of another version.

    where: the file that the mapping was read from.
    """
    schema = OmegaConf.structured(kind)
    layers = saved.get("layers")
    if isinstance(layers, Mapping) and "global" in layers:  # what layers.z was called
        renamed = {"z" if name == "global" else name: layer for name, layer in layers.items()}
        saved = {**saved, "layers": renamed}
    require_present_beta(saved, where)
    try:
        schema.dataset = OmegaConf.structured(DATA_SETS[saved["dataset"]["name"]].settings)
        settings = OmegaConf.to_object(OmegaConf.merge(schema, dict(saved)))
    except (OmegaConfBaseException, LookupError, TypeError) as error:
        key = getattr(error, "full_key", None)
        why = f"{key}: {first_line(error)}" if key else first_line(error)
        raise MilrError(f"{where} is of another version of milr, or was edited: start a new run ({why})") from error
    assert isinstance(settings, kind)
    return settings


def require_present_beta(saved: Mapping[str, Any], where: Path) -> None:
    """MilrError for a fit whose beta counted nats per place, and not per channel too: it would be a hundred times off.

    The version that changed it brought `milr.decays`.
    """
    section = saved.get("milr")
    if isinstance(section, Mapping) and "beta" in section and "decays" not in section:
        raise MilrError(
            f"{where} is of a version whose milr.beta={section['beta']} weighed nats per place: fit again, with "
            "milr.beta= that times the channels of the local layer (docs/method.md); visualize and evaluate go on from "
            "the old fit"
        )


def section_from(kind: type[Section], values: Mapping[str, Any], name: str, where: Path) -> Section:
    """A section from a mapping with all its keys, or none of those that are new. MilrError if it has others."""
    known = {each.name for each in fields(kind)}  # type: ignore[arg-type]
    if not known >= values.keys():
        raise MilrError(f"the section {name!r} of {where} is of another version")
    return kind(**values)


def dataset_from(values: Mapping[str, Any], where: Path) -> DatasetSettings:
    """The section `dataset`, as the class of its data set. MilrError if it is of another version."""
    data_set = DATA_SETS.get(str(values.get("name")))
    if data_set is None:
        raise MilrError(f"the section 'dataset' of {where} is of another version")
    return section_from(data_set.settings, values, "dataset", where)
