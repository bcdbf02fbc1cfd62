"""A run's saved settings beside the defaults, and as the words that make Hydra put the same settings together again."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, OmegaConf

from milr.command.help import group_options, groups_of
from milr.errors import MilrError
from milr.runs.inherit import INHERITED
from milr.settings.store import store_schemas
from milr.settings.values import leaves

GROUPS = ("dataset", "backbone")  # sections with a choice of keys or of words, named by their `name`
PLAIN = re.compile(r"[A-Za-z_/][\w./-]*", re.ASCII)
WORDS = {"true", "false", "yes", "no", "on", "off", "null", "none", "nan", "inf"}  # that are no plain text to YAML


def defaults(stage: str, config: Mapping[str, Any]) -> dict[str, Any]:
    """dotted key -> default, of the stage with the data set and the backbone of `config`, references unresolved."""
    store_schemas()
    with initialize_config_module("milr.conf", version_base="1.3"):
        composed: DictConfig = compose(stage, overrides=group_words(stage, config))
    return dict(leaves(OmegaConf.to_container(composed)))


def group_words(stage: str, config: Mapping[str, Any]) -> list[str]:
    """The words for the groups: dataset=cub, backbone=resnet50. MilrError for one that does not exist any more."""
    words = []
    for group in GROUPS:
        if group not in groups_of(stage):
            continue
        name = (config.get(group) or {}).get("name")
        if name not in group_options(group):
            raise MilrError(f"the settings are of another version: there is no {group}={name}")
        words.append(f"{group}={name}")
    return words


def differences(stage: str, config: Mapping[str, Any], parent: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """dotted key -> value, where the saved settings differ from the defaults, without the source.

    parent: the source run's settings, which are the defaults of the sections that a stage takes from there.
    """
    base = resolved(defaults(stage, config), config)
    if parent:
        base |= dict(leaves({section: parent.get(section) or {} for section in INHERITED}))
    else:
        base |= {f"{group}.name": option for group, option in groups_of(stage).items() if group in GROUPS}
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


def words_of(stage: str, config: Mapping[str, Any], outputs: Path) -> list[str]:
    """The overrides after which the stage has the settings of `config`, runs going to `outputs`.

    What a stage takes from its source is spelled out whole: a value may be the default and still not the source's.
    """
    base, saved = defaults(stage, config), dict(leaves(config))
    unknown = sorted(saved.keys() - base.keys())
    if unknown:
        raise MilrError(f"the settings are of another version: there is no {', '.join(unknown)} any more")
    sections = tuple(f"{section}." for section in INHERITED) if "source" in config else ()
    named = {f"{group}.name" for group in GROUPS} | {"outputs"}
    wanted = {
        key: value
        for key, value in saved.items()
        if key not in named and (key == "source" or key.startswith(sections) or differs(value, base[key]))
    }
    words = group_words(stage, config) + [f"{key}={spelled(value)}" for key, value in wanted.items()]
    return [*words, f"outputs={spelled(str(outputs.absolute()))}"]


def new_keys(stage: str, config: Mapping[str, Any]) -> list[str]:
    """Keys that the stage has now and had not when the settings were saved."""
    return sorted(defaults(stage, config).keys() - dict(leaves(config)).keys())


def spelled(value: object) -> str:
    """A value as Hydra's overrides have it: text in quotes where it could be read as something else."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return f"[{','.join(spelled(entry) for entry in value)}]"
    if isinstance(value, str) and (not PLAIN.fullmatch(value) or value.lower() in WORDS):
        return QuotedString(text=value, quote=Quote.single).with_quotes()
    return str(value)
