"""A stage's help: its groups, and its settings with their defaults and meanings. Nothing heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from milr.data.settings import DATA_SETS
from milr.errors import MilrError
from milr.settings.stages import INHERITED, Stage

FLAGS = """\
paths (outputs=, source=, resume=, cache=, dataset.root=, backbone.weights=, images=[...]):
  taken to the letter, from the folder in which the command is typed, in one pair of quotes for the shell where it needs
  them: 'dataset.root=data/my birds (1), old'. ~ at the beginning is the home folder. With --multirun a,b are two
  paths, unless there is one of that name. Of a key given twice, the last value counts.

your own configs:
  --config-dir FOLDER       FOLDER/experiment/NAME.yaml, beginning with "# @package _global_", is experiment=NAME

flags:
  --multirun, -m            one run for each combination of comma-separated values: milr.beta=0.01,0.1,1
  hydra/launcher=slurm      where these runs happen: joblib, slurm or local (docs/scaling.md); here, one by one, without
  --cfg job                 show the settings as they would be, and run nothing
  --hydra-help              Hydra's own flags
  -sc install=bash          shell completion: eval "$(milr {stage} -sc install=bash)" """


def config_folder() -> Path:
    """The folder of the package `milr.conf`. Errors: MilrError if it is not installed."""
    spec = find_spec("milr.conf")
    if spec is None or not spec.submodule_search_locations:
        raise MilrError(
            "the package milr.conf is not installed: install milr with `pip install .` or `pip install -e .`"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def groups_of(stage: str) -> dict[str, str]:
    """The config groups of a stage and the option that each has by default."""
    path = config_folder() / f"{stage}.yaml"
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return dict(re.findall(r"^ +- (\w+): (\w+)", text, flags=re.MULTILINE))


def group_options(group: str) -> list[str]:
    """The options of a config group; none if there is no such group."""
    return sorted(path.stem for path in (config_folder() / group).glob("*.yaml")) if group else []


def stage_help(stage: Stage, overrides: Sequence[str]) -> str:
    """Everything that `milr <stage>` takes, with the group options that `overrides` choose."""
    chosen = groups_of(stage.name)
    for override in overrides:
        group, _, option = override.partition("=")
        if group in chosen and option in group_options(group):
            chosen[group] = option
    end = "" if stage.help.endswith("?") else "."
    lines = [f"{stage.help[0].upper()}{stage.help[1:]}{end}", ""]
    lines += [f"usage: milr {stage.cli_name} [key=value | group=option] ... [flags]", "", "groups:"]
    lines += [f"  {f'{group}={option}':<24}  of: {', '.join(group_options(group))}" for group, option in chosen.items()]
    settings = default_settings(stage, chosen)
    notes = {}
    if stage.source:
        for section in INHERITED:
            notes[section] = "the source run's" + (", unless another is named" if section in stage.free else "")
    return "\n".join(
        [*lines, "", "keys:", *described(settings, notes), "", FLAGS.format(stage=stage.cli_name).rstrip()]
    )


def default_settings(stage: Stage, options: Mapping[str, str] | None = None) -> Any:
    """A stage's settings by default, with these options of its groups."""
    chosen = {**groups_of(stage.name), **(options or {})}
    settings: Any = stage.settings(dataset=DATA_SETS[chosen["dataset"]].settings())
    if "backbone" in chosen:
        for line in group_lines("backbone", chosen["backbone"]):
            name, value = line.split(": ")
            setattr(settings.backbone, name, value.strip('"'))
    if "layers" in chosen:
        for line in group_lines("layers", chosen["layers"]):
            name, layer = line.split(": ")
            setattr(settings.layers, name, layer)
    text = (config_folder() / f"{stage.name}.yaml").read_text(encoding="utf-8")
    for section, name, value in re.findall(r"^(\w+):\n  (\w+): (\d+)", text, flags=re.MULTILINE):  # the stage's own
        setattr(getattr(settings, section), name, int(value))
    return settings


def group_lines(group: str, option: str) -> list[str]:
    """The lines `key: value` of a group's file."""
    text = (config_folder() / group / f"{option}.yaml").read_text(encoding="utf-8")
    return [line.partition("  #")[0] for line in text.splitlines() if re.match(r"\w+: ", line)]


def described(settings: Any, notes: Mapping[str, str], indent: str = "  ") -> list[str]:
    """A line for each key, its value and its meaning, as YAML; `notes` stand beside sections."""
    lines = []
    for each in fields(settings):
        value, meaning = getattr(settings, each.name), each.metadata.get("meaning", "")
        if is_dataclass(value):
            note = f"  # {notes[each.name]}" if each.name in notes else ""
            lines += [f"{indent}{each.name}:{note}", *described(value, {}, f"{indent}  ")]
        elif isinstance(value, dict):
            lines += [
                f"{indent}{each.name}:  # {meaning}",
                *(f"{indent}  {key}: {word}" for key, word in value.items()),
            ]
        else:
            lines.append(f"{indent}{each.name}: {as_yaml(value)}" + (f"  # {meaning}" if meaning else ""))
    return lines


def as_yaml(value: object) -> str:
    """A value as YAML, and the command line, have it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{', '.join(map(as_yaml, value))}]"
    return str(value) if value != "" else '""'
