"""A run's saved settings beside the defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from omegaconf import OmegaConf

from milr.command.help import default_settings
from milr.data.settings import DATA_SETS
from milr.errors import MilrError
from milr.fields import leaves
from milr.settings.stages import INHERITED, STAGES


def defaults(stage: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """dotted key -> default, of the stage with the data set of `config`, references unresolved."""
    name = (config.get("dataset") or {}).get("name")
    if name not in DATA_SETS:
        raise MilrError(f"the settings are of another version: there is no dataset={name}")
    return dict(leaves(default_settings(STAGES[stage], {"dataset": str(name)})))


def differences(stage: str, config: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """dotted key -> value, where the saved settings differ from the defaults, without the source.

    parent: the source run's settings, which are the defaults of the sections that a stage takes from there.
    """
    base = resolved(defaults(stage, config), config)
    if parent:
        base |= dict(leaves({section: parent.get(section) or {} for section in INHERITED}))
    else:
        base["dataset.name"] = default_settings(STAGES[stage]).dataset.name
    saved = dict(leaves(config))
    return {key: value for key, value in saved.items() if key != "source" and differs(value, base.get(key))}


def resolved(base: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults as settings are saved, where `${outputs}` has become the run's own folder; `???` stays."""
    own = OmegaConf.create({**base, "outputs": config.get("outputs", base["outputs"])})
    values = OmegaConf.to_container(own, resolve=True)
    assert isinstance(values, dict)
    return {**{str(key): value for key, value in values.items()}, "outputs": base["outputs"]}


def differs(one: object, other: object) -> bool:
    """Whether two values are not the same, 1 and 1.0 being so."""
    return one != other and str(one) != str(other)


def new_keys(stage: str, config: Mapping[str, Any]) -> list[str]:
    """Keys that the stage has now and had not when the settings were saved."""
    return sorted(defaults(stage, config).keys() - dict(leaves(config)).keys())
